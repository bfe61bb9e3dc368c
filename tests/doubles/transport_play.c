/* Sessions with hostile guests, and what must hold in them. */
#include "doubles/transport_play.h"

#include "context/context.h"
#include "doubles/space_check.h"
#include "driver/override.h"
#include "snapshot/snapshot.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEPS_MAX 400
#define PROGRAM_SIZE (4 * HL__PAGE - 100)
#define SHORT_NS UINT64_C(2000000)
#define BIG_SIZE (2500 * 1024)

const char *const transport_play_sayings[] = {
    "a second first hypercall",
    "a hypercall before the first one",
    "an unknown hypercall",
    "the shim speaks no version",
    "a rest without an outcome",
    "a rest with an outcome but without a call",
    "functions were declared twice",
    "the guest SDK speaks no version",
    "declaration of functions is too long",
    "declaration of functions is malformed",
    "a malformed refusal",
    "malformed output",
    "the program was refused after its first rest",
    "is not for x86-64",
    "is dynamically linked",
    "does not fit into the sandbox's memory",
    "is not a program that can run",
    "used up its memory",
    "an exit by the fault port that the stub did not make",
    "an exception in ring 0",
    "an exception before the first hypercall",
    "an OUT to a closed port",
    "a port access other than",
    "an access to memory that is not there",
    "a triple fault",
    "a halt",
    "an instruction that the hypervisor could not execute",
    "the ring-0 stub ended",
    "(abort)",
    "(raised by itself)",
    "exception ",
    "exited with",
    "it is not in readable memory",
    "the text of an error is not a string",
    "its outcome is unknown",
    "exceeds reply_size_max",
    "the captured stream is full",
    "its callback refused it",
    "output_size_max",
    "host_calls_max",
    "raise timeout_ns",
    "raise start_timeout_ns",
    "cpu_time_ns",
    "hl_sandbox_interrupt stopped",
    "does not fit beside",
    "request_size_max",
    "serves calls instead of exiting",
};
const size_t transport_play_saying_count =
    sizeof transport_play_sayings / sizeof *transport_play_sayings;

static void require(const struct transport_play *play, bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "transport_play: %s (session %llu, exit %llu)\n", what,
            (unsigned long long)play->sessions, (unsigned long long)play->guest.exits);
    abort();
}

/* Notes how an operation ended. */
static void note(struct transport_play *play, hl_status status, const hl_error *err)
{
    require(play, status >= 0 && status < PLAY_STATUSES && strcmp(hl_status_name(status), "HL_?"),
            "a status that is not in the list");
    play->statuses[status]++;
    if (status == HL_OK)
        return;
    require(play, err->status == status, "the error states another status");
    require(play, memchr(err->message, 0, sizeof err->message) && err->message[0],
            "an error without a message");
    for (size_t i = 0; i < transport_play_saying_count; i++)
        if (strstr(err->message, transport_play_sayings[i]))
            play->sayings[i]++;
}

/* Host functions */

static hl_status serve_echo(hl_call *call, const hl_value *arguments, size_t count, hl_value *reply,
                            void *user)
{
    struct transport_play *play = user;
    (void)call;
    hostile_guest_scribble(&play->guest);
    if (count)
        *reply = arguments[0];
    return HL_OK;
}

static hl_status serve_fail(hl_call *call, const hl_value *arguments, size_t count, hl_value *reply,
                            void *user)
{
    (void)arguments, (void)reply, (void)user;
    return hl_call_fail(call, "no, not with %zu arguments\n", count);
}

/* More than a mailbox holds, and with `huge` more than fits. */
static hl_status serve_big(hl_call *call, const hl_value *arguments, size_t count, hl_value *reply,
                           void *user)
{
    static const char bytes[BIG_SIZE];
    struct transport_play *play = user;
    (void)call, (void)arguments;
    *reply = hl_value_bytes(bytes, choices_once_in(&play->choices, 16) ? BIG_SIZE : 20000 + count);
    return HL_OK;
}

static hl_status serve_bad(hl_call *call, const hl_value *arguments, size_t count, hl_value *reply,
                           void *user)
{
    (void)call, (void)arguments, (void)count, (void)user;
    *reply = hl_value_string_n("\xff", 1);
    return HL_OK;
}

static hl_status serve_system(hl_call *call, const hl_value *arguments, size_t count,
                              hl_value *reply, void *user)
{
    (void)call, (void)arguments, (void)count, (void)reply, (void)user;
    return HL_SYSTEM;
}

static hl_status serve_reenter(hl_call *call, const hl_value *arguments, size_t count,
                               hl_value *reply, void *user)
{
    struct transport_play *play = user;
    hl_error err = HL_ERROR_INIT;
    (void)call, (void)arguments, (void)count, (void)reply;
    if (!play->calling)
        return HL_OK;
    hl_status status = hl_sandbox_call(play->sandbox, "work", NULL, 0, NULL, &err);
    require(play, status == HL_BUSY, "a call from within a call was not refused");
    note(play, status, &err);
    hl_sandbox_free(play->sandbox);
    return status;
}

static hl_status serve_cancel(hl_call *call, const hl_value *arguments, size_t count,
                              hl_value *reply, void *user)
{
    struct transport_play *play = user;
    (void)arguments, (void)count, (void)reply;
    if (!play->calling)
        return HL_OK;
    hl_sandbox_interrupt(play->handle);
    require(play, hl_call_cancelled(call), "an interrupted call is not told so");
    return HL_OK;
}

static void add_functions(struct transport_play *play)
{
    static const hl_type numbers[] = {HL_TYPE_I32, HL_TYPE_I32};
    const hl_signature sum = {numbers, 2, HL_TYPE_I32};
    const hl_signature text = {NULL, 0, HL_TYPE_STRING};
    const struct {
        const char *name;
        const hl_signature *signature;
        hl_host_function function;
    } functions[] = {
        {"echo", NULL, serve_echo},     {"sum", &sum, serve_echo},
        {"fail", NULL, serve_fail},     {"big", NULL, serve_big},
        {"bad", NULL, serve_bad},       {"wrong", &text, serve_echo},
        {"system", NULL, serve_system}, {"reenter", NULL, serve_reenter},
        {"cancel", NULL, serve_cancel}, {"huge", NULL, serve_big},
    };
    require(play, hl_host_functions_new(&play->functions, NULL) == HL_OK, "no host functions");
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        require(play,
                hl_host_functions_add(play->functions, functions[i].name, functions[i].signature,
                                      functions[i].function, play, NULL, NULL) == HL_OK,
                "no host function");
}

/* Opening and closing */

static void ignore_line(hl_log_level level, hl_log_source source, const char *line, void *user)
{
    (void)level, (void)source;
    require(user, strlen(line) < HL_LOG_LINE_MAX && !strpbrk(line, "\n\033"), "a bad log line");
}

static void open_context(struct transport_play *play, int index)
{
    static const uint8_t binary[PROGRAM_SIZE];
    const hl_context_options options = {.size = sizeof options,
                                        .driver = "fake",
                                        .log_sink = ignore_line,
                                        .log_user = play,
                                        .log_level = HL_LOG_TRACE};
    hl_driver_info info;
    struct hl__machine machine;
    fake_driver_describe(index == 1, &info, &machine);
    hl__driver_override(&fake_driver, &info, &machine);
    require(play, hl_context_new(&options, &play->contexts[index], NULL) == HL_OK, "no context");
    play->contexts[index]->poke_works = index == 1;
    const hl_program_options of_program = {.size = sizeof of_program,
                                           .context = play->contexts[index]};
    require(play,
            hl_program_from_memory(binary, sizeof binary, &of_program, &play->programs[index],
                                   NULL) == HL_OK,
            "no program");
}

void transport_play_open(struct transport_play *play)
{
    fake_driver_play(NULL, NULL);
    open_context(play, 0);
    open_context(play, 1);
    add_functions(play);
    play->guest.choices = &play->choices;
    fake_driver_play(hostile_guest_run, &play->guest);
}

void transport_play_close(struct transport_play *play)
{
    fake_driver_play(NULL, NULL);
    hl_host_functions_free(play->functions);
    for (int i = 0; i < 2; i++) {
        hl_program_free(play->programs[i]);
        hl_context_free(play->contexts[i]);
    }
    hl__driver_override(NULL, NULL, NULL);
    require(play, fake_driver_vms() == 0 && fake_driver_vcpus() == 0, "a VM is left");
}

/* Options */

static bool take_output(const char *data, size_t size, void *user)
{
    struct transport_play *play = user;
    (void)data;
    hostile_guest_scribble(&play->guest);
    return size < 900;
}

static ptrdiff_t give_input(char *data, size_t size, void *user)
{
    struct transport_play *play = user;
    hostile_guest_scribble(&play->guest);
    switch (choices_below(&play->choices, 4)) {
    case 0:
        return -1;
    case 1:
        return (ptrdiff_t)size + 1;
    default:
        memset(data, 'i', size);
        return (ptrdiff_t)size;
    }
}

/* Sessions whose guests have the process's own descriptors get some that never block. */
static void lend_descriptors(struct transport_play *play)
{
    static const char *const outputs[] = {"/dev/null", "/dev/full"};
    const char *const paths[] = {"/dev/zero", outputs[choices_below(&play->choices, 2)]};
    fflush(stdout);
    for (int number = 0; number < 2; number++) {
        int lent = open(paths[number], O_RDWR | O_CLOEXEC);
        play->kept[number] = dup(number);
        require(play, lent >= 0 && dup2(lent, number) == number, "no descriptor to lend");
        close(lent);
    }
}

static void return_descriptors(struct transport_play *play)
{
    for (int number = 0; number < 2; number++) {
        if (play->kept[number] >= 0)
            dup2(play->kept[number], number);
        else
            close(number); /* it was not open */
        close(play->kept[number]);
    }
}

static uint64_t one_of(struct transport_play *play, const uint64_t *numbers, size_t count)
{
    return numbers[choices_below(&play->choices, count)];
}

static void choose_streams(struct transport_play *play, hl_sandbox_options *options)
{
    static char input[3000];
    static const hl_stream_mode outputs[] = {HL_STREAM_DISCARD, HL_STREAM_CAPTURE,
                                             HL_STREAM_CALLBACK, HL_STREAM_CAPTURE};
    static const hl_stream_mode inputs[] = {HL_STREAM_DISCARD, HL_STREAM_MEMORY, HL_STREAM_CALLBACK,
                                            HL_STREAM_MEMORY};
    /* In a block of its size, so that a sanitizer sees what lies behind it. */
    size_t size = choices_once_in(&play->choices, 2) ? sizeof input : 10;
    options->stdin_stream = (hl_stream){.mode = inputs[choices_below(&play->choices, 4)],
                                        .read = give_input,
                                        .user = play,
                                        .data = input,
                                        .data_size = size};
    options->stdout_stream = (hl_stream){.mode = outputs[choices_below(&play->choices, 4)],
                                         .write = take_output,
                                         .user = play,
                                         .capacity = 20000};
    options->stderr_stream = options->stdout_stream;
    if (play->inherits)
        options->stdin_stream.mode = options->stdout_stream.mode = HL_STREAM_INHERIT;
}

static void choose_options(struct transport_play *play, hl_sandbox_options *options)
{
    static const uint64_t memories[] = {1 << 20, 4 << 20, 8 << 20};
    static const uint64_t requests[] = {0, 1 << 16, 4096, 8 << 20, 100, 8 << 20};
    static const uint64_t replies[] = {0, 1 << 16, 4096, 200};
    static const uint64_t outputs[] = {0, 5000, HL_UNLIMITED};
    static const uint64_t calls[] = {0, 3, HL_UNLIMITED};
    *options = (hl_sandbox_options){.size = sizeof *options};
    options->memory_size = one_of(play, memories, 3);
    options->request_size_max = one_of(play, requests, 6);
    options->reply_size_max = one_of(play, replies, 4);
    options->output_size_max = one_of(play, outputs, 3);
    options->host_calls_max = one_of(play, calls, 3);
    options->host_functions = choices_once_in(&play->choices, 8) ? NULL : play->functions;
    options->trace = choices_once_in(&play->choices, 2);
    options->seed_fixed = choices_once_in(&play->choices, 2);
    options->clock = choices_once_in(&play->choices, 2) ? HL_CLOCK_FIXED : HL_CLOCK_HOST;
    if (play->waits) {
        options->timeout_ns = SHORT_NS;
        options->cpu_time_ns = choices_once_in(&play->choices, 2) ? SHORT_NS / 4 : 0;
    }
    choose_streams(play, options);
}

/* What must hold */

static void check_memory(struct transport_play *play, const hl_snapshot *snapshot)
{
    static const uint8_t zeroes[4096];
    const hl__space *space = play->sandbox->space;
    for (uint64_t page = 0; page < space->ram_size / HL__PAGE; page++) {
        const uint8_t *wanted =
            hl__snapshot_has(snapshot, page) ? snapshot->memory + page * HL__PAGE : zeroes;
        require(play, memcmp(space->ram + page * HL__PAGE, wanted, HL__PAGE) == 0,
                "memory differs from the snapshot after a restore");
    }
    if (space->tables_gpa == snapshot->tables_gpa)
        require(play, space_tables_are(space, snapshot->tables, snapshot->table_count),
                "page tables differ from the snapshot after a restore");
    require(play, space->transfer_size == 0, "transfer memory is left after a restore");
}

static void check_space(struct transport_play *play)
{
    const char *wrong = space_check(play->sandbox->space);
    require(play, !wrong, wrong);
}

/* Looks closely now and then, which takes its time. */
static bool looks(struct transport_play *play)
{
    return ++play->chances % 16 == 0;
}

static void check_poisoned(struct transport_play *play)
{
    hl_error err = HL_ERROR_INIT;
    hl_snapshot *none = NULL;
    uint64_t exits = play->guest.exits;
    hl_status status = hl_sandbox_call(play->sandbox, "work", NULL, 0, NULL, &err);
    note(play, status, &err);
    require(play, status == HL_POISONED, "a poisoned sandbox was called");
    status = hl_sandbox_snapshot(play->sandbox, &none, &err);
    require(play, status == HL_POISONED && !none, "a poisoned sandbox gave a snapshot");
    require(play, play->guest.exits == exits, "a poisoned guest ran");
}

/* After a call: whether its status and the sandbox's state agree. */
static void check_state(struct transport_play *play, hl_status status, bool ran)
{
    hl_sandbox_state state = hl_sandbox_status(play->sandbox);
    if (state == HL_SANDBOX_READY)
        require(play, !hl_status_poisons(status) || !ran, "a status that poisons did not");
    else
        require(play, state == HL_SANDBOX_POISONED && hl_status_poisons(status),
                "a sandbox is poisoned without a status that says so");
    if (state == HL_SANDBOX_READY)
        require(play, play->sandbox->guest.phase == HL__PHASE_RESTING,
                "a sandbox is ready whose guest does not rest");
    if (state == HL_SANDBOX_POISONED)
        check_poisoned(play);
    if (looks(play))
        check_space(play);
}

/* Steps */

/* False where a sandbox that was made with other limits has no room for the snapshot's page tables. */
static bool restore_to(struct transport_play *play, const hl_snapshot *snapshot)
{
    hl_error err = HL_ERROR_INIT;
    hl_status status = hl_sandbox_restore(play->sandbox, snapshot, &err);
    note(play, status, &err);
    if (status == HL_INCOMPATIBLE_SNAPSHOT && snapshot == play->later) {
        require(play, snapshot->table_count > play->sandbox->space->tables_max, err.message);
        return false;
    }
    play->restores++;
    require(play, status == HL_OK, err.message);
    require(play, hl_sandbox_status(play->sandbox) == HL_SANDBOX_READY,
            "a restored sandbox is not ready");
    if (looks(play)) {
        check_memory(play, snapshot);
        check_space(play);
    }
    return true;
}

/* Deadlines are short where they are waited for, and the machine may be busy. */
static bool too_late(const struct transport_play *play, hl_status status)
{
    return play->waits && (status == HL_TIMED_OUT || status == HL_CPU_LIMIT);
}

/* From the pristine snapshot a well-behaved guest counts on from where it was. */
static void call_honest(struct transport_play *play, uint64_t answer)
{
    hl_error err = HL_ERROR_INIT;
    hl_value reply = hl_value_null();
    play->guest.honest = true;
    hl_status status = hl_sandbox_call(play->sandbox, "work", NULL, 0, &reply, &err);
    play->guest.honest = false;
    note(play, status, &err);
    if (too_late(play, status))
        return;
    require(play, status == HL_OK, "an honest call failed");
    require(play, reply.type == HL_TYPE_U64 && reply.as.u64 == answer, "an honest call miscounts");
    hl_value_free(&reply);
    play->honest_calls++;
}

static void recover(struct transport_play *play)
{
    const hl_snapshot *snapshot =
        play->later && choices_once_in(&play->choices, 3) ? play->later : play->pristine;
    if (!restore_to(play, snapshot))
        restore_to(play, snapshot = play->pristine);
    if (snapshot == play->pristine && choices_once_in(&play->choices, 4)) {
        call_honest(play, 1);
        if (hl_sandbox_status(play->sandbox) == HL_SANDBOX_READY &&
            choices_once_in(&play->choices, 2))
            call_honest(play, 2);
    }
}

/* Arguments that fit a mailbox, do not fit, or exceed the limit; some are no values at all. */
static size_t choose_arguments(struct transport_play *play, hl_value *arguments)
{
    static const char bytes[3 << 20];
    static hl_entry entries[2];
    switch (choices_below(&play->choices, 16)) {
    case 0:
        arguments[0] =
            hl_value_bytes(bytes, choices_once_in(&play->choices, 16) ? sizeof bytes : 70000);
        return 1;
    case 1:
        arguments[0] = hl_value_bytes(bytes, 20000);
        arguments[1] = hl_value_string("text");
        return 2;
    case 2:
        arguments[0] = hl_value_string_n("\xff", 1);
        return 1;
    case 3:
        arguments[0] = hl_value_i32(1);
        return 1;
    case 4:
        entries[0] = hl_value_entry("one", hl_value_null());
        entries[1] = hl_value_entry(choices_once_in(&play->choices, 2) ? "one" : "two",
                                    hl_value_list(NULL, 0));
        arguments[0] = hl_value_map(entries, 2);
        return 1;
    default:
        return 0;
    }
}

static void call_hostile(struct transport_play *play)
{
    static const char *const names[] = {"work", "work", "work", "work", "typed", "no such"};
    hl_value arguments[2], reply = hl_value_null();
    hl_error err = HL_ERROR_INIT;
    size_t count = choose_arguments(play, arguments);
    const char *name = names[choices_below(&play->choices, 6)];
    uint64_t exits = play->guest.exits;
    play->calling = true;
    hl_status status = hl_sandbox_call(play->sandbox, name, arguments, count,
                                       choices_once_in(&play->choices, 8) ? NULL : &reply, &err);
    play->calling = false;
    note(play, status, &err);
    play->calls++;
    require(play, status == HL_OK || reply.type == HL_TYPE_NULL, "a failed call gave a reply");
    hl_value_free(&reply);
    check_state(play, status, play->guest.exits != exits);
}

static void take_later(struct transport_play *play)
{
    hl_error err = HL_ERROR_INIT;
    hl_snapshot *snapshot;
    hl_status status = hl_sandbox_snapshot(play->sandbox, &snapshot, &err);
    note(play, status, &err);
    require(play, status == HL_OK, "a snapshot failed");
    hl_snapshot_free(play->later);
    play->later = snapshot;
    if (looks(play))
        check_memory(play, snapshot);
}

static void drop_sandbox(struct transport_play *play)
{
    hl_interrupt_handle_free(play->handle);
    play->handle = NULL;
    hl_sandbox_free(play->sandbox);
    play->sandbox = NULL;
}

static void take_handle(struct transport_play *play)
{
    play->handle = hl_sandbox_interrupt_handle(play->sandbox);
}

/* Another sandbox takes its place: one from a snapshot, maybe with other limits. */
static void replace(struct transport_play *play)
{
    const hl_snapshot *snapshot =
        play->later && choices_once_in(&play->choices, 2) ? play->later : play->pristine;
    bool other = choices_once_in(&play->choices, 2);
    hl_sandbox_options options;
    hl_error err = HL_ERROR_INIT;
    hl_sandbox *made;
    choose_options(play, &options);
    if (!choices_once_in(&play->choices, 8))
        options.memory_size = 0;
    hl_status status = hl_sandbox_from_snapshot(snapshot, other ? &options : NULL, &made, &err);
    note(play, status, &err);
    if (status) {
        require(play, status == HL_INCOMPATIBLE_SNAPSHOT, "no sandbox from a snapshot");
        return;
    }
    drop_sandbox(play);
    play->sandbox = made;
    take_handle(play);
    check_space(play);
    if (looks(play))
        check_memory(play, snapshot);
}

/* A program that is hostile from its first instruction on. */
static void start_hostile(struct transport_play *play)
{
    hl_sandbox *made = NULL;
    hl_sandbox_options options;
    hl_error err = HL_ERROR_INIT;
    choose_options(play, &options);
    options.memory_size = 1 << 20;
    if (play->waits)
        options.start_timeout_ns = SHORT_NS;
    hl_status status = hl_sandbox_new(play->sandbox->vm->program, &options, &made, &err);
    note(play, status, &err);
    require(play, (status == HL_OK) == (made != NULL), "a sandbox that failed, or none");
    hl_sandbox_free(made);
}

static void run_stopped(struct transport_play *play, hl_sandbox *stopped)
{
    hl_error err = HL_ERROR_INIT;
    int exit_code = -1;
    hl_status status = hl_sandbox_run(stopped, &exit_code, &err);
    note(play, status, &err);
    hl_sandbox_state state = hl_sandbox_status(stopped);
    if (status == HL_OK) {
        require(play, exit_code >= 0 && exit_code <= 255, "an impossible exit code");
        require(play, state == HL_SANDBOX_FINISHED, "a program that exited is not finished");
        status = hl_sandbox_call(stopped, "work", NULL, 0, NULL, &err);
        require(play, status == HL_NOT_SERVING, "a program that exited was called");
        note(play, status, &err);
    } else {
        require(play, (status == HL_INVALID_ARGUMENT) == (state == HL_SANDBOX_READY),
                "a run that failed left the sandbox ready");
    }
}

static void run_hostile(struct transport_play *play)
{
    hl_sandbox *stopped;
    hl_sandbox_options options;
    hl_error err = HL_ERROR_INIT;
    choose_options(play, &options);
    options.memory_size = 1 << 20;
    hl_status status = hl_sandbox_new_stopped(play->sandbox->vm->program, &options, &stopped, &err);
    require(play, status == HL_OK, "no stopped sandbox");
    if (choices_once_in(&play->choices, 2)) {
        run_stopped(play, stopped);
    } else {
        status = hl_sandbox_call(stopped, "work", NULL, 0, NULL, &err);
        note(play, status, &err);
    }
    hl_sandbox_free(stopped);
}

static void ask(struct transport_play *play)
{
    hl_stats stats = {.size = sizeof stats};
    const char *const *names;
    char *data;
    size_t size;
    hl_error err = HL_ERROR_INIT;
    require(play, hl_sandbox_stats(play->sandbox, &stats, &err) == HL_OK, "no counters");
    require(play, stats.memory_mapped <= stats.memory_size, "more memory is mapped than allowed");
    require(play, hl_sandbox_exports(play->sandbox, &names, &size, &err) == HL_OK && size == 2,
            "the guest's functions changed");
    for (int stream = 1; stream <= 2; stream++)
        if (hl_sandbox_output(play->sandbox, stream, &data, &size, &err) == HL_OK) {
            require(play, size <= 20000 && data[size] == '\0', "more output than was allowed");
            hl_output_free(data);
        }
}

static void spin(struct transport_play *play)
{
    hl_error err = HL_ERROR_INIT;
    play->guest.honest = play->guest.spins = true;
    hl_status status = hl_sandbox_call(play->sandbox, "work", NULL, 0, NULL, &err);
    play->guest.honest = play->guest.spins = false;
    note(play, status, &err);
    require(play, status == HL_TIMED_OUT || status == HL_CPU_LIMIT, "an endless call ended");
    check_state(play, status, true);
}

static void step_rare(struct transport_play *play)
{
    switch (choices_below(&play->choices, 12)) {
    case 1:
    case 2:
        take_later(play);
        break;
    case 3:
    case 4:
        replace(play);
        break;
    case 5:
    case 6:
        run_hostile(play);
        break;
    case 7:
        recover(play);
        break;
    case 8:
        ask(play);
        break;
    case 9:
        if (play->waits && play->sandbox->options.timeout_ns == SHORT_NS)
            spin(play);
        break;
    default:
        start_hostile(play);
    }
}

static void step(struct transport_play *play)
{
    if (choices_once_in(&play->choices, play->waits ? 2 : 12))
        step_rare(play);
    else
        call_hostile(play);
    while (hl_sandbox_status(play->sandbox) == HL_SANDBOX_POISONED)
        recover(play);
}

static void begin(struct transport_play *play)
{
    hl_sandbox_options options;
    hl_error err = HL_ERROR_INIT;
    hl_program *program = play->programs[choices_below(&play->choices, 2)];
    /* Few sessions wait: each wait takes its time. A fuzzer's never does. */
    play->waits = !play->choices.data && choices_once_in(&play->choices, 64);
    play->inherits = choices_once_in(&play->choices, 16);
    if (play->inherits)
        lend_descriptors(play);
    play->guest.may_wait = play->waits;
    choose_options(play, &options);
    play->guest.honest = true;
    hl_status status;
    do
        status = hl_sandbox_new(program, &options, &play->sandbox, &err);
    while (too_late(play, status));
    require(play, status == HL_OK, err.message);
    play->guest.honest = false;
    take_handle(play);
    require(play, hl_sandbox_snapshot(play->sandbox, &play->pristine, &err) == HL_OK,
            "no snapshot of an honest guest");
}

void transport_play_session(struct transport_play *play, uint64_t exits_max)
{
    play->sessions++;
    play->chances = 0;
    begin(play);
    unsigned steps = play->waits ? STEPS_MAX / 8 : STEPS_MAX;
    for (unsigned i = 0; i < steps; i++)
        if (!choices_spent(&play->choices) && play->guest.exits < exits_max)
            step(play);
    drop_sandbox(play);
    hl_snapshot_free(play->pristine);
    hl_snapshot_free(play->later);
    play->pristine = play->later = NULL;
    if (play->inherits)
        return_descriptors(play);
}
