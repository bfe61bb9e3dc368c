/*
 * Machine code for attacks: assembled into the test, never run by it, shipped to the guest. A
 * snippet is `setup`, then the one instruction that is the attack, then a return. The guest calls
 * it with rdi and rsi as the test says.
 */
#ifndef HL_TESTS_SNIPPET_H
#define HL_TESTS_SNIPPET_H

#include <stddef.h>
#include <stdint.h>

struct snippet {
    const char *name;
    const uint8_t *start, *attack, *after, *end;
};

/* Defines the code of a snippet, and names it. */
#define SNIPPET_CODE(name, setup, attack)                                                          \
    extern const uint8_t name##_start[], name##_attack[], name##_after[], name##_end[];            \
    __asm__(".text\n" #name "_start:\n" setup "\n" #name "_attack:\n" attack "\n" #name            \
            "_after:\n ret\n" #name "_end:\n");
#define SNIPPET(name)                                                                              \
    {                                                                                              \
#name, name##_start, name##_attack, name##_after, name##_end                               \
    }

static inline size_t snippet_size(const struct snippet *snippet)
{
    return (size_t)(snippet->end - snippet->start);
}

#endif
