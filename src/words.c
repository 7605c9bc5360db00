/* Fills an array with random words, on threads: each depends on the key and its place alone. */
#include "words.h"

#include "dispatch.h"
#include "threads.h"

enum { WORDS_OF_A_THREAD = 256 * 1024 };

typedef struct {
    fq_words_of *words;
    uint16_t *to;
    uint32_t key[2];
    uint64_t start;
} request;

static void fill(void *context, size_t piece, size_t from, size_t to)
{
    const request *r = context;
    (void)piece;
    r->words(r->to + from, to - from, r->key, r->start + from);
}

PyObject *fq_random_words(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer out;
    unsigned int key[2];
    unsigned long long start;
    if (!PyArg_ParseTuple(args, "w*IIK", &out, &key[0], &key[1], &start)) {
        return NULL;
    }
    const size_t n = (size_t)out.len / sizeof(uint16_t);
    request r = {fq_target_in_use()->words, out.buf, {(uint32_t)key[0], (uint32_t)key[1]}, start};
    Py_BEGIN_ALLOW_THREADS;
    fq_parallel(n, fq_pieces(n, WORDS_OF_A_THREAD), fill, &r);
    Py_END_ALLOW_THREADS;
    PyBuffer_Release(&out);
    Py_RETURN_NONE;
}
