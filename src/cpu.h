/* What the processor offers and the operating system saves. */
#ifndef FQ_CPU_H
#define FQ_CPU_H

/* The SIMD targets of x86-64 need GNU pragmas; other compilers get the portable one. */
#if defined(__x86_64__) && defined(__GNUC__)
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

int fq_cpu_has_avx2(void);   /* AVX2, FMA and F16C */
int fq_cpu_has_avx512(void); /* AVX-512 F, BW, DQ and VL */

#endif
