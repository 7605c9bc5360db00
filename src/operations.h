/* What an operation takes and gives. Its operands are numbered as Python passes them: inputs, parameters, outputs. */
#ifndef FQ_OPERATIONS_H
#define FQ_OPERATIONS_H

#include "fq.h"

enum { FQ_MOST_OPERANDS = 8, FQ_MOST_NAMES = 8 };

typedef struct {
    const char *name;
    int inputs, parameters, outputs, arrays;
    int divides; /* by scale, in each of the ways */
    int rounds;  /* by any rule */
    int along; /* parameters, the first ones, that a packed operation has one of for each element of its last axis */
    const char *kinds; /* a letter of kinds.h an operand */
    const char *kind; /* a letter an array of an fq_call, the outputs first */
    const char *array_names[FQ_MOST_NAMES]; /* of inputs, outputs, sums; the rest is NULL */
    const char *parameter_names[FQ_MOST_NAMES];
} fq_operation;

/* What operations look like: as ops.h says, with words beside x, or on the grid of a format. */
typedef enum { FQ_PLAIN, FQ_WITH_WORDS, FQ_ON_FORMAT, FQ_SHAPES } fq_shape;

/* Without a name where there is no such operation of the shape. */
extern const fq_operation fq_operations[FQ_SHAPES][FQ_OPS];

extern const char *const fq_rule_names[FQ_RULES];

const fq_operation *fq_operation_of(fq_op op, fq_rule rule);

/* Whether there is such an operation. */
int fq_has_operation(fq_op op, fq_rule rule);

const char *fq_name_of(const fq_operation *op, int operand);

/* How many sums a reduction gives besides its outputs; 0 for a map. */
int fq_sums_of(const fq_operation *op);

/* The bits of the residuals that it writes or reads, or 0. */
int fq_residual_bits(const fq_operation *op);

/* The operand that is this array of an fq_call, whose outputs come first. */
int fq_operand_of(const fq_operation *op, int array);

/* The operand of which several items share a byte, or 0. */
int fq_packed_operand(const fq_operation *op);

/* The parameters that an fq_call holds: zero_point stands where qmin and qmax are missing. */
static inline int fq_given_of(const fq_operation *op)
{
    return op->parameters > 0 && op->parameters < 4 ? 4 : op->parameters;
}

static inline int fq_inputs_of(const fq_operation *op) { return op->inputs + op->parameters; }
static inline int fq_operands_of(const fq_operation *op) { return fq_inputs_of(op) + op->outputs; }

#endif
