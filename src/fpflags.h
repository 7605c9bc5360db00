/* The processor's floating-point exception flags, saved and put back: a loop that clamps an infinity must not make
 * NumPy warn. NumPy reads the flags even after loops that declare none where it cast an operand in the same call. */
#ifndef FQ_FPFLAGS_H
#define FQ_FPFLAGS_H

#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>
typedef unsigned fq_fpflags; /* with the control bits, which do not change */
static inline fq_fpflags fq_fpflags_save(void) { return _mm_getcsr(); }
static inline void fq_fpflags_restore(fq_fpflags flags) { _mm_setcsr(flags); }
#else
#include <fenv.h>
typedef fexcept_t fq_fpflags;
static inline fq_fpflags fq_fpflags_save(void)
{
    fq_fpflags flags;
    fegetexceptflag(&flags, FE_ALL_EXCEPT);
    return flags;
}
static inline void fq_fpflags_restore(fq_fpflags flags) { fesetexceptflag(&flags, FE_ALL_EXCEPT); }
#endif
#endif
