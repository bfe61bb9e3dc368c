/*
 * The guest's standard streams in every mode, and what becomes of them when nobody reads or writes
 * the other end.
 * test-labels: bed
 * test-serial: yes
 */
#include "fixture.h"
#include "linux_numbers.h"
#include "system.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void print(hl_status expected, hl_sandbox *sandbox, int stream, const char *text, int times)
{
    fixture_expect(expected, sandbox, "print",
                   ARGUMENTS(hl_value_i32(stream), hl_value_string(text), hl_value_i32(times)));
}

static void expect_output(hl_sandbox *sandbox, int stream, const char *expected)
{
    char *data;
    size_t size;
    assert_status(HL_OK, hl_sandbox_output(sandbox, stream, &data, &size, &fixture_error));
    assert_string_equal(data, expected);
    assert_int_equal(size, strlen(expected));
    hl_output_free(data);
}

static void expect_line(hl_sandbox *sandbox, const char *expected)
{
    hl_value reply = fixture_call(sandbox, "read_line", NO_ARGUMENTS);
    assert_string_equal(reply.as.string.data, expected);
    hl_value_free(&reply);
}

/* Descriptor `number` of this process is the end of a pipe for a while. */
struct redirection {
    int number, saved, other;
};

static struct redirection redirect(int number)
{
    int ends[2];
    system_pipe(ends);
    int mine = number == 0 ? ends[0] : ends[1];
    struct redirection redirection = {number, dup(number), number == 0 ? ends[1] : ends[0]};
    assert_true(dup2(mine, number) >= 0);
    close(mine);
    return redirection;
}

static void redirect_back(const struct redirection *redirection)
{
    dup2(redirection->saved, redirection->number);
    close(redirection->saved);
    if (redirection->other >= 0)
        close(redirection->other);
}

static void discarded(void **state)
{
    (void)state;
    char *data = NULL;
    size_t size;
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", NULL);
    print(HL_OK, sandbox, 1, "nobody hears this", 10);
    expect_line(sandbox, "");
    assert_status(HL_INVALID_ARGUMENT, hl_sandbox_output(sandbox, 1, &data, &size, &fixture_error));
    assert_non_null(strstr(fixture_error.message, "HL_STREAM_CAPTURE"));
    hl_stats stats = {.size = sizeof stats};
    assert_status(HL_OK, hl_sandbox_stats(sandbox, &stats, &fixture_error));
    assert_int_equal(stats.output_size, 170);
    hl_sandbox_free(sandbox);
}

static void captured(void **state)
{
    (void)state;
    const hl_sandbox_options options =
        FIXTURE_OPTIONS(.stdout_stream = {.mode = HL_STREAM_CAPTURE, .capacity = 12},
                        .stderr_stream.mode = HL_STREAM_CAPTURE);
    hl_snapshot *snapshot;
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", &options);
    assert_status(HL_OK, hl_sandbox_snapshot(sandbox, &snapshot, &fixture_error));
    expect_output(sandbox, 1, "");
    print(HL_OK, sandbox, 1, "one", 1);
    print(HL_OK, sandbox, 2, "errors", 1);
    print(HL_OK, sandbox, 1, "two", 3);
    expect_output(sandbox, 1, "onetwotwotwo");
    expect_output(sandbox, 1, "");
    expect_output(sandbox, 2, "errors");
    print(HL_OUTPUT_LIMIT, sandbox, 1, "abcdefg", 2);
    assert_non_null(strstr(fixture_error.message, "capacity"));
    expect_output(sandbox, 1, "abcdefg"); /* what there was, of a poisoned sandbox too */
    assert_status(HL_OK, hl_sandbox_restore(sandbox, snapshot, &fixture_error));
    print(HL_OK, sandbox, 1, "abcdefghijkl", 1);
    expect_output(sandbox, 1, "abcdefghijkl");
    hl_sandbox_free(sandbox);
    hl_snapshot_free(snapshot);
}

struct sink {
    char text[64];
    size_t size, capacity;
};

static bool sink_write(const char *data, size_t size, void *user)
{
    struct sink *sink = user;
    if (size > sink->capacity - sink->size)
        return false;
    memcpy(sink->text + sink->size, data, size);
    sink->size += size;
    return true;
}

static ptrdiff_t source_read(char *data, size_t size, void *user)
{
    const char **next = user;
    if (!**next)
        return -1;
    if (**next == '.')
        return 0;
    assert_true(size > 1);
    data[0] = *(*next)++;
    return 1;
}

static void callbacks(void **state)
{
    (void)state;
    const char *input = "ab.";
    struct sink sink = {.capacity = 10};
    const hl_sandbox_options options = FIXTURE_OPTIONS(
            .stdout_stream = {.mode = HL_STREAM_CALLBACK, .write = sink_write, .user = &sink},
            .stdin_stream = {.mode = HL_STREAM_CALLBACK, .read = source_read, .user = &input});
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", &options);
    print(HL_OK, sandbox, 1, "12345", 2);
    assert_memory_equal(sink.text, "1234512345", 10);
    expect_line(sandbox, "a");
    expect_line(sandbox, "b");
    expect_line(sandbox, "");
    input = "";
    expect_line(sandbox, ""); /* an I/O error; the guest gives nothing then */
    print(HL_OUTPUT_LIMIT, sandbox, 1, "6", 1);
    assert_non_null(strstr(fixture_error.message, "refused"));
    hl_sandbox_free(sandbox);
}

/* The position in the input belongs to the guest's state: snapshots carry it. */
static void input_from_memory(void **state)
{
    (void)state;
    char text[1000];
    memset(text, 'a', 256);
    memset(text + 256, 'b', 256);
    memset(text + 512, 'c', 20);
    const hl_sandbox_options options =
        FIXTURE_OPTIONS(.stdin_stream = {.mode = HL_STREAM_MEMORY, .data = text, .data_size = 532});
    const hl_sandbox_options shorter =
        FIXTURE_OPTIONS(.stdin_stream = {
                            .mode = HL_STREAM_MEMORY, .data = "short", .data_size = 5});
    hl_snapshot *snapshot;
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", &options), *other;
    memset(text, 'x', sizeof text); /* it was copied */
    char expected[257] = "";
    expect_line(sandbox, memset(expected, 'a', 256));
    assert_status(HL_OK, hl_sandbox_snapshot(sandbox, &snapshot, &fixture_error));
    for (int i = 0; i < 3; i++) {
        expect_line(sandbox, memset(expected, 'b', 256));
        expect_line(sandbox, "cccccccccccccccccccc");
        expect_line(sandbox, "");
        assert_status(HL_OK, hl_sandbox_restore(sandbox, snapshot, &fixture_error));
    }
    assert_status(HL_OK, hl_sandbox_from_snapshot(snapshot, NULL, &other, &fixture_error));
    hl_sandbox_free(sandbox);
    expect_line(other, expected);
    hl_sandbox_free(other);
    assert_status(HL_OK, hl_sandbox_from_snapshot(snapshot, &shorter, &other, &fixture_error));
    expect_line(other, ""); /* the position is behind the end of this input */
    hl_sandbox_free(other);
    hl_snapshot_free(snapshot);
}

static hl_sandbox *inheriting(uint64_t timeout_ns)
{
    const hl_sandbox_options options =
        FIXTURE_OPTIONS(.timeout_ns = timeout_ns, .stdin_stream.mode = HL_STREAM_INHERIT,
                        .stdout_stream.mode = HL_STREAM_INHERIT,
                        .stderr_stream.mode = HL_STREAM_INHERIT);
    return fixture_sandbox("plugin.musl", &options);
}

static void inherited(void **state)
{
    (void)state;
    char text[32] = "";
    hl_sandbox *sandbox = inheriting(0);
    struct redirection in = redirect(0), out = redirect(1);
    assert_int_equal(write(in.other, "line\n", 5), 5);
    hl_value line = fixture_call(sandbox, "read_line", NO_ARGUMENTS);
    hl_status printed = hl_sandbox_call(
        sandbox, "print", ARGUMENTS(hl_value_i32(1), hl_value_string("to stdout"), hl_value_i32(1)),
        NULL, NULL);
    ssize_t size = read(out.other, text, sizeof text);
    close(in.other);
    in.other = -1;
    hl_value end = fixture_call(sandbox, "read_line", NO_ARGUMENTS);
    redirect_back(&out);
    redirect_back(&in);
    assert_status(HL_OK, printed);
    assert_string_equal(line.as.string.data, "line\n");
    assert_int_equal(end.as.string.size, 0);
    assert_int_equal(size, 9);
    assert_string_equal(text, "to stdout");
    hl_value_free(&line);
    hl_value_free(&end);
    hl_sandbox_free(sandbox);
}

/* Nobody will ever read: the guest is told. */
static void closed_pipe(void **state)
{
    (void)state;
    hl_sandbox *sandbox = inheriting(0);
    struct redirection out = redirect(1);
    close(out.other);
    out.other = -1;
    hl_error error = HL_ERROR_INIT;
    hl_status status = hl_sandbox_call(
        sandbox, "print", ARGUMENTS(hl_value_i32(1), hl_value_string("text"), hl_value_i32(1)),
        NULL, &error);
    redirect_back(&out);
    assert_true(status == HL_GUEST_ERROR ||
                (status == HL_GUEST_FAULT && error.signal == LINUX_SIGPIPE));
    hl_sandbox_free(sandbox);
}

/* What a call that nobody reads for, or writes to, comes to, and how long that takes. */
struct stuck {
    hl_status status;
    uint64_t took_ns;
};

/* Of a write that was cut off, only what the pipe took counts. */
static void check_what_counts(const hl_sandbox *sandbox, struct redirection *out)
{
    static char text[4096];
    uint64_t given = 0;
    hl_stats stats = {.size = sizeof stats};
    int reader = dup(out->other);
    redirect_back(out);
    for (ssize_t got; (got = read(reader, text, sizeof text)) > 0;)
        given += (uint64_t)got;
    close(reader);
    assert_status(HL_OK, hl_sandbox_stats(sandbox, &stats, &fixture_error));
    assert_true(given > 0);
    assert_int_equal(stats.output_size, given);
}

static struct stuck print_into_full_pipe(hl_sandbox *sandbox)
{
    static char text[4000];
    memset(text, 'f', sizeof text - 1);
    struct redirection out = redirect(1);
    uint64_t start = fixture_now_ns();
    hl_status status = hl_sandbox_call(
        sandbox, "print", ARGUMENTS(hl_value_i32(1), hl_value_string(text), hl_value_i32(1000)),
        NULL, NULL);
    struct stuck stuck = {status, fixture_now_ns() - start};
    check_what_counts(sandbox, &out);
    return stuck;
}

static struct stuck read_from_silent_pipe(hl_sandbox *sandbox)
{
    struct redirection in = redirect(0);
    uint64_t start = fixture_now_ns();
    hl_status status = hl_sandbox_call(sandbox, "read_line", NO_ARGUMENTS, NULL, NULL);
    struct stuck stuck = {status, fixture_now_ns() - start};
    redirect_back(&in);
    return stuck;
}

static struct stuck (*const stuck_calls[])(hl_sandbox *) = {print_into_full_pipe,
                                                            read_from_silent_pipe};

static void deadline_while_stuck(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        hl_sandbox *sandbox = inheriting(200 * MILLISECOND);
        struct stuck stuck = stuck_calls[i](sandbox);
        assert_status(HL_TIMED_OUT, stuck.status);
        assert_in_range(stuck.took_ns, 200 * MILLISECOND, 200 * MILLISECOND + LATE_MAX);
        hl_sandbox_free(sandbox);
    }
}

static void *interrupt_soon(void *handle)
{
    usleep(200000);
    while (hl_sandbox_interrupt(handle) != HL_OK)
        usleep(1000);
    return NULL;
}

static void interrupt_while_stuck(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        hl_sandbox *sandbox = inheriting(60000 * MILLISECOND);
        hl_interrupt_handle *handle = hl_sandbox_interrupt_handle(sandbox);
        assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, handle), 0);
        struct stuck stuck = stuck_calls[i](sandbox);
        pthread_join(thread, NULL);
        assert_status(HL_INTERRUPTED, stuck.status);
        assert_in_range(stuck.took_ns, 0, 200 * MILLISECOND + LATE_MAX);
        hl_interrupt_handle_free(handle);
        hl_sandbox_free(sandbox);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(discarded),
        cmocka_unit_test(captured),
        cmocka_unit_test(callbacks),
        cmocka_unit_test(input_from_memory),
        cmocka_unit_test(inherited),
        cmocka_unit_test(closed_pipe),
        cmocka_unit_test(deadline_while_stuck),
        cmocka_unit_test(interrupt_while_stuck),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
