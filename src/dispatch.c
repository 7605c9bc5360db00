/* Chooses the SIMD target: asks the processor for its features and the operating system for the wide registers. */
#include "dispatch.h"

#include <string.h>

#include "cpu.h"

extern const fq_target fq_target_portable;
extern const fq_target fq_target_avx2;

typedef struct {
    const fq_target *target;
    int (*runs_here)(void);
} candidate;

static int always(void) { return 1; }

/* The best first. */
static const candidate candidates[] = {
#if FQ_HAVE_X86
    {&fq_target_avx2, fq_cpu_has_avx2},
#endif
    {&fq_target_portable, always},
};

static const fq_target *in_use = &fq_target_portable;

const fq_target *fq_target_in_use(void) { return in_use; }

const fq_target *fq_target_available(size_t i)
{
    for (size_t k = 0; k < sizeof candidates / sizeof *candidates; k++) {
        if (candidates[k].runs_here() && i-- == 0) {
            return candidates[k].target;
        }
    }
    return NULL;
}

int fq_target_use(const char *name)
{
    const fq_target *target;
    for (size_t i = 0; (target = fq_target_available(i)) != NULL; i++) {
        if (name == NULL || strcmp(name, target->name) == 0) {
            in_use = target;
            return 0;
        }
    }
    return -1;
}
