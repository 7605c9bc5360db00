/* Chooses the SIMD target among those that this build has and this machine can run. */
#include "dispatch.h"

#include <string.h>

#include "cpu.h"

extern const fq_target fq_target_portable, fq_target_avx2, fq_target_avx512, fq_target_neon;

enum { MOST_TARGETS = 4 };

static const fq_target *available[MOST_TARGETS + 1]; /* the best first, then NULL */
static const fq_target *in_use = &fq_target_portable;
static int divides;

static void find_targets(void)
{
    size_t n = 0;
#if FQ_HAVE_X86
    const fq_cpu cpu = fq_cpu_ask();
    divides = cpu.divides;
    if (cpu.avx512) {
        available[n++] = &fq_target_avx512;
    }
    if (cpu.avx2) {
        available[n++] = &fq_target_avx2;
    }
#elif FQ_HAVE_NEON
    available[n++] = &fq_target_neon;
#endif
    available[n] = &fq_target_portable;
}

const fq_target *fq_target_in_use(void) { return in_use; }

int fq_divides(void) { return divides; }

const fq_target *fq_target_available(size_t i)
{
    if (available[0] == NULL) {
        find_targets();
    }
    return i < MOST_TARGETS ? available[i] : NULL;
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
