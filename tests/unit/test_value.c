/* Values: equality, look-up, names of types, freeing. */
#include <hyperlight/value.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static void test_value_equal_compares_type_and_content(void **state)
{
    (void)state;
    const hl_value items[] = {hl_value_i32(1), hl_value_string("x")};
    const hl_value other_items[] = {hl_value_i32(1), hl_value_string("y")};
    const hl_entry entries[] = {hl_value_entry("a", hl_value_null())};
    const hl_entry other_entries[] = {hl_value_entry("b", hl_value_null())};
    const hl_value distinct[] = {
        hl_value_null(),
        hl_value_bool(false),
        hl_value_bool(true),
        hl_value_i32(1),
        hl_value_i32(-1),
        hl_value_u32(1),
        hl_value_i64(1),
        hl_value_u64(1),
        hl_value_f32(1),
        hl_value_f64(1),
        hl_value_f64(NAN),
        hl_value_f64(0.0),
        hl_value_f64(-0.0),
        hl_value_string(""),
        hl_value_string("x"),
        hl_value_string_n("x\0", 2),
        hl_value_bytes("x", 1),
        hl_value_bytes(NULL, 0),
        hl_value_list(NULL, 0),
        hl_value_list(items, 1),
        hl_value_list(items, 2),
        hl_value_list(other_items, 2),
        hl_value_map(NULL, 0),
        hl_value_map(entries, 1),
        hl_value_map(other_entries, 1),
    };
    for (size_t i = 0; i < COUNT_OF(distinct); i++)
        for (size_t j = 0; j < COUNT_OF(distinct); j++)
            assert_int_equal(hl_value_equal(&distinct[i], &distinct[j]), i == j);
}

static void test_value_equal_accepts_missing_values(void **state)
{
    (void)state;
    const hl_value null = hl_value_null();
    assert_true(hl_value_equal(NULL, NULL));
    assert_false(hl_value_equal(NULL, &null));
    assert_false(hl_value_equal(&null, NULL));
}

static void test_value_equal_ends_for_a_list_that_contains_itself(void **state)
{
    (void)state;
    hl_value list = hl_value_null();
    list = hl_value_list(&list, 1);
    hl_value copy = list;
    assert_false(hl_value_equal(&list, &copy));
}

static void test_value_get_finds_keys_of_maps_only(void **state)
{
    (void)state;
    const hl_entry entries[] = {
        hl_value_entry("one", hl_value_i32(1)),
        hl_value_entry("", hl_value_i32(2)),
        {{"o\0", 2}, hl_value_i32(3)},
    };
    const hl_value map = hl_value_map(entries, COUNT_OF(entries));
    const hl_value number = hl_value_i32(4);
    assert_ptr_equal(hl_value_get(&map, "one"), &entries[0].value);
    assert_ptr_equal(hl_value_get(&map, ""), &entries[1].value);
    assert_null(hl_value_get(&map, "o"));
    assert_null(hl_value_get(&map, "two"));
    assert_null(hl_value_get(&map, NULL));
    assert_null(hl_value_get(&number, "one"));
    assert_null(hl_value_get(NULL, "one"));
}

static void test_type_name_knows_every_type(void **state)
{
    (void)state;
    static const char *const names[] = {"null", "bool", "i32",    "u32",   "i64",  "u64",
                                        "f32",  "f64",  "string", "bytes", "list", "map"};
    for (unsigned type = 0; type < COUNT_OF(names); type++)
        assert_string_equal(hl_type_name((hl_type)type), names[type]);
    assert_string_equal(hl_type_name(HL_TYPE_ANY), "any");
    assert_string_equal(hl_type_name((hl_type)12), "?");
    assert_string_equal(hl_type_name((hl_type)254), "?");
}

static void test_value_free_leaves_borrowed_values_alone(void **state)
{
    (void)state;
    hl_value text = hl_value_string("static");
    hl_value_free(&text);
    assert_string_equal(text.as.string.data, "static");
    hl_value_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_value_equal_compares_type_and_content),
        cmocka_unit_test(test_value_equal_accepts_missing_values),
        cmocka_unit_test(test_value_equal_ends_for_a_list_that_contains_itself),
        cmocka_unit_test(test_value_get_finds_keys_of_maps_only),
        cmocka_unit_test(test_type_name_knows_every_type),
        cmocka_unit_test(test_value_free_leaves_borrowed_values_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
