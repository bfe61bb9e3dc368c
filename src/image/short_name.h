/* Names from archives in messages: so long that what is said of them has room. */
#ifndef HL_IMAGE_SHORT_NAME_H
#define HL_IMAGE_SHORT_NAME_H

struct hl__short_name {
    char text[136];
};

/* The name, or its start and end in `space`. */
const char *hl__short_name(const char *name, struct hl__short_name *space);
#define HL__SHORT(name) hl__short_name(name, &(struct hl__short_name){""})

#endif
