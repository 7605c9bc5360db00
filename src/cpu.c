/* Asks cpuid for instruction sets and xgetbv for the registers that the operating system saves. */
#include "cpu.h"

#if FQ_HAVE_X86
#define ZEN_5 0x1au

/* The feature words asked for, and the register state that the operating system switches. */
typedef struct {
    unsigned ecx1, ebx7, saved, family;
    int amd;
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
        unsigned high;
        __asm__ volatile("xgetbv" : "=a"(f.saved), "=d"(high) : "c"(0));
    }
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) {
        f.ebx7 = ebx;
    }
    return f;
}

int fq_cpu_has(unsigned ecx1, unsigned ebx7, unsigned saved)
{
    const features f = ask();
    return (f.ecx1 & ecx1) == ecx1 && (f.ebx7 & ebx7) == ebx7 && (f.saved & saved) == saved;
}

int fq_cpu_divides(void)
{
    const features f = ask();
    return f.amd && f.family >= ZEN_5;
}
#else
int fq_cpu_divides(void) { return 0; }
#endif
