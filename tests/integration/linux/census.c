/* Counting what /proc shows of this process. */
#include "census.h"
#include "fixture.h"
#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* A sanitizer maps as it pleases. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MAPPINGS_COUNT = 0 };
#else
enum { MAPPINGS_COUNT = 1 };
#endif

static unsigned count_entries(const char *path)
{
    unsigned count = 0;
    DIR *folder = opendir(path);
    assert_non_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static unsigned count_mappings(void)
{
    unsigned count = 0;
    FILE *file = fopen("/proc/self/maps", "re");
    assert_non_null(file);
    for (int letter; (letter = getc(file)) != EOF;)
        count += letter == '\n';
    fclose(file);
    return count;
}

const unsigned census_slack = 0;

unsigned census_descriptors(void)
{
    return count_entries("/proc/self/fd");
}

struct census census_take(void)
{
    return (struct census){census_descriptors(), MAPPINGS_COUNT ? count_mappings() : 0,
                           count_entries("/proc/self/task")};
}

void census_raise_limits(void)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}
