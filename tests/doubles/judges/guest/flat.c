/* FlatBuffers, as far as calls need them: a reader that never leaves its bytes, and a writer from front to back. */
#include "guest.h"

static uint64_t view_read(struct view *view, uint32_t position, unsigned size)
{
    uint64_t value = 0;
    if (position > view->size || view->size - position < size) {
        view->bad = true;
        return 0;
    }
    __builtin_memcpy(&value, view->bytes + position, size);
    return value;
}

uint8_t view_u8(struct view *view, uint32_t position)
{
    return (uint8_t)view_read(view, position, 1);
}

uint32_t view_u32(struct view *view, uint32_t position)
{
    return (uint32_t)view_read(view, position, 4);
}

uint64_t view_u64(struct view *view, uint32_t position)
{
    return view_read(view, position, 8);
}

uint32_t view_root(struct view *view)
{
    return 4 + view_u32(view, 4);
}

uint32_t view_field(struct view *view, uint32_t table, unsigned slot)
{
    uint32_t slots = table - view_u32(view, table), offset;
    if (4 + 2 * slot + 2 > view_read(view, slots, 2)) {
        return 0;
    }
    offset = (uint32_t)view_read(view, slots + 4 + 2 * slot, 2);
    return offset ? table + offset : 0;
}

uint32_t view_child(struct view *view, uint32_t table, unsigned slot)
{
    uint32_t field = view_field(view, table, slot);
    return field ? field + view_u32(view, field) : 0;
}

struct text view_text(struct view *view, uint32_t position)
{
    uint32_t size = view_u32(view, position);
    if (view->bad || size > view->size - position - 4) {
        view->bad = true;
        return (struct text){"", 0};
    }
    return (struct text){(const char *)view->bytes + position + 4, size};
}

/* Adds zeroes: `size` of them, at a multiple of `alignment`. */
static uint32_t add(struct flat *flat, uint32_t size, uint32_t alignment)
{
    uint32_t position = (flat->size + alignment - 1) & ~(alignment - 1);
    if (position > flat->capacity || flat->capacity - position < size) {
        guest_abort(ERROR_UNKNOWN, TEXT("message too long"));
    }
    while (flat->size < position + size) {
        flat->bytes[flat->size++] = 0;
    }
    return position;
}

void flat_begin(struct flat *flat, uint8_t *bytes, uint32_t capacity)
{
    *flat = (struct flat){bytes, 0, capacity};
    add(flat, 8, 4);
}

void flat_set(struct flat *flat, uint32_t position, uint64_t value, unsigned size)
{
    switch (size) {
    case 1:
        *(flat->bytes + position) = (uint8_t)value;
        break;
    case 2:
        __builtin_memcpy(flat->bytes + position, &value, 2);
        break;
    case 4:
        __builtin_memcpy(flat->bytes + position, &value, 4);
        break;
    default:
        __builtin_memcpy(flat->bytes + position, &value, 8);
        break;
    }
}

uint32_t flat_table(struct flat *flat, unsigned count, const uint8_t *sizes)
{
    uint32_t slots = add(flat, 4 + 2 * count, 2), table = add(flat, 4, 8);
    for (unsigned i = 0; i < count; i++) {
        uint32_t field = add(flat, sizes[i], sizes[i]);
        flat_set(flat, slots + 4 + 2 * i, field - table, 2);
    }
    flat_set(flat, slots, 4 + 2 * count, 2);
    flat_set(flat, slots + 2, flat->size - table, 2);
    flat_set(flat, table, table - slots, 4);
    return table;
}

uint32_t flat_vector(struct flat *flat, uint32_t count)
{
    uint32_t vector = add(flat, 4 + 4 * count, 4);
    flat_set(flat, vector, count, 4);
    return vector;
}

uint32_t flat_text(struct flat *flat, struct text text)
{
    uint32_t position = add(flat, 4, 4);
    if (text.size >= flat->capacity - flat->size) {
        guest_abort(ERROR_UNKNOWN, TEXT("message too long"));
    }
    flat_set(flat, position, text.size, 4);
    copy_bytes(flat->bytes + flat->size, text.bytes, text.size);
    flat->size += text.size;
    add(flat, 1, 1);
    return position;
}

uint32_t flat_field(struct flat *flat, uint32_t table, unsigned slot)
{
    uint32_t distance = 0, offset = 0;
    __builtin_memcpy(&distance, flat->bytes + table, 4);
    __builtin_memcpy(&offset, flat->bytes + table - distance + 4 + 2 * slot, 2);
    return table + offset;
}

void flat_link(struct flat *flat, uint32_t position, uint32_t target)
{
    flat_set(flat, position, target - position, 4);
}

void flat_end(struct flat *flat, uint32_t root)
{
    flat_set(flat, 0, flat->size - 4, 4);
    flat_link(flat, 4, root);
}
