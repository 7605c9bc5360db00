/* The portable target: plain C11, for any processor. */
#include <float.h>
#include <string.h>

#include "fq.h"
#include "simd_portable.h"

#include "target.h"

FQ_TARGET_TABLE(portable);
