/*
 * Reads the unwind tables (.eh_frame and the exception tables that it names) for starts and ends of
 * functions and for landing pads. What cannot be understood ends the reading; it is no error, since
 * unwinders would not get further either.
 */
#include "image/rewrite_file.h"

enum { FORMAT_ABSOLUTE = 0, FORMAT_ULEB = 1, FORMAT_U2 = 2, FORMAT_U4 = 3, FORMAT_U8 = 4 };
enum { FORMAT_SLEB = 9, FORMAT_S2 = 10, FORMAT_S4 = 11, FORMAT_S8 = 12 };
enum { RELATIVE_NOT = 0, RELATIVE_PC = 0x10, RELATIVE_DATA = 0x30, RELATIVE_MASK = 0x70 };
enum { ENCODING_INDIRECT = 0x80, ENCODING_OMIT = 0xff };
enum { AUGMENTATION_MAX = 8 };

/* Bytes that are read one after the other; `failed` once something was not there. */
struct cursor {
    const uint8_t *bytes;
    uint64_t address; /* of bytes[0] */
    uint64_t at, size;
    bool failed;
};

static uint64_t cursor_take(struct cursor *cursor, unsigned size)
{
    uint64_t value = 0;

    if (cursor->failed || cursor->size - cursor->at < size) {
        cursor->failed = true;
        return 0;
    }
    memcpy(&value, cursor->bytes + cursor->at, size);
    cursor->at += size;
    return value;
}

static uint64_t cursor_take_leb(struct cursor *cursor, bool is_signed)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint64_t byte = cursor_take(cursor, 1);
        value |= (byte & 0x7f) << shift;
        if (byte & 0x80)
            continue;
        if (is_signed && byte & 0x40 && shift + 7 < 64)
            value |= UINT64_MAX << (shift + 7);
        return value;
    }
    cursor->failed = true;
    return 0;
}

static uint64_t cursor_take_format(struct cursor *cursor, unsigned format)
{
    switch (format) {
    case FORMAT_ABSOLUTE:
    case FORMAT_U8:
    case FORMAT_S8:
        return cursor_take(cursor, 8);
    case FORMAT_U4:
        return cursor_take(cursor, 4);
    case FORMAT_S4:
        return (uint64_t)(int64_t)(int32_t)cursor_take(cursor, 4);
    case FORMAT_U2:
        return cursor_take(cursor, 2);
    case FORMAT_S2:
        return (uint64_t)(int64_t)(int16_t)cursor_take(cursor, 2);
    case FORMAT_ULEB:
    case FORMAT_SLEB:
        return cursor_take_leb(cursor, format == FORMAT_SLEB);
    default:
        cursor->failed = true;
        return 0;
    }
}

/* An encoded pointer; 0 stays 0. */
static uint64_t cursor_take_pointer(struct cursor *cursor, uint8_t encoding, uint64_t data_base)
{
    uint64_t here = cursor->address + cursor->at;
    uint64_t value = cursor_take_format(cursor, encoding & 0xf);

    if (!value || encoding & ENCODING_INDIRECT)
        return 0;
    switch (encoding & RELATIVE_MASK) {
    case RELATIVE_NOT:
        return value;
    case RELATIVE_PC:
        return here + value;
    case RELATIVE_DATA:
        return data_base + value;
    default:
        cursor->failed = true;
        return 0;
    }
}

/* What a CIE says of its FDEs. */
struct frame_encoding {
    uint64_t cie; /* offset of the CIE, UINT64_MAX if none was read */
    uint8_t pointer, exceptions;
    bool augmented;
    bool signal; /* its functions are said to start one byte early */
};

static bool augmentation_read(struct cursor *cursor, struct frame_encoding *encoding,
                              const char *letters)
{
    for (; *letters; letters++) {
        switch (*letters) {
        case 'R':
            encoding->pointer = (uint8_t)cursor_take(cursor, 1);
            break;
        case 'L':
            encoding->exceptions = (uint8_t)cursor_take(cursor, 1);
            break;
        case 'P':
            cursor_take_format(cursor, cursor_take(cursor, 1) & 0xf);
            break;
        case 'S':
            encoding->signal = true;
            break;
        case 'B':
            break;
        default:
            return false;
        }
    }
    return !cursor->failed;
}

/* Reads the CIE whose record starts at `at`. */
static bool cie_read(struct cursor cursor, uint64_t at, struct frame_encoding *encoding)
{
    char letters[AUGMENTATION_MAX] = {0};
    unsigned count = 0;

    *encoding = (struct frame_encoding){.cie = at, .exceptions = ENCODING_OMIT};
    cursor.at = at;
    if (at > cursor.size || cursor_take(&cursor, 4) == UINT32_MAX || cursor_take(&cursor, 4) != 0)
        return false;
    uint64_t version = cursor_take(&cursor, 1);
    while ((letters[count] = (char)cursor_take(&cursor, 1)))
        if (++count == sizeof letters)
            return false;
    cursor_take_leb(&cursor, false);
    cursor_take_leb(&cursor, true);
    if (version == 1)
        cursor_take(&cursor, 1);
    else
        cursor_take_leb(&cursor, false);
    if (cursor.failed || (version != 1 && version != 3) || (count && letters[0] != 'z'))
        return false;
    encoding->augmented = count > 0;
    if (count)
        cursor_take_leb(&cursor, false);
    return augmentation_read(&cursor, encoding, count ? letters + 1 : letters);
}

/* Landing pads: the third field of each entry of the call-site table. */
static bool exceptions_read(struct hl__rewrite_file *file, uint64_t address, uint64_t function)
{
    struct cursor cursor = {.address = address};
    uint64_t base = function, size;
    uint8_t encoding;

    cursor.bytes = hl__rewrite_bytes_at(file, address, 1, &cursor.size);
    if (!cursor.bytes)
        return true;
    encoding = (uint8_t)cursor_take(&cursor, 1);
    if (encoding != ENCODING_OMIT)
        base = cursor_take_pointer(&cursor, encoding, 0);
    if (cursor_take(&cursor, 1) != ENCODING_OMIT)
        cursor_take_leb(&cursor, false);
    encoding = (uint8_t)cursor_take(&cursor, 1);
    size = cursor_take_leb(&cursor, false);
    if (cursor.failed || size > cursor.size - cursor.at)
        return true;
    cursor.size = cursor.at + size;
    while (cursor.at < cursor.size && !cursor.failed) {
        cursor_take_format(&cursor, encoding & 0xf);
        cursor_take_format(&cursor, encoding & 0xf);
        uint64_t pad = cursor_take_format(&cursor, encoding & 0xf);
        cursor_take_leb(&cursor, false);
        if (pad && !cursor.failed)
            hl__rewrite_mark_target(file, base + pad);
        if (!hl__rewrite_spend(file, 1))
            return false;
    }
    return true;
}

/* `cursor` stands behind the pointer to the CIE. */
static bool fde_read(struct hl__rewrite_file *file, struct cursor *cursor,
                     const struct frame_encoding *encoding)
{
    uint64_t start = cursor_take_pointer(cursor, encoding->pointer, 0);
    uint64_t size = cursor_take_format(cursor, encoding->pointer & 0xf);

    if (cursor->failed || !start)
        return true;
    if (!encoding->signal)
        hl__rewrite_mark_anchor(file, start);
    hl__rewrite_mark_target(file, start + size);
    if (!encoding->augmented || encoding->exceptions == ENCODING_OMIT)
        return true;
    cursor_take_leb(cursor, false);
    uint64_t exceptions = cursor_take_pointer(cursor, encoding->exceptions, 0);
    return cursor->failed || !exceptions || exceptions_read(file, exceptions, start);
}

static bool frames_read(struct hl__rewrite_file *file, struct cursor cursor)
{
    struct frame_encoding encoding = {.cie = UINT64_MAX};

    while (cursor.size - cursor.at >= 8) {
        uint64_t length = cursor_take(&cursor, 4), body = cursor.at;
        if (length < 4 || length > cursor.size - body)
            break; /* the end, or a record of 4 GiB */
        uint64_t cie = body - cursor_take(&cursor, 4);
        struct cursor record = cursor;
        record.size = body + length;
        cursor.at = body + length;
        if (cie == body)
            continue; /* a CIE itself */
        if (cie != encoding.cie &&
            !cie_read((struct cursor){cursor.bytes, cursor.address, 0, cursor.size, false}, cie,
                      &encoding))
            break;
        if (!hl__rewrite_spend(file, 1) || !fde_read(file, &record, &encoding))
            return false;
    }
    return true;
}

/* Where .eh_frame is, by its header. */
static uint64_t frames_address(struct hl__rewrite_file *file)
{
    struct cursor cursor = {.address = file->frame_header};

    if (file->frame_header)
        cursor.bytes = hl__rewrite_bytes_at(file, cursor.address, 4, &cursor.size);
    if (!cursor.bytes || cursor_take(&cursor, 1) != 1)
        return 0;
    uint8_t encoding = (uint8_t)cursor_take(&cursor, 1);
    cursor_take(&cursor, 2);
    uint64_t address = cursor_take_pointer(&cursor, encoding, file->frame_header);
    return cursor.failed ? 0 : address;
}

static bool section_is_frames(const struct hl__rewrite_file *file, const Elf64_Shdr *section)
{
    static const char name[] = ".eh_frame";
    Elf64_Shdr names = hl__rewrite_section(file, file->header.e_shstrndx);
    const uint8_t *bytes = hl__rewrite_section_bytes(file, &names);

    return bytes && section->sh_name <= names.sh_size &&
           names.sh_size - section->sh_name >= sizeof name &&
           memcmp(bytes + section->sh_name, name, sizeof name) == 0;
}

/* Programs that are linked statically may have no header. */
static uint64_t frames_address_by_section(struct hl__rewrite_file *file)
{
    for (uint32_t i = 0; i < file->header.e_shnum; i++) {
        Elf64_Shdr section = hl__rewrite_section(file, i);
        if (section.sh_addr && section_is_frames(file, &section))
            return section.sh_addr;
    }
    return 0;
}

bool hl__rewrite_read_frames(struct hl__rewrite_file *file)
{
    struct cursor cursor = {.address = frames_address(file)};

    if (!cursor.address)
        cursor.address = frames_address_by_section(file);
    if (cursor.address)
        cursor.bytes = hl__rewrite_bytes_at(file, cursor.address, 8, &cursor.size);
    return !cursor.bytes || frames_read(file, cursor);
}
