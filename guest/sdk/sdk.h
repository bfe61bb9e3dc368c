/*
 * Inside of the guest SDK: its state and the door to the shim.
 *
 * After a restore the host copies back every page that was written, so what each call writes lies
 * together on one page: the counters below, the copy of a small request, its decoded values and
 * the reply. All of it starts as zeroes and takes no room in the guest's binary.
 */
#ifndef HL_SDK_SDK_H
#define HL_SDK_SDK_H

#include "wire/codec.h"
#include <hyperlight/abi/hypercall.h>
#include <hyperlight/guest.h>

struct hl__guest_export {
    hl_guest_function function;
    void *user;
};

struct hl__guest_hook {
    void (*hook)(const hl_guest_wake *wake, void *user);
    void *user;
};

#define HL__GUEST_HEAD_SIZE 256u
#define HL__GUEST_ANSWER_SIZE 1024u

struct hl__guest {
    const struct hl_abi_shim *shim; /* NULL until it was found */
    struct hl_abi_shim shim_copy;   /* here, so that a call touches a page less */
    bool serving;
    bool failed;              /* hl_guest_fail() was called for this call */
    const char *call_error;   /* hl_guest_error(); NULL: none */
    struct hl__arena call;    /* what lives until the call being served ends */
    struct hl__arena answer;  /* what lives until the next hl_guest_call() */
    hl__wire_export *exports; /* in the order of hl_guest_export() */
    struct hl__guest_export *handlers;
    size_t export_count;
    struct hl__guest_hook *hooks;
    size_t hook_count;
    alignas(HL__GUEST_HEAD_SIZE) unsigned char answer_memory[HL__GUEST_ANSWER_SIZE];
    unsigned char call_memory[HL_ABI_PAGE_SIZE - HL__GUEST_HEAD_SIZE - HL__GUEST_ANSWER_SIZE];
};
_Static_assert(sizeof(struct hl__guest) == HL_ABI_PAGE_SIZE, "one page");

extern struct hl__guest hl__guest;

/* Text of hl_guest_fail(): always valid UTF-8. Not with the above: only failures write it. */
extern char hl__guest_fail_text[HL_ERROR_MESSAGE_MAX];

/* The shim, or NULL outside of a micro VM. */
const struct hl_abi_shim *hl__guest_shim(void);

/* Makes the arenas usable; every function that takes from them calls it first. */
void hl__guest_ready(void);

/*
 * Decodes a message of the host into `arena`. It is used where it lies, and must stay there.
 * The shim and the host are trusted; the checks are for finding mistakes.
 */
static inline bool hl__guest_decode(struct hl__arena *arena, uint32_t kind, const void *data,
                                    uint64_t size, hl__wire_message *message,
                                    hl__wire_problem *problem)
{
    return hl__wire_decode_in(arena, kind, data, size, UINT64_MAX, NULL, NULL, message, problem);
}

/* Encodes a message for the host into `arena`; long strings and bytes stay where they are. */
bool hl__guest_encode(struct hl__arena *arena, const hl__wire_content *content, void **message,
                      uint64_t *size, hl__wire_problem *problem);

/* A text that is put together from pieces and cut where it gets too long. */
struct hl__guest_text {
    char *data;
    size_t capacity; /* with the NUL */
    size_t size;
};
void hl__guest_text_add(struct hl__guest_text *text, const char *piece, size_t size);

/* Makes `size` bytes of text valid UTF-8; if it was cut, "..." replaces its end. */
void hl__guest_text_clean(char *text, size_t size, bool cut);

/* Prints "PROGRAM: text" on stderr, with the command that runs the program as it should be. */
void hl__guest_complain(const char *text, bool suggest_call);

#endif
