/*
 * The benchmark of the Linux layer: programs from an image beside the same programs run natively, in turns,
 * on one processor. Ratios count; each line says what they are to be.
 */
#define _GNU_SOURCE
#include "floor_process.h"
#include "kvm_faults.h"
#include "tally.h"

#include <errno.h>
#include <fcntl.h>
#include <hyperlight/hyperlight.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define FOLDER BENCH_FOLDER "/linux"
#define GUEST BENCH_FOLDER "/linux_guest"
#define PYTHON "/usr/bin/python3.11"
#define READ_SIZE (64u << 20)
#define MANY_FOLDERS 1000
#define MANY_FILES_EACH 100
#define NULL_RUNS 5
#define READ_RUNS 3
#define COLD_RUNS 15
#define RESTORES 200
#define SNAPSHOT_STARTS 50
#define NEW_VMS 20 /* alive at once: each costs all others' changes of memory a little */
#define FLOOR_WARMUP 2
#define MEMORY_SIZE (UINT64_C(256) << 20)

static bool failed;

static void complain(const char *what, const hl_error *err)
{
    fprintf(stderr, "bench: %s%s%s\n", what, err ? ": " : "", err ? err->message : "");
    failed = true;
}

/* Runs a command; its standard output goes to `out` unless that is negative. Returns its exit status. */
static int run_native(const char *const argv[], int out)
{
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status;
    posix_spawn_file_actions_init(&actions);
    if (out >= 0)
        posix_spawn_file_actions_adddup2(&actions, out, 1);
    int error = posix_spawn(&child, argv[0], &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error || waitpid(child, &status, 0) < 0 || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}

/* The numbers of a program's output, a line each. */
static void take_numbers(struct tally *tally, char *text, double scale)
{
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        tally_add(tally, (uint64_t)(strtod(line, NULL) * scale));
}

static bool native_numbers(struct tally *tally, const char *const argv[], double scale)
{
    char text[65536] = "";
    int out = open(FOLDER "/out", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = out >= 0 && run_native(argv, out) == 0 && pread(out, text, sizeof text - 1, 0) > 0;
    if (out >= 0)
        close(out);
    if (good)
        take_numbers(tally, text, scale);
    else
        complain("a native program failed", NULL);
    return good;
}

static hl_sandbox *sandbox_of(hl_image *image, const char *const *arguments, hl_error *err)
{
    const hl_program_options program_options = {.size = sizeof program_options,
                                                .arguments = arguments};
    const hl_sandbox_options options = {.size = sizeof options,
                                        .memory_size = MEMORY_SIZE,
                                        .timeout_ns = UINT64_C(60000000000),
                                        .stdout_stream = {.mode = HL_STREAM_CAPTURE},
                                        .stderr_stream = {.mode = HL_STREAM_CAPTURE}};
    hl_program *program;
    hl_sandbox *sandbox = NULL;
    if (hl_program_from_image(image, arguments[0], &program_options, &program, err))
        return NULL;
    if (hl_sandbox_new_stopped(program, &options, &sandbox, err))
        sandbox = NULL;
    hl_program_free(program);
    return sandbox;
}

/* Runs a program of the image to its end. `stats`, `text` may be NULL. */
static bool run_guest(hl_image *image, const char *const *arguments, hl_stats *stats, char **text)
{
    hl_error err = HL_ERROR_INIT;
    int code = 0;
    size_t size;
    hl_sandbox *sandbox = sandbox_of(image, arguments, &err);
    bool good = sandbox && hl_sandbox_run(sandbox, &code, &err) == HL_OK && code == 0;
    if (good && stats)
        good = hl_sandbox_stats(sandbox, stats, &err) == HL_OK;
    if (good && text)
        good = hl_sandbox_output(sandbox, 1, text, &size, &err) == HL_OK;
    if (!good)
        complain(arguments[0], &err);
    hl_sandbox_free(sandbox);
    return good;
}

static bool guest_numbers(struct tally *tally, hl_image *image, const char *const *arguments,
                          double scale)
{
    char *text;
    if (!run_guest(image, arguments, NULL, &text))
        return false;
    take_numbers(tally, text, scale);
    hl_output_free(text);
    return true;
}

static void verdict(const char *name, double value, const char *relation, double target)
{
    bool met = !failed && (*relation == '<' ? value <= target : value >= target);
    printf("%-34s %8.3f   (%s= %.2f: %s)\n", name, value, relation, target, met ? "met" : "MISSED");
}

static hl_image *pack(const char *name, const char *const arguments[])
{
    static char path[4096];
    const char *argv[16] = {BENCH_TOOL, "pack", "-o", path};
    hl_error err = HL_ERROR_INIT;
    hl_image *image = NULL;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    snprintf(path, sizeof path, FOLDER "/%s.img", name);
    for (int i = 0; arguments[i]; i++)
        argv[4 + i] = arguments[i];
    if (run_native(argv, null))
        complain("hyperlight pack failed", NULL);
    else if (hl_image_map(NULL, path, NULL, &image, &err))
        complain(path, &err);
    close(null);
    return image;
}

static void measure_null(hl_image *image)
{
    struct tally native = {0}, guest = {0};
    const char *const argv[] = {GUEST, "null", NULL};
    const char *const arguments[] = {"/bin/linux_guest", "null", NULL};
    for (int run = 0; run < NULL_RUNS; run++)
        if (!native_numbers(&native, argv, 1000) || !guest_numbers(&guest, image, arguments, 1000))
            break;
    struct summary a = tally_summary(&native), b = tally_summary(&guest);
    printf("null system call: native p50 %.1f p99 %.1f ns, guest p50 %.1f p99 %.1f ns\n",
           a.p50 / 1000, a.p99 / 1000, b.p50 / 1000, b.p99 / 1000);
    verdict("null_system_call guest/native", b.p50 / a.p50, "<", 0.5);
    tally_free(&native);
    tally_free(&guest);
}

static bool write_file(const char *path, size_t size)
{
    FILE *file = fopen(path, "w");
    uint32_t value = 1;
    for (size_t i = 0; file && i < size / sizeof value; i++, value = value * 1664525 + 1013904223)
        fwrite(&value, sizeof value, 1, file);
    return file && fclose(file) == 0;
}

static void measure_read(hl_image *image)
{
    struct tally native = {0}, guest = {0};
    const char *const argv[] = {GUEST, "read", FOLDER "/data", NULL};
    const char *const arguments[] = {"/bin/linux_guest", "read", "/data", NULL};
    for (int run = 0; run < READ_RUNS; run++)
        if (!native_numbers(&native, argv, 1000) || !guest_numbers(&guest, image, arguments, 1000))
            break;
    struct summary a = tally_summary(&native), b = tally_summary(&guest);
    printf("second pass over 64 MiB: native p50 %.0f MiB/s, guest p50 %.0f MiB/s\n", a.p50 / 1000,
           b.p50 / 1000);
    verdict("file_read guest/native", b.p50 / a.p50, ">", 0.8);
    tally_free(&native);
    tally_free(&guest);
}

static void measure_cold_python(hl_image *image)
{
    struct tally native = {0}, guest = {0};
    const char *const argv[] = {PYTHON, "-c", "pass", NULL};
    const char *const arguments[] = {PYTHON, "-c", "pass", NULL};
    hl_stats stats = {.size = sizeof stats};
    for (int run = 0; run < COLD_RUNS && !failed; run++) {
        uint64_t start = now_ns();
        if (run_native(argv, -1) != 0)
            complain(PYTHON " failed", NULL);
        tally_add(&native, now_ns() - start);
        start = now_ns();
        run_guest(image, arguments, &stats, NULL);
        tally_add(&guest, now_ns() - start);
    }
    struct summary a = tally_summary(&native), b = tally_summary(&guest);
    printf("python3 -c pass: native p50 %.1f p99 %.1f ms, guest p50 %.1f p99 %.1f ms (VM made and "
           "destroyed): %.2f\n",
           a.p50 / 1e6, a.p99 / 1e6, b.p50 / 1e6, b.p99 / 1e6, b.p50 / a.p50);
    printf("python3 -c pass: %llu exits: %llu page faults, %llu changes of the address space, %llu "
           "ticks, %llu others\n",
           (unsigned long long)stats.entries, (unsigned long long)stats.faults,
           (unsigned long long)stats.edits, (unsigned long long)stats.ticks,
           (unsigned long long)(stats.hypercalls - stats.edits));
    verdict("python exits beside memory's", (double)(stats.entries - stats.faults - stats.edits),
            "<", 6);
    tally_free(&native);
    tally_free(&guest);
}

static bool call_python(hl_sandbox *sandbox, hl_error *err)
{
    const hl_value argument = hl_value_string("to be or not to be");
    hl_value reply;
    if (hl_sandbox_call(sandbox, "digest", &argument, 1, &reply, err))
        return false;
    hl_value_free(&reply);
    return true;
}

/* A new sandbox and its first result. */
static hl_sandbox *start_python(const hl_snapshot *snapshot, struct tally *tally, hl_error *err)
{
    hl_sandbox *sandbox = NULL;
    uint64_t start = now_ns();
    bool good = hl_sandbox_from_snapshot(snapshot, NULL, &sandbox, err) == HL_OK &&
                call_python(sandbox, err);
    tally_add(tally, now_ns() - start);
    if (good)
        return sandbox;
    hl_sandbox_free(sandbox);
    return NULL;
}

/* In VMs of their own: all live to the end, so that none serves two. */
static bool start_in_new_vms(const hl_snapshot *snapshot, struct tally *tally, size_t *faults,
                             hl_error *err)
{
    hl_sandbox *alive[NEW_VMS] = {NULL};
    size_t count = 0;
    while (count < NEW_VMS && (alive[count] = start_python(snapshot, tally, err)))
        count++;
    if (faults)
        *faults = kvm_faults();
    for (size_t i = 0; i < count; i++)
        hl_sandbox_free(alive[i]);
    return count == NEW_VMS;
}

/* Those of before are given back, so that each of the new ones has to be made. */
static bool make_vms_ahead(const hl_snapshot *snapshot, struct tally *tally, hl_error *err)
{
    if (hl_snapshot_prewarm(snapshot, NULL, 0, err))
        return false;
    for (size_t ready = 1; ready <= NEW_VMS; ready++) {
        uint64_t start = now_ns();
        if (hl_snapshot_prewarm(snapshot, NULL, ready, err))
            return false;
        tally_add(tally, now_ns() - start);
    }
    return true;
}

/* In VMs that sandboxes left. */
static bool start_in_recycled_vms(const hl_snapshot *snapshot, struct tally *tally, hl_error *err)
{
    hl_sandbox *sandbox = NULL;
    for (int i = 0; i < SNAPSHOT_STARTS; i++) {
        if (!(sandbox = start_python(snapshot, tally, err)))
            return false;
        hl_sandbox_free(sandbox);
    }
    return true;
}

static bool restore_python(hl_sandbox *sandbox, const hl_snapshot *snapshot, struct tally *tally,
                           hl_error *err)
{
    for (int i = 0; i < RESTORES; i++) {
        uint64_t start = now_ns();
        if (hl_sandbox_restore(sandbox, snapshot, err) || !call_python(sandbox, err))
            return false;
        tally_add(tally, now_ns() - start);
    }
    return true;
}

/* What a new VM costs that touches so many pages, without the library. 0: not known. */
static double new_vm_floor(size_t faults)
{
    struct floor_process floor = {0};
    struct tally tally = {0};
    if (faults == 0 || !floor_start(&floor, BENCH_FLOOR) ||
        !floor_batch(&floor, "cold_touch", FLOOR_WARMUP, NEW_VMS, faults, &tally))
        complain("no floor for new VMs", NULL);
    double p50 = tally_summary(&tally).p50;
    floor_stop(&floor);
    tally_free(&tally);
    return p50;
}

static void print_python(const char *what, struct tally *tally)
{
    struct summary s = tally_summary(tally);
    printf("warmed CPython, %s min %.3f p50 %.3f p99 %.3f ms\n", what, s.min / 1e6, s.p50 / 1e6,
           s.p99 / 1e6);
}

/* A snapshot of a CPython that rests for its next call, and how fast it serves after a restore, and in a
 * new sandbox. */
static void measure_warm_python(hl_image *image)
{
    struct tally restored = {0}, recycled = {0}, new_vm = {0}, ahead = {0}, prewarmed = {0};
    const char *const arguments[] = {PYTHON, "/serve.py", NULL};
    hl_error err = HL_ERROR_INIT;
    hl_snapshot *snapshot = NULL;
    size_t faults = 0;
    hl_sandbox *sandbox = sandbox_of(image, arguments, &err);
    bool good = sandbox && call_python(sandbox, &err) &&
                hl_sandbox_snapshot(sandbox, &snapshot, &err) == HL_OK &&
                restore_python(sandbox, snapshot, &restored, &err) &&
                start_in_new_vms(snapshot, &new_vm, &faults, &err) &&
                start_in_recycled_vms(snapshot, &recycled, &err) &&
                make_vms_ahead(snapshot, &ahead, &err) &&
                start_in_new_vms(snapshot, &prewarmed, NULL, &err);
    if (!good)
        complain("the warmed CPython", &err);
    double floor = good ? new_vm_floor(faults) : 0;
    printf("warmed CPython: a snapshot of %.1f MiB, %zu pages touched by the first call\n",
           (double)hl_snapshot_size(snapshot) / (1 << 20), faults);
    print_python("restored: first result after", &restored);
    print_python("new sandbox, VM made ahead: first result after", &prewarmed);
    print_python("new sandbox, VM of one that is gone: first result after", &recycled);
    print_python("making a VM ahead:", &ahead);
    print_python("new sandbox, no VM ready: first result after", &new_vm);
    printf("a new VM that touches as many pages, without the library: p50 %.3f ms\n", floor / 1e6);
    verdict("restore_python, ms", tally_summary(&restored).p50 / 1e6, "<", 1);
    verdict("new_python, VM made ahead, ms", tally_summary(&prewarmed).p50 / 1e6, "<", 3);
    verdict("new_python, VM of one gone, ms", tally_summary(&recycled).p50 / 1e6, "<", 3);
    printf("%-34s %8.3f   (no VM ready; floor %.3f)\n", "new_python, VM made then, ms",
           tally_summary(&new_vm).p50 / 1e6, floor / 1e6);
    hl_snapshot_free(snapshot);
    hl_sandbox_free(sandbox);
    tally_free(&restored);
    tally_free(&recycled);
    tally_free(&new_vm);
    tally_free(&ahead);
    tally_free(&prewarmed);
}

static bool make_many_files(void)
{
    char path[4096];
    mkdir(FOLDER "/many", 0700);
    for (int folder = 0; folder < MANY_FOLDERS; folder++) {
        snprintf(path, sizeof path, FOLDER "/many/%d", folder);
        if (mkdir(path, 0700) < 0 && errno == EEXIST)
            continue;
        for (int file = 0; file < MANY_FILES_EACH; file++) {
            snprintf(path, sizeof path, FOLDER "/many/%d/%d", folder, file);
            FILE *out = fopen(path, "w");
            if (!out || fprintf(out, "%d %d\n", folder, file) < 0 || fclose(out))
                return false;
        }
    }
    return true;
}

static void measure_many_files(hl_image *small, hl_image *large)
{
    struct tally few = {0}, many = {0};
    const char *const arguments[] = {"/bin/linux_guest", "nothing", NULL};
    for (int run = 0; run < COLD_RUNS && !failed; run++) {
        uint64_t start = now_ns();
        run_guest(small, arguments, NULL, NULL);
        tally_add(&few, now_ns() - start);
        start = now_ns();
        run_guest(large, arguments, NULL, NULL);
        tally_add(&many, now_ns() - start);
    }
    struct summary a = tally_summary(&few), b = tally_summary(&many);
    printf(
        "start and end of a program: image of a few files p50 %.2f ms, of 100,000 files p50 %.2f "
        "ms\n",
        a.p50 / 1e6, b.p50 / 1e6);
    verdict("100k_files many/few", b.p50 / a.p50, "<", 1.5);
    tally_free(&few);
    tally_free(&many);
}

/* Floor and subject share one processor, so that neither finds a warmer one. */
static void pin(void)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
}

static void measure_all(void)
{
    const char *const guest_files[] = {GUEST, GUEST ":/bin/linux_guest", FOLDER "/data:/data",
                                       NULL};
    const char *const many_files[] = {GUEST, GUEST ":/bin/linux_guest", FOLDER "/many:/many", NULL};
    const char *const python_files[] = {"--preset", "python", PYTHON,
                                        BENCH_SOURCES "/linux_serve.py:/serve.py", NULL};
    hl_image *guest = pack("guest", guest_files), *many = pack("many", many_files);
    hl_image *python = access(PYTHON, X_OK) == 0 ? pack("python", python_files) : NULL;
    if (guest && many) {
        measure_null(guest);
        measure_read(guest);
        measure_many_files(guest, many);
    }
    if (python) {
        measure_cold_python(python);
        measure_warm_python(python);
    }
    hl_image_free(guest);
    hl_image_free(many);
    hl_image_free(python);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        bool help = strcmp(argv[1], "--help") == 0;
        fprintf(help ? stdout : stderr,
                "usage: %s\nMeasures the Linux layer beside native Linux.\n", argv[0]);
        return help ? 0 : 2;
    }
    pin();
    mkdir(FOLDER, 0700);
    if (!write_file(FOLDER "/data", READ_SIZE) || !make_many_files())
        complain("cannot write to " FOLDER, NULL);
    else
        measure_all();
    return failed;
}
