/*
 * The subject of the benchmark: the library, through its public API, with its default limits.
 *
 * Functions that fail say why on stderr and end the process: half a measurement is worth nothing.
 */
#ifndef BENCH_SUBJECT_H
#define BENCH_SUBJECT_H

#include <signal.h>

#include "tally.h"

struct subject;

/* Memory that one idle sandbox costs. */
struct idle_memory {
    double pss_bytes;       /* of this process, its page tables not included */
    double available_bytes; /* by how much the machine's available memory fell: the kernel's part
                               too, but also what other processes did meanwhile */
    size_t sandboxes;
};

struct subject *subject_open(const char *guest_path);
void subject_close(struct subject *subject);

/* How many pages the library copies for a cold start, 0 if it does not count them. */
size_t subject_cold_pages(struct subject *subject);

/* Performs `warmup` operations that give no sample, then `count` that do. */
void subject_batch(struct subject *subject, enum operation operation, size_t warmup, size_t count,
                   struct tally *tally);

/* A new sandbox from the ELF file up to its first reply. */
void subject_cold_from_elf(struct subject *subject, size_t count, struct tally *tally);

/* A sandbox from a snapshot up to its first reply, in the VM that the one before it left. */
void subject_reused_vm(struct subject *subject, size_t count, struct tally *tally);

/* How late a guest that loops for ever is stopped. They return early once `*stop` is set. */
void subject_deadline_lateness(struct subject *subject, size_t trials,
                               const volatile sig_atomic_t *stop, struct tally *tally);
void subject_interrupt_lateness(struct subject *subject, size_t trials,
                                const volatile sig_atomic_t *stop, struct tally *tally);

struct idle_memory subject_idle_memory(struct subject *subject, size_t sandboxes);

#endif
