#include <hyperlight/guest.h>
#include <stdio.h>
static hl_status greet(const hl_value *args, size_t count, hl_value *reply, void *greeting)
{
    static char text[256];
    if (count != 1 || args[0].type != HL_TYPE_STRING || args[0].as.string.size > 200)
        return hl_guest_fail("greet takes one name of at most 200 bytes");
    snprintf(text, sizeof text, "%s, %s!", (const char *)greeting, args[0].as.string.data);
    *reply = hl_value_string(text);
    return HL_OK;
}
int main(void)
{
    return hl_guest_export("greet", greet, "Hello") ? 1 : hl_guest_serve();
}
