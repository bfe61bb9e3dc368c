/*
 * Fuzzes everything that the host does for a guest: the input decides what a hostile guest on the fake driver does with its memory and
 * which exits it makes, and what the host application does with its sandboxes in between.
 */
/* fuzz-weight: 10 */
#include "doubles/transport_play.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EXITS_MAX 4000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct transport_play play;
    if (!play.programs[0])
        transport_play_open(&play);
    if (size == 0)
        return 0;
    play.choices = (struct choices){.data = data, .size = size};
    play.guest.exits = 0;
    transport_play_session(&play, EXITS_MAX);
    return 0;
}
