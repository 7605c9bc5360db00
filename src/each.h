/* Parameters of their own for the elements, checked and made ready: plain loops that each target's compiler flags
 * turn into vectors. Included once by target.h. */
#ifndef FQ_EACH_H
#define FQ_EACH_H

/* Whether one of the n sets is refused; the levels are then not all made. integer holds any exact difference.
 * The signed comparisons are needed beside the unsigned distances, which wrap around for ends 2**64 apart. */
#define FQ_MAKE_EACH(name, scalar, member, integer)                                                           \
    static int name(fq_each *each, const fq_contiguous *given, size_t n, int reciprocal)                      \
    {                                                                                                         \
        const scalar *scale = given->scale;                                                                   \
        const int64_t *zero_point = given->zero_point, *qmin = given->qmin, *qmax = given->qmax;              \
        const uint64_t exact = UINT64_C(1) << (sizeof(scalar) == 8 ? 53 : 24);                                \
        const scalar one = 1, most = sizeof(scalar) == 8 ? (scalar)DBL_MAX : (scalar)FLT_MAX;                 \
        int64_t bad = 0;                                                                                      \
        for (size_t i = 0; i < n; i++) {                                                                      \
            const uint64_t below = (uint64_t)zero_point[i] - (uint64_t)qmin[i];                               \
            const uint64_t above = (uint64_t)qmax[i] - (uint64_t)zero_point[i];                               \
            bad |= (zero_point[i] < qmin[i]) | (zero_point[i] > qmax[i]) | (below > exact) | (above > exact); \
            each->member.lo[i] = -(scalar)(integer)below;                                                     \
            each->member.hi[i] = (scalar)(integer)above;                                                      \
        }                                                                                                     \
        int bad_scale = 0;                                                                                    \
        for (size_t i = 0; i < n; i++) {                                                                      \
            each->member.scale[i] = scale[i];                                                                 \
            bad_scale |= !(scale[i] > 0) | !(scale[i] <= most);                                               \
        }                                                                                                     \
        for (size_t i = 0; reciprocal && i < n; i++) {                                                        \
            each->member.inv[i] = one / scale[i];                                                             \
            bad_scale |= !(one / scale[i] <= most);                                                           \
        }                                                                                                     \
        return bad != 0 || bad_scale;                                                                         \
    }

FQ_MAKE_EACH(make_each_f32, float, f32, int32_t)
FQ_MAKE_EACH(make_each_f64, double, f64, int64_t)

#endif
