/* Sets of host functions: making them, and serving a guest's call. */
#include "call/host_functions.h"
#include "util/error.h"

#include <hyperlight/abi/hypercall.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

hl_status hl_host_functions_new(hl_host_functions **functions, hl_error *err)
{
    if (!functions)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_host_functions_new",
                             "`functions` is NULL: give it a place for the set");
    hl_host_functions *made = calloc(1, sizeof *made);
    if (!made)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "calloc", "no memory for host functions");
    atomic_init(&made->references, 1);
    *functions = made;
    return HL_OK;
}

static hl_status bad_argument(hl_error *err, const char *name, const char *problem)
{
    char shown[80];
    hl__text_escape(shown, sizeof shown, name, strlen(name));
    return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_host_functions_add", "\"%s\": %s", shown,
                         problem);
}

static bool has_control_character(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

static hl_status name_check(const char *name, hl_error *err)
{
    if (!name || !*name)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_host_functions_add",
                             "`name` is %s: a host function needs a name", name ? "empty" : "NULL");
    size_t size = strnlen(name, HL_NAME_MAX + 1);
    if (size > HL_NAME_MAX)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_host_functions_add",
                             "`name` has more than %d bytes", HL_NAME_MAX);
    if (!hl__text_is_utf8(name, size) || has_control_character(name))
        return bad_argument(err, name, "a name must be UTF-8 without control characters");
    return HL_OK;
}

static bool is_type(hl_type type)
{
    return (unsigned)type <= HL_TYPE_MAP || type == HL_TYPE_ANY;
}

static hl_status signature_check(const char *name, const hl_signature *signature, hl_error *err)
{
    if (!signature)
        return HL_OK;
    if (signature->parameter_count > HL_PARAMETERS_MAX)
        return bad_argument(err, name, "its signature has more than HL_PARAMETERS_MAX parameters");
    if (signature->parameter_count > 0 && !signature->parameters)
        return bad_argument(err, name, "its signature's parameters are NULL");
    bool known = is_type(signature->result);
    for (size_t i = 0; i < signature->parameter_count; i++)
        known = known && is_type(signature->parameters[i]);
    return known ? HL_OK : bad_argument(err, name, "its signature has an unknown type");
}

static const struct hl__host_function *find(const hl_host_functions *functions, const char *name,
                                            size_t size)
{
    for (size_t i = 0; functions && i < functions->count; i++) {
        const struct hl__host_function *function = functions->functions[i];
        if (function->name_size == size && memcmp(function->name, name, size) == 0)
            return function;
    }
    return NULL;
}

static hl_status add_check(hl_host_functions *functions, const char *name,
                           const hl_signature *signature, hl_host_function function, hl_error *err)
{
    if (!functions)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_host_functions_add",
                             "`functions` is NULL: make a set with hl_host_functions_new()");
    hl_status status = name_check(name, err);
    if (status == HL_OK)
        status = signature_check(name, signature, err);
    if (status != HL_OK)
        return status;
    if (!function)
        return bad_argument(err, name, "its function is NULL");
    if (atomic_load(&functions->in_use))
        return bad_argument(err, name, "a sandbox uses the set already: add functions before");
    if (functions->count == HL_HOST_FUNCTIONS_MAX)
        return bad_argument(err, name, "the set has HL_HOST_FUNCTIONS_MAX functions already");
    if (find(functions, name, strlen(name)))
        return bad_argument(err, name, "the set has a function of that name already");
    return HL_OK;
}

static void signature_copy(struct hl__host_function *function, const hl_signature *signature)
{
    function->has_signature = true;
    if (signature->parameter_count > 0)
        memcpy(function->parameters, signature->parameters,
               signature->parameter_count * sizeof *function->parameters);
    function->signature = (hl_signature){
        .parameters = function->parameters,
        .parameter_count = signature->parameter_count,
        .result = signature->result,
    };
}

static struct hl__host_function *function_new(const char *name, const hl_signature *signature)
{
    struct hl__host_function *function = calloc(1, sizeof *function);
    char *copy = strdup(name);
    if (!function || !copy) {
        free(function);
        free(copy);
        return NULL;
    }
    function->name = copy;
    function->name_size = strlen(copy);
    if (signature)
        signature_copy(function, signature);
    return function;
}

/* What the host application gave: function, user pointer, finalizer. */
struct callback {
    hl_host_function function;
    void *user;
    void (*finalizer)(void *user);
};

static hl_status add(hl_host_functions *functions, const char *name, const hl_signature *signature,
                     const struct callback *callback, hl_error *err)
{
    hl_status status = add_check(functions, name, signature, callback->function, err);
    if (status != HL_OK)
        return status;
    struct hl__host_function *added = function_new(name, signature);
    if (!added)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "calloc", "no memory for a host function");
    added->function = callback->function;
    added->user = callback->user;
    added->finalizer = callback->finalizer;
    functions->functions[functions->count++] = added;
    return HL_OK;
}

hl_status hl_host_functions_add(hl_host_functions *functions, const char *name,
                                const hl_signature *signature, hl_host_function function,
                                void *user, void (*finalizer)(void *user), hl_error *err)
{
    struct callback callback = {function, user, finalizer};
    hl_status status = add(functions, name, signature, &callback, err);
    if (status != HL_OK && finalizer)
        finalizer(user);
    return status;
}

void hl__host_functions_ref(hl_host_functions *functions)
{
    if (!functions)
        return;
    atomic_fetch_add_explicit(&functions->references, 1, memory_order_relaxed);
    atomic_store(&functions->in_use, true);
}

void hl_host_functions_free(hl_host_functions *functions)
{
    if (!functions || atomic_fetch_sub(&functions->references, 1) > 1)
        return;
    for (size_t i = 0; i < functions->count; i++) {
        struct hl__host_function *function = functions->functions[i];
        if (function->finalizer)
            function->finalizer(function->user);
        free(function->name);
        free(function);
    }
    free(functions);
}

static void call_say(struct hl_call *call, const char *before, const hl_span *name,
                     const char *after)
{
    char shown[80];
    hl__text_escape(shown, sizeof shown, name->data, name->size);
    snprintf(call->error_text, sizeof call->error_text, "%s\"%s\"%s", before, shown, after);
}

/* Judges what a function returned. */
static uint32_t call_outcome(const struct hl__host_function *function, struct hl_call *call,
                             const hl_span *name, hl_status status, const hl_value *reply)
{
    if (status == HL_GUEST_ERROR && call->error_text[0] != '\0')
        return HL_ABI_OUTCOME_ERROR;
    if (status != HL_OK) {
        snprintf(call->error_text, sizeof call->error_text, "%s", hl_status_meaning(status));
        return HL_ABI_OUTCOME_ERROR;
    }
    hl_type wanted = function->has_signature ? function->signature.result : HL_TYPE_ANY;
    if (wanted != HL_TYPE_ANY && wanted != reply->type) {
        call_say(call, "the result of the host function ", name, " does not fit its signature");
        return HL_ABI_OUTCOME_ERROR;
    }
    return HL_ABI_OUTCOME_OK;
}

uint32_t hl__host_functions_dispatch(const hl_host_functions *functions, struct hl_call *call,
                                     const hl_span *name, const hl_value *arguments, size_t count,
                                     hl_value *reply)
{
    *reply = hl_value_null();
    call->error_text[0] = '\0';
    const struct hl__host_function *function = find(functions, name->data, name->size);
    if (!function) {
        call_say(call, "the host has no function ", name, "");
        return HL_ABI_OUTCOME_UNKNOWN;
    }
    if (function->has_signature &&
        !hl__signature_check(&function->signature, name, arguments, count, call->error_text,
                             sizeof call->error_text))
        return HL_ABI_OUTCOME_MISMATCH;
    hl_status status = function->function(call, arguments, count, reply, function->user);
    return call_outcome(function, call, name, status, reply);
}
