/* The floor as a child process: a line asks for a batch, a line of JSON answers. */
#ifndef BENCH_FLOOR_PROCESS_H
#define BENCH_FLOOR_PROCESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "tally.h"

struct floor_process {
    pid_t pid;
    FILE *commands;
    FILE *answers;
    size_t cold_pages_min; /* what a cold start of the floor can be asked to copy */
    size_t cold_pages_max;
    json_t *info;
};

/* All of these return false after a message on stderr. */
bool floor_start(struct floor_process *process, const char *path);

/* Performs `warmup` operations that give no sample, then `count` that do. `cold_pages`: how many pages a cold
 * start copies, or touches. */
bool floor_batch(struct floor_process *process, const char *operation, size_t warmup, size_t count,
                 size_t cold_pages, struct tally *tally);

/* Ends the child and waits for it; also good for one that never started. */
void floor_stop(struct floor_process *process);

#endif
