/* Parameters of their own for the elements, checked and made ready: plain loops that each target's compiler flags
 * turn into vectors. Included once by target.h. */
#ifndef FQ_PARAMS_EACH_H
#define FQ_PARAMS_EACH_H

/* integer holds any exact difference. The signed comparisons are needed beside the unsigned distances, which wrap around for
 * ends 2**64 apart. */
#define FQ_MAKE_EACH(name, scalar, integer, fast_from, fast_to)                                                     \
    static int name(const fq_ready *to, const fq_contiguous *given, size_t n, int reciprocal, uint64_t furthest)    \
    {                                                                                                               \
        const scalar *scale = given->scale;                                                                         \
        scalar *restrict const scales = to->scale, *restrict const invs = to->inv;                                  \
        scalar *restrict const los = to->lo, *restrict const his = to->hi;                                          \
        const int64_t *zero_point = given->zero_point, *qmin = given->qmin, *qmax = given->qmax;                    \
        const scalar one = 1, most = sizeof(scalar) == 8 ? (scalar)DBL_MAX : (scalar)FLT_MAX;                       \
        int64_t bad = 0;                                                                                            \
        for (size_t i = 0; zero_point != NULL && i < n; i++) {                                                      \
            const uint64_t below = (uint64_t)zero_point[i] - (uint64_t)qmin[i];                                     \
            const uint64_t above = (uint64_t)qmax[i] - (uint64_t)zero_point[i];                                     \
            bad |= (zero_point[i] < qmin[i]) | (zero_point[i] > qmax[i]) | (below > furthest) | (above > furthest); \
            los[i] = -(scalar)(integer)below;                                                                       \
            his[i] = (scalar)(integer)above;                                                                        \
        }                                                                                                           \
        int bad_scale = 0, not_fast = 0;                                                                            \
        for (size_t i = 0; i < n; i++) {                                                                            \
            scales[i] = scale[i];                                                                                   \
            bad_scale |= !(scale[i] > 0) | !(scale[i] <= most);                                                     \
            not_fast |= !(scale[i] >= (scalar)fast_from) | !(scale[i] <= (scalar)fast_to);                          \
        }                                                                                                           \
        for (size_t i = 0; invs != NULL && i < n; i++) {                                                            \
            invs[i] = one / scale[i];                                                                               \
        }                                                                                                           \
        for (size_t i = 0; reciprocal && i < n; i++) {                                                              \
            bad_scale |= !(one / scale[i] <= most);                                                                 \
        }                                                                                                           \
        return (bad != 0 || bad_scale ? FQ_REFUSED : 0) | (not_fast ? FQ_NOT_FAST : 0);                             \
    }

FQ_MAKE_EACH(make_each_f32, float, int32_t, FQ_FAST_FROM_F32, FQ_FAST_TO_F32)
FQ_MAKE_EACH(make_each_f64, double, int64_t, FQ_FAST_FROM_F64, FQ_FAST_TO_F64)

#endif
