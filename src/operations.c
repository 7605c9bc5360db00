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
                 .rounds = FQ_ROUNDS_##set,                      \
                 .along = FQ_ALONG_##set,                        \
                 .kinds = of_inputs FQ_KINDS_##set of_outputs,   \
                 .kind = of_outputs of_inputs,                   \
                 .array_names = {__VA_ARGS__},                   \
                 .parameter_names = {FQ_NAMES_##set NULL}},

const fq_operation fq_operations[FQ_SHAPES][FQ_OPS] = {[FQ_PLAIN] = {FQ_OP_ROWS(OPERATION, )},
                                                       [FQ_WITH_WORDS] = {FQ_WORDS_ROWS(OPERATION, )},
                                                       [FQ_ON_FORMAT] = {FQ_FORMAT_ROWS(OPERATION, )}};

#define RULE_NAME(with, NUMBER, name, shape) [FQ_##NUMBER] = #name,
const char *const fq_rule_names[FQ_RULES] = {FQ_RULE_ROWS(RULE_NAME, )};

enum { PLAIN = FQ_PLAIN, WORDS = FQ_WITH_WORDS, FORMAT = FQ_ON_FORMAT };
#define RULE_SHAPE(with, NUMBER, name, shape) [FQ_##NUMBER] = (fq_shape)shape,
static const fq_shape shape_of[FQ_RULES] = {FQ_RULE_ROWS(RULE_SHAPE, )};

const fq_operation *fq_operation_of(fq_op op, fq_rule rule) { return &fq_operations[shape_of[rule]][op]; }

int fq_has_operation(fq_op op, fq_rule rule)
{
    const fq_operation *is = fq_operation_of(op, rule);
    return is->name != NULL && (fq_is_even(rule) || is->rounds);
}

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
