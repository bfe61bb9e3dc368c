/*
 * What the benchmark measures and what it keeps of a measurement: samples in nanoseconds, and how
 * many exits, ioctls and copied pages they took.
 */
#ifndef BENCH_TALLY_H
#define BENCH_TALLY_H

#include <stddef.h>
#include <stdint.h>

/* Operations that the floor and the subject both perform. */
enum operation {
    WARM_CALL,
    GUEST_TO_HOST,
    RESTORE_CALL,
    COLD_FIRST_REPLY,
    COLD_DESTROY,
    OPERATION_COUNT
};

struct operation_info {
    const char *name;
    double target; /* largest acceptable ratio of the p50s; 0: none is set */
};
extern const struct operation_info operation_infos[OPERATION_COUNT];

#define MESSAGE_BYTES 64
#define SCATTERED_PAGES 10

struct tally {
    uint64_t *samples_ns;
    size_t count;
    size_t capacity;
    /* Of all operations that were performed, those that gave no sample included. */
    double operations;
    double exits;
    double ioctls;
    double pages_copied;
};

struct summary {
    double min;
    double p50;
    double p99;
};

void tally_add(struct tally *tally, uint64_t sample_ns);
void tally_free(struct tally *tally);

/* Sorts the samples. All zero if there are none. */
struct summary tally_summary(struct tally *tally);

/* Median of the samples added since there were `from` of them; only while they are unsorted. */
double tally_p50_since(const struct tally *tally, size_t from);

/* Sorts the values. 0 if there are none. */
double median(double *values, size_t count);

/* An average over the operations performed. */
double tally_per_operation(const struct tally *tally, double total);

uint64_t now_ns(void);

#endif
