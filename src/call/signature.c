/* Whether arguments fit a signature, and what to say if they do not. */
#include "call/host_functions.h"
#include "util/error.h"

#include <stdio.h>
#include <string.h>

static bool type_fits(hl_type wanted, hl_type given)
{
    return wanted == HL_TYPE_ANY || wanted == given;
}

static bool arguments_fit(const hl_signature *signature, const hl_value *arguments, size_t count)
{
    if (count != signature->parameter_count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!type_fits(signature->parameters[i], arguments[i].type))
            return false;
    return true;
}

/* A text that grows to its capacity and stops there. */
struct line {
    char *text;
    size_t capacity, size;
};

static void line_add(struct line *line, const char *text)
{
    size_t room = line->capacity - line->size - 1;
    size_t size = strlen(text) < room ? strlen(text) : room;
    memcpy(line->text + line->size, text, size);
    line->size += size;
    line->text[line->size] = '\0';
}

static void line_add_type(struct line *line, size_t index, hl_type type)
{
    line_add(line, index > 0 ? ", " : "");
    line_add(line, hl_type_name(type));
}

/* More types than this say nothing to a reader. */
#define TYPES_SHOWN 16

static void line_add_parameters(struct line *line, const hl_signature *signature)
{
    line_add(line, "(");
    for (size_t i = 0; i < signature->parameter_count && i < TYPES_SHOWN; i++)
        line_add_type(line, i, signature->parameters[i]);
    line_add(line, signature->parameter_count > TYPES_SHOWN ? ", ...)" : ")");
}

static void line_add_arguments(struct line *line, const hl_value *arguments, size_t count)
{
    line_add(line, "(");
    for (size_t i = 0; i < count && i < TYPES_SHOWN; i++)
        line_add_type(line, i, arguments[i].type);
    line_add(line, count > TYPES_SHOWN ? ", ...)" : ")");
}

bool hl__signature_check(const hl_signature *signature, const hl_span *name,
                         const hl_value *arguments, size_t count, char *text, size_t capacity)
{
    if (arguments_fit(signature, arguments, count))
        return true;
    if (capacity == 0)
        return false;
    struct line line = {text, capacity, 0};
    char shown[80];
    hl__text_escape(shown, sizeof shown, name->data, name->size);
    text[0] = '\0';
    line_add(&line, shown);
    line_add_parameters(&line, signature);
    line_add(&line, " was called with ");
    line_add_arguments(&line, arguments, count);
    return false;
}
