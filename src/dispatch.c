/* Chooses the SIMD target among those that this build has and this machine can run. */
#include "dispatch.h"

#include <string.h>

#include "atomics.h"
#include "cpu.h"

#define X(target) &fq_target_##target,
static const fq_target *const all[] = {FQ_TARGETS};
#undef X

/* Fixed at import, which chooses a target before any other thread can call. */
static const fq_target *available[FQ_MOST_TARGETS + 1]; /* the best first, then NULL */
static int divides;

static FQ_ATOMIC(const fq_target *) in_use = &fq_target_portable;

static void find_targets(void)
{
    size_t found = 0;
    divides = fq_cpu_divides();
    for (size_t i = 0; i < FQ_MOST_TARGETS; i++) {
        if (all[i]->runs_here == NULL || !all[i]->runs_here()) {
            continue;
        }
        size_t at = found++;
        for (; at > 0 && available[at - 1]->preference < all[i]->preference; at--) {
            available[at] = available[at - 1];
        }
        available[at] = all[i];
    }
}

const fq_target *fq_target_in_use(void) { return in_use; }

int fq_divides(void) { return divides; }

const fq_target *fq_target_available(size_t i)
{
    if (available[0] == NULL) {
        find_targets();
    }
    return i < FQ_MOST_TARGETS ? available[i] : NULL;
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
