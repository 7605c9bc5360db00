/* Finds, at import, the output from which non-temporal stores gain. */
#include "cache.h"

#include "atomics.h"

#if defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__linux__)
#include <stdio.h>
#elif defined(__unix__)
#include <unistd.h>
#endif

enum { UNKNOWN = 8 << 20 }; /* bytes, where the machine does not say */

static size_t found = UNKNOWN; /* set once, before any call */
static FQ_ATOMIC(size_t) threshold = UNKNOWN;

#if defined(__linux__)
/* The first line of a file about cache `index` of the first processor; 0: there is none. */
static int read_line(char *line, int size, int index, const char *name)
{
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, name);
    FILE *file = fopen(path, "r");
    const int read = file != NULL && fgets(line, size, file) != NULL;
    if (file != NULL) {
        fclose(file);
    }
    return read;
}

/* Of a list such as 0-3,8-11. */
static size_t count_processors(const char *list)
{
    size_t count = 0;
    unsigned from, to;
    for (int read = 0; sscanf(list, "%u%n", &from, &read) == 1; list += *list == ',') {
        list += read, to = from;
        if (sscanf(list, "-%u%n", &to, &read) == 1) {
            list += read;
        }
        count += to >= from ? to - from + 1 : 1;
    }
    return count > 0 ? count : 1;
}

/* What one processor has of the last cache before memory; 0: unknown. */
static size_t share_of_last_level(void)
{
    enum { MOST_CACHES = 8 };
    size_t share = 0;
    int last = 0;
    for (int i = 0; i < MOST_CACHES; i++) {
        char line[256];
        int level;
        size_t kilobytes;
        if (!read_line(line, sizeof line, i, "level") || sscanf(line, "%d", &level) != 1 || level < last ||
            !read_line(line, sizeof line, i, "size") || sscanf(line, "%zuK", &kilobytes) != 1 ||
            !read_line(line, sizeof line, i, "shared_cpu_list")) {
            continue;
        }
        last = level, share = kilobytes * 1024 / count_processors(line);
    }
    return share;
}
#elif defined(__APPLE__)
static size_t number_named(const char *name)
{
    long long value = 0;
    size_t length = sizeof value;
    return sysctlbyname(name, &value, &length, NULL, 0) == 0 && value > 0 ? (size_t)value : 0;
}

/* Apple's own processors share the second level among the cores of a cluster, Intel's the third among all. */
static size_t share_of_last_level(void)
{
    const size_t level_2 = number_named("hw.perflevel0.l2cachesize"), sharing = number_named("hw.perflevel0.cpusperl2");
    const size_t level_3 = number_named("hw.l3cachesize"), all = number_named("hw.logicalcpu");
    return level_2 > 0 && sharing > 0 ? level_2 / sharing : all > 0 ? level_3 / all : 0;
}
#elif defined(_SC_LEVEL3_CACHE_SIZE)
static size_t share_of_last_level(void)
{
    const long size = sysconf(_SC_LEVEL3_CACHE_SIZE), all = sysconf(_SC_NPROCESSORS_ONLN);
    return size > 0 && all > 0 ? (size_t)(size / all) : 0;
}
#else
static size_t share_of_last_level(void) { return 0; }
#endif

void fq_cache_start(void)
{
    const size_t share = share_of_last_level();
    found = share > 0 ? share / 4 * 3 : UNKNOWN;
    threshold = found;
}

size_t fq_cache_threshold(void) { return threshold; }

void fq_set_cache_threshold(size_t bytes) { threshold = bytes > 0 ? bytes : found; }
