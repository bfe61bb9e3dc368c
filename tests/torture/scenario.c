/* The scenario: everything that a host application does in a sandbox's life. */
#include "scenario.h"
#include <string.h>

/* What outputs hold before a step, and must still hold after it failed. */
#define UNTOUCHED ((void *)0x5afe)

struct scenario {
    hl_context *context;
    hl_host_functions *functions;
    hl_program *program;
    hl_sandbox *sandbox, *copy;
    hl_snapshot *snapshot, *later;
    hl_value reply;
    uint64_t count; /* calls of count_up that the sandbox answered since its snapshot */
    hl_error error;
};

static char large[120000];

static hl_status host_answer(hl_call *call, const hl_value *arguments, size_t count,
                             hl_value *reply, void *user)
{
    void *scratch = hl_call_alloc(call, 20000);
    (void)arguments, (void)count, (void)user;
    if (!scratch)
        return hl_call_fail(call, "the host is out of memory");
    *reply = hl_value_bytes(scratch, 20000);
    return HL_OK;
}

static hl_status make_context(struct scenario *s)
{
    return hl_context_new(NULL, &s->context, &s->error);
}

static hl_status make_functions(struct scenario *s)
{
    return hl_host_functions_new(&s->functions, &s->error);
}

static hl_status add_function(struct scenario *s)
{
    const hl_type parameters[] = {HL_TYPE_BYTES};
    const hl_signature signature = {parameters, 1, HL_TYPE_BYTES};
    return hl_host_functions_add(s->functions, "answer", &signature, host_answer, NULL, NULL,
                                 &s->error);
}

static hl_status open_program(struct scenario *s)
{
    const hl_program_options options = {.size = sizeof options, .context = s->context};
    return hl_program_open(HL_TEST_GUESTS "/plugin.musl", &options, &s->program, &s->error);
}

static hl_sandbox_options sandbox_options(const struct scenario *s)
{
    const hl_sandbox_options options =
        FIXTURE_OPTIONS(.memory_size = 8 << 20, .host_functions = s->functions,
                        .stdout_stream.mode = HL_STREAM_CAPTURE,
                        .stdin_stream = {.mode = HL_STREAM_MEMORY, .data = "in", .data_size = 2});
    return options;
}

static hl_status make_sandbox(struct scenario *s)
{
    const hl_sandbox_options options = sandbox_options(s);
    return hl_sandbox_new(s->program, &options, &s->sandbox, &s->error);
}

static hl_status call(struct scenario *s, hl_sandbox *sandbox, const char *function,
                      const hl_value *arguments, size_t count)
{
    hl_value_free(&s->reply);
    s->reply = hl_value_null();
    s->reply.as.u64 = (uintptr_t)UNTOUCHED;
    hl_status status = hl_sandbox_call(sandbox, function, arguments, count, &s->reply, &s->error);
    if (status != HL_OK) {
        assert_int_equal(s->reply.type, HL_TYPE_NULL);
        assert_ptr_equal((void *)(uintptr_t)s->reply.as.u64, UNTOUCHED);
    }
    return status;
}

static hl_status count_up(struct scenario *s)
{
    hl_status status = call(s, s->sandbox, "count_up", NO_ARGUMENTS);
    if (status == HL_OK)
        assert_int_equal(s->reply.as.u64, ++s->count);
    return status;
}

static hl_status send_much(struct scenario *s)
{
    return call(s, s->sandbox, "echo", ARGUMENTS(hl_value_bytes(large, sizeof large)));
}

static hl_status call_back(struct scenario *s)
{
    return call(s, s->sandbox, "call_host",
                ARGUMENTS(hl_value_string("answer"), hl_value_bytes(large, sizeof large)));
}

static hl_status print(struct scenario *s)
{
    return call(s, s->sandbox, "print",
                ARGUMENTS(hl_value_i32(1), hl_value_string("some text"), hl_value_i32(20)));
}

static hl_status take_output(struct scenario *s)
{
    char *data = UNTOUCHED;
    size_t size = 77;
    hl_status status = hl_sandbox_output(s->sandbox, 1, &data, &size, &s->error);
    if (status == HL_OK) {
        assert_int_equal(size, 180);
        hl_output_free(data);
    } else {
        assert_ptr_equal(data, UNTOUCHED);
        assert_int_equal(size, 77);
    }
    return status;
}

static hl_status take_snapshot(struct scenario *s)
{
    hl_status status = hl_sandbox_snapshot(s->sandbox, &s->snapshot, &s->error);
    if (status != HL_OK)
        assert_int_equal(hl_sandbox_status(s->sandbox), HL_SANDBOX_READY);
    return status;
}

static hl_status edit(struct scenario *s)
{
    return call(s, s->sandbox, "map_and_protect", ARGUMENTS(hl_value_u64(16)));
}

static hl_status restore_near(struct scenario *s)
{
    hl_status status = hl_sandbox_restore(s->sandbox, s->snapshot, &s->error);
    if (status == HL_OK)
        s->count = 1;
    return status;
}

static hl_status make_copy(struct scenario *s)
{
    return hl_sandbox_from_snapshot(s->snapshot, NULL, &s->copy, &s->error);
}

static hl_status call_copy(struct scenario *s)
{
    hl_status status = call(s, s->copy, "count_up", NO_ARGUMENTS);
    if (status == HL_OK)
        assert_int_equal(s->reply.as.u64, 2);
    return status;
}

static hl_status prewarm(struct scenario *s)
{
    return hl_snapshot_prewarm(s->snapshot, NULL, 2, &s->error);
}

static hl_status take_later_snapshot(struct scenario *s)
{
    return hl_sandbox_snapshot(s->copy, &s->later, &s->error);
}

static hl_status restore_far(struct scenario *s)
{
    hl_status status = hl_sandbox_restore(s->sandbox, s->later, &s->error);
    if (status == HL_OK)
        s->count = 2;
    return status;
}

static const struct {
    const char *name;
    hl_status (*run)(struct scenario *s);
} steps[] = {
    {"make_context", make_context},
    {"make_functions", make_functions},
    {"add_function", add_function},
    {"open_program", open_program},
    {"make_sandbox", make_sandbox},
    {"count_up", count_up},
    {"send_much", send_much},
    {"call_back", call_back},
    {"print", print},
    {"take_output", take_output},
    {"take_snapshot", take_snapshot},
    {"count_up", count_up},
    {"edit", edit},
    {"count_up", count_up},
    {"restore_near", restore_near},
    {"count_up", count_up},
    {"make_copy", make_copy},
    {"call_copy", call_copy},
    {"prewarm", prewarm},
    {"take_later_snapshot", take_later_snapshot},
    {"edit", edit},
    {"restore_far", restore_far},
    {"count_up", count_up},
};

enum { STEPS = sizeof steps / sizeof steps[0] };

/* A guest that asked the host for something may be told of the failure instead. */
static bool told_guest(const struct scenario *s, hl_status status)
{
    return status == HL_GUEST_ERROR && strstr(s->error.message, "memory");
}

static void check_told(const struct scenario *s, const struct scenario_fault *fault,
                       hl_status status)
{
    if (!fault->fired())
        fail_msg("%s without a fault: %s", hl_status_name(status), s->error.message);
    if (!fault->fits(status) && !told_guest(s, status))
        fail_msg("a fault of the host is called %s: %s", hl_status_name(status), s->error.message);
    assert_int_equal(s->error.status, status);
    assert_true(s->error.message[0] != '\0');
    assert_null(strchr(s->error.message, '\n'));
}

/* A sandbox that is ready goes on as if nothing had been; the failed call itself may have run in
 * it. */
static void check_ready(struct scenario *s)
{
    fixture_honest_call(s->sandbox);
    uint64_t count = fixture_call_u64(s->sandbox, "count_up", NO_ARGUMENTS);
    assert_in_range(count, s->count + 1, s->count + 2);
}

static void check_poisoned(struct scenario *s)
{
    assert_status(HL_POISONED, hl_sandbox_call(s->sandbox, "echo", NO_ARGUMENTS, NULL, NULL));
    if (!s->snapshot)
        return;
    assert_status(HL_OK, hl_sandbox_restore(s->sandbox, s->snapshot, &fixture_error));
    assert_int_equal(fixture_call_u64(s->sandbox, "count_up", NO_ARGUMENTS), 2);
}

static void check_sandbox(struct scenario *s, hl_status status, bool was_call)
{
    hl_sandbox_state state = hl_sandbox_status(s->sandbox);
    if (was_call)
        assert_int_equal(state, hl_status_poisons(status) ? HL_SANDBOX_POISONED : HL_SANDBOX_READY);
    if (state == HL_SANDBOX_READY)
        check_ready(s);
    else
        check_poisoned(s);
}

/* What a step that failed did not make is as it was. */
static void check_outputs(const struct scenario *s)
{
    const void *objects[] = {s->context, s->functions, s->program, s->sandbox,
                             s->copy,    s->snapshot,  s->later};
    for (size_t i = 0; i < sizeof objects / sizeof objects[0]; i++)
        assert_true(objects[i] == UNTOUCHED || (uintptr_t)objects[i] > 0x10000);
}

static void *made(void *object)
{
    return object == UNTOUCHED ? NULL : object;
}

static void forget_what_was_not_made(struct scenario *s)
{
    s->context = made(s->context);
    s->functions = made(s->functions);
    s->program = made(s->program);
    s->sandbox = made(s->sandbox);
    s->copy = made(s->copy);
    s->snapshot = made(s->snapshot);
    s->later = made(s->later);
}

static void free_all(struct scenario *s)
{
    hl_context_free(s->context);
    hl_host_functions_free(s->functions);
    hl_snapshot_free(s->snapshot);
    hl_program_free(s->program);
    hl_sandbox_free(s->sandbox);
    hl_snapshot_free(s->later);
    hl_sandbox_free(s->copy);
    hl_value_free(&s->reply);
}

static bool is_call_of_sandbox(const char *step)
{
    static const char *const calls[] = {"count_up", "send_much", "call_back", "print", "edit"};
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        if (!strcmp(step, calls[i]))
            return true;
    return false;
}

hl_status scenario_run(const struct scenario_fault *fault, const char **step)
{
    struct scenario s = {UNTOUCHED, UNTOUCHED, UNTOUCHED,       UNTOUCHED, UNTOUCHED,
                         UNTOUCHED, UNTOUCHED, hl_value_null(), 0,         HL_ERROR_INIT};
    hl_status status = HL_OK;
    for (size_t i = 0; i < STEPS && !status; i++) {
        *step = steps[i].name;
        status = steps[i].run(&s);
    }
    bool fired = fault->fired();
    fault->disarm();
    if (status) {
        if (!fired)
            print_message("%s: ", *step);
        check_told(&s, fault, status);
    }
    check_outputs(&s);
    forget_what_was_not_made(&s);
    if (status && s.sandbox)
        check_sandbox(&s, status, is_call_of_sandbox(*step));
    free_all(&s);
    return status;
}
