/* What the processor offers and the operating system saves. */
#ifndef FQ_CPU_H
#define FQ_CPU_H

/* The SIMD targets of x86-64 need GNU pragmas; other compilers get the portable one. So does gcc for Windows, which keeps
 * vectors at addresses on the stack that they do not allow. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(_WIN32)
#define FQ_HAVE_X86 1
#else
#define FQ_HAVE_X86 0
#endif

/* Every processor of AArch64 has NEON; the target wants its lanes little-endian. */
#if defined(__aarch64__) && defined(__GNUC__) && !defined(__AARCH64EB__)
#define FQ_HAVE_NEON 1
#else
#define FQ_HAVE_NEON 0
#endif

/* Whether it divides in float32 as fast as it multiplies and corrects the product. */
int fq_cpu_divides(void);

#if FQ_HAVE_X86
#include <cpuid.h>

/* Registers that the operating system saves: XGETBV's bits. */
enum {
    FQ_SAVES_XMM = 0x02,
    FQ_SAVES_YMM = 0x06,
    FQ_SAVES_ZMM = 0xe6 /* with the mask registers and the upper halves of all 32 */
};

/* Whether all of these are there: cpuid's feature bits of leaf 1 in ecx and of leaf 7 in ebx (bit_FMA, bit_AVX2 ...),
 * and the registers saved. Slow in a virtual machine: asked once a target. */
int fq_cpu_has(unsigned ecx1, unsigned ebx7, unsigned saved);
#endif

#endif
