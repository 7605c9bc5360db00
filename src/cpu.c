/* Asks cpuid for instruction sets and xgetbv for the registers that the operating system saves. */
#include "cpu.h"

#if FQ_HAVE_X86
#include <cpuid.h>
#include <stdint.h>

#define XMM_YMM UINT64_C(0x06)
#define XMM_YMM_ZMM UINT64_C(0xe6) /* with the mask registers and the upper halves of all 32 */

#define ZEN_5 0x1au

/* The feature words asked for, and the register state that the operating system switches. */
typedef struct {
    unsigned ecx1, ebx7, family;
    int amd;
    uint64_t saved;
} features;

static features ask(void)
{
    features f = {0, 0, 0, 0, 0};
    unsigned eax, ebx, ecx, edx;
    if (__get_cpuid(0, &eax, &ebx, &ecx, &edx)) {
        f.amd = ebx == signature_AMD_ebx && ecx == signature_AMD_ecx && edx == signature_AMD_edx;
    }
    if (!__get_cpuid_count(1, 0, &eax, &ebx, &ecx, &edx)) {
        return f;
    }
    f.ecx1 = ecx;
    f.family = (eax >> 8 & 0xf) + (eax >> 20 & 0xff);
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

static int has(const features *f, unsigned in_ecx1, unsigned in_ebx7, uint64_t saved)
{
    return (f->ecx1 & in_ecx1) == in_ecx1 && (f->ebx7 & in_ebx7) == in_ebx7 && (f->saved & saved) == saved;
}

fq_cpu fq_cpu_ask(void)
{
    const unsigned ecx1 = bit_AVX | bit_FMA | bit_F16C;
    const unsigned ebx7 = bit_AVX2 | bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    const features f = ask();
    return (fq_cpu){.avx2 = has(&f, ecx1, bit_AVX2, XMM_YMM),
                    .avx512 = has(&f, ecx1, ebx7, XMM_YMM_ZMM),
                    .divides = f.amd && f.family >= ZEN_5};
}
#endif
