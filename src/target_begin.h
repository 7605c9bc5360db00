/* Opens instruction sets of x86 for what follows, up to target_end.h: those that FQ_INSTRUCTIONS names, as "avx2,fma". */
#include <immintrin.h>

#define FQ_PRAGMA_(...) _Pragma(#__VA_ARGS__)
#define FQ_PRAGMA(...) FQ_PRAGMA_(__VA_ARGS__)

#if defined(__clang__)
FQ_PRAGMA(clang attribute push(__attribute__((target(FQ_INSTRUCTIONS))), apply_to = function))
#else
#pragma GCC push_options
FQ_PRAGMA(GCC target(FQ_INSTRUCTIONS))
#endif
