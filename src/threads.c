/* The number of threads and the splitting of a range over them. */
#include "threads.h"

#include "atomics.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

static FQ_ATOMIC(int) asked_for; /* 0: what OpenMP says */

/* GNU OpenMP's threads do not survive fork, and waiting for them hangs. */
#if defined(__unix__) || defined(__APPLE__)
static FQ_ATOMIC(int) in_child;

static void after_fork(void) { in_child = 1; }

void fq_threads_start(void) { pthread_atfork(NULL, NULL, after_fork); }
#else
enum { in_child = 0 };

void fq_threads_start(void) {}
#endif

int fq_get_num_threads(void)
{
#ifdef _OPENMP
    if (!in_child) {
        const int n = asked_for;
        return n > 0 ? n : omp_get_max_threads();
    }
#endif
    return 1;
}

#ifdef _OPENMP
/* On a machine that does other work, a call waits for a thread until that gets a processor: 16 ms, where the work takes 0.1. After
 * such a wait, calls run on one thread for a while. */
static const double LONG_WAIT = 1e-3, ALONE_FOR = 1; /* seconds */
static FQ_ATOMIC(double) alone_until;

/* total: of a call; own: of the piece that its own thread ran. */
static void judge_wait(double total, double own)
{
    const double wait = total - own;
    if (wait > LONG_WAIT && wait > own) {
        alone_until = omp_get_wtime() + ALONE_FOR;
    }
}
#endif

void fq_set_num_threads(int n)
{
    asked_for = n;
#ifdef _OPENMP
    alone_until = 0; /* whoever asks for threads wants to see them */
#endif
}

size_t fq_pieces(size_t n, size_t grain)
{
    const size_t most = n / grain;
    size_t threads = most > 1 ? (size_t)fq_get_num_threads() : 1;
#ifdef _OPENMP
    threads = threads > 1 && omp_get_wtime() < alone_until ? 1 : threads;
#endif
    return threads < most ? threads : most > 0 ? most : 1;
}

/* Where piece i of [0, n) begins: without n * i, which may not fit. */
static size_t start_of(size_t n, size_t i, size_t pieces) { return n / pieces * i + (i < n % pieces ? i : n % pieces); }

void fq_parallel(size_t n, size_t pieces, fq_range *range, void *context)
{
    if (pieces <= 1) {
        range(context, 0, 0, n);
        return;
    }
#ifdef _OPENMP
    const double start = omp_get_wtime();
    double own = 0;
#pragma omp parallel for num_threads((int)pieces) schedule(static, 1)
    for (size_t i = 0; i < pieces; i++) {
        const double begun = i == 0 ? omp_get_wtime() : 0;
        range(context, i, start_of(n, i, pieces), start_of(n, i + 1, pieces));
        if (i == 0) {
            own = omp_get_wtime() - begun;
        }
    }
    judge_wait(omp_get_wtime() - start, own);
#else
    for (size_t i = 0; i < pieces; i++) {
        range(context, i, start_of(n, i, pieces), start_of(n, i + 1, pieces));
    }
#endif
}
