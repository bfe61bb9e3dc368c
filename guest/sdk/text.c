/* Small texts without stdio, which a small static program may not need otherwise. */
#include "sdk.h"

#include <sys/auxv.h>
#include <unistd.h>

void hl__guest_text_add(struct hl__guest_text *text, const char *piece, size_t size)
{
    size_t room = text->capacity - 1 - text->size;
    if (size > room)
        size = room;
    memcpy(text->data + text->size, piece, size);
    text->size += size;
    text->data[text->size] = '\0';
}

/* Where to cut a text so that "..." fits behind it and no character is split. */
static size_t text_cut(const char *text, size_t size)
{
    size_t end = size < 3 ? 0 : size - 3;
    while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80)
        end--;
    return end;
}

void hl__guest_text_clean(char *text, size_t size, bool cut)
{
    if (cut) {
        size_t end = text_cut(text, size);
        memcpy(text + end, "...", 4);
        size = end + 3;
    }
    for (size_t at = 0; (at += hl__wire_utf8_prefix(text + at, size - at)) < size;)
        text[at++] = '?';
}

void hl__guest_complain(const char *message, bool suggest_call)
{
    char line[1024];
    struct hl__guest_text text = {line, sizeof line - 1, 0};
    const char *program = (const char *)(uintptr_t)getauxval(AT_EXECFN);
    if (program == NULL)
        program = "program";
    size_t program_size = strnlen(program, 256);
    hl__guest_text_add(&text, program, program_size);
    hl__guest_text_add(&text, ": ", 2);
    hl__guest_text_add(&text, message, strlen(message));
    if (suggest_call) {
        hl__guest_text_add(&text, ", try: hyperlight call ", 23);
        hl__guest_text_add(&text, program, program_size);
        hl__guest_text_add(&text, " FUNCTION", 9);
    }
    line[text.size++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, text.size);
    (void)written; /* there is nowhere else to complain */
}
