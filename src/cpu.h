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

#if FQ_HAVE_X86
typedef struct {
    int avx2;   /* AVX2, FMA and F16C */
    int avx512; /* these, and AVX-512 F, BW, DQ and VL */
    int divides; /* float32 as fast as it multiplies and corrects the product */
} fq_cpu;

/* Slow in a virtual machine: asked once. */
fq_cpu fq_cpu_ask(void);
#endif

#endif
