/* The portable target: plain C11, for any processor. */
#include <float.h>
#include <string.h>

#include "fq.h"
#include "simd_portable.h"

#include "target.h"

static int runs_here(void) { return 1; }

FQ_TARGET_TABLE(portable, 0, runs_here);
