/* Messages as a guest encodes them, byte by byte: well-formed ones, and such as are wrong in one place or in many. */
#ifndef HL_TESTS_HOSTILE_MESSAGE_H
#define HL_TESTS_HOSTILE_MESSAGE_H

#include "doubles/choices.h"

#define HOSTILE_MESSAGE_MAX 8192

struct hostile_message {
    size_t size;
    uint8_t bytes[HOSTILE_MESSAGE_MAX];
};

/* Of the honest guest: a VALUE with one u64; EXPORTS of "work". */
void hostile_message_number(struct hostile_message *message, uint64_t number);
void hostile_message_exports(struct hostile_message *message);

/* Of the hostile one: well-formed two times in three. */
void hostile_message_value(struct hostile_message *message, struct choices *choices);
void hostile_message_text(struct hostile_message *message, struct choices *choices);
void hostile_message_call(struct hostile_message *message, struct choices *choices);
void hostile_message_random_exports(struct hostile_message *message, struct choices *choices);

#endif
