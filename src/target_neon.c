/* The NEON target: every AArch64 processor has it, so no instruction set is opened. */
#include <float.h>
#include <string.h>

#include "cpu.h"
#include "fq.h"

#if FQ_HAVE_NEON
#include "simd_neon.h"

#include "target.h"

FQ_TARGET_TABLE(neon);
#else
typedef int fq_no_neon_here;
#endif
