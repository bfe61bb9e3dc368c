/* Decodes the EXPORTS message with which a guest declares its functions. */
#include "wire/read.h"

#include <stdlib.h>

/* Where the decoded array's texts and types go. */
struct exports {
    struct hl__wire_reader reader;
    hl__wire_export *next;
    hl_type *types;
    char *names;
};

/* Reads what follows a name: no types, or at least the result's. */
static bool exports_read_types(struct hl__wire_reader *reader, hl_span *types)
{
    struct hl_wire_value head;
    *types = (hl_span){NULL, 0};
    if (!hl__wire_read_head(reader, &head))
        return false;
    if (head.type == HL_TYPE_NULL && head.data == 0)
        return true;
    if (head.type != HL_TYPE_BYTES || head.flags != 0 || head.data < 1 ||
        head.data > 1 + HL_PARAMETERS_MAX)
        return hl__wire_read_refuse(reader, "signature of an exported function is malformed");
    if (!hl__wire_read_payload(reader, head.data, types))
        return false;
    for (size_t i = 0; i < types->size; i++)
        if (!hl__wire_is_parameter((unsigned char)types->data[i]))
            return hl__wire_read_refuse(reader,
                                        "signature of an exported function has an unknown type");
    return true;
}

/* Checks all functions and counts the bytes of their names and the number of their types. */
static bool exports_check(struct hl__wire_reader reader, uint32_t count, size_t *names_size,
                          size_t *type_count)
{
    hl_span name, types;
    *names_size = *type_count = 0;
    if (count > HL_WIRE_EXPORTS_MAX)
        return hl__wire_read_refuse(&reader, "more than 1024 exported functions");
    for (uint32_t i = 0; i < count; i++) {
        if (!hl__wire_read_name(&reader, &name) || !exports_read_types(&reader, &types))
            return false;
        *names_size += name.size + 1;
        *type_count += types.size;
    }
    return hl__wire_read_end(&reader);
}

static void exports_build_signature(struct exports *out, const hl_span *types)
{
    if (types->size == 0)
        return;
    out->next->has_signature = true;
    out->next->signature.result = (hl_type)(unsigned char)types->data[0];
    out->next->signature.parameters = out->types;
    out->next->signature.parameter_count = types->size - 1;
    for (size_t i = 1; i < types->size; i++)
        *out->types++ = (hl_type)(unsigned char)types->data[i];
}

static bool exports_build(struct exports *out)
{
    hl_span name, types;
    if (!hl__wire_read_name(&out->reader, &name) || !exports_read_types(&out->reader, &types))
        return false;
    *out->next = (hl__wire_export){.name = {out->names, name.size}};
    memcpy(out->names, name.data, name.size + 1);
    out->names += name.size + 1;
    exports_build_signature(out, &types);
    out->next++;
    return true;
}

static bool exports_fill(hl__wire_export *exports, size_t count, size_t type_count,
                         struct hl__wire_reader reader)
{
    hl_type *types = (hl_type *)(exports + count);
    struct exports out = {reader, exports, types, (char *)(types + type_count)};
    for (size_t i = 0; i < count; i++)
        if (!exports_build(&out))
            return false;
    return hl__wire_keys_unique(&exports->name, sizeof *exports, count, reader.problem,
                                HL_GUEST_BAD_REPLY, "a function is exported twice");
}

bool hl__wire_exports_decode(const void *data, uint64_t size, hl__wire_export **exports,
                             size_t *count, hl__wire_problem *problem)
{
    struct hl__wire_reader reader = {.problem = problem};
    struct hl_wire_head head;
    size_t names_size, type_count;
    if (!hl__wire_read_message(&reader, HL_WIRE_EXPORTS, data, size, &head) ||
        !exports_check(reader, head.count, &names_size, &type_count))
        return false;
    hl__wire_export *result =
        malloc(head.count * sizeof *result + type_count * sizeof(hl_type) + names_size + 1);
    if (result == NULL)
        return hl__wire_refuse(problem, HL_OUT_OF_MEMORY, "out of memory");
    if (!exports_fill(result, head.count, type_count, reader)) {
        free(result);
        return false;
    }
    *exports = result;
    *count = head.count;
    return true;
}
