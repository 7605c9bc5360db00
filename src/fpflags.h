/* The floating-point environment of a call: the usual one, and the caller's put back. XLA flushes subnormal numbers in
 * its threads, which must not change a result; and a loop that clamps an infinity must not make NumPy warn, which reads
 * the exception flags even after loops that declare none where it cast an operand in the same call. */
#ifndef FQ_FPFLAGS_H
#define FQ_FPFLAGS_H

#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>
typedef unsigned fq_fpflags;
static inline fq_fpflags fq_fpflags_save(void)
{
    const fq_fpflags flags = _mm_getcsr();
    _mm_setcsr(0x1f80); /* rounds to nearest, keeps subnormal numbers, traps nothing */
    return flags;
}
static inline void fq_fpflags_restore(fq_fpflags flags) { _mm_setcsr(flags); }
#else
#include <fenv.h>
typedef fenv_t fq_fpflags;
static inline fq_fpflags fq_fpflags_save(void)
{
    fq_fpflags flags;
    fegetenv(&flags);
    fesetenv(FE_DFL_ENV);
    return flags;
}
static inline void fq_fpflags_restore(fq_fpflags flags) { fesetenv(&flags); }
#endif
#endif
