/* The choice of SIMD target: made once at import, readable and replaceable by name. */
#ifndef FQ_DISPATCH_H
#define FQ_DISPATCH_H

#include "fq.h"

/* FQ_TARGETS names every src/target_*.c: X(avx2)X(neon)... Whoever compiles this makes it from the files' names. */
#ifndef FQ_TARGETS
#error "compile with -DFQ_TARGETS=X(portable)..., one for each target_*.c"
#endif

#define X(target) extern const fq_target fq_target_##target;
FQ_TARGETS
#undef X

#define X(target) +1
enum { FQ_MOST_TARGETS = FQ_TARGETS };
#undef X

/* The target in use; never NULL. */
const fq_target *fq_target_in_use(void);

/* The i-th target this processor and operating system can run, the best first; NULL past the last. */
const fq_target *fq_target_available(size_t i);

/* Use the named target, or the best one if name is NULL. -1: this build or this machine has no such target. */
int fq_target_use(const char *name);

/* Whether this processor divides float32 as fast as it multiplies and corrects the product. */
int fq_divides(void);

#endif
