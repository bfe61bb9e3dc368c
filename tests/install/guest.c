/* The smallest guest, built as a user would. */
#include <hyperlight/guest.h>

static hl_status shout(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    (void)user;
    if (count != 1)
        return hl_guest_fail("one argument, please");
    *reply = arguments[0];
    return HL_OK;
}

int main(void)
{
    hl_guest_export("shout", shout, NULL);
    return hl_guest_serve();
}
