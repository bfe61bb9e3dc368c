/* Comparing what the process holds with what it held. */
#include "census.h"
#include "fixture.h"
#include <unistd.h>

void census_expect_descriptors(unsigned before)
{
    assert_in_range(census_descriptors() + census_slack, before, before + 2 * census_slack);
}

void census_expect(const struct census *before)
{
    enum { TRIES = 500, PAUSE_US = 10000 };
    struct census now = {0};
    for (int i = 0; i < TRIES; i++) {
        now = census_take();
        if (now.descriptors <= before->descriptors + census_slack &&
            now.mappings <= before->mappings && now.threads <= before->threads)
            return;
        usleep(PAUSE_US);
    }
    fail_msg("descriptors: %u before, %u now; mappings: %u, %u; threads: %u, %u",
             before->descriptors, now.descriptors, before->mappings, now.mappings, before->threads,
             now.threads);
}
