/* Asks the operating system for the size of a core's own cache. */
#include "cache.h"

#if defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__unix__)
#include <unistd.h>
#endif

static size_t set_to;

/* The second level: the last one before memory is shared by many cores, and what lies there is fetched anew. */
static size_t size_of_level_2(void)
{
#if defined(__APPLE__)
    size_t size = 0, length = sizeof size;
    if (sysctlbyname("hw.l2cachesize", &size, &length, NULL, 0) == 0) {
        return size;
    }
#elif defined(_SC_LEVEL2_CACHE_SIZE)
    const long size = sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (size > 0) {
        return (size_t)size;
    }
#endif
    return 0;
}

size_t fq_cache_threshold(void)
{
    static size_t found;
    if (set_to > 0) {
        return set_to;
    }
    if (found == 0) {
        const size_t size = size_of_level_2();
        found = size > 0 ? size : (size_t)1 << 20;
    }
    return found;
}

void fq_set_cache_threshold(size_t bytes) { set_to = bytes; }
