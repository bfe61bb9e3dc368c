/*
 * The benchmark's guest: the C guest of the README, with one function for each thing that is
 * measured. Every function takes a string and answers with the same string.
 */
#include <hyperlight/guest.h>

#include <stdint.h>

/* As far apart as the pages that the floor dirties. */
#define PAGE_SIZE 4096
#define SCATTERED_PAGES 10
#define STRIDE_PAGES 201

static volatile uint8_t scattered[SCATTERED_PAGES * STRIDE_PAGES * PAGE_SIZE]
    __attribute__((aligned(PAGE_SIZE)));

static hl_status echo(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    (void)count;
    (void)user;
    *reply = arguments[0];
    return HL_OK;
}

static hl_status ask_host(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    (void)user;
    if (hl_guest_call("host_echo", arguments, count, reply) != HL_OK)
        return hl_guest_fail("host_echo: %s", hl_guest_error());
    return HL_OK;
}

static hl_status dirty(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    for (size_t page = 0; page < SCATTERED_PAGES; page++)
        scattered[page * STRIDE_PAGES * PAGE_SIZE] ^= 0xff;
    return echo(arguments, count, reply, user);
}

static hl_status spin(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    (void)arguments;
    (void)count;
    (void)reply;
    (void)user;
    for (volatile int forever = 1; forever;)
        ;
    return HL_OK;
}

int main(void)
{
    static const hl_type string = HL_TYPE_STRING;
    static const hl_signature text_to_text = {&string, 1, HL_TYPE_STRING};
    hl_guest_export_typed("echo", &text_to_text, echo, NULL);
    hl_guest_export_typed("ask_host", &text_to_text, ask_host, NULL);
    hl_guest_export_typed("dirty", &text_to_text, dirty, NULL);
    hl_guest_export("spin", spin, NULL);
    return hl_guest_serve();
}
