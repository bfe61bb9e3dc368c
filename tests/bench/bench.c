/*
 * The benchmark: performs each operation on the floor and on the library in turn, in one run, and
 * prints what the library adds. This file owns the order of things and the report.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <hyperlight/hyperlight.h>
#include <jansson.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "floor_process.h"
#include "subject.h"
#include "tally.h"

#define EXIT_USAGE 2
#define EXIT_INTERRUPTED 130

/*
 * A round is a small batch of the floor beside a small batch of the subject. The reported ratio is
 * the median of the rounds' ratios: on a busy machine the speed jumps between two or three levels
 * (a neighbour on the same core), and the ratio of the p50s of all samples then says which side
 * met more of the noise. Within a round both sides meet the same.
 */
#define MAX_ROUNDS 200
struct effort {
    size_t rounds;
    size_t warm_batch;
    size_t cold_batch;
    size_t elf_starts;
    size_t lateness_trials;
    size_t idle_sandboxes;
};

static const struct effort full_effort = {MAX_ROUNDS, 20, 3, 50, 100, 100};
static const struct effort quick_effort = {10, 20, 3, 5, 10, 20};

#define WARM_WARMUP 5
#define COLD_WARMUP 1

struct options {
    const char *json_path;
    const char *floor_path;
    const char *guest_path;
    struct effort effort;
    size_t cold_pages; /* 0: as many as the subject copies */
};

struct results {
    struct tally floor[OPERATION_COUNT];
    struct tally subject[OPERATION_COUNT];
    double round_ratios[OPERATION_COUNT][MAX_ROUNDS];
    size_t rounds[OPERATION_COUNT];
    struct tally cold_from_elf;
    struct tally reused_vm;
    struct tally deadline;
    struct tally interrupt;
    struct idle_memory memory;
    size_t cold_pages;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

static void progress(const char *what)
{
    fprintf(stderr, "bench: %s\n", what);
}

/* Measuring */

static bool is_cold(enum operation operation)
{
    return operation == COLD_FIRST_REPLY || operation == COLD_DESTROY;
}

static bool measure_round(struct floor_process *floor, struct subject *subject,
                          enum operation operation, const struct effort *effort, bool floor_first,
                          struct results *results)
{
    size_t warmup = is_cold(operation) ? COLD_WARMUP : WARM_WARMUP;
    size_t count = is_cold(operation) ? effort->cold_batch : effort->warm_batch;
    struct tally *of_floor = &results->floor[operation], *of_subject = &results->subject[operation];
    size_t floor_before = of_floor->count, subject_before = of_subject->count;
    bool ok = true;
    for (int turn = 0; turn < 2 && ok; turn++) {
        if ((turn == 0) == floor_first)
            ok = floor_batch(floor, operation_infos[operation].name, warmup, count,
                             results->cold_pages, of_floor);
        else
            subject_batch(subject, operation, warmup, count, of_subject);
    }
    double floor_p50 = tally_p50_since(of_floor, floor_before);
    if (floor_p50 > 0)
        results->round_ratios[operation][results->rounds[operation]++] =
            tally_p50_since(of_subject, subject_before) / floor_p50;
    return ok;
}

static bool measure_ratios(struct floor_process *floor, struct subject *subject,
                           const struct effort *effort, struct results *results)
{
    for (enum operation operation = 0; operation < OPERATION_COUNT; operation++) {
        progress(operation_infos[operation].name);
        for (size_t round = 0; round < effort->rounds; round++)
            if (interrupted ||
                !measure_round(floor, subject, operation, effort, round % 2 == 0, results))
                return false;
    }
    return true;
}

static bool measure_others(struct subject *subject, const struct effort *effort,
                           struct results *results)
{
    progress("cold start from the ELF file");
    subject_cold_from_elf(subject, effort->elf_starts, &results->cold_from_elf);
    progress("start in the VM of an earlier sandbox");
    subject_reused_vm(subject, effort->elf_starts, &results->reused_vm);
    progress("lateness of deadline and interrupt");
    subject_deadline_lateness(subject, effort->lateness_trials, &interrupted, &results->deadline);
    subject_interrupt_lateness(subject, effort->lateness_trials, &interrupted, &results->interrupt);
    if (interrupted)
        return false;
    progress("memory of idle sandboxes");
    results->memory = subject_idle_memory(subject, effort->idle_sandboxes);
    return !interrupted;
}

#define COLD_PAGES_UNCOUNTED 26

/* The floor copies what the subject copies, within what the floor can do. */
static size_t choose_cold_pages(const struct options *options, const struct floor_process *floor,
                                struct subject *subject)
{
    size_t pages = options->cold_pages ? options->cold_pages : subject_cold_pages(subject);
    if (pages == 0)
        pages = COLD_PAGES_UNCOUNTED;
    if (pages < floor->cold_pages_min)
        pages = floor->cold_pages_min;
    return pages > floor->cold_pages_max ? floor->cold_pages_max : pages;
}

/*
 * Floor and library run on the same processor while they are compared: two processors of a busy machine differ. `everywhere`
 * receives where the process may run otherwise. A failure only makes the comparison noisier.
 */
static void pin(cpu_set_t *everywhere)
{
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET(sched_getcpu(), &here);
    sched_getaffinity(0, sizeof *everywhere, everywhere);
    sched_setaffinity(0, sizeof here, &here);
}

static void unpin(const cpu_set_t *everywhere)
{
    sched_setaffinity(0, sizeof *everywhere, everywhere);
}

static bool measure(const struct options *options, struct floor_process *floor,
                    const cpu_set_t *everywhere, struct results *results)
{
    struct subject *subject = subject_open(options->guest_path);
    results->cold_pages = choose_cold_pages(options, floor, subject);
    bool ok = measure_ratios(floor, subject, &options->effort, results);
    unpin(everywhere);
    ok = ok && measure_others(subject, &options->effort, results);
    subject_close(subject);
    return ok;
}

/* The report for people */

static double ratio_of(struct results *results, enum operation operation)
{
    return median(results->round_ratios[operation], results->rounds[operation]);
}

/* Of the p50s of all samples. */
static double pooled_ratio_of(struct results *results, enum operation operation)
{
    double floor = tally_summary(&results->floor[operation]).p50;
    return floor > 0 ? tally_summary(&results->subject[operation]).p50 / floor : 0;
}

static void print_operation(struct results *results, enum operation operation)
{
    struct tally *floor = &results->floor[operation], *subject = &results->subject[operation];
    struct summary f = tally_summary(floor), s = tally_summary(subject);
    char target[16] = "-";
    if (operation_infos[operation].target > 0)
        snprintf(target, sizeof target, "%.2f", operation_infos[operation].target);
    printf("%-17s %8.1f %8.1f %8.1f  %8.1f %8.1f %8.1f  %5.3f %6s  %5.4g/%-5.4g %5.4g/%-5.4g "
           "%5.4g/%-5.4g\n",
           operation_infos[operation].name, f.min / 1e3, f.p50 / 1e3, f.p99 / 1e3, s.min / 1e3,
           s.p50 / 1e3, s.p99 / 1e3, ratio_of(results, operation), target,
           tally_per_operation(floor, floor->exits), tally_per_operation(subject, subject->exits),
           tally_per_operation(floor, floor->ioctls), tally_per_operation(subject, subject->ioctls),
           tally_per_operation(floor, floor->pages_copied),
           tally_per_operation(subject, subject->pages_copied));
}

static void print_single(const char *name, struct tally *tally)
{
    struct summary s = tally_summary(tally);
    printf("%-30s min %9.1f  p50 %9.1f  p99 %9.1f us  (%zu samples)\n", name, s.min / 1e3,
           s.p50 / 1e3, s.p99 / 1e3, tally->count);
}

static void print_report(struct results *results)
{
    printf("%-17s %26s  %26s  %5s %6s  %-11s %-11s %-11s\n", "", "floor, us: min  p50  p99",
           "library, us: min  p50  p99", "ratio", "target", "exits f/l", "ioctls f/l", "pages f/l");
    for (enum operation operation = 0; operation < OPERATION_COUNT; operation++)
        print_operation(results, operation);
    printf("\nratio: of the p50s of a batch of either, median of %zu such pairs. "
           "f/l: floor and library, per operation.\n\n",
           results->rounds[0]);
    print_single("cold first reply, from the ELF", &results->cold_from_elf);
    print_single("first reply, VM reused", &results->reused_vm);
    print_single("deadline, lateness", &results->deadline);
    print_single("interrupt, lateness", &results->interrupt);
    printf("%-30s %.0f KiB of the process, %.0f KiB of the machine (%zu sandboxes)\n",
           "memory of an idle sandbox", results->memory.pss_bytes / 1024,
           results->memory.available_bytes / 1024, results->memory.sandboxes);
}

/* The report for programs */

static json_t *json_side(struct tally *tally)
{
    struct summary s = tally_summary(tally);
    return json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:f}", "samples", (json_int_t)tally->count,
                     "min_ns", s.min, "p50_ns", s.p50, "p99_ns", s.p99, "exits",
                     tally_per_operation(tally, tally->exits), "ioctls",
                     tally_per_operation(tally, tally->ioctls), "pages_copied",
                     tally_per_operation(tally, tally->pages_copied));
}

static json_t *json_single(const char *name, struct tally *tally)
{
    struct summary s = tally_summary(tally);
    return json_pack("{s:s, s:{s:I, s:f, s:f, s:f}}", "name", name, "library", "samples",
                     (json_int_t)tally->count, "min_ns", s.min, "p50_ns", s.p50, "p99_ns", s.p99);
}

static json_t *json_operation(struct results *results, enum operation operation)
{
    return json_pack(
        "{s:s, s:f, s:f, s:I, s:o, s:o}", "name", operation_infos[operation].name, "ratio",
        ratio_of(results, operation), "ratio_of_all_samples", pooled_ratio_of(results, operation),
        "rounds", (json_int_t)results->rounds[operation], "floor",
        json_side(&results->floor[operation]), "library", json_side(&results->subject[operation]));
}

static json_t *json_measurements(struct results *results)
{
    json_t *list = json_array();
    for (enum operation operation = 0; operation < OPERATION_COUNT; operation++)
        json_array_append_new(list, json_operation(results, operation));
    json_array_append_new(list, json_single("cold_first_reply_from_elf", &results->cold_from_elf));
    json_array_append_new(list, json_single("first_reply_reused_vm", &results->reused_vm));
    json_array_append_new(list, json_single("deadline_lateness", &results->deadline));
    json_array_append_new(list, json_single("interrupt_lateness", &results->interrupt));
    json_array_append_new(list,
                          json_pack("{s:s, s:{s:I, s:f, s:f}}", "name", "idle_sandbox_memory",
                                    "library", "sandboxes", (json_int_t)results->memory.sandboxes,
                                    "pss_bytes", results->memory.pss_bytes, "available_bytes",
                                    results->memory.available_bytes));
    return list;
}

static json_t *json_report(struct results *results, const struct floor_process *floor)
{
    json_t *ratios = json_object();
    for (enum operation operation = 0; operation < OPERATION_COUNT; operation++)
        json_object_set_new(ratios, operation_infos[operation].name,
                            json_real(ratio_of(results, operation)));
    struct utsname kernel = {0};
    uname(&kernel);
    return json_pack("{s:o, s:o, s:{s:s, s:s, s:s}}", "ratios", ratios, "measurements",
                     json_measurements(results), "machine", "kernel", kernel.release, "kvm",
                     json_string_value(json_object_get(floor->info, "kvm")), "library",
                     hl_version());
}

static bool write_json(const char *path, struct results *results, const struct floor_process *floor)
{
    json_t *report = json_report(results, floor);
    bool ok = report && json_dump_file(report, path, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) == 0;
    json_decref(report);
    if (!ok)
        perror(path);
    return ok;
}

/* Found out before minutes of measuring. */
static bool can_write(const char *path)
{
    FILE *file = fopen(path, "ae");
    if (!file) {
        perror(path);
        return false;
    }
    return fclose(file) == 0;
}

/* The command line */

static const char usage[] =
    "Usage: bench [--json FILE] [--quick] [OPTION...]\n"
    "Measures the library beside a floor that does the same directly on KVM.\n"
    "\n"
    "  --json FILE      write ratios and measurements to FILE\n"
    "  --quick          few samples: does it work, not how fast is it\n"
    "  --cold-pages N   pages that the floor copies for a cold start\n"
    "                   (as many as the library copies)\n"
    "  --floor PATH     floor program (beside this one)\n"
    "  --guest PATH     guest program (beside this one)\n"
    "  --help           show this\n"
    "\n"
    "Exit status: 0 done, 1 something failed, 2 wrong usage, 130 interrupted.\n";

static bool parse_count(const char *text, size_t *count)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    *count = value;
    return *text >= '1' && *text <= '9' && *end == '\0';
}

/* Returns the status to exit with, or -1 to go on. */
static int parse_arguments(int argc, char **argv, struct options *options)
{
    static const struct option long_options[] = {
        {"json", required_argument, NULL, 'j'},
        {"quick", no_argument, NULL, 'q'},
        {"cold-pages", required_argument, NULL, 'c'},
        {"floor", required_argument, NULL, 'f'},
        {"guest", required_argument, NULL, 'g'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        if (option == 'j')
            options->json_path = optarg;
        else if (option == 'q')
            options->effort = quick_effort;
        else if (option == 'f')
            options->floor_path = optarg;
        else if (option == 'g')
            options->guest_path = optarg;
        else if (option == 'h')
            return fputs(usage, stdout) < 0;
        else if (option != 'c' || !parse_count(optarg, &options->cold_pages)) {
            if (option == 'c')
                fprintf(stderr, "bench: --cold-pages: '%s' is not a number of pages\n", optarg);
            return EXIT_USAGE;
        }
    }
    if (optind == argc)
        return -1;
    fprintf(stderr, "bench: unexpected argument '%s'; see --help\n", argv[optind]);
    return EXIT_USAGE;
}

static void path_beside(char path[PATH_MAX], const char *name)
{
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(path, '/');
    size_t used = slash ? (size_t)(slash + 1 - path) : 0;
    snprintf(path + used, PATH_MAX - used, "%s", name);
}

static void handle_signals(void)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a floor that died shows as a failed write */
}

static void free_results(struct results *results)
{
    for (enum operation operation = 0; operation < OPERATION_COUNT; operation++) {
        tally_free(&results->floor[operation]);
        tally_free(&results->subject[operation]);
    }
    tally_free(&results->cold_from_elf);
    tally_free(&results->deadline);
    tally_free(&results->interrupt);
}

static bool report(const struct options *options, struct results *results,
                   const struct floor_process *floor)
{
    print_report(results);
    return !options->json_path || write_json(options->json_path, results, floor);
}

int main(int argc, char **argv)
{
    static char floor_path[PATH_MAX], guest_path[PATH_MAX];
    path_beside(floor_path, "floor");
    path_beside(guest_path, "guest");
    struct options options = {
        .floor_path = floor_path, .guest_path = guest_path, .effort = full_effort};
    int status = parse_arguments(argc, argv, &options);
    if (status >= 0)
        return status;
    if (options.json_path && !can_write(options.json_path))
        return EXIT_FAILURE;

    handle_signals();
    struct floor_process floor;
    struct results results = {0};
    cpu_set_t everywhere;
    pin(&everywhere);
    bool ok = floor_start(&floor, options.floor_path) &&
              measure(&options, &floor, &everywhere, &results) &&
              report(&options, &results, &floor);
    floor_stop(&floor);
    free_results(&results);
    if (interrupted)
        fprintf(stderr, "bench: interrupted\n");
    return interrupted ? EXIT_INTERRUPTED : !ok;
}
