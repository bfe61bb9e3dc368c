/*
 * Contents of regular files: pages of their own over what the image or the guest binary has. A radix
 * tree with 64 branches holds, per page, nothing (the base shows through, or zeroes), a hole over the
 * base, or a page of RAM; a file of one page has no node at all.
 */
#include "entry/access.h"
#include "file/file.h"
#include "file/tree.h"
#include "memory/heap.h"

#include <string.h>

#define PAGE ((uint64_t)HL_ABI_PAGE_SIZE)
#define NODE_BITS 6u
#define NODE_SLOTS (1u << NODE_BITS)
#define SIZE_MAX_OF_FILE ((uint64_t)INT64_MAX)
#define SLOT_EMPTY 0ull
#define SLOT_HOLE 2ull
#define SLOT_PAGE(page) ((page) << 2 | 1)
#define SLOT_IS_PAGE(slot) ((slot)&1)
#define SLOT_UNWRITTEN 2ull /* of a page: allocated, and no data yet */

struct hl__pages_tree {
    uint64_t root;               /* height 0: the slot of page 0; else a node's address */
    uint32_t height;             /* levels of nodes */
    uint64_t page_count, hidden; /* slots with a page; pages of the base that slots hide */
};

struct node {
    uint64_t slots[NODE_SLOTS];
};

static uint64_t pages_up(uint64_t size)
{
    return size / PAGE + (size % PAGE != 0);
}

/* Whether a tree of that height has a place for the page. */
static bool reaches(uint32_t height, uint64_t index)
{
    return height * NODE_BITS >= 64 || !(index >> (height * NODE_BITS));
}

static uint64_t slot_index(uint64_t index, uint32_t level)
{
    return index >> (level * NODE_BITS) & (NODE_SLOTS - 1);
}

static uint64_t slot_get(const struct hl__inode *inode, uint64_t index)
{
    const struct hl__pages_tree *tree = inode->content;
    uint64_t slot;

    if (!tree || !reaches(tree->height, index))
        return SLOT_EMPTY;
    slot = tree->root;
    for (uint32_t level = tree->height; level-- && slot;)
        slot = ((const struct node *)slot)->slots[slot_index(index, level)];
    return slot;
}

/* Makes the tree high enough. False when memory has run out. */
static bool tree_raise(struct hl__pages_tree *tree, uint64_t index)
{
    while (!reaches(tree->height, index)) {
        if (tree->root) {
            struct node *node = hl__heap_new(sizeof *node);

            if (!node)
                return false;
            node->slots[0] = tree->root;
            tree->root = (uint64_t)node;
        }
        tree->height++;
    }
    return true;
}

/* The place of a page's slot, made if need be. NULL when memory has run out. */
static uint64_t *slot_place(struct hl__inode *inode, uint64_t index)
{
    struct hl__pages_tree *tree = inode->content;
    uint64_t *slot;

    if (!tree)
        tree = inode->content = hl__heap_new(sizeof *tree);
    if (!tree || !tree_raise(tree, index))
        return NULL;
    slot = &tree->root;
    for (uint32_t level = tree->height; level--;) {
        if (!*slot)
            *slot = (uint64_t)hl__heap_new(sizeof(struct node));
        if (!*slot)
            return NULL;
        slot = &((struct node *)*slot)->slots[slot_index(index, level)];
    }
    return slot;
}

static void slot_set(struct hl__inode *inode, uint64_t *place, uint64_t index, uint64_t slot)
{
    struct hl__pages_tree *tree = inode->content;
    uint64_t old = *place;

    tree->page_count += SLOT_IS_PAGE(slot);
    tree->page_count -= SLOT_IS_PAGE(old);
    if (index < pages_up(inode->base_size)) {
        tree->hidden += slot != SLOT_EMPTY;
        tree->hidden -= old != SLOT_EMPTY;
    }
    *place = slot;
    if (SLOT_IS_PAGE(old))
        hl__page_free(old >> 2);
}

/* Frees what lies in [first, end) of a subtree that covers pages from `base` on. */
static void tree_clear(struct hl__inode *inode, uint64_t *slot, uint32_t level, uint64_t base,
                       uint64_t first, uint64_t end)
{
    uint64_t span = 1ull << ((level - 1) * NODE_BITS);
    struct node *node = (struct node *)*slot;
    bool used = false;

    if (!node)
        return;
    for (uint64_t i = 0; i < NODE_SLOTS; i++) {
        uint64_t start = base + i * span;

        if (node->slots[i] && start < end && first - base < (i + 1) * span) {
            if (level == 1)
                slot_set(inode, &node->slots[i], start, SLOT_EMPTY);
            else
                tree_clear(inode, &node->slots[i], level - 1, start, first > start ? first : start,
                           end);
        }
        used |= node->slots[i] != 0;
    }
    if (!used) {
        *slot = 0;
        hl__heap_free(node, sizeof *node);
    }
}

/* Forgets the slots of pages [first, end). */
static void slots_clear(struct hl__inode *inode, uint64_t first, uint64_t end)
{
    struct hl__pages_tree *tree = inode->content;

    if (!tree || first >= end)
        return;
    if (tree->height)
        tree_clear(inode, &tree->root, tree->height, 0, first, end);
    else if (!first && tree->root)
        slot_set(inode, &tree->root, 0, SLOT_EMPTY);
}

void hl__content_free(struct hl__inode *inode)
{
    slots_clear(inode, 0, UINT64_MAX);
    if (inode->content)
        hl__heap_free(inode->content, sizeof *inode->content);
    inode->content = NULL;
}

uint64_t hl__content_pages(const struct hl__inode *inode)
{
    const struct hl__pages_tree *tree = inode->content;

    return pages_up(inode->base_size) + (tree ? tree->page_count - tree->hidden : 0);
}

static const uint8_t *base_bytes(const struct hl__inode *inode)
{
#ifdef HL__TEST_PROGRAM
    const uint8_t *program = HL__TEST_PROGRAM;
#else
    const uint8_t *program = (const uint8_t *)HL_ABI_PROGRAM_ADDRESS;
#endif

    return (inode->base == HL__PAGE_IMAGE ? hl__root_image.bytes : program) + inode->base_offset;
}

/* Bytes of a page that the base has. */
static uint64_t base_part(const struct hl__inode *inode, uint64_t index)
{
    uint64_t start = index * PAGE;

    if (start >= inode->base_size)
        return 0;
    return inode->base_size - start < PAGE ? inode->base_size - start : PAGE;
}

/* Where the page is, without making anything; offset counts bytes for the image and the program. */
static struct hl__file_page page_look(const struct hl__inode *inode, uint64_t index)
{
    uint64_t slot = slot_get(inode, index);

    if (SLOT_IS_PAGE(slot))
        return (struct hl__file_page){HL__PAGE_RAM, (slot >> 2) * PAGE};
    if (slot == SLOT_EMPTY && base_part(inode, index))
        return (struct hl__file_page){inode->base, inode->base_offset + index * PAGE};
    return (struct hl__file_page){HL__PAGE_HOLE, 0};
}

/* The base's last page may be mapped only if nothing else lies behind the file's end in it. */
static bool base_mappable(const struct hl__inode *inode, uint64_t index)
{
    uint64_t part = base_part(inode, index), end;

    if (inode->base_offset % PAGE)
        return false;
    if (inode->base != HL__PAGE_IMAGE || part == PAGE)
        return true;
    end = inode->base_offset + index * PAGE + PAGE;
    if (end > hl__root_image.size)
        return false;
    for (const uint8_t *at = hl__root_image.bytes + end - PAGE + part;
         at < hl__root_image.bytes + end; at++)
        if (*at)
            return false;
    return true;
}

struct hl__file_page hl__inode_page(struct hl__inode *inode, uint64_t index, bool *failed)
{
    struct hl__file_page page = page_look(inode, index);

    if (page.source == HL__PAGE_HOLE || page.source == HL__PAGE_RAM || base_mappable(inode, index))
        return page;
    page = (struct hl__file_page){HL__PAGE_RAM, hl__inode_page_own(inode, index) * PAGE};
    if (page.offset)
        return page;
    *failed = true;
    return (struct hl__file_page){HL__PAGE_HOLE, 0};
}

uint64_t hl__inode_page_own(struct hl__inode *inode, uint64_t index)
{
    uint64_t *place = slot_place(inode, index);
    uint64_t page;

    if (!place)
        return 0;
    if (SLOT_IS_PAGE(*place)) {
        *place &= ~SLOT_UNWRITTEN;
        return *place >> 2;
    }
    page = hl__page_new();
    if (!page)
        return 0;
    if (*place == SLOT_EMPTY && base_part(inode, index))
        memcpy(hl__page_bytes(page), base_bytes(inode) + index * PAGE, base_part(inode, index));
    slot_set(inode, place, index, SLOT_PAGE(page));
    hl__inode_keep(inode);
    if (inode->mapping_count)
        hl__memory_file_changed(inode, index, index + 1);
    return page;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Bytes from a position on that lie in one piece, with their place: NULL for zeroes. */
static uint64_t content_piece(const struct hl__inode *inode, uint64_t position, uint64_t size,
                              const uint8_t **bytes)
{
    uint64_t index = position / PAGE, piece = smaller(size, PAGE - position % PAGE);
    struct hl__file_page page = page_look(inode, index);

    *bytes = NULL;
    if (page.source == HL__PAGE_RAM) {
        *bytes = (const uint8_t *)hl__page_bytes(page.offset / PAGE) + position % PAGE;
        return piece;
    }
    if (page.source == HL__PAGE_HOLE)
        return piece;
    if (position >= inode->base_size)
        return piece;
    *bytes = base_bytes(inode) + position;
    /* Without pages of its own the base is one piece. */
    if (!inode->content || !inode->content->page_count)
        piece = inode->content && inode->content->hidden ? piece : size;
    return smaller(piece, inode->base_size - position);
}

/* Copies up to the first byte that the program's memory has no place for. */
static uint64_t give_part(uint64_t address, const uint8_t *bytes, uint64_t size)
{
    int64_t failure = bytes ? hl__user_write(address, bytes, size) : hl__user_clear(address, size);

    if (!failure)
        return size;
    size = hl__user_present(address, size, true);
    if (!size)
        return 0;
    failure = bytes ? hl__user_write(address, bytes, size) : hl__user_clear(address, size);
    return failure ? 0 : size;
}

int64_t hl__content_read(struct hl__inode *inode, uint64_t address, uint64_t size,
                         uint64_t position)
{
    uint64_t done = 0;

    if (position >= inode->size)
        return 0;
    size = smaller(size, inode->size - position);
    while (done < size) {
        const uint8_t *bytes;
        uint64_t piece = content_piece(inode, position + done, size - done, &bytes);
        uint64_t given = give_part(address + done, bytes, piece);

        done += given;
        if (given < piece)
            return done ? (int64_t)done : -EFAULT;
    }
    return (int64_t)done;
}

int64_t hl__inode_read(struct hl__inode *inode, void *to, uint64_t size, uint64_t position)
{
    uint64_t done = 0;

    if (position >= inode->size)
        return 0;
    size = smaller(size, inode->size - position);
    while (done < size) {
        const uint8_t *bytes;
        uint64_t piece = content_piece(inode, position + done, size - done, &bytes);

        if (bytes)
            memcpy((uint8_t *)to + done, bytes, piece);
        else
            memset((uint8_t *)to + done, 0, piece);
        done += piece;
    }
    return (int64_t)done;
}

/* Bytes of the program's that were taken. */
static uint64_t take_part(uint8_t *to, uint64_t address, uint64_t size)
{
    if (!hl__user_read(to, address, size))
        return size;
    size = hl__user_present(address, size, false);
    return size && !hl__user_read(to, address, size) ? size : 0;
}

/* Zeroes what of a page lies behind the file's end. */
static void page_clear_behind(const struct hl__inode *inode, uint64_t page, uint64_t index)
{
    uint64_t start = index * PAGE;
    uint64_t kept = inode->size > start ? smaller(inode->size - start, PAGE) : 0;

    memset((uint8_t *)hl__page_bytes(page) + kept, 0, PAGE - kept);
}

static int64_t content_write(struct hl__inode *inode, uint64_t address, const uint8_t *own,
                             uint64_t size, uint64_t position)
{
    uint64_t done = 0;
    int64_t failure = 0;

    if (position >= SIZE_MAX_OF_FILE)
        return size ? -EFBIG : 0;
    size = smaller(size, SIZE_MAX_OF_FILE - position);
    while (done < size) {
        uint64_t at = position + done, piece = smaller(size - done, PAGE - at % PAGE);
        uint64_t page = hl__inode_page_own(inode, at / PAGE), taken = piece;
        uint8_t *bytes;

        if (!page) {
            failure = -ENOSPC;
            break;
        }
        bytes = (uint8_t *)hl__page_bytes(page) + at % PAGE;
        if (own)
            memcpy(bytes, own + done, piece);
        else
            taken = take_part(bytes, address + done, piece);
        done += taken;
        if (position + done > inode->size)
            inode->size = position + done;
        if (taken == piece)
            continue;
        /* The copy may have begun: nothing of it must show behind the end. */
        page_clear_behind(inode, page, at / PAGE);
        failure = -EFAULT;
        break;
    }
    if (done)
        hl__inode_modified(inode);
    return done ? (int64_t)done : failure;
}

int64_t hl__content_write(struct hl__inode *inode, uint64_t address, uint64_t size,
                          uint64_t position)
{
    return content_write(inode, address, NULL, size, position);
}

int64_t hl__content_write_own(struct hl__inode *inode, const void *from, uint64_t size,
                              uint64_t position)
{
    return content_write(inode, 0, from, size, position);
}

static bool page_has_data(const struct hl__inode *inode, uint64_t index)
{
    uint64_t slot = slot_get(inode, index);

    return !(SLOT_IS_PAGE(slot) && slot & SLOT_UNWRITTEN) &&
           page_look(inode, index).source != HL__PAGE_HOLE;
}

/* Zeroes a part of one page. 0 or -ENOSPC. */
static int64_t page_clear(struct hl__inode *inode, uint64_t start, uint64_t end)
{
    uint64_t page;

    if (start >= end || !page_has_data(inode, start / PAGE))
        return 0;
    page = hl__inode_page_own(inode, start / PAGE);
    if (!page)
        return -ENOSPC;
    memset((uint8_t *)hl__page_bytes(page) + start % PAGE, 0, end - start);
    return 0;
}

/* Pages of the base from `page_count` on are no more. */
static void base_cut(struct hl__inode *inode, uint64_t size)
{
    if (inode->base_size > size)
        inode->base_size = size;
}

int64_t hl__content_truncate(struct hl__inode *inode, uint64_t size)
{
    uint64_t first = pages_up(size), old = inode->size;

    if (size > SIZE_MAX_OF_FILE)
        return -EFBIG;
    if (size < old) {
        /* A file of the image needs no page for its cut: the base ends there. */
        if (SLOT_IS_PAGE(slot_get(inode, size / PAGE)) && size % PAGE)
            memset((uint8_t *)hl__page_bytes(slot_get(inode, size / PAGE) >> 2) + size % PAGE, 0,
                   PAGE - size % PAGE);
        slots_clear(inode, first, UINT64_MAX);
        base_cut(inode, size);
        inode->size = size; /* before mappings forget what is behind it */
        if (inode->mapping_count)
            hl__memory_file_changed(inode, size / PAGE, pages_up(old));
    }
    inode->size = size;
    hl__inode_modified(inode);
    return 0;
}

int64_t hl__content_punch(struct hl__inode *inode, uint64_t start, uint64_t end)
{
    uint64_t first = pages_up(start), last;

    end = smaller(end, pages_up(inode->size) * PAGE);
    last = end / PAGE;
    if (start >= end)
        return 0;
    if (first > last)
        return page_clear(inode, start, end);
    if (page_clear(inode, start, first * PAGE) < 0 || page_clear(inode, last * PAGE, end) < 0)
        return -ENOSPC;
    /* Over the base, zeroes need a slot to hide it. */
    for (uint64_t index = first; index < last && index < pages_up(inode->base_size); index++) {
        uint64_t *place = slot_place(inode, index);

        if (!place)
            return -ENOSPC;
        slot_set(inode, place, index, SLOT_HOLE);
    }
    if (pages_up(inode->base_size) > first)
        slots_clear(inode, pages_up(inode->base_size), last);
    else
        slots_clear(inode, first, last);
    if (inode->mapping_count)
        hl__memory_file_changed(inode, first, last);
    hl__inode_modified(inode);
    return 0;
}

/* Gives back the pages of zeroes that allocation added before it failed. */
static void allocation_undo(struct hl__inode *inode, uint64_t first, uint64_t end,
                            const uint64_t *had)
{
    for (uint64_t index = first; index < end; index++) {
        uint64_t bit = index - first;

        if (had[bit / 64] >> bit % 64 & 1)
            continue;
        /* Over the base it was a hole. */
        if (index < pages_up(inode->base_size))
            slot_set(inode, slot_place(inode, index), index, SLOT_HOLE);
        else
            slots_clear(inode, index, index + 1);
    }
}

int64_t hl__content_allocate(struct hl__inode *inode, uint64_t start, uint64_t end)
{
    uint64_t first = start / PAGE, last = pages_up(end);
    size_t bits_size;
    uint64_t *had;

    if (last - first > HL__HEAP_SIZE_MAX)
        return -ENOSPC;
    bits_size = ((last - first) / 64 + 1) * sizeof *had;
    had = hl__heap_new(bits_size);
    if (!had)
        return -ENOSPC;
    for (uint64_t index = first; index < last; index++) {
        uint64_t bit = index - first;

        if (page_look(inode, index).source != HL__PAGE_HOLE) {
            had[bit / 64] |= 1ull << bit % 64;
        } else if (hl__inode_page_own(inode, index)) {
            *slot_place(inode, index) |= SLOT_UNWRITTEN;
        } else {
            allocation_undo(inode, first, index, had);
            hl__heap_free(had, bits_size);
            return -ENOSPC;
        }
    }
    hl__heap_free(had, bits_size);
    return 0;
}

/* The first page from `index` on whose slot is not empty; UINT64_MAX if none. */
static uint64_t slot_next(uint64_t slot, uint32_t level, uint64_t base, uint64_t index)
{
    if (!slot)
        return UINT64_MAX;
    if (!level)
        return base;
    for (uint64_t i = 0; i < NODE_SLOTS; i++) {
        uint64_t span = 1ull << ((level - 1) * NODE_BITS);
        uint64_t start = base + i * span, found;

        if (index > start && index - start >= span)
            continue;
        found = slot_next(((const struct node *)slot)->slots[i], level - 1, start, index);
        if (found != UINT64_MAX)
            return found;
    }
    return UINT64_MAX;
}

/* The first page with data from `index` on, UINT64_MAX if none. */
static uint64_t next_data(const struct hl__inode *inode, uint64_t index)
{
    const struct hl__pages_tree *tree = inode->content;

    while (index < pages_up(inode->size)) {
        if (page_has_data(inode, index))
            return index;
        index++;
        if (index >= pages_up(inode->base_size))
            index = tree ? slot_next(tree->root, tree->height, 0, index) : UINT64_MAX;
    }
    return UINT64_MAX;
}

int64_t hl__content_seek(struct hl__inode *inode, uint64_t position, bool hole)
{
    uint64_t index = position / PAGE, found;

    if (position >= inode->size)
        return -ENXIO;
    if (!hole) {
        found = next_data(inode, index);
        if (found == UINT64_MAX)
            return -ENXIO;
        return (int64_t)(found > index ? found * PAGE : position);
    }
    while (index * PAGE < inode->size && page_has_data(inode, index))
        index++;
    found = index > position / PAGE ? index * PAGE : position;
    return (int64_t)smaller(found, inode->size);
}
