/* What the program registers before it serves: functions and restore hooks. */
#include "sdk.h"

#include <stdlib.h>

static bool export_is_taken(const hl_span *name)
{
    for (size_t i = 0; i < hl__guest.export_count; i++) {
        const hl_span *other = &hl__guest.exports[i].name;
        if (other->size == name->size && memcmp(other->data, name->data, name->size) == 0)
            return true;
    }
    return false;
}

static bool export_signature_is_valid(const hl_signature *signature)
{
    if (signature->parameter_count > HL_PARAMETERS_MAX ||
        (signature->parameters == NULL && signature->parameter_count != 0))
        return false;
    for (size_t i = 0; i < signature->parameter_count; i++)
        if (!hl__wire_is_parameter(signature->parameters[i]))
            return false;
    return hl__wire_is_parameter(signature->result);
}

/* Makes room for one more export; the lists grow by powers of two. */
static bool export_grow(void)
{
    size_t count = hl__guest.export_count;
    if ((count & (count - 1)) != 0)
        return true;
    size_t capacity = count == 0 ? 1 : 2 * count;
    void *exports = realloc(hl__guest.exports, capacity * sizeof *hl__guest.exports);
    if (exports == NULL)
        return false;
    hl__guest.exports = exports;
    void *handlers = realloc(hl__guest.handlers, capacity * sizeof *hl__guest.handlers);
    if (handlers == NULL)
        return false;
    hl__guest.handlers = handlers;
    return true;
}

/* Copies name and signature into one allocation that lives as long as the program. */
static bool export_copy(hl__wire_export *export, const hl_span *name, const hl_signature *signature)
{
    size_t count = signature == NULL ? 0 : signature->parameter_count;
    hl_type *types = malloc(count * sizeof *types + name->size + 1);
    if (types == NULL)
        return false;
    char *text = (char *)(types + count);
    memcpy(text, name->data, name->size + 1);
    *export = (hl__wire_export){.name = {text, name->size}, .has_signature = signature != NULL};
    if (signature == NULL)
        return true;
    for (size_t i = 0; i < count; i++)
        types[i] = signature->parameters[i];
    export->signature = (hl_signature){types, count, signature->result};
    return true;
}

hl_status hl_guest_export_typed(const char *name, const hl_signature *signature,
                                hl_guest_function function, void *user)
{
    if (name == NULL || function == NULL || hl__guest.serving)
        return HL_INVALID_ARGUMENT;
    const hl_span span = {name, strnlen(name, HL_NAME_MAX + 1)};
    if (!hl__wire_is_name(&span) || export_is_taken(&span) ||
        hl__guest.export_count == HL_WIRE_EXPORTS_MAX)
        return HL_INVALID_ARGUMENT;
    if (signature != NULL && !export_signature_is_valid(signature))
        return HL_INVALID_ARGUMENT;
    if (!export_grow() ||
        !export_copy(&hl__guest.exports[hl__guest.export_count], &span, signature))
        return HL_OUT_OF_MEMORY;
    hl__guest.handlers[hl__guest.export_count++] = (struct hl__guest_export){function, user};
    return HL_OK;
}

hl_status hl_guest_export(const char *name, hl_guest_function function, void *user)
{
    return hl_guest_export_typed(name, NULL, function, user);
}

hl_status hl_guest_on_restore(void (*hook)(const hl_guest_wake *wake, void *user), void *user)
{
    if (hook == NULL)
        return HL_INVALID_ARGUMENT;
    void *hooks = realloc(hl__guest.hooks, (hl__guest.hook_count + 1) * sizeof *hl__guest.hooks);
    if (hooks == NULL)
        return HL_OUT_OF_MEMORY;
    hl__guest.hooks = hooks;
    hl__guest.hooks[hl__guest.hook_count++] = (struct hl__guest_hook){hook, user};
    return HL_OK;
}
