/*
 * The guest SDK without a VM: a fake shim plays host. It overwrites its shared memory whenever the
 * real host could, so that nothing that must last can lie there.
 *
 * test-sources: guest/sdk
 */
#include "../../guest/sdk/sdk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sys/auxv.h>
#include <unistd.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))
#define TRANSFER_SIZE (1u << 20)

/* A request and the reply that it should get. */
struct exchange {
    const char *function;
    const hl_value *arguments;
    size_t count;
    uint64_t wake; /* flags beside HL_ABI_WAKE_CALL */
    uint64_t outcome;
    const hl_value *reply; /* NULL: not looked at */
};

static struct host {
    struct hl_abi_mailbox mailbox;
    struct hl_abi_wake wake;
    alignas(16) uint8_t transfer[TRANSFER_SIZE];
    size_t transfer_live; /* bytes that the request being served takes */
    const struct exchange *exchanges;
    size_t count, next;
    uint64_t answer_outcome;
    hl_value answer;
    size_t host_calls, exports;
    char called[HL_NAME_MAX + 1];
    char log[HL_ABI_LOG_SIZE_MAX + 1];
    uint64_t log_level;
    jmp_buf end;
} host;

static bool host_fetch(void *user, uint64_t address, void *out, size_t size)
{
    (void)user;
    memcpy(out, (const void *)(uintptr_t)address, size);
    return true;
}

static hl__wire_message host_decode(uint32_t kind, uint64_t address, uint64_t size)
{
    hl__wire_message message;
    hl__wire_problem problem = {HL_OK, "none"};
    void *copy = hl__wire_buffer_new(size);
    assert_non_null(copy);
    memcpy(copy, (const void *)(uintptr_t)address, size);
    if (!hl__wire_decode(kind, copy, size, UINT64_MAX, host_fetch, NULL, &message, &problem))
        fail_msg("the guest sent a bad message: %s", problem.reason);
    return message;
}

/* Small messages go to the mailbox, others to transfer memory behind what is live there. */
static void *host_place(uint64_t size)
{
    memset(host.mailbox.inline_message, 0xee, sizeof host.mailbox.inline_message);
    memset(host.transfer + host.transfer_live, 0xee, TRANSFER_SIZE - host.transfer_live);
    void *place = host.mailbox.inline_message;
    if (size > HL_ABI_INLINE_SIZE) {
        assert_in_range(size, 1, TRANSFER_SIZE - host.transfer_live);
        place = host.transfer + host.transfer_live;
    }
    host.mailbox.request = (struct hl_abi_place){(uintptr_t)place, size};
    return place;
}

static uint64_t host_send(const hl__wire_content *content)
{
    hl__wire_problem problem;
    uint64_t size;
    assert_true(hl__wire_encode(content, NULL, 0, &size, &problem));
    assert_true(hl__wire_encode(content, host_place(size), size, &size, &problem));
    return size;
}

static void host_send_call(const struct exchange *exchange)
{
    const hl_span name = {exchange->function, strlen(exchange->function)};
    const hl__wire_content content = {&name, exchange->arguments, exchange->count, false,
                                      UINT64_MAX};
    host.transfer_live = 0;
    uint64_t size = host_send(&content);
    host.transfer_live = size > HL_ABI_INLINE_SIZE ? size : 0;
}

static void host_check_reply(const struct exchange *exchange, uint64_t outcome, uint64_t address,
                             uint64_t size)
{
    assert_int_equal(outcome, exchange->outcome);
    hl__wire_message message = host_decode(HL_WIRE_VALUE, address, size);
    if (exchange->reply != NULL && !hl_value_equal(&message.values[0], exchange->reply))
        fail_msg("wrong reply: %s %.100s", hl_type_name(message.values[0].type),
                 message.values[0].type == HL_TYPE_STRING ? message.values[0].as.string.data : "");
    hl__wire_message_free(&message);
}

static int64_t host_rest(uint64_t outcome, uint64_t address, uint64_t size)
{
    if (host.next == 0)
        assert_int_equal(outcome, HL_ABI_OUTCOME_NONE);
    else
        host_check_reply(&host.exchanges[host.next - 1], outcome, address, size);
    if (host.next == host.count)
        longjmp(host.end, 1);
    const struct exchange *exchange = &host.exchanges[host.next++];
    host_send_call(exchange);
    return (int64_t)(HL_ABI_WAKE_CALL | exchange->wake);
}

static int64_t host_call(uint64_t address, uint64_t size)
{
    hl__wire_message message = host_decode(HL_WIRE_CALL, address, size);
    memcpy(host.called, message.function.data, message.function.size + 1);
    host.host_calls++;
    bool echo = host.answer.type == HL_TYPE_ANY;
    hl_value answer = echo ? message.values[0] : host.answer;
    const hl__wire_content content = {NULL, &answer, 1, false, UINT64_MAX};
    host_send(&content);
    hl__wire_message_free(&message);
    return (int64_t)host.answer_outcome;
}

static int64_t host_exports(uint64_t address, uint64_t size, uint64_t least, uint64_t greatest)
{
    hl__wire_export *exports;
    hl__wire_problem problem;
    assert_int_equal(least, HL_ABI_VERSION_MIN);
    assert_int_equal(greatest, HL_ABI_VERSION_MAX);
    assert_true(hl__wire_exports_decode((const void *)(uintptr_t)address, size, &exports,
                                        &host.exports, &problem));
    free(exports);
    return 0;
}

static int64_t shim_call(uint64_t op, uint64_t arg0, uint64_t arg1, uint64_t arg2, uint64_t arg3)
{
    switch (op) {
    case HL_ABI_OP_REST:
        return host_rest(arg0, arg1, arg2);
    case HL_ABI_OP_EXPORT:
        return host_exports(arg0, arg1, arg2, arg3);
    case HL_ABI_OP_HOST_CALL:
        return host_call(arg0, arg1);
    case HL_ABI_OP_LOG:
        assert_in_range(arg2, 0, HL_ABI_LOG_SIZE_MAX);
        memset(host.log, 0, sizeof host.log);
        memcpy(host.log, (const void *)(uintptr_t)arg1, arg2);
        assert_int_equal(arg3, 0);
        host.log_level = arg0;
        return 0;
    default:
        return -22;
    }
}

static const struct hl_abi_shim shim = {
    .magic = HL_ABI_SHIM_MAGIC,
    .version_min = HL_ABI_VERSION_MIN,
    .version_max = HL_ABI_VERSION_MAX,
    .call = shim_call,
    .request = &host.mailbox.request,
    .wake = &host.wake,
};

static const struct hl_abi_shim *shim_shown;

/* Takes libc's place: the auxiliary vector has, or has not, a shim in it. */
unsigned long getauxval(unsigned long key)
{
    if (key == HL_ABI_AT_SHIM)
        return (unsigned long)(uintptr_t)shim_shown;
    return key == AT_EXECFN ? (unsigned long)(uintptr_t) "plugin" : 0;
}

static void arena_forget(struct hl__arena *arena)
{
    struct hl__arena_block *block = arena->first == NULL ? NULL : arena->first->next;
    while (block != NULL) {
        struct hl__arena_block *next = block->next;
        free(block);
        block = next;
    }
}

static int start(void **state)
{
    (void)state;
    memset(&host, 0, sizeof host);
    host.answer_outcome = HL_ABI_OUTCOME_OK;
    host.answer.type = HL_TYPE_ANY; /* the first argument */
    shim_shown = &shim;
    return 0;
}

/* Makes the SDK a freshly started program again. */
static int finish(void **state)
{
    (void)state;
    arena_forget(&hl__guest.call);
    arena_forget(&hl__guest.answer);
    for (size_t i = 0; i < hl__guest.export_count; i++) {
        const hl__wire_export *export = &hl__guest.exports[i];
        size_t types_size = export->signature.parameter_count * sizeof(hl_type);
        free((char *)(uintptr_t) export->name.data - types_size);
    }
    free(hl__guest.exports);
    free(hl__guest.handlers);
    free(hl__guest.hooks);
    memset(&hl__guest, 0, sizeof hl__guest);
    return 0;
}

static void serve(const struct exchange *exchanges, size_t count)
{
    host.exchanges = exchanges;
    host.count = count;
    if (setjmp(host.end) == 0) {
        hl_guest_serve();
        fail_msg("the SDK stopped serving");
    }
    assert_int_equal(host.next, count);
}

/* Guest functions. */

static hl_status echo(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    (void)user;
    assert_int_equal(reply->type, HL_TYPE_NULL);
    if (count > 0)
        *reply = arguments[0];
    return HL_OK;
}

static hl_status fail_with_text(const hl_value *arguments, size_t count, hl_value *reply,
                                void *user)
{
    (void)count;
    (void)reply;
    (void)user;
    return hl_guest_fail("bad date: %s", arguments[0].as.string.data);
}

static hl_status fail_plainly(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    (void)arguments;
    (void)count;
    (void)reply;
    (void)user;
    return HL_INVALID_ARGUMENT;
}

static hl_status reply_with(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    (void)arguments;
    (void)count;
    *reply = *(const hl_value *)user;
    return HL_OK;
}

/* A list of as many numbers as were asked for, in scratch memory. */
static hl_status count_up(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    (void)count;
    (void)user;
    size_t wanted = (size_t)arguments[0].as.i32;
    hl_value *items = hl_guest_alloc(wanted * sizeof *items);
    assert_non_null(items);
    assert_int_equal((uintptr_t)items % 16, 0);
    for (size_t i = 0; i < wanted; i++) {
        assert_int_equal(items[i].type, HL_TYPE_NULL); /* zeroed */
        items[i] = hl_value_i32((int32_t)i);
    }
    *reply = hl_value_list(items, wanted);
    return HL_OK;
}

/* Asks the host thrice, and uses both its arguments and the host's answers afterwards. */
static hl_status ask_host(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    (void)user;
    hl_value answer = arguments[0];
    for (int i = 0; i < 3; i++)
        if (hl_guest_call("host_echo", &answer, 1, &answer) != HL_OK)
            return hl_guest_fail("%s", hl_guest_error());
    assert_true(hl_value_equal(&arguments[0], &answer));
    assert_string_equal(hl_guest_error(), "");
    *reply = answer;
    return count == 1 ? HL_OK : HL_INVALID_ARGUMENT;
}

static hl_status expected_status;

static hl_status call_fails(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    (void)user;
    assert_int_equal(hl_guest_call("host_fails", arguments, count, NULL), expected_status);
    *reply = hl_value_string(hl_guest_error());
    return HL_OK;
}

static void export_all(void)
{
    assert_int_equal(hl_guest_export("echo", echo, NULL), HL_OK);
    assert_int_equal(hl_guest_export("fail_with_text", fail_with_text, NULL), HL_OK);
    assert_int_equal(hl_guest_export("fail_plainly", fail_plainly, NULL), HL_OK);
    assert_int_equal(hl_guest_export("count_up", count_up, NULL), HL_OK);
    assert_int_equal(hl_guest_export("ask_host", ask_host, NULL), HL_OK);
    assert_int_equal(hl_guest_export("call_fails", call_fails, NULL), HL_OK);
}

static void test_sdk_serves_calls_with_results(void **state)
{
    (void)state;
    const hl_value inner[] = {hl_value_i32(1), hl_value_string("zwei \xe2\x82\xac")};
    const hl_value values[] = {hl_value_string("hello"), hl_value_f64(0.25),
                               hl_value_list(inner, 2), hl_value_null()};
    struct exchange exchanges[COUNT_OF(values)];
    for (size_t i = 0; i < COUNT_OF(values); i++)
        exchanges[i] = (struct exchange){"echo", &values[i], 1, 0, HL_ABI_OUTCOME_OK, &values[i]};
    export_all();
    serve(exchanges, COUNT_OF(exchanges));
    assert_int_equal(host.exports, hl__guest.export_count);
}

static void test_sdk_warm_calls_stay_on_one_page(void **state)
{
    (void)state;
    char text[64];
    memset(text, 'x', sizeof text);
    const hl_value value = hl_value_string_n(text, sizeof text);
    const struct exchange exchanges[] = {
        {"echo", &value, 1, 0, HL_ABI_OUTCOME_OK, &value},
        {"ask_host", &value, 1, 0, HL_ABI_OUTCOME_OK, &value},
    };
    export_all();
    serve(exchanges, COUNT_OF(exchanges));
    assert_null(hl__guest.call.first->next);
    assert_null(hl__guest.answer.first->next);
    assert_int_equal((uintptr_t)&hl__guest % HL_ABI_PAGE_SIZE, 0);
}

static void test_sdk_echoes_texts_of_every_transport(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, 4095, 4096, 16000, 16127, 16128, 16129, 100000, 300000};
    static char text[300000];
    hl_value values[COUNT_OF(sizes)];
    struct exchange exchanges[2 * COUNT_OF(sizes)];
    memset(text, 't', sizeof text);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        values[i] = hl_value_string_n(text, sizes[i]);
        exchanges[2 * i] =
            (struct exchange){"echo", &values[i], 1, 0, HL_ABI_OUTCOME_OK, &values[i]};
        exchanges[2 * i + 1] =
            (struct exchange){"ask_host", &values[i], 1, 0, HL_ABI_OUTCOME_OK, &values[i]};
    }
    export_all();
    serve(exchanges, COUNT_OF(exchanges));
    assert_int_equal(host.host_calls, 3 * COUNT_OF(sizes));
}

static void test_sdk_failures_carry_their_text(void **state)
{
    (void)state;
    const hl_value argument = hl_value_string("tomorrow");
    const hl_value text = hl_value_string("bad date: tomorrow");
    const hl_value meaning = hl_value_string("an argument or option is invalid");
    const hl_value unknown = hl_value_string("the guest exports no function nothing");
    const struct exchange exchanges[] = {
        {"fail_with_text", &argument, 1, 0, HL_ABI_OUTCOME_ERROR, &text},
        {"fail_plainly", NULL, 0, 0, HL_ABI_OUTCOME_ERROR, &meaning},
        {"nothing", NULL, 0, 0, HL_ABI_OUTCOME_UNKNOWN, &unknown},
        {"echo", &argument, 1, 0, HL_ABI_OUTCOME_OK, &argument},
    };
    export_all();
    serve(exchanges, COUNT_OF(exchanges));
}

static void test_sdk_failure_texts_are_cut_and_made_utf8(void **state)
{
    (void)state;
    char longer[1000], expected[HL_ERROR_MESSAGE_MAX];
    for (size_t i = 0; i < sizeof longer - 1; i += 3)
        memcpy(longer + i, "\xe2\x82\xac", 3);
    longer[sizeof longer - 1] = '\0';
    hl_guest_fail("x\xffy\xc3 %s", "\xe2\x82\xac");
    assert_string_equal(hl__guest_fail_text, "x?y? \xe2\x82\xac");
    hl_guest_fail("%s", longer);
    memcpy(expected, longer, 507);
    memcpy(expected + 507, "...", 4);
    assert_string_equal(hl__guest_fail_text, expected);
}

static void test_sdk_replies_that_cannot_be_sent_are_failures(void **state)
{
    (void)state;
    const hl_value invalid = hl_value_string("\xff");
    const hl_value many = hl_value_list(&invalid, 1);
    const hl_value text =
        hl_value_string("the guest function's reply cannot be sent: string is not valid UTF-8");
    const struct exchange exchanges[] = {
        {"invalid", NULL, 0, 0, HL_ABI_OUTCOME_ERROR, &text},
        {"many", NULL, 0, 0, HL_ABI_OUTCOME_ERROR, &text},
    };
    assert_int_equal(hl_guest_export("invalid", reply_with, (void *)(uintptr_t)&invalid), HL_OK);
    assert_int_equal(hl_guest_export("many", reply_with, (void *)(uintptr_t)&many), HL_OK);
    serve(exchanges, COUNT_OF(exchanges));
}

static void test_sdk_scratch_memory_is_reused_and_bounded(void **state)
{
    (void)state;
    static hl_value numbers[300000];
    const hl_value wanted[] = {hl_value_i32(300000), hl_value_i32(1000)};
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        numbers[i] = hl_value_i32((int32_t)i);
    const hl_value most = hl_value_list(numbers, COUNT_OF(numbers));
    const hl_value fewer = hl_value_list(numbers, 1000);
    const struct exchange exchanges[] = {
        {"count_up", &wanted[1], 1, 0, HL_ABI_OUTCOME_OK, &fewer},
        {"count_up", &wanted[0], 1, 0, HL_ABI_OUTCOME_OK, &most},
        {"count_up", &wanted[1], 1, 0, HL_ABI_OUTCOME_OK, &fewer},
        {"count_up", &wanted[1], 1, 0, HL_ABI_OUTCOME_OK, &fewer},
    };
    export_all();
    serve(exchanges, COUNT_OF(exchanges));
    size_t kept = 0;
    for (const struct hl__arena_block *block = hl__guest.call.first->next; block != NULL;
         block = block->next)
        kept += block->size;
    assert_in_range(kept, 1, HL__ARENA_KEPT_SIZE);
    assert_null(hl_guest_alloc(SIZE_MAX));
    assert_null(hl_guest_alloc(SIZE_MAX - 64));
}

static void test_sdk_host_call_outcomes_become_statuses(void **state)
{
    (void)state;
    static const struct {
        uint64_t outcome;
        hl_status status;
    } cases[] = {
        {HL_ABI_OUTCOME_ERROR, HL_GUEST_ERROR},
        {HL_ABI_OUTCOME_UNKNOWN, HL_UNKNOWN_FUNCTION},
        {HL_ABI_OUTCOME_MISMATCH, HL_SIGNATURE_MISMATCH},
        {HL_ABI_OUTCOME_TOO_LARGE, HL_REPLY_TOO_LARGE},
        {HL_ABI_OUTCOME_ANSWER_TOO_LARGE, HL_REQUEST_TOO_LARGE},
        {HL_ABI_OUTCOME_INVALID, HL_INVALID_VALUE},
    };
    const hl_value text = hl_value_string("the host's reason");
    const struct exchange exchange = {"call_fails", NULL, 0, 0, HL_ABI_OUTCOME_OK, &text};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        start(state);
        host.answer = text;
        host.answer_outcome = cases[i].outcome;
        expected_status = cases[i].status;
        export_all();
        serve(&exchange, 1);
        finish(state);
    }
    start(state);
    host.answer = text;
    host.answer_outcome = (uint64_t)-22;
    hl_value reply;
    assert_int_equal(hl_guest_call("any", NULL, 0, &reply), HL_SYSTEM);
    assert_string_equal(hl_guest_error(), "the operating system refused an operation");
}

static void test_sdk_host_calls_with_bad_arguments_never_reach_the_host(void **state)
{
    (void)state;
    const hl_value invalid = hl_value_string("\xff");
    hl_value reply;
    assert_int_equal(hl_guest_call("any", &invalid, 1, &reply), HL_INVALID_VALUE);
    assert_string_equal(hl_guest_error(), "string is not valid UTF-8");
    assert_int_equal(hl_guest_call("", NULL, 0, &reply), HL_INVALID_VALUE);
    assert_int_equal(hl_guest_call(NULL, NULL, 0, &reply), HL_INVALID_VALUE);
    assert_int_equal(host.host_calls, 0);
}

static void test_sdk_many_host_calls_need_no_more_memory_than_one(void **state)
{
    (void)state;
    const hl_value argument = hl_value_string("again");
    hl_value reply;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(hl_guest_call("any", &argument, 1, &reply), HL_OK);
    assert_string_equal(host.called, "any");
    assert_null(hl__guest.answer.first->next);
}

static hl_guest_wake woken;
static unsigned woken_times;

static void on_restore(const hl_guest_wake *wake, void *user)
{
    const hl_value argument = hl_value_string("from the hook");
    hl_value reply;
    assert_ptr_equal(user, &woken);
    woken = *wake;
    woken_times++;
    assert_int_equal(hl_guest_call("reconnect", &argument, 1, &reply), HL_OK);
}

static void test_sdk_restore_hooks_run_before_the_call(void **state)
{
    (void)state;
    const hl_value value = hl_value_string("survives the hook's host call");
    const struct exchange exchanges[] = {
        {"echo", &value, 1, 0, HL_ABI_OUTCOME_OK, &value},
        {"echo", &value, 1, HL_ABI_WAKE_RESTORED, HL_ABI_OUTCOME_OK, &value},
        {"echo", &value, 1, 0, HL_ABI_OUTCOME_OK, &value},
    };
    woken_times = 0;
    host.wake.generation = 77;
    memset(host.wake.seed, 0x5e, sizeof host.wake.seed);
    export_all();
    assert_int_equal(hl_guest_on_restore(NULL, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_guest_on_restore(on_restore, &woken), HL_OK);
    assert_int_equal(hl_guest_on_restore(on_restore, &woken), HL_OK);
    serve(exchanges, COUNT_OF(exchanges));
    assert_int_equal(woken_times, 2);
    assert_int_equal(woken.size, sizeof woken);
    assert_int_equal(woken.generation, 77);
    assert_memory_equal(woken.seed, host.wake.seed, sizeof woken.seed);
}

static hl_status export_late(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    (void)arguments;
    (void)count;
    (void)user;
    *reply = hl_value_i32(hl_guest_export("late", echo, NULL));
    return HL_OK;
}

static void test_sdk_bad_exports_are_refused(void **state)
{
    (void)state;
    char name[HL_NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    const hl_type types[] = {HL_TYPE_ANY, (hl_type)12};
    const hl_signature good = {types, 1, HL_TYPE_NULL}, bad = {types, 2, HL_TYPE_NULL};
    const hl_signature bad_result = {NULL, 0, (hl_type)12}, missing = {NULL, 1, HL_TYPE_NULL};
    const hl_signature many = {types, HL_PARAMETERS_MAX + 1, HL_TYPE_NULL};
    assert_int_equal(hl_guest_export(name, echo, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_guest_export(name + 1, echo, NULL), HL_OK);
    assert_int_equal(hl_guest_export(name + 1, echo, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_guest_export("", echo, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_guest_export("\xff", echo, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_guest_export(NULL, echo, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_guest_export("none", NULL, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_guest_export_typed("t", &bad, echo, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_guest_export_typed("t", &bad_result, echo, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_guest_export_typed("t", &missing, echo, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_guest_export_typed("t", &many, echo, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_guest_export_typed("t", &good, echo, NULL), HL_OK);
    assert_int_equal(hl_guest_export("export_late", export_late, NULL), HL_OK);
    const hl_value refused = hl_value_i32(HL_INVALID_ARGUMENT);
    const struct exchange exchange = {"export_late", NULL, 0, 0, HL_ABI_OUTCOME_OK, &refused};
    serve(&exchange, 1);
    assert_int_equal(host.exports, 3);
}

static void test_sdk_number_of_exports_is_limited(void **state)
{
    (void)state;
    char name[16];
    for (unsigned i = 0; i < HL_WIRE_EXPORTS_MAX; i++) {
        snprintf(name, sizeof name, "f%u", i);
        assert_int_equal(hl_guest_export(name, echo, NULL), HL_OK);
    }
    assert_int_equal(hl_guest_export("one more", echo, NULL), HL_INVALID_ARGUMENT);
    serve(NULL, 0);
    assert_int_equal(host.exports, HL_WIRE_EXPORTS_MAX);
}

static void test_sdk_log_lines_are_cut_and_levels_clamped(void **state)
{
    (void)state;
    char longer[3000];
    memset(longer, 'l', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    hl_guest_log(3, "%d bottles", 99);
    assert_string_equal(host.log, "99 bottles");
    assert_int_equal(host.log_level, 3);
    hl_guest_log(-7, "%s", longer);
    assert_int_equal(strlen(host.log), HL_ABI_LOG_SIZE_MAX);
    assert_int_equal(host.log_level, 1);
    hl_guest_log(99, "%s", "");
    assert_string_equal(host.log, "");
    assert_int_equal(host.log_level, 5);
}

/* Runs hl_guest_serve() and returns what it wrote to stderr. */
static const char *serve_complaint(int *status)
{
    static char text[1024];
    int ends[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    *status = hl_guest_serve();
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    close(ends[1]);
    ssize_t size = read(ends[0], text, sizeof text - 1);
    assert_in_range(size, 0, sizeof text - 1);
    text[size] = '\0';
    close(ends[0]);
    close(saved);
    return text;
}

static void test_sdk_outside_of_a_vm_says_so(void **state)
{
    (void)state;
    static const struct hl_abi_shim stranger = {.magic = 1};
    const struct hl_abi_shim *const shims[] = {NULL, &stranger};
    for (size_t i = 0; i < COUNT_OF(shims); i++) {
        int status;
        hl_value reply;
        shim_shown = shims[i];
        assert_false(hl_guest_inside());
        assert_string_equal(serve_complaint(&status),
                            "plugin: this program serves Hyperlight calls and must run inside a "
                            "micro VM, try: hyperlight call plugin FUNCTION\n");
        assert_int_equal(status, 70);
        assert_int_equal(hl_guest_call("any", NULL, 0, &reply), HL_NOT_SERVING);
        assert_string_equal(hl_guest_error(), "the program serves no calls");
        hl_guest_log(3, "nobody listens");
        void *scratch = hl_guest_alloc(10000);
        assert_non_null(scratch);
    }
}

static int64_t shim_refuses(uint64_t op, uint64_t arg0, uint64_t arg1, uint64_t arg2, uint64_t arg3)
{
    (void)arg0, (void)arg1, (void)arg2, (void)arg3;
    return op == HL_ABI_OP_REST ? -22 : 0;
}

static void test_sdk_stops_when_the_shim_refuses(void **state)
{
    (void)state;
    struct hl_abi_shim refusing = shim;
    int status;
    refusing.call = shim_refuses;
    shim_shown = &refusing;
    assert_true(hl_guest_inside());
    assert_string_equal(serve_complaint(&status), "plugin: cannot rest for the next call\n");
    assert_int_equal(status, 70);
    assert_string_equal(serve_complaint(&status), "plugin: serves calls already\n");
    assert_int_equal(status, 70);
}

#define SDK_TEST(function) cmocka_unit_test_setup_teardown(function, start, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SDK_TEST(test_sdk_serves_calls_with_results),
        SDK_TEST(test_sdk_warm_calls_stay_on_one_page),
        SDK_TEST(test_sdk_echoes_texts_of_every_transport),
        SDK_TEST(test_sdk_failures_carry_their_text),
        SDK_TEST(test_sdk_failure_texts_are_cut_and_made_utf8),
        SDK_TEST(test_sdk_replies_that_cannot_be_sent_are_failures),
        SDK_TEST(test_sdk_scratch_memory_is_reused_and_bounded),
        SDK_TEST(test_sdk_host_call_outcomes_become_statuses),
        SDK_TEST(test_sdk_host_calls_with_bad_arguments_never_reach_the_host),
        SDK_TEST(test_sdk_many_host_calls_need_no_more_memory_than_one),
        SDK_TEST(test_sdk_restore_hooks_run_before_the_call),
        SDK_TEST(test_sdk_bad_exports_are_refused),
        SDK_TEST(test_sdk_number_of_exports_is_limited),
        SDK_TEST(test_sdk_log_lines_are_cut_and_levels_clamped),
        SDK_TEST(test_sdk_outside_of_a_vm_says_so),
        SDK_TEST(test_sdk_stops_when_the_shim_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
