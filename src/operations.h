/* What an operation takes and gives. Its operands are numbered as Python passes them: inputs, parameters, outputs. */
#ifndef FQ_OPERATIONS_H
#define FQ_OPERATIONS_H

#include "fq.h"

enum { FQ_MOST_OPERANDS = 8, FQ_MOST_NAMES = 8 };

typedef struct {
    const char *name;
    int inputs, parameters, outputs, arrays;
    int divides; /* by scale, in each of the ways */
    const char *kinds;                      /* a letter of kinds.h an operand */
    const char *kind;                       /* a letter an array of an fq_call, the outputs first */
    const char *array_names[FQ_MOST_NAMES]; /* of inputs, outputs, sums; the rest is NULL */
    const char *parameter_names[FQ_MOST_NAMES];
} fq_operation;

extern const fq_operation fq_operations[FQ_OPS];

const char *fq_name_of(const fq_operation *op, int operand);

/* How many sums a reduction gives besides its outputs; 0 for a map. */
int fq_sums_of(const fq_operation *op);

/* The bits of the residuals that it writes or reads, or 0. */
int fq_residual_bits(const fq_operation *op);

/* The operand that is this array of an fq_call, whose outputs come first. */
int fq_operand_of(const fq_operation *op, int array);

/* The operand of which several items share a byte, or 0. */
int fq_packed_operand(const fq_operation *op);

static inline int fq_inputs_of(const fq_operation *op) { return op->inputs + op->parameters; }
static inline int fq_operands_of(const fq_operation *op) { return fq_inputs_of(op) + op->outputs; }

#endif
