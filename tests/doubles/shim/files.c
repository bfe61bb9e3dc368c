#include "files.h"
#include "../../../guest/shim/file/inode.c"
#include "base/random.h"
#include "entry/access.h"
#include "entry/syscall.h"
#include "file/credentials.h"
#include "file/device.h"
#include "file/space.h"
#include "io/epoll.h"
#include "io/pipe.h"
#include "memory/heap.h"
#include "program/limits.h"
#include "thread/thread.h"
#include "time/clock.h"

#include <stdlib.h>
#include <string.h>

void *mmap(void *address, size_t size, int protection, int flags, int descriptor, long offset);

#define POOL_PAGES 65536u
#define OBJECT_HEAD 16u

static struct {
    uint64_t objects, pages;           /* held */
    uint64_t objects_left, pages_left; /* UINT64_MAX: no limit */
    uint64_t next_page, first_free;    /* of the pool; free pages are a list */
    uint64_t now_ns;
} memory = {.objects_left = UINT64_MAX, .pages_left = UINT64_MAX};

static struct hl__process process;
static struct hl__thread thread;
struct hl__thread *hl__thread;
const struct hl__device hl__device_hyperlight;

/* Memory */

static bool take(uint64_t *left)
{
    if (!*left)
        return false;
    if (*left != UINT64_MAX)
        --*left;
    return true;
}

/* Each object remembers its size: to give back another one is a mistake. */
void *hl__heap_new(size_t size)
{
    uint8_t *object;

    if (size > HL__HEAP_SIZE_MAX || !take(&memory.objects_left))
        return NULL;
    object = calloc(1, OBJECT_HEAD + size);
    if (!object)
        abort();
    *(size_t *)object = size;
    memory.objects++;
    return object + OBJECT_HEAD;
}

void hl__heap_free(void *object, size_t size)
{
    uint8_t *start;

    if (!object)
        return;
    start = (uint8_t *)object - OBJECT_HEAD;
    if (*(size_t *)start != size)
        abort();
    memory.objects--;
    free(start);
}

void *hl__heap_resize(void *object, size_t old_size, size_t new_size)
{
    void *moved = hl__heap_new(new_size);

    if (!moved)
        return NULL;
    if (object)
        memcpy(moved, object, old_size < new_size ? old_size : new_size);
    hl__heap_free(object, old_size);
    return moved;
}

static void pool_map(void)
{
    enum { READ_WRITE = 3, PRIVATE_ANONYMOUS_FIXED = 0x32, NO_RESERVE = 0x4000 };
    void *base = (void *)HL__POOL_BASE;

    if (memory.next_page)
        return;
    memory.next_page = 1;
    if (mmap(base, POOL_PAGES * HL_ABI_PAGE_SIZE, READ_WRITE, PRIVATE_ANONYMOUS_FIXED | NO_RESERVE,
             -1, 0) != base)
        abort();
}

uint64_t hl__page_new(void)
{
    uint64_t page = memory.first_free;

    pool_map();
    if (memory.next_page == POOL_PAGES || !take(&memory.pages_left))
        return 0;
    if (page)
        memcpy(&memory.first_free, hl__page_bytes(page), sizeof memory.first_free);
    else
        page = memory.next_page++;
    memset(hl__page_bytes(page), 0, HL_ABI_PAGE_SIZE);
    memory.pages++;
    return page;
}

void hl__page_free(uint64_t page)
{
    memset(hl__page_bytes(page), 0xdb, HL_ABI_PAGE_SIZE);
    memcpy(hl__page_bytes(page), &memory.first_free, sizeof memory.first_free);
    memory.first_free = page;
    memory.pages--;
    if (memory.pages_left != UINT64_MAX)
        memory.pages_left++;
}

uint64_t files_objects(void)
{
    return memory.objects;
}

uint64_t files_pages(void)
{
    return memory.pages;
}

void files_memory_left(uint64_t objects, uint64_t pages)
{
    memory.objects_left = objects;
    memory.pages_left = pages;
}

void hl__space(uint64_t *total_pages, uint64_t *free_pages)
{
    *total_pages = POOL_PAGES;
    *free_pages = POOL_PAGES - memory.pages;
}

/* The program's memory: all of this process but the null page, or what files_program_memory() says. */

static uint64_t program_start = HL_ABI_PAGE_SIZE, program_end = UINT64_MAX;

void files_program_memory(const void *start, size_t size)
{
    program_start = (uint64_t)start;
    program_end = program_start + size;
}

static bool accessible(uint64_t address, uint64_t size)
{
    return address >= program_start && address <= program_end && size <= program_end - address;
}

int64_t hl__user_read(void *to, uint64_t from, size_t size)
{
    if (!accessible(from, size))
        return -EFAULT;
    memcpy(to, (const void *)from, size);
    return 0;
}

int64_t hl__user_write(uint64_t to, const void *from, size_t size)
{
    if (!accessible(to, size))
        return -EFAULT;
    memcpy((void *)to, from, size);
    return 0;
}

int64_t hl__user_clear(uint64_t to, size_t size)
{
    if (!accessible(to, size))
        return -EFAULT;
    memset((void *)to, 0, size);
    return 0;
}

int64_t hl__user_string(char *to, uint64_t from, size_t size)
{
    size_t length = 0;

    for (;; length++) {
        if (length == size)
            return -ENAMETOOLONG;
        if (!accessible(from + length, 1))
            return -EFAULT;
        to[length] = ((const char *)from)[length];
        if (!to[length])
            return (int64_t)length;
    }
}

uint64_t hl__user_present(uint64_t address, uint64_t size, bool write)
{
    (void)write;
    if (!accessible(address, 1))
        return 0;
    return size < program_end - address ? size : program_end - address;
}

/* What files need of the rest */

uint64_t hl__clock_realtime_ns(void)
{
    return memory.now_ns += 1000;
}

void hl__random_bytes(void *to, size_t size)
{
    memset(to, 0x55, size);
}

void hl__wake(struct hl__queue *queue)
{
    (void)queue;
}

int64_t hl__wait_on(struct hl__queue *queue, uint64_t deadline_ns)
{
    (void)queue, (void)deadline_ns;
    return -EAGAIN;
}

void hl__epoll_notify(struct hl__file *file, uint32_t events)
{
    (void)file, (void)events;
}

void hl__epoll_forget(struct hl__file *file)
{
    (void)file;
}

int64_t hl__fifo_open(struct hl__inode *inode, uint32_t flags, struct hl__file **file)
{
    (void)inode, (void)flags, (void)file;
    return -ENXIO;
}

void hl__fifo_free(struct hl__inode *inode)
{
    (void)inode;
}

void hl__memory_file_changed(struct hl__inode *inode, uint64_t first, uint64_t end)
{
    (void)inode, (void)first, (void)end;
    abort(); /* nothing is mapped here */
}

/* System calls */

typedef int64_t handler(const uint64_t *arg);

#define HANDLER(number, name) [number] = hl__sys_##name,
#define PARTIAL_HANDLER(number, name, difference) [number] = hl__sys_##name,
#define NO_HANDLER(number, name, error, why)
static handler *const handlers[] = {HL__SYSCALLS_FILE(HANDLER, PARTIAL_HANDLER, NO_HANDLER)};

int64_t files_call(unsigned number, const uint64_t arg[6])
{
    if (number >= sizeof handlers / sizeof handlers[0] || !handlers[number])
        return -ENOSYS;
    return handlers[number](arg);
}

bool files_enter(const void *image, size_t size)
{
    memset(&process, 0, sizeof process);
    memset(&thread, 0, sizeof thread);
    memset(&hl__root_image, 0, sizeof hl__root_image);
    thread.process = &process;
    process.file_mask = 022;
    hl__thread = &thread;
    hl__tree_root = NULL;
    if (image ? !hl__image_open(&hl__root_image, image, size) ||
                    hl__inode_of_image(HL_IMAGE_ROOT, &hl__tree_root) < 0
              : !(hl__tree_root = hl__inode_new(S_IFDIR | 0755)))
        return false;
    if (!image)
        hl__tree_root->link_count = 2;
    hl__tree_root->parent = hl__tree_root;
    hl__inode_ref(hl__tree_root);
    process.directory = hl__tree_root;
    process.descriptors = hl__descriptors_new();
    return process.descriptors != NULL;
}

/* Removes what a directory holds, whatever the program may do. What a damaged image has and nobody can
 * look at stays. */
static void empty(struct hl__inode *directory)
{
    uint64_t position = 2; /* behind "." and ".." */
    struct hl__listed listed;

    while (hl__directory_list(directory, &position, UINT64_MAX, &listed)) {
        char name[HL__NAME_MAX];
        struct hl__inode *inode;

        memcpy(name, listed.name, listed.name_size);
        if (hl__directory_find(directory, name, listed.name_size, &inode) < 0)
            continue;
        if (hl__inode_type(inode) == S_IFDIR)
            empty(inode);
        if (!hl__directory_reserve(directory, name, listed.name_size)) {
            hl__directory_remove(directory, name, listed.name_size);
            hl__inode_unlinked(inode);
        }
        hl__inode_unref(inode);
    }
}

/* What a damaged image counts too many links of stays for ever, as it would in a sandbox. Not here. */
static void drop_kept(void)
{
    for (uint32_t i = 0; i < inodes.bucket_count; i++) {
        struct hl__inode *inode = inodes.buckets[i];

        while (inode && !inode->changed_here)
            inode = inode->next;
        if (!inode)
            continue;
        inode->changed_here = false;
        hl__inode_unref(inode);
        i--; /* the list is another one now */
    }
}

void files_leave(void)
{
    struct hl__inode *root = hl__tree_root;

    files_memory_left(UINT64_MAX, UINT64_MAX);
    if (root && process.directory)
        empty(root);
    if (process.descriptors) {
        for (uint32_t i = 0; i < process.descriptors->capacity; i++)
            hl__descriptor_close(i);
        hl__heap_free(process.descriptors->items,
                      process.descriptors->capacity * sizeof(struct hl__descriptor));
        hl__heap_free(process.descriptors, sizeof *process.descriptors);
    }
    process.descriptors = NULL;
    if (!root)
        return;
    if (process.directory)
        hl__inode_unref(process.directory);
    root->parent = NULL;
    if (root->changed_here) {
        root->changed_here = false;
        hl__inode_unref(root);
    }
    hl__inode_unref(root);
    hl__tree_root = NULL;
    drop_kept();
}

/* Images */

uint8_t files_pattern(int index, uint64_t at)
{
    return (uint8_t)(index * 37 + at * 7 + at / 251 + 1);
}

struct builder {
    const struct files_spec *specs;
    int count;
    uint8_t *bytes;
    size_t size;
    struct hl_image_inode *inodes; /* index + 2; 1 is the root */
    struct hl_image_entry *entries;
    uint32_t *numbers; /* of the specs */
    uint64_t names_offset, entry_count;
};

static uint64_t append(struct builder *builder, const void *bytes, size_t size, size_t alignment)
{
    size_t start = (builder->size + alignment - 1) / alignment * alignment;
    uint8_t *larger = aligned_alloc(HL_ABI_PAGE_SIZE, (start + size + 2 * HL_ABI_PAGE_SIZE - 1) /
                                                          HL_ABI_PAGE_SIZE * HL_ABI_PAGE_SIZE);

    if (!larger)
        abort();
    memset(larger + builder->size, 0, start + size - builder->size);
    if (builder->bytes)
        memcpy(larger, builder->bytes, builder->size);
    free(builder->bytes);
    builder->bytes = larger;
    if (bytes)
        memcpy(larger + start, bytes, size);
    builder->size = start + size;
    return start;
}

static uint64_t put_content(struct builder *builder, int index)
{
    const struct files_spec *spec = &builder->specs[index];
    bool small = spec->size < HL_IMAGE_SMALL_MAX;
    uint64_t start = append(builder, spec->content, spec->size, small ? 1 : HL_ABI_PAGE_SIZE);

    for (uint64_t at = 0; !spec->content && at < spec->size; at++)
        builder->bytes[start + at] = files_pattern(index, at);
    if (!small)
        append(builder, NULL, 0, HL_ABI_PAGE_SIZE);
    return start;
}

static void make_inode(struct builder *builder, int index)
{
    const struct files_spec *spec = &builder->specs[index];
    struct hl_image_inode *inode = &builder->inodes[index + 2];

    builder->numbers[index] = spec->link ? builder->numbers[spec->link - 1] : (uint32_t)index + 2;
    if (spec->link) {
        builder->inodes[builder->numbers[index]].link_count++;
        return;
    }
    *inode =
        (struct hl_image_inode){.mode = spec->mode,
                                .link_count = 1,
                                .modified_s = 1000000000 + index,
                                .parent = spec->parent < 0 ? 1 : builder->numbers[spec->parent],
                                .size = spec->size};
    switch (spec->mode & S_IFMT) {
    case S_IFDIR:
        inode->link_count = 2;
        builder->inodes[inode->parent].link_count++;
        break;
    case S_IFREG:
        inode->data = put_content(builder, index);
        break;
    case S_IFLNK:
        inode->size = strlen(spec->content);
        break;
    }
}

static int compare_names(const char *a, const char *b)
{
    return strcmp(a, b); /* bytes, a prefix first */
}

/* The entries of a directory (-1: the root), sorted. */
static void make_entries(struct builder *builder, int directory)
{
    uint32_t number = directory < 0 ? 1 : builder->numbers[directory];
    const char *last = "";
    uint64_t first = builder->entry_count;

    for (;;) {
        int best = -1;

        for (int i = 0; i < builder->count; i++)
            if (builder->specs[i].parent == directory &&
                compare_names(builder->specs[i].name, last) > 0 &&
                (best < 0 || compare_names(builder->specs[i].name, builder->specs[best].name) < 0))
                best = i;
        if (best < 0)
            break;
        last = builder->specs[best].name;
        builder->entries[builder->entry_count++] = (struct hl_image_entry){
            .name = (uint32_t)(append(builder, last, strlen(last), 1) - builder->names_offset),
            .name_size = (uint16_t)strlen(last),
            .inode = builder->numbers[best]};
    }
    builder->inodes[number].data = first;
    builder->inodes[number].size = builder->entry_count - first;
}

uint8_t *files_image(const struct files_spec *specs, int count, size_t *size)
{
    struct hl_image_head head = {.magic = HL_IMAGE_MAGIC, .version = HL_IMAGE_VERSION};
    struct builder builder = {.specs = specs,
                              .count = count,
                              .inodes = calloc((size_t)count + 2, sizeof *builder.inodes),
                              .entries = calloc((size_t)count + 1, sizeof *builder.entries),
                              .numbers = calloc((size_t)count + 1, sizeof *builder.numbers)};

    if (!builder.inodes || !builder.entries || !builder.numbers)
        abort();
    append(&builder, NULL, HL_ABI_PAGE_SIZE, 1);
    builder.inodes[1] = (struct hl_image_inode){
        .mode = S_IFDIR | 0755, .link_count = 2, .modified_s = 1000000000, .parent = 1};
    for (int i = 0; i < count; i++)
        make_inode(&builder, i);
    builder.names_offset = builder.size;
    for (int i = -1; i < count; i++)
        if (i < 0 || (specs[i].mode & S_IFMT) == S_IFDIR)
            make_entries(&builder, i);
    for (int i = 0; i < count; i++)
        if ((specs[i].mode & S_IFMT) == S_IFLNK && !specs[i].link)
            builder.inodes[i + 2].data =
                append(&builder, specs[i].content, strlen(specs[i].content), 1) -
                builder.names_offset;
    head.names = (struct hl_image_range){builder.names_offset, builder.size - builder.names_offset};
    head.inodes.count = (uint64_t)count + 2;
    head.inodes.offset = append(&builder, builder.inodes, head.inodes.count * 56, 8);
    head.entries.count = builder.entry_count;
    head.entries.offset = append(&builder, builder.entries, head.entries.count * 12, 8);
    append(&builder, NULL, 0, HL_ABI_PAGE_SIZE);
    head.size = *size = builder.size;
    memcpy(builder.bytes, &head, sizeof head);
    free(builder.inodes);
    free(builder.entries);
    free(builder.numbers);
    return builder.bytes;
}

uint64_t hl__limit(uint32_t resource)
{
    (void)resource;
    return RLIM_INFINITY;
}

void hl__signal_raise(int signal, int code)
{
    (void)signal, (void)code;
}
