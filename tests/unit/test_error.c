/* Statuses, error objects, escaping of hostile text, options structures. */
#include "util/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_status_names(void **state)
{
    (void)state;
    assert_string_equal(hl_status_name(HL_OK), "HL_OK");
    assert_string_equal(hl_status_name(HL_TIMED_OUT), "HL_TIMED_OUT");
    assert_string_equal(hl_status_name((hl_status)9999), "HL_?");
    assert_string_equal(hl_status_meaning(HL_BUSY), "the sandbox is in a call already");
    assert_non_null(hl_status_meaning((hl_status)9999));
    assert_string_equal(hl_version(), HL_VERSION_STRING);
}

static void test_status_poisons(void **state)
{
    (void)state;
    assert_false(hl_status_poisons(HL_OK));
    assert_false(hl_status_poisons(HL_GUEST_ERROR));
    assert_false(hl_status_poisons(HL_POISONED));
    assert_true(hl_status_poisons(HL_TIMED_OUT));
    assert_true(hl_status_poisons(HL_GUEST_VIOLATION));
    assert_true(hl_status_poisons(HL_SYSTEM));
    assert_false(hl_status_poisons((hl_status)9999));
}

static void test_error_set_fills_everything(void **state)
{
    (void)state;
    hl_error err;
    memset(&err, 0xaa, sizeof err);
    assert_int_equal(hl__error_set(&err, HL_BUSY, "here", "%s is %d", "x", 3), HL_BUSY);
    assert_int_equal(err.status, HL_BUSY);
    assert_int_equal(err.os_error, 0);
    assert_int_equal(err.exit_code, 0);
    assert_int_equal(err.signal, 0);
    assert_int_equal(err.fault_vector, HL_NO_VECTOR);
    assert_int_equal(err.fault_address, 0);
    assert_int_equal(err.instruction_pointer, 0);
    assert_string_equal(err.source, "here");
    assert_string_equal(err.message, "x is 3");
}

static void test_error_without_object(void **state)
{
    (void)state;
    assert_int_equal(hl__error_set(NULL, HL_BUSY, NULL, "x"), HL_BUSY);
    assert_int_equal(hl__error_os(NULL, HL_SYSTEM, EIO, NULL, "x"), HL_SYSTEM);
}

static void test_error_os_names_the_reason(void **state)
{
    (void)state;
    hl_error err;
    assert_int_equal(hl__error_os(&err, HL_SYSTEM, ENOENT, "open", "%s", "file"), HL_SYSTEM);
    assert_int_equal(err.os_error, ENOENT);
    assert_string_equal(err.message, "file: No such file or directory");
    assert_string_equal(err.source, "open");
}

static void test_error_is_one_bounded_line(void **state)
{
    (void)state;
    hl_error err;
    hl__error_set(&err, HL_SYSTEM, NULL, "a\nb\x1b[31m");
    assert_string_equal(err.message, "a\\x0ab\\x1b[31m");

    char longer[3000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    hl__error_set(&err, HL_SYSTEM, NULL, "%s", longer);
    assert_int_equal(strlen(err.message), HL_ERROR_MESSAGE_MAX - 1);
    assert_string_equal(err.message + HL_ERROR_MESSAGE_MAX - 4, "...");
    hl__error_os(&err, HL_SYSTEM, EIO, NULL, "%s", longer);
    assert_int_equal(strlen(err.message), HL_ERROR_MESSAGE_MAX - 1);
}

static void check_escape(const char *text, size_t capacity, const char *expected)
{
    char out[64];
    memset(out, 'Z', sizeof out);
    hl__text_escape(out, capacity, text, strlen(text));
    assert_string_equal(out, expected);
    assert_int_equal(out[capacity], 'Z');
}

static void test_escape_keeps_text(void **state)
{
    (void)state;
    check_escape("plain \\ text", 40, "plain \\ text");
    check_escape("\u00e4\u20ac\U0001f600", 40, "\u00e4\u20ac\U0001f600");
    check_escape("", 1, "");
}

static void test_escape_hostile_bytes(void **state)
{
    (void)state;
    check_escape("\t\r\x7f", 40, "\\x09\\x0d\\x7f");
    check_escape("\xc2\x9b"
                 "31m",
                 40, "\\xc2\\x9b31m"); /* C1: CSI */
    check_escape("\xc0\x80\xff", 40, "\\xc0\\x80\\xff");
    check_escape("\xed\xa0\x80", 40, "\\xed\\xa0\\x80");
    check_escape("a\xe2\x82", 40, "a\\xe2\\x82"); /* cut short by its sender */
    char out[8];
    hl__text_escape(out, sizeof out, "a\0b", 3);
    assert_string_equal(out, "a\\x00b");
}

static void test_escape_cuts_between_characters(void **state)
{
    (void)state;
    check_escape("12345678", 9, "12345678");
    check_escape("123456789", 9, "12345...");
    check_escape("1234\u20ac78", 9, "1234...");
    check_escape("12\n45678", 9, "12...");
    check_escape("1234\n", 9, "1234\\x0a");
    check_escape("1234\nx", 9, "1234...");
    check_escape("abcdef", 4, "...");
    check_escape("abcdef", 3, "..");
    check_escape("abcdef", 1, "");
    char untouched = 'Z';
    hl__text_escape(&untouched, 0, "abc", 3);
    assert_int_equal(untouched, 'Z');
}

/* Whatever comes in, what goes out is printable, valid and within its bounds. */
static void test_escape_any_bytes(void **state)
{
    (void)state;
    uint32_t random = 1;
    for (int round = 0; round < 20000; round++) {
        char text[24], out[40];
        for (size_t i = 0; i < sizeof text; i++) {
            random = random * 1664525 + 1013904223;
            text[i] = (char)(random >> 24);
        }
        size_t capacity = 1 + random % sizeof out;
        hl__text_escape(out, capacity, text, sizeof text);
        size_t length = strlen(out);
        assert_true(length < capacity);
        assert_true(hl__text_is_utf8(out, length));
        for (size_t i = 0; i < length; i++)
            assert_true((unsigned char)out[i] >= 0x20 && out[i] != 0x7f);
    }
}

/* An options structure as this library knows it, and as a later one does. */
struct known {
    size_t size;
    int first;
    int second;
};

struct later {
    struct known known;
    uint64_t more;
};

static hl_status copy(struct known *out, const void *options, hl_error *err)
{
    memset(out, 0xaa, sizeof *out);
    return hl__options_copy(out, sizeof *out, sizeof *out, options, "known", err);
}

static void test_options_defaults(void **state)
{
    (void)state;
    struct known out;
    assert_int_equal(copy(&out, NULL, NULL), HL_OK);
    assert_int_equal(out.first, 0);
    assert_int_equal(out.second, 0);
    assert_int_equal(copy(&out, &(struct known){sizeof out, 1, 2}, NULL), HL_OK);
    assert_int_equal(out.second, 2);
}

static void test_options_of_another_size(void **state)
{
    (void)state;
    struct known out;
    hl_error err;
    struct later later = {{sizeof later, 1, 2}, 0};
    assert_int_equal(copy(&out, &later, NULL), HL_OK);
    assert_int_equal(out.first, 1);
    later.more = 1;
    assert_int_equal(copy(&out, &later, &err), HL_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "does not know"));

    /* An older caller, whose structure ended behind `first`. */
    struct known older = {offsetof(struct known, second), 7, 8};
    assert_int_equal(hl__options_copy(&out, sizeof out, older.size, &older, "known", NULL), HL_OK);
    assert_int_equal(out.first, 7);
    assert_int_equal(out.second, 0);
}

static void test_options_without_size(void **state)
{
    (void)state;
    struct known out;
    hl_error err;
    assert_int_equal(copy(&out, &(struct known){0, 1, 2}, &err), HL_INVALID_ARGUMENT);
    assert_string_equal(err.message, "known.size is 0: set it to sizeof(known)");
    assert_int_equal(copy(&out, &(struct known){SIZE_MAX, 1, 2}, &err), HL_INVALID_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_names),
        cmocka_unit_test(test_status_poisons),
        cmocka_unit_test(test_error_set_fills_everything),
        cmocka_unit_test(test_error_without_object),
        cmocka_unit_test(test_error_os_names_the_reason),
        cmocka_unit_test(test_error_is_one_bounded_line),
        cmocka_unit_test(test_escape_keeps_text),
        cmocka_unit_test(test_escape_hostile_bytes),
        cmocka_unit_test(test_escape_cuts_between_characters),
        cmocka_unit_test(test_escape_any_bytes),
        cmocka_unit_test(test_options_defaults),
        cmocka_unit_test(test_options_of_another_size),
        cmocka_unit_test(test_options_without_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
