/* The rows of ops.h as a table. */
#include "operations.h"

#include <string.h>

#define COUNT(kinds) ((int)sizeof(kinds) - 1)
#define OPERATION(with, OP, op, of_outputs, of_inputs, set, ...) \
    [FQ_##OP] = {.name = #op,                                    \
                 .inputs = COUNT(of_inputs),                     \
                 .parameters = COUNT(FQ_KINDS_##set),            \
                 .outputs = COUNT(of_outputs),                   \
                 .arrays = COUNT(of_outputs of_inputs),          \
                 .divides = FQ_DIVIDES_##set,                    \
                 .kinds = of_inputs FQ_KINDS_##set of_outputs,   \
                 .kind = of_outputs of_inputs,                   \
                 .array_names = {__VA_ARGS__},                   \
                 .parameter_names = {FQ_NAMES_##set NULL}},

const fq_operation fq_operations[FQ_OPS] = {FQ_OP_ROWS(OPERATION, )};

const char *fq_name_of(const fq_operation *op, int operand)
{
    const int parameter = operand - op->inputs;
    return parameter < 0                ? op->array_names[operand]
           : parameter < op->parameters ? op->parameter_names[parameter]
                                        : op->array_names[operand - op->parameters];
}

int fq_sums_of(const fq_operation *op)
{
    int sums = 0;
    while (op->array_names[op->arrays + sums] != NULL) {
        sums++;
    }
    return sums;
}

int fq_residual_bits(const fq_operation *op)
{
    return strchr(op->kind, FQ_RESIDUALS) != NULL ? 8 : strchr(op->kind, FQ_NIBBLES) != NULL ? 4 : 0;
}

int fq_operand_of(const fq_operation *op, int array)
{
    return array < op->outputs ? op->inputs + op->parameters + array : array - op->outputs;
}

int fq_packed_operand(const fq_operation *op)
{
    int operand = op->inputs + op->parameters + op->outputs - 1;
    while (operand > 0 && fq_per_byte(op->kinds[operand]) == 1) {
        operand--;
    }
    return operand;
}
