/* The measured operations on the library's side. */
#define _GNU_SOURCE
#include "subject.h"

#include <hyperlight/hyperlight.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ioctl_count.h"

struct subject {
    hl_program *program;
    hl_host_functions *functions;
    hl_sandbox_options options;
    hl_sandbox *warm;       /* called again and again; lives to the end, so that a VM always does */
    hl_sandbox *rewound;    /* restored again and again */
    hl_snapshot *snapshot;  /* of a sandbox that has served calls and dirtied its pages */
    unsigned message_count; /* each message differs from the last, so that a stale reply shows */
    char message[MESSAGE_BYTES + 1], answer[MESSAGE_BYTES];
};

/* What is read before and after an operation. */
struct counts {
    uint64_t ioctls;
    uint64_t entries;
    uint64_t pages_restored;
};

static void require(hl_status status, const hl_error *err, const char *what)
{
    if (status == HL_OK)
        return;
    fprintf(stderr, "bench: %s: %s: %s\n", what, hl_status_name(status), err->message);
    exit(1);
}

/* Setting up and taking down */

static hl_status host_echo(hl_call *call, const hl_value *arguments, size_t count, hl_value *reply,
                           void *user)
{
    (void)call;
    (void)count;
    (void)user;
    *reply = arguments[0];
    return HL_OK;
}

static void add_host_functions(struct subject *subject)
{
    static const hl_type string = HL_TYPE_STRING;
    static const hl_signature text_to_text = {&string, 1, HL_TYPE_STRING};
    hl_error err = HL_ERROR_INIT;
    require(hl_host_functions_new(&subject->functions, &err), &err, "hl_host_functions_new");
    require(hl_host_functions_add(subject->functions, "host_echo", &text_to_text, host_echo, NULL,
                                  NULL, &err),
            &err, "hl_host_functions_add");
}

static hl_sandbox *new_sandbox(const struct subject *subject)
{
    hl_error err = HL_ERROR_INIT;
    hl_sandbox *sandbox;
    require(hl_sandbox_new(subject->program, &subject->options, &sandbox, &err), &err,
            "hl_sandbox_new");
    return sandbox;
}

static hl_sandbox *sandbox_from_snapshot(const struct subject *subject)
{
    hl_error err = HL_ERROR_INIT;
    hl_sandbox *sandbox;
    require(hl_sandbox_from_snapshot(subject->snapshot, &subject->options, &sandbox, &err), &err,
            "hl_sandbox_from_snapshot");
    return sandbox;
}

static void restore(const struct subject *subject, hl_sandbox *sandbox)
{
    hl_error err = HL_ERROR_INIT;
    require(hl_sandbox_restore(sandbox, subject->snapshot, &err), &err, "hl_sandbox_restore");
}

/* Making messages and looking at answers is no part of what is measured, for the floor as for the library. */
static void next_message(struct subject *subject)
{
    snprintf(subject->message, sizeof subject->message, "%0*u", MESSAGE_BYTES,
             subject->message_count++);
}

static void check_answer(const struct subject *subject)
{
    if (memcmp(subject->message, subject->answer, MESSAGE_BYTES) != 0) {
        fprintf(stderr, "bench: wrong reply\n");
        exit(1);
    }
}

/* One call with a string of 64 bytes both ways. */
static void call(struct subject *subject, hl_sandbox *sandbox, const char *function)
{
    hl_value argument = hl_value_string_n(subject->message, MESSAGE_BYTES), reply;
    hl_error err = HL_ERROR_INIT;
    require(hl_sandbox_call(sandbox, function, &argument, 1, &reply, &err), &err, function);
    memset(subject->answer, 0, MESSAGE_BYTES);
    if (reply.type == HL_TYPE_STRING && reply.as.string.size == MESSAGE_BYTES)
        memcpy(subject->answer, reply.as.string.data, MESSAGE_BYTES);
    hl_value_free(&reply);
}

static void call_checked(struct subject *subject, hl_sandbox *sandbox, const char *function)
{
    next_message(subject);
    call(subject, sandbox, function);
    check_answer(subject);
}

static void take_snapshot(struct subject *subject)
{
    hl_error err = HL_ERROR_INIT;
    hl_sandbox *origin = new_sandbox(subject);
    call_checked(subject, origin, "echo");
    call_checked(subject, origin, "ask_host");
    call_checked(subject, origin, "dirty");
    require(hl_sandbox_snapshot(origin, &subject->snapshot, &err), &err, "hl_sandbox_snapshot");
    hl_sandbox_free(origin);
}

struct subject *subject_open(const char *guest_path)
{
    struct subject *subject = calloc(1, sizeof *subject);
    if (!subject) {
        fprintf(stderr, "bench: out of memory\n");
        exit(1);
    }
    hl_error err = HL_ERROR_INIT;
    require(hl_program_open(guest_path, NULL, &subject->program, &err), &err, "hl_program_open");
    add_host_functions(subject);
    subject->options = (hl_sandbox_options){.size = sizeof subject->options,
                                            .memory_size = UINT64_C(64) << 20,
                                            .host_functions = subject->functions};
    subject->warm = new_sandbox(subject);
    take_snapshot(subject);
    subject->rewound = sandbox_from_snapshot(subject);
    return subject;
}

void subject_close(struct subject *subject)
{
    hl_sandbox_free(subject->rewound);
    hl_sandbox_free(subject->warm);
    hl_snapshot_free(subject->snapshot);
    hl_host_functions_free(subject->functions);
    hl_program_free(subject->program);
    free(subject);
}

/* Counting */

static hl_stats stats_of(const hl_sandbox *sandbox)
{
    hl_error err = HL_ERROR_INIT;
    hl_stats stats = {.size = sizeof stats};
    require(hl_sandbox_stats(sandbox, &stats, &err), &err, "hl_sandbox_stats");
    return stats;
}

static struct counts counts_now(const hl_sandbox *sandbox)
{
    struct counts counts = {.ioctls = ioctl_count()};
    if (sandbox) {
        hl_stats stats = stats_of(sandbox);
        counts.entries = stats.entries;
        counts.pages_restored = stats.pages_restored;
    }
    return counts;
}

static void add_counts(struct tally *tally, struct counts before, struct counts after, size_t count)
{
    tally->operations += (double)count;
    tally->ioctls += (double)(after.ioctls - before.ioctls);
    tally->exits += (double)(after.entries - before.entries);
    tally->pages_copied += (double)(after.pages_restored - before.pages_restored);
}

size_t subject_cold_pages(struct subject *subject)
{
    hl_sandbox *sandbox = sandbox_from_snapshot(subject);
    uint64_t pages = stats_of(sandbox).pages_restored;
    hl_sandbox_free(sandbox);
    return (size_t)pages;
}

/* Operations on a sandbox that stays */

static void warm_call(struct subject *subject)
{
    call(subject, subject->warm, "echo");
}

static void guest_to_host(struct subject *subject)
{
    call(subject, subject->warm, "ask_host");
}

static void restore_call(struct subject *subject)
{
    call(subject, subject->rewound, "dirty");
    restore(subject, subject->rewound);
}

static void batch_on(struct subject *subject, const hl_sandbox *sandbox,
                     void (*perform)(struct subject *), size_t warmup, size_t count,
                     struct tally *tally)
{
    struct counts before = counts_now(sandbox);
    for (size_t i = 0; i < warmup + count; i++) {
        next_message(subject);
        uint64_t begin = now_ns();
        perform(subject);
        uint64_t end = now_ns();
        check_answer(subject);
        if (i >= warmup)
            tally_add(tally, end - begin);
    }
    add_counts(tally, before, counts_now(sandbox), warmup + count);
}

/* Operations that make and destroy a sandbox */

static uint64_t cold_first_reply(struct subject *subject,
                                 hl_sandbox *(*make)(const struct subject *), hl_sandbox **sandbox,
                                 struct tally *tally)
{
    struct counts before = counts_now(NULL);
    next_message(subject);
    uint64_t begin = now_ns();
    *sandbox = make(subject);
    call(subject, *sandbox, "echo");
    uint64_t end = now_ns();
    check_answer(subject);
    add_counts(tally, before, counts_now(*sandbox), 1);
    return end - begin;
}

static uint64_t cold_destroy(hl_sandbox *sandbox, struct tally *tally)
{
    struct counts before = counts_now(NULL);
    uint64_t begin = now_ns();
    hl_sandbox_free(sandbox);
    uint64_t end = now_ns();
    add_counts(tally, before, counts_now(NULL), 1);
    return end - begin;
}

/* A snapshot keeps the VMs of so many sandboxes that were freed, for its next ones. */
#define KEPT_VMS 4
#define COLD_BATCH_MAX 64

/* In new VMs, which are destroyed: sandboxes that live meanwhile take what VMs there are to reuse, and are freed
 * before the others so that theirs are kept. Both halves of a life are performed, one is what was asked for. */
static void cold_batch(struct subject *subject, enum operation operation, size_t warmup,
                       size_t count, struct tally *tally)
{
    struct tally unused = {0};
    hl_sandbox *holders[KEPT_VMS], *sandboxes[COLD_BATCH_MAX];
    uint64_t births[COLD_BATCH_MAX], deaths[COLD_BATCH_MAX];
    bool first_reply = operation == COLD_FIRST_REPLY;
    size_t all = warmup + count < COLD_BATCH_MAX ? warmup + count : COLD_BATCH_MAX;
    for (size_t i = 0; i < KEPT_VMS; i++)
        holders[i] = sandbox_from_snapshot(subject);
    for (size_t i = 0; i < all; i++)
        births[i] = cold_first_reply(subject, sandbox_from_snapshot, &sandboxes[i],
                                     first_reply ? tally : &unused);
    for (size_t i = 0; i < KEPT_VMS; i++)
        hl_sandbox_free(holders[i]);
    for (size_t i = 0; i < all; i++)
        deaths[i] = cold_destroy(sandboxes[i], first_reply ? &unused : tally);
    for (size_t i = warmup; i < all; i++)
        tally_add(tally, first_reply ? births[i] : deaths[i]);
}

/* One after the other; the first gives no sample. */
static void lives(struct subject *subject, hl_sandbox *(*make)(const struct subject *),
                  size_t count, struct tally *tally)
{
    for (size_t i = 0; i <= count; i++) {
        hl_sandbox *sandbox;
        uint64_t birth = cold_first_reply(subject, make, &sandbox, tally);
        hl_sandbox_free(sandbox);
        if (i > 0)
            tally_add(tally, birth);
    }
}

void subject_batch(struct subject *subject, enum operation operation, size_t warmup, size_t count,
                   struct tally *tally)
{
    switch (operation) {
    case WARM_CALL:
        batch_on(subject, subject->warm, warm_call, warmup, count, tally);
        break;
    case GUEST_TO_HOST:
        batch_on(subject, subject->warm, guest_to_host, warmup, count, tally);
        break;
    case RESTORE_CALL:
        batch_on(subject, subject->rewound, restore_call, warmup, count, tally);
        break;
    case COLD_FIRST_REPLY:
    case COLD_DESTROY:
        cold_batch(subject, operation, warmup, count, tally);
        break;
    case OPERATION_COUNT:
        break;
    }
}

void subject_cold_from_elf(struct subject *subject, size_t count, struct tally *tally)
{
    lives(subject, new_sandbox, count, tally);
}

void subject_reused_vm(struct subject *subject, size_t count, struct tally *tally)
{
    lives(subject, sandbox_from_snapshot, count, tally);
}

/* Stopping a guest that loops for ever */

#define SPIN_NS 10000000u

static void expect(hl_status actual, hl_status expected, const hl_error *err, const char *what)
{
    if (actual == expected)
        return;
    fprintf(stderr, "bench: %s: %s instead of %s: %s\n", what, hl_status_name(actual),
            hl_status_name(expected), err->message);
    exit(1);
}

void subject_deadline_lateness(struct subject *subject, size_t trials,
                               const volatile sig_atomic_t *stop, struct tally *tally)
{
    hl_error err = HL_ERROR_INIT;
    hl_sandbox_options options = subject->options;
    options.timeout_ns = SPIN_NS;
    hl_sandbox *sandbox;
    require(hl_sandbox_from_snapshot(subject->snapshot, &options, &sandbox, &err), &err,
            "hl_sandbox_from_snapshot");
    for (size_t i = 0; i < trials && !*stop; i++) {
        uint64_t begin = now_ns();
        hl_status status = hl_sandbox_call(sandbox, "spin", NULL, 0, NULL, &err);
        uint64_t elapsed = now_ns() - begin;
        expect(status, HL_TIMED_OUT, &err, "spin with a deadline");
        tally_add(tally, elapsed > SPIN_NS ? elapsed - SPIN_NS : 0);
        restore(subject, sandbox);
    }
    hl_sandbox_free(sandbox);
}

struct interrupter {
    hl_interrupt_handle *handle;
    uint64_t interrupted_ns;
};

static void sleep_ns(uint64_t duration_ns)
{
    struct timespec duration = {.tv_nsec = (long)duration_ns};
    nanosleep(&duration, NULL);
}

static void *interrupt_later(void *argument)
{
    struct interrupter *interrupter = argument;
    do {
        sleep_ns(SPIN_NS);
        interrupter->interrupted_ns = now_ns();
    } while (hl_sandbox_interrupt(interrupter->handle) != HL_OK);
    return NULL;
}

static uint64_t interrupt_once(hl_sandbox *sandbox, struct interrupter *interrupter)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, interrupt_later, interrupter) != 0) {
        fprintf(stderr, "bench: pthread_create failed\n");
        exit(1);
    }
    hl_error err = HL_ERROR_INIT;
    hl_status status = hl_sandbox_call(sandbox, "spin", NULL, 0, NULL, &err);
    uint64_t end = now_ns();
    pthread_join(thread, NULL);
    expect(status, HL_INTERRUPTED, &err, "spin with an interrupt");
    return end - interrupter->interrupted_ns;
}

void subject_interrupt_lateness(struct subject *subject, size_t trials,
                                const volatile sig_atomic_t *stop, struct tally *tally)
{
    hl_sandbox *sandbox = sandbox_from_snapshot(subject);
    struct interrupter interrupter = {.handle = hl_sandbox_interrupt_handle(sandbox)};
    for (size_t i = 0; i < trials && !*stop; i++) {
        tally_add(tally, interrupt_once(sandbox, &interrupter));
        restore(subject, sandbox);
    }
    hl_interrupt_handle_free(interrupter.handle);
    hl_sandbox_free(sandbox);
}

/* Memory */

/* The number after `label` in a file of "Label:  number kB" lines, in bytes. */
static double proc_bytes(const char *path, const char *label)
{
    FILE *file = fopen(path, "re");
    char line[256];
    double kib = 0;
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, label, strlen(label)) == 0) {
            kib = strtod(line + strlen(label), NULL);
            break;
        }
    if (file)
        fclose(file);
    return kib * 1024;
}

struct idle_memory subject_idle_memory(struct subject *subject, size_t sandboxes)
{
    hl_sandbox **idle = calloc(sandboxes, sizeof(hl_sandbox *));
    if (!idle) {
        fprintf(stderr, "bench: out of memory\n");
        exit(1);
    }
    double pss = proc_bytes("/proc/self/smaps_rollup", "Pss:");
    double available = proc_bytes("/proc/meminfo", "MemAvailable:");
    for (size_t i = 0; i < sandboxes; i++) {
        idle[i] = sandbox_from_snapshot(subject);
        call_checked(subject, idle[i], "echo");
    }
    pss = proc_bytes("/proc/self/smaps_rollup", "Pss:") - pss;
    available -= proc_bytes("/proc/meminfo", "MemAvailable:");
    for (size_t i = 0; i < sandboxes; i++)
        hl_sandbox_free(idle[i]);
    free(idle);
    double count = (double)sandboxes;
    return (struct idle_memory){pss / count, available / count, sandboxes};
}
