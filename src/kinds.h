/* What operands hold, a row a kind; whoever reads letters follows from the rows.
 *
 * X(with, NAME, letter, item, cast, accepted)
 * letter: in ops.h. item: OF_TYPE, an element of the call's type; COMPUTED, a float of the type computed in; ALWAYS(bits, DType),
 * NumPy's; STORED, as the call says (fq_storage). cast: which of NumPy's casts to the item are taken. accepted: what a message says. */
#ifndef FQ_KINDS_H
#define FQ_KINDS_H

#include <stddef.h>

#include "types.h"

#define FQ_KIND_ROWS(X, with)                                                                             \
    X(with, ELEMENTS, 'v', OF_TYPE, SAME_KIND, FQ_TYPE_NAMES)                                             \
    X(with, BYTE_MASK, 'b', ALWAYS(8, Bool), NO, "an array of bool")                                      \
    X(with, BIT_MASK, 'u', ALWAYS(1, UInt8), NO, "an array of uint8, as forward_packed gives it")         \
    X(with, RESIDUALS, 'r', ALWAYS(8, Int8), NO, "an array of int8, as forward_residual gives it")        \
    X(with, NIBBLES, 'n', ALWAYS(4, UInt8), NO, "an array of uint8, as forward_residual_packed gives it") \
    X(with, WORDS, 'w', ALWAYS(16, UInt16), NO, "an array of uint16")                                     \
    X(with, INTEGERS, 'q', STORED, NO, "an array of integers")                                            \
    X(with, SCALE, 's', COMPUTED, SAME_KIND, "a real number or an array of them")                         \
    X(with, LEVEL, 'i', ALWAYS(64, Int64), SAME_KIND, "an integer or an array of them")

#define FQ_KIND_LETTER(with, NAME, letter, ...) FQ_##NAME = letter,
enum { FQ_KIND_ROWS(FQ_KIND_LETTER, ) };
#undef FQ_KIND_LETTER

/* How integers are stored: the bytes of an item, how many integers share a byte, the bits of each, and whether they have a sign. */
typedef struct {
    uint8_t size, per_byte, bits, is_signed;
} fq_storage;

/* NumPy's types of integers, a row each: X(with, NAME, size, bits, is_signed, module, name). Where they have fewer bits than their
 * bytes, the upper bits are 0. What shares a byte has no type: its row is that of its bits, with per_byte 8 / bits. */
#define FQ_STORAGE_ROWS(X, with)               \
    X(with, I8, 1, 8, 1, "numpy", "int8")      \
    X(with, U8, 1, 8, 0, "numpy", "uint8")     \
    X(with, I16, 2, 16, 1, "numpy", "int16")   \
    X(with, U16, 2, 16, 0, "numpy", "uint16")  \
    X(with, I32, 4, 32, 1, "numpy", "int32")   \
    X(with, I2, 1, 2, 1, "ml_dtypes", "int2")  \
    X(with, U2, 1, 2, 0, "ml_dtypes", "uint2") \
    X(with, I4, 1, 4, 1, "ml_dtypes", "int4")  \
    X(with, U4, 1, 4, 0, "ml_dtypes", "uint4")

/* Items in a byte. Of stored integers, whose call knows, 1. */
#define FQ_PER_BYTE_OF_TYPE 1
#define FQ_PER_BYTE_COMPUTED 1
#define FQ_PER_BYTE_STORED 1
#define FQ_PER_BYTE_ALWAYS(bits, dtype) (bits < 8 ? 8 / bits : 1)
#define FQ_PER_BYTE(with, NAME, letter, item, ...) kind == letter ? FQ_PER_BYTE_##item:
static inline size_t fq_per_byte(char kind) { return FQ_KIND_ROWS(FQ_PER_BYTE, ) 1; }

/* How far n elements reach along a row: in bytes where several share one, else in items. */
#define FQ_ITEMS(with, NAME, letter, item, ...) kind == letter ? (n + FQ_PER_BYTE_##item - 1) / FQ_PER_BYTE_##item:
static inline size_t fq_items(char kind, size_t n) { return FQ_KIND_ROWS(FQ_ITEMS, ) n; }
#undef FQ_ITEMS

/* Bytes of an item, or of the byte that several share; of stored integers, whose call knows, 0. */
#define FQ_BYTES_OF_TYPE fq_size_of(type)
#define FQ_BYTES_COMPUTED (type == FQ_F64 ? sizeof(double) : sizeof(float))
#define FQ_BYTES_STORED 0
#define FQ_BYTES_ALWAYS(bits, dtype) (bits + 7) / 8
#define FQ_BYTES(with, NAME, letter, item, ...) kind == letter ? FQ_BYTES_##item:
static inline size_t fq_item_size(char kind, fq_type type) { return FQ_KIND_ROWS(FQ_BYTES, ) 0; }
#undef FQ_BYTES

#endif
