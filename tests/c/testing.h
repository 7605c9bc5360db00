/* What the C tests share: the targets, random bits, and floats as bits. */
#ifndef FQ_TESTING_H
#define FQ_TESTING_H

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dispatch.h"
#include "fq.h"

/* The rows of ops.h. */
typedef struct {
    const char *name, *outputs, *inputs;
    int parameters; /* whether it takes any */
} op_row;

enum { PARAMETERS_NONE, PARAMETERS_QPARAMS, PARAMETERS_ROUNDED, PARAMETERS_SCALES, PARAMETERS_LEVELS };

#define OP_ROW(with, OP, op, of_outputs, of_inputs, of_parameters, ...) \
    {.name = #op, .outputs = of_outputs, .inputs = of_inputs, .parameters = PARAMETERS_##of_parameters},
static const op_row op_rows[] = {FQ_OP_ROWS(OP_ROW, )};

/* The rows of kinds.h, and integers that share bytes. */
#define STORAGE(with, NAME, size, bits, is_signed, ...) {size, 1, bits, is_signed},
static const fq_storage storages[] = {
    FQ_STORAGE_ROWS(STORAGE, ){1, 2, 4, 1}, {1, 2, 4, 0}, {1, 4, 2, 1}, {1, 4, 2, 0}, {1, 8, 1, 1}, {1, 8, 1, 0}};
enum { STORAGES = sizeof storages / sizeof *storages };

static inline int has_integers(fq_op op) { return (int)op >= (int)FQ_UFUNCS && (int)op < (int)FQ_MAPS; }

/* The bits of the codes that an operation reads or writes, or 0. */
static inline int residual_bits(const op_row *op)
{
    static const char kinds[] = {FQ_RESIDUALS, FQ_NIBBLES, '\0'};
    const char *found = strpbrk(op->outputs, kinds) != NULL ? strpbrk(op->outputs, kinds) : strpbrk(op->inputs, kinds);
    return found == NULL ? 0 : *found == FQ_RESIDUALS ? 8 : 4;
}

static inline size_t items_of(fq_storage s, size_t n) { return (n + s.per_byte - 1) / s.per_byte; }

static inline const fq_target *portable_target(void)
{
    const fq_target *target = NULL;
    for (size_t i = 0; fq_target_available(i) != NULL; i++) {
        target = fq_target_available(i);
    }
    return target;
}

static inline uint64_t random_bits(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    const uint64_t mixed = (*state ^ *state >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return mixed ^ mixed >> 32;
}

/* The bits of an element. */
static inline uint64_t element(fq_type type, const uint8_t *array, size_t i)
{
    uint16_t half;
    uint32_t single;
    uint64_t bits;
    switch (fq_size_of(type)) {
    case 1: return array[i];
    case 2: memcpy(&half, array + i * 2, 2); return half;
    case 4: memcpy(&single, array + i * 4, 4); return single;
    default: memcpy(&bits, array + i * 8, 8); return bits;
    }
}

static inline double double_of(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

#endif
