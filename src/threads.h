/* Splits a range over OpenMP threads; without OpenMP, and in a forked child, one thread does it all. */
#ifndef FQ_THREADS_H
#define FQ_THREADS_H

#include <stddef.h>

/* Registers what a forked child needs. Called once, at import. */
void fq_threads_start(void);

/* n >= 1: use n threads from now on. 0: as many as OpenMP says, which threadpoolctl and OMP_NUM_THREADS set. */
void fq_set_num_threads(int n);
int fq_get_num_threads(void);

/* How many pieces of at least `grain` to cut n into, one a thread: 1 where threads would not gain. */
size_t fq_pieces(size_t n, size_t grain);

typedef void fq_range(void *context, size_t piece, size_t from, size_t to);

/* Calls range for each of the pieces of [0, n). */
void fq_parallel(size_t n, size_t pieces, fq_range *range, void *context);

#endif
