/* Asks cpuid for instruction sets and xgetbv for the registers that the operating system saves. */
#include "cpu.h"

#if FQ_HAVE_X86
#include <cpuid.h>
#include <stdint.h>

#define XMM_YMM UINT64_C(0x06)

/* The feature words asked for, and the register state that the operating system switches. */
typedef struct {
    unsigned ecx1, ebx7;
    uint64_t saved;
} features;

static features ask(void)
{
    features f = {0, 0, 0};
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid_count(1, 0, &eax, &ebx, &ecx, &edx)) {
        return f;
    }
    f.ecx1 = ecx;
    if (ecx & bit_OSXSAVE) {
        uint32_t low, high;
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        f.saved = (uint64_t)high << 32 | low;
    }
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) {
        f.ebx7 = ebx;
    }
    return f;
}

int fq_cpu_has_avx2(void)
{
    const unsigned in_ecx1 = bit_AVX | bit_FMA | bit_F16C;
    features f = ask();
    return (f.ecx1 & in_ecx1) == in_ecx1 && (f.ebx7 & bit_AVX2) && (f.saved & XMM_YMM) == XMM_YMM;
}
#else
int fq_cpu_has_avx2(void) { return 0; }
#endif
