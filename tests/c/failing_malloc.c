/* Preloaded beside Python with PYTHONMALLOC=malloc: fails the n-th allocation that is made for fq's extension.
 *
 * An allocation is the extension's when a function of it is on the stack, whoever it called: Python, NumPy or C. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

enum { DEPTH = 64 };

static __thread long countdown = -1, seen; /* countdown < 0: off; 0: count, fail none */
static __thread int inside;
static uintptr_t from, to;             /* of the extension in memory */
static uintptr_t spared_from, spared_to; /* of a library whose allocations do not fail */

/* Counts from 0 again, and fails the n-th allocation of this thread; n = 0 fails none. */
void fail_nth(long n) { countdown = n, seen = 0; }

/* Allocations since, and turns counting off. */
long stop_failing(void)
{
    countdown = -1;
    return seen;
}

/* Where the extension lies. */
void watch(uintptr_t begin, uintptr_t end) { from = begin, to = end; }

/* A library whose allocations never fail, though the extension called it. */
void spare(uintptr_t begin, uintptr_t end) { spared_from = begin, spared_to = end; }

static int is_ours(void)
{
    void *stack[DEPTH];
    const int depth = backtrace(stack, DEPTH);
    for (int i = 0; i < depth; i++) {
        if ((uintptr_t)stack[i] >= spared_from && (uintptr_t)stack[i] < spared_to) {
            return 0;
        }
        if ((uintptr_t)stack[i] >= from && (uintptr_t)stack[i] < to) {
            return 1;
        }
    }
    return 0;
}

static int fails(void)
{
    if (countdown < 0 || inside) {
        return 0;
    }
    inside = 1;
    const int ours = is_ours();
    inside = 0;
    if (ours && ++seen == countdown) {
        errno = ENOMEM;
        return 1;
    }
    return 0;
}

void *malloc(size_t size) { return fails() ? NULL : __libc_malloc(size); }

void *calloc(size_t count, size_t size) { return fails() ? NULL : __libc_calloc(count, size); }

void *realloc(void *old, size_t size) { return fails() ? NULL : __libc_realloc(old, size); }
