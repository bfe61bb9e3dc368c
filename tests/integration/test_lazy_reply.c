/*
 * Memory that the guest never touched, and so has no pages yet, where the host reads or writes it.
 * test-labels: bed
 */
#include "fixture.h"
#include <string.h>

enum { SIZE = 8 << 20, STREAM_SIZE = 3 << 20 };
static char input[STREAM_SIZE];

static void expect_zeroes(const hl_value *value, size_t size)
{
    assert_int_equal(value->type, HL_TYPE_BYTES);
    assert_int_equal(value->as.bytes.size, size);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(value->as.bytes.data[i], 0);
}

static void replies_of_untouched_memory(void **state)
{
    static const size_t sizes[] = {1, 4096, 65536, 65537, SIZE - 1, SIZE};
    (void)state;
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", NULL);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        hl_value reply = fixture_call(sandbox, "lazy_bytes", ARGUMENTS(hl_value_u64(sizes[i])));
        expect_zeroes(&reply, sizes[i]);
        hl_value_free(&reply);
    }
    hl_sandbox_free(sandbox);
}

static hl_status take(hl_call *call, const hl_value *arguments, size_t count, hl_value *reply,
                      void *user)
{
    (void)call, (void)count, (void)user;
    expect_zeroes(&arguments[0], SIZE);
    *reply = hl_value_bool(true);
    return HL_OK;
}

static void host_calls_with_untouched_memory(void **state)
{
    (void)state;
    hl_host_functions *functions;
    assert_status(HL_OK, hl_host_functions_new(&functions, &fixture_error));
    assert_status(HL_OK,
                  hl_host_functions_add(functions, "take", NULL, take, NULL, NULL, &fixture_error));
    const hl_sandbox_options options = FIXTURE_OPTIONS(.host_functions = functions);
    hl_sandbox *sandbox = fixture_sandbox("plugin.glibc", &options);
    hl_value reply =
        fixture_call(sandbox, "lazy_bytes", ARGUMENTS(hl_value_u64(SIZE), hl_value_bool(true)));
    assert_true(reply.type == HL_TYPE_BOOL && reply.as.boolean);
    hl_value_free(&reply);
    hl_sandbox_free(sandbox);
    hl_host_functions_free(functions);
}

static void streams_of_untouched_memory(void **state)
{
    (void)state;
    char *output;
    size_t size;
    memset(input, 'i', sizeof input);
    const hl_sandbox_options options =
        FIXTURE_OPTIONS(.stdin_stream = {.mode = HL_STREAM_MEMORY,
                                         .data = input,
                                         .data_size = sizeof input},
                        .stdout_stream = {.mode = HL_STREAM_CAPTURE, .capacity = STREAM_SIZE});
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", &options);
    hl_value reply =
        fixture_call(sandbox, "lazy_stream", ARGUMENTS(hl_value_u32(1), hl_value_u64(STREAM_SIZE)));
    assert_int_equal(reply.as.i64, STREAM_SIZE);
    hl_value_free(&reply);
    reply =
        fixture_call(sandbox, "lazy_stream", ARGUMENTS(hl_value_u32(0), hl_value_u64(STREAM_SIZE)));
    assert_in_range(reply.as.i64, 1, STREAM_SIZE); /* as much as one exit brings */
    hl_value_free(&reply);
    assert_status(HL_OK, hl_sandbox_output(sandbox, 1, &output, &size, &fixture_error));
    assert_int_equal(size, STREAM_SIZE);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(output[i], 0);
    hl_output_free(output);
    hl_sandbox_free(sandbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_of_untouched_memory),
        cmocka_unit_test(host_calls_with_untouched_memory),
        cmocka_unit_test(streams_of_untouched_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
