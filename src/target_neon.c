/* The NEON target: every AArch64 processor has it, so no instruction set is opened. */
#include <float.h>
#include <string.h>

#include "cpu.h"
#include "fq.h"

#if FQ_HAVE_NEON
#include "simd_neon.h"

#include "target.h"

static int runs_here(void) { return 1; }

FQ_TARGET_TABLE(neon, 16, runs_here);
#else
const fq_target fq_target_neon = {.name = "neon"};
#endif
