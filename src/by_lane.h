/* Words for an element type out of the conversions of types.h: included by kernels.h where a target has none of its own. */
#if FQ_ONE_LANE /* compilers make vectors of values, and not of arrays of one */
typedef elem_t P(packed);

static FQ_PASTE(FQ_CONVERTS, ELEM) C(vec) E(load)(const elem_t *from) { return E(widen)(*from); }
static FQ_PASTE(FQ_CONVERTS, ELEM) P(packed) E(pack)(C(vec) v) { return E(narrow)(v); }
static FQ_INLINE P(packed) E(no_minus_zero)(P(packed) v) { return E(positive_zero)(v); }
static FQ_INLINE void E(store)(elem_t *to, P(packed) v) { *to = v; }
#else
typedef struct {
    elem_t lane[LANES];
} P(packed);

static FQ_INLINE C(vec) E(load)(const elem_t *from)
{
    C(elem) lane[LANES];
    for (size_t j = 0; j < LANES; j++) {
        lane[j] = E(widen)(from[j]);
    }
    return C(read)(lane, 0);
}

static FQ_INLINE P(packed) E(pack)(C(vec) v)
{
    C(elem) lane[LANES];
    P(packed) packed;
    memcpy(lane, &v, sizeof lane);
    for (size_t j = 0; j < LANES; j++) {
        packed.lane[j] = E(narrow)(lane[j]);
    }
    return packed;
}

static FQ_INLINE P(packed) E(no_minus_zero)(P(packed) v)
{
    for (size_t j = 0; j < LANES; j++) {
        v.lane[j] = E(positive_zero)(v.lane[j]);
    }
    return v;
}

static FQ_INLINE void E(store)(elem_t *to, P(packed) v) { memcpy(to, v.lane, sizeof v.lane); }
#endif

static FQ_INLINE void E(stream)(elem_t *to, P(packed) v) { E(store)(to, v); }
