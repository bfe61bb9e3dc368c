/* Inside of a set of host functions, and the call object that a host function sees. */
#ifndef HL_CALL_HOST_FUNCTIONS_H
#define HL_CALL_HOST_FUNCTIONS_H

#include "context/control.h"
#include <hyperlight/host_function.h>
#include <stdatomic.h>

struct hl__host_function {
    char *name;
    size_t name_size;
    bool has_signature;
    hl_signature signature; /* parameters point to `parameters` */
    hl_type parameters[HL_PARAMETERS_MAX];
    hl_host_function function;
    void *user;
    void (*finalizer)(void *user);
};

struct hl_host_functions {
    atomic_uint references;
    atomic_bool in_use; /* a sandbox has it: nothing may be added any more */
    size_t count;
    struct hl__host_function *functions[HL_HOST_FUNCTIONS_MAX];
};

void hl__host_functions_ref(hl_host_functions *functions); /* marks it in use; NULL is fine */

struct hl_call {
    hl__control *control;
    char error_text[HL_ERROR_MESSAGE_MAX]; /* of hl_call_fail() */
    struct hl__scratch *scratch;           /* of hl_call_alloc() */
};

void hl__call_init(struct hl_call *call, hl__control *control);
void hl__call_clear(struct hl_call *call);

/* What a host call comes to. outcome: enum hl_abi_outcome. With OUTCOME_OK *reply is the result
 * (borrowing from the call's scratch, the arguments or the user); else `text` in call->error_text:
 * unknown name (what was asked), mismatch (what was expected, what came), or the function's
 * message. */
uint32_t hl__host_functions_dispatch(const hl_host_functions *functions, struct hl_call *call,
                                     const hl_span *name, const hl_value *arguments, size_t count,
                                     hl_value *reply);

/* Checks arguments against a signature; on a mismatch writes "name(string, i32) was called with
 * (bool)" into text and returns false. */
bool hl__signature_check(const hl_signature *signature, const hl_span *name,
                         const hl_value *arguments, size_t count, char *text, size_t capacity);

#endif
