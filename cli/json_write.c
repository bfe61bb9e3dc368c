/*
 * hl_value as JSON. Written by hand, not by a library: it prints all of u64, the shortest digits of
 * a float, and nothing that could drive a terminal, and the values come from a hostile guest.
 */
#include "cli.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Strings are UTF-8 (the library checked it); C0, DEL and C1 are escaped. */
static void write_string(FILE *out, hl_span text)
{
    fputc('"', out);
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        bool is_c1 = byte == 0xc2 && i + 1 < text.size && (unsigned char)text.data[i + 1] < 0xa0;
        if (byte == '"' || byte == '\\')
            fprintf(out, "\\%c", byte);
        else if (byte == '\n')
            fputs("\\n", out);
        else if (byte < 0x20 || byte == 0x7f)
            fprintf(out, "\\u%04x", byte);
        else if (is_c1)
            fprintf(out, "\\u%04x", (unsigned char)text.data[++i]);
        else
            fputc(byte, out);
    }
    fputc('"', out);
}

/* Shortest digits that read back as the same number, always recognisable as no integer. */
static void write_finite(FILE *out, double number, bool is_single)
{
    char text[40];
    for (int digits = is_single ? 6 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (is_single ? strtof(text, NULL) == (float)number : strtod(text, NULL) == number)
            break;
    }
    fputs(text, out);
    if (!strpbrk(text, ".e"))
        fputs(".0", out);
}

static void write_real(FILE *out, double number, bool is_single)
{
    const char *name = isnan(number) ? "nan" : number > 0 ? "inf" : "-inf";
    if (isfinite(number))
        write_finite(out, number, is_single);
    else
        fprintf(out, "{\"$%s\":\"%s\"}", is_single ? "f32" : "f64", name);
}

static void write_bytes(FILE *out, hl_span bytes)
{
    fputs("{\"$bytes\":\"", out);
    base64_write(out, (const unsigned char *)bytes.data, bytes.size);
    fputs("\"}", out);
}

static void write_list(FILE *out, const hl_value *list)
{
    fputc('[', out);
    for (size_t i = 0; i < list->as.list.count; i++) {
        if (i)
            fputc(',', out);
        json_write(out, &list->as.list.items[i]);
    }
    fputc(']', out);
}

static void write_entries(FILE *out, const hl_value *map)
{
    fputc('{', out);
    for (size_t i = 0; i < map->as.map.count; i++) {
        if (i)
            fputc(',', out);
        write_string(out, map->as.map.entries[i].key);
        fputc(':', out);
        json_write(out, &map->as.map.entries[i].value);
    }
    fputc('}', out);
}

/* A map that would read like a typed value is wrapped, so that output is unambiguous. */
static void write_map(FILE *out, const hl_value *map)
{
    bool is_ambiguous = map->as.map.count == 1 && map->as.map.entries[0].key.size != 0 &&
                        map->as.map.entries[0].key.data[0] == '$';
    if (is_ambiguous)
        fputs("{\"$map\":", out);
    write_entries(out, map);
    if (is_ambiguous)
        fputc('}', out);
}

void json_write(FILE *out, const hl_value *value)
{
    switch (value->type) {
    case HL_TYPE_BOOL:
        fputs(value->as.boolean ? "true" : "false", out);
        break;
    case HL_TYPE_I32:
        fprintf(out, "%" PRId32, value->as.i32);
        break;
    case HL_TYPE_U32:
        fprintf(out, "%" PRIu32, value->as.u32);
        break;
    case HL_TYPE_I64:
        fprintf(out, "%" PRId64, value->as.i64);
        break;
    case HL_TYPE_U64:
        fprintf(out, "%" PRIu64, value->as.u64);
        break;
    case HL_TYPE_F32:
        write_real(out, (double)value->as.f32, true);
        break;
    case HL_TYPE_F64:
        write_real(out, value->as.f64, false);
        break;
    case HL_TYPE_STRING:
        write_string(out, value->as.string);
        break;
    case HL_TYPE_BYTES:
        write_bytes(out, value->as.bytes);
        break;
    case HL_TYPE_LIST:
        write_list(out, value);
        break;
    case HL_TYPE_MAP:
        write_map(out, value);
        break;
    default:
        fputs("null", out);
    }
}
