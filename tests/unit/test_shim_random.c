/* The shim's ChaCha20 against the test vectors of RFC 8439. */
#include "../../guest/shim/base/random.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct hl__hot hl__hot;

int64_t hl__user_write(uint64_t to, const void *from, size_t size)
{
    (void)to, (void)from, (void)size;
    return -EFAULT;
}

static void block_of_section_2_3_2(void **state)
{
    static const uint32_t expected[16] = {0xe4e7f110, 0x15593bd1, 0x1fdd0f50, 0xc47120a3,
                                          0xc7f4d1c7, 0x0368c033, 0x9aaa2204, 0x4e6cd4c3,
                                          0x466482d2, 0x09aa9f07, 0x05d7c214, 0xa2028bd9,
                                          0xd19c12b5, 0xb94e16de, 0xe883d0cb, 0x4e3c50a2};
    uint8_t bytes[32];
    uint32_t key[8], block[16];

    (void)state;
    for (uint8_t i = 0; i < sizeof bytes; i++)
        bytes[i] = i;
    memcpy(key, bytes, sizeof key);
    hl__chacha20_block(block, key, 0x0900000000000001, 0x4a000000);
    assert_memory_equal(block, expected, sizeof expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(block_of_section_2_3_2)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
