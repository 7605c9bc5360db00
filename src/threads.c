/* The number of threads and the splitting of a range over them. */
#include "threads.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

static int asked_for; /* 0: what OpenMP says */

/* GNU OpenMP's threads do not survive fork, and waiting for them hangs. */
#if defined(__unix__) || defined(__APPLE__)
static int in_child;

static void after_fork(void) { in_child = 1; }

void fq_threads_start(void) { pthread_atfork(NULL, NULL, after_fork); }
#else
enum { in_child = 0 };

void fq_threads_start(void) {}
#endif

void fq_set_num_threads(int n) { asked_for = n; }

int fq_get_num_threads(void)
{
#ifdef _OPENMP
    if (!in_child) {
        return asked_for > 0 ? asked_for : omp_get_max_threads();
    }
#endif
    return 1;
}

/* The end of piece i of `pieces`, at a multiple of unit. */
static size_t cut(size_t n, size_t unit, size_t i, size_t pieces)
{
    return i == pieces ? n : n / unit * i / pieces * unit;
}

void fq_parallel(size_t n, size_t grain, size_t unit, fq_range *range, void *context)
{
    const size_t most = n / grain;
    const size_t threads = most > 1 ? (size_t)fq_get_num_threads() : 1;
    const size_t pieces = threads < most ? threads : most;
    if (pieces <= 1) {
        range(context, 0, n);
        return;
    }
#ifdef _OPENMP
#pragma omp parallel for num_threads((int)pieces) schedule(static, 1)
#endif
    for (size_t i = 0; i < pieces; i++) {
        range(context, cut(n, unit, i, pieces), cut(n, unit, i + 1, pieces));
    }
}
