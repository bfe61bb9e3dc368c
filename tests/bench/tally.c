/* Samples and their order statistics. */
#define _GNU_SOURCE
#include "tally.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

const struct operation_info operation_infos[OPERATION_COUNT] = {
    [WARM_CALL] = {"warm_call", 1.10},         [GUEST_TO_HOST] = {"guest_to_host", 1.15},
    [RESTORE_CALL] = {"restore_call_10", 1.5}, [COLD_FIRST_REPLY] = {"cold_first_reply", 2.0},
    [COLD_DESTROY] = {"cold_destroy", 0},
};

void tally_add(struct tally *tally, uint64_t sample_ns)
{
    if (tally->count == tally->capacity) {
        size_t capacity = tally->capacity ? 2 * tally->capacity : 1024;
        uint64_t *grown = realloc(tally->samples_ns, capacity * sizeof *grown);
        if (!grown) {
            fprintf(stderr, "bench: out of memory\n");
            exit(1);
        }
        tally->samples_ns = grown;
        tally->capacity = capacity;
    }
    tally->samples_ns[tally->count++] = sample_ns;
}

void tally_free(struct tally *tally)
{
    free(tally->samples_ns);
    *tally = (struct tally){0};
}

static int compare_samples(const void *left, const void *right)
{
    uint64_t l = *(const uint64_t *)left, r = *(const uint64_t *)right;
    return (l > r) - (l < r);
}

struct summary tally_summary(struct tally *tally)
{
    if (tally->count == 0)
        return (struct summary){0};
    qsort(tally->samples_ns, tally->count, sizeof *tally->samples_ns, compare_samples);
    return (struct summary){
        .min = (double)tally->samples_ns[0],
        .p50 = (double)tally->samples_ns[tally->count / 2],
        .p99 = (double)tally->samples_ns[tally->count * 99 / 100],
    };
}

static int compare_doubles(const void *left, const void *right)
{
    double l = *(const double *)left, r = *(const double *)right;
    return (l > r) - (l < r);
}

double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare_doubles);
    return count ? values[count / 2] : 0;
}

double tally_p50_since(const struct tally *tally, size_t from)
{
    struct tally recent = {0};
    for (size_t i = from; i < tally->count; i++)
        tally_add(&recent, tally->samples_ns[i]);
    double p50 = tally_summary(&recent).p50;
    tally_free(&recent);
    return p50;
}

double tally_per_operation(const struct tally *tally, double total)
{
    return tally->operations > 0 ? total / tally->operations : 0;
}

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
