/* Asks Linux for large pages, as NumPy does for its own arrays; nothing elsewhere. */
#if defined(__linux__)
#define _DEFAULT_SOURCE
#endif

#include "pages.h"

#if defined(__linux__)

#include <stdint.h>
#include <sys/mman.h>

enum {
    PAGE = 4096,         /* bytes: the smallest; a larger one makes the request fail, which does no harm */
    WORTHWHILE = 4 << 20 /* bytes: two large pages, one of which lies within wherever they begin */
};

void fq_large_pages(void *data, size_t size)
{
    const uintptr_t from = ((uintptr_t)data + PAGE - 1) / PAGE * PAGE, to = ((uintptr_t)data + size) / PAGE * PAGE;
    if (size >= WORTHWHILE) {
        madvise((void *)from, to - from, MADV_HUGEPAGE);
    }
}

#else

void fq_large_pages(void *data, size_t size) { (void)data, (void)size; }

#endif
