/* The part of DLPack's C exchange API (version 1) that fq uses: the layouts that its specification fixes. */
#ifndef FQ_DLPACK_H
#define FQ_DLPACK_H

#include <stdint.h>

enum { DL_MAJOR = 1, DL_CPU = 1 };
enum { DL_INT = 0, DL_UINT = 1, DL_FLOAT = 2, DL_BFLOAT = 4 };

typedef struct {
    uint32_t major, minor;
} dl_version;

typedef struct {
    int32_t kind, index;
} dl_device;

typedef struct {
    uint8_t code, bits;
    uint16_t lanes;
} dl_type;

/* Strides count elements, the offset bytes. */
typedef struct {
    void *data;
    dl_device device;
    int32_t axes;
    dl_type type;
    int64_t *shape, *strides;
    uint64_t offset;
} dl_tensor;

/* Fills *to with what the object lends: valid until control goes back to Python. 0, or -1 with an exception set. */
typedef int dl_read(void *object, dl_tensor *to);

/* What the capsule of this name holds. */
#define DL_CAPSULE "dlpack_exchange_api"
typedef struct {
    dl_version version;
    const void *older;
    void *allocate, *take, *give;
    dl_read *read; /* may be NULL */
    void *stream;
} dl_exchange;

#endif
