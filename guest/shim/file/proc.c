/* The directories, links and open files of /proc and /sys. What the files say is elsewhere. */
#include "file/proc.h"
#include "base/text.h"
#include "entry/access.h"
#include "file/open.h"
#include "memory/heap.h"
#include "thread/thread.h"

#include <string.h>

#define NUMBER_BASE (1ull << 60)
#define ID_NONE (-1)
#define WRITE_MAX 256u

static const struct hl__proc_node roots[] = {
    {HL__PROC_NONE, "proc", S_IFDIR | 0555, HL__PROC_ROOT, NULL, NULL, NULL},
    {HL__PROC_NONE, "sys", S_IFDIR | 0555, HL__SYS_ROOT, NULL, NULL, NULL},
};

/* Directories and links that are made per thread or descriptor. */
static int64_t descriptor_follow(int32_t id, struct hl__inode **inode, struct hl__file **file);
static void descriptor_text(struct hl__output *output, int32_t id);

static const struct hl__proc_node process_node = {
    HL__PROC_NONE, "", S_IFDIR | 0555, HL__PROC_PROCESS, NULL, NULL, NULL};
static const struct hl__proc_node thread_node = {
    HL__PROC_NONE, "", S_IFDIR | 0555, HL__PROC_THREAD, NULL, NULL, NULL};
static const struct hl__proc_node descriptor_node = {
    HL__PROC_NONE, "", S_IFLNK | 0700, HL__PROC_NONE, NULL, NULL, descriptor_follow};
static const struct hl__proc_node fdinfo_node = {
    HL__PROC_NONE, "", S_IFREG | 0444, HL__PROC_NONE, descriptor_text, NULL, NULL};

static const struct hl__virtual_ops proc_ops;

static const struct hl__proc_node *node_of(const struct hl__inode *inode)
{
    return inode->object;
}

static int32_t id_of(const struct hl__inode *inode)
{
    return (int32_t)inode->device;
}

static uint64_t number_of(const struct hl__proc_node *node, int32_t id)
{
    return NUMBER_BASE | ((uint64_t)node & 0xfffffff) << 24 | ((uint32_t)id & 0xffffff);
}

static struct hl__inode *inode_for(const struct hl__proc_node *node, int32_t id)
{
    struct hl__inode *inode = hl__inode_new(node->mode);

    if (!inode)
        return NULL;
    inode->number = number_of(node, id);
    inode->link_count = (node->mode & S_IFMT) == S_IFDIR ? 2 : 1;
    inode->object = (void *)node;
    inode->device = (uint32_t)id;
    inode->virtual_ops = &proc_ops;
    return inode;
}

/* A decimal number without leading zeroes; -1 if it is none. */
static int32_t parse_id(const char *name, uint32_t size)
{
    int32_t number = 0;

    if (!size || size > 7 || (name[0] == '0' && size > 1))
        return -1;
    for (uint32_t i = 0; i < size; i++) {
        if (name[i] < '0' || name[i] > '9')
            return -1;
        number = number * 10 + (name[i] - '0');
    }
    return number;
}

static bool name_is(const char *name, uint32_t size, const char *expected)
{
    return hl__string_length(expected) == size && !memcmp(name, expected, size);
}

static bool node_is_in(const struct hl__proc_node *node, enum hl__proc_group group)
{
    if (group == HL__PROC_THREAD)
        return node->in == HL__PROC_PROCESS && node->group != HL__PROC_TASKS;
    return node->in == group;
}

/* The node with a name in a group; or with the index among them, for lists. */
static const struct hl__proc_node *node_find(enum hl__proc_group group, const char *name,
                                             uint32_t size, uint64_t index)
{
    const struct {
        const struct hl__proc_node *nodes;
        uint32_t count;
    } tables[] = {{hl__proc_process_nodes, hl__proc_process_node_count},
                  {hl__proc_system_nodes, hl__proc_system_node_count}};

    for (unsigned t = 0; t < 2; t++) {
        for (uint32_t i = 0; i < tables[t].count; i++) {
            const struct hl__proc_node *node = &tables[t].nodes[i];

            if (!node_is_in(node, group))
                continue;
            if (name ? name_is(name, size, node->name) : !index--)
                return node;
        }
    }
    return NULL;
}

/* The node for a number in a directory of numbers; NULL if that has none. */
static const struct hl__proc_node *node_for_id(enum hl__proc_group group, int32_t id)
{
    switch (group) {
    case HL__PROC_ROOT:
        return id == hl__process()->id ? &process_node : NULL;
    case HL__PROC_TASKS:
        return hl__thread_find(id) ? &thread_node : NULL;
    case HL__PROC_FDS:
    case HL__PROC_FDINFOS:
        if (!hl__descriptor_file((uint64_t)id))
            return NULL;
        return group == HL__PROC_FDS ? &descriptor_node : &fdinfo_node;
    default:
        return NULL;
    }
}

static int64_t proc_find(struct hl__inode *directory, const char *name, uint32_t size,
                         struct hl__inode **inode)
{
    enum hl__proc_group group = node_of(directory)->group;
    int32_t id = parse_id(name, size);
    const struct hl__proc_node *node = id >= 0 ? node_for_id(group, id) : NULL;

    if (!node) {
        id = id_of(directory);
        node = node_find(group, name, size, 0);
    }
    if (!node)
        return -ENOENT;
    *inode = inode_for(node, id);
    return *inode ? 0 : -ENOMEM;
}

/* The lowest number of a directory of numbers from `id` on; -1 if none. */
static int32_t next_id(enum hl__proc_group group, int32_t id)
{
    const struct hl__thread *thread;
    int32_t best = -1;

    switch (group) {
    case HL__PROC_ROOT:
        return id <= hl__process()->id ? hl__process()->id : -1;
    case HL__PROC_TASKS:
        for (thread = hl__process()->threads; thread; thread = thread->all_next)
            if (thread->id >= id && (best < 0 || thread->id < best))
                best = thread->id;
        return best;
    case HL__PROC_FDS:
    case HL__PROC_FDINFOS:
        for (; id < (int32_t)hl__process()->descriptors->capacity; id++)
            if (hl__descriptor_file((uint64_t)id))
                return id;
        return -1;
    default:
        return -1;
    }
}

static uint32_t digits_put(char *bytes, uint64_t number)
{
    struct hl__text text;

    hl__text_start(&text, bytes, 24);
    hl__text_add_number(&text, number);
    return (uint32_t)text.size;
}

/* Named entries first, then numbers; positions of numbers begin at 1 << 16. */
static bool proc_list(struct hl__inode *directory, uint64_t *position, struct hl__listed *listed)
{
    enum { NUMBERS = 1 << 16 };
    enum hl__proc_group group = node_of(directory)->group;
    const struct hl__proc_node *node;
    int32_t id = id_of(directory);

    if (*position < NUMBERS) {
        node = node_find(group, NULL, 0, *position);
        if (node) {
            ++*position;
            listed->name = node->name;
            listed->name_size = (uint32_t)hl__string_length(node->name);
            listed->inode = number_of(node, id);
            listed->mode = node->mode;
            return true;
        }
        *position = NUMBERS;
    }
    if (*position - NUMBERS > HL__THREAD_ID_MAX)
        return false;
    id = next_id(group, (int32_t)(*position - NUMBERS));
    node = id < 0 ? NULL : node_for_id(group, id);
    if (!node)
        return false;
    *position = NUMBERS + (uint64_t)id + 1;
    listed->name = listed->bytes;
    listed->name_size = digits_put(listed->bytes, (uint64_t)id);
    listed->inode = number_of(node, id);
    listed->mode = node->mode;
    return true;
}

static int64_t text_of_inode(struct hl__inode *inode, char *text, uint64_t size)
{
    int64_t length;

    if (!inode)
        return -ENOENT;
    length = hl__path_of(inode, text, size);
    if (length != -ENOENT || !inode->name || inode->name_size + 16u > size)
        return length;
    /* It had a name once. */
    length = inode->parent && inode->parent != inode ? hl__path_of(inode->parent, text, size) : 0;
    if (length < 0 || (uint64_t)length + inode->name_size + 16 > size)
        return -ENOENT;
    if (length != 1)
        text[length++] = '/';
    memcpy(text + length, inode->name, inode->name_size);
    memcpy(text + length + inode->name_size, " (deleted)", 10);
    return length + inode->name_size + 10;
}

/* "pipe" and "socket" get their inode's number. */
static int64_t name_of_object(struct hl__file *file, char *text, uint64_t size)
{
    struct linux_stat stat = {0};
    struct hl__text out;

    hl__text_start(&out, text, size);
    hl__text_add(&out, file->ops->name);
    if (file->ops->name[0] != 'p' && file->ops->name[0] != 's')
        return (int64_t)out.size;
    if (file->ops->stat)
        file->ops->stat(file, &stat);
    hl__text_add(&out, ":[");
    hl__text_add_number(&out, stat.inode);
    hl__text_add(&out, "]");
    return (int64_t)out.size;
}

int64_t hl__file_path(struct hl__file *file, char *path, uint64_t size)
{
    if (file->inode && file->inode->name)
        return text_of_inode(file->inode, path, size);
    if (file->ops->name)
        return name_of_object(file, path, size);
    if (file->inode == hl__tree_root)
        return hl__path_of(file->inode, path, size);
    if (size < sizeof "/memfd: (deleted)")
        return -ERANGE;
    memcpy(path, "/memfd: (deleted)", sizeof "/memfd: (deleted)" - 1);
    return sizeof "/memfd: (deleted)" - 1;
}

static int64_t proc_target(struct hl__inode *link, char *text, uint64_t size)
{
    const struct hl__proc_node *node = node_of(link);
    struct hl__inode *inode = NULL;
    struct hl__file *file = NULL;
    int64_t result;

    if (!node->follow) {
        struct hl__output output = {0};

        node->text(&output, id_of(link));
        result = output.failed ? -ENOMEM : (int64_t)output.size;
        if (result > (int64_t)size)
            result = -ENAMETOOLONG;
        if (result > 0)
            memcpy(text, output.bytes, output.size);
        hl__heap_free(output.bytes, output.capacity);
        return result;
    }
    result = node->follow(id_of(link), &inode, &file);
    if (result)
        return result;
    result = file ? hl__file_path(file, text, size) : text_of_inode(inode, text, size);
    hl__inode_unref(inode);
    hl__file_unref(file);
    return result;
}

static int64_t proc_follow(struct hl__inode *link, struct hl__inode **inode, struct hl__file **file)
{
    const struct hl__proc_node *node = node_of(link);
    char text[64];
    int64_t size;

    if (node->follow) {
        int64_t failure = node->follow(id_of(link), inode, file);

        /* Who has an inode is that, as on Linux. */
        if (!failure && *inode) {
            hl__file_unref(*file);
            *file = NULL;
        }
        return failure;
    }
    /* The others are names in their own directory. */
    size = proc_target(link, text, sizeof text);
    for (int64_t at = 0, end; at < size; at = end + 1) {
        struct hl__inode *from = at ? *inode : link->parent;
        int64_t failure;

        for (end = at; end < size && text[end] != '/'; end++)
            ;
        failure = hl__directory_find(from, text + at, (uint32_t)(end - at), inode);
        if (at)
            hl__inode_unref(from);
        if (failure) {
            *inode = NULL;
            return failure;
        }
    }
    return size < 0 ? size : 0;
}

/* Open files: the text as it was when they were opened. */

static void text_free(struct hl__output *output)
{
    hl__heap_free(output->bytes, output->capacity);
    hl__heap_free(output, sizeof *output);
}

static int64_t text_read(struct hl__file *file, uint64_t address, uint64_t size, uint64_t *position)
{
    const struct hl__output *text = file->object;
    uint64_t left = *position < text->size ? text->size - *position : 0;

    if (size > left)
        size = left;
    if (size && hl__user_write(address, text->bytes + *position, size) < 0)
        return -EFAULT;
    *position += size;
    return (int64_t)size;
}

static int64_t text_write(struct hl__file *file, uint64_t address, uint64_t size,
                          uint64_t *position)
{
    const struct hl__proc_node *node = node_of(file->inode);
    uint64_t taken = size < WRITE_MAX ? size : WRITE_MAX;
    char bytes[WRITE_MAX];
    int64_t failure;

    if (!node->write)
        return -EINVAL;
    if (hl__user_read(bytes, address, taken) < 0)
        return -EFAULT;
    failure = node->write(id_of(file->inode), bytes, taken);
    if (failure)
        return failure;
    *position += size;
    return (int64_t)size;
}

static int64_t text_seek(struct hl__file *file, int64_t offset, int whence)
{
    int64_t base = whence == SEEK_CUR ? (int64_t)file->position : 0, sum;

    if ((whence != SEEK_SET && whence != SEEK_CUR) || __builtin_add_overflow(base, offset, &sum) ||
        sum < 0)
        return -EINVAL;
    file->position = (uint64_t)sum;
    return sum;
}

static int64_t text_truncate(struct hl__file *file, uint64_t size)
{
    (void)file, (void)size;
    return 0;
}

static void text_close(struct hl__file *file)
{
    text_free(file->object);
}

static const struct hl__file_ops text_ops = {
    .read = text_read,
    .write = text_write,
    .seek = text_seek,
    .truncate = text_truncate,
    .close = text_close,
};

static int64_t proc_open(struct hl__inode *inode, uint32_t flags, struct hl__file **file)
{
    const struct hl__proc_node *node = node_of(inode);
    bool directory = (node->mode & S_IFMT) == S_IFDIR;
    struct hl__output *text = NULL;

    if (!directory && (flags & O_ACCMODE) != O_RDONLY && !node->write)
        return -EACCES;
    if (!directory) {
        text = hl__heap_new(sizeof *text);
        if (!text)
            return -ENOMEM;
        node->text(text, id_of(inode));
        if (text->failed) {
            text_free(text);
            return -ENOMEM;
        }
    }
    *file = hl__file_new(directory ? &hl__directory_ops : &text_ops, flags, inode, text);
    if (!*file) {
        if (text)
            text_free(text);
        return -ENOMEM;
    }
    hl__inode_ref(inode);
    return 0;
}

static const struct hl__virtual_ops proc_ops = {
    .find = proc_find,
    .list = proc_list,
    .target = proc_target,
    .follow = proc_follow,
    .open = proc_open,
};

static int64_t descriptor_follow(int32_t id, struct hl__inode **inode, struct hl__file **file)
{
    *file = hl__descriptor_file((uint64_t)id);
    if (!*file)
        return -ENOENT;
    hl__file_ref(*file);
    *inode = (*file)->inode;
    if (*inode)
        hl__inode_ref(*inode);
    return 0;
}

static void descriptor_text(struct hl__output *output, int32_t id)
{
    const struct hl__file *file = hl__descriptor_file((uint64_t)id);
    uint32_t flags = file ? file->flags : 0, shift = 21;

    hl__output_line(output, "pos:\t", file ? file->position : 0, "\nflags:\t0");
    while (shift && !(flags >> shift & 7))
        shift -= 3;
    for (int32_t at = (int32_t)shift; at >= 0; at -= 3)
        hl__output_number(output, flags >> at & 7);
    hl__output_text(output, "\nmnt_id:\t1\n");
    hl__output_line(output, "ino:\t", file && file->inode ? file->inode->number : 0, "\n");
}

static bool hang_up(const struct hl__proc_node *node)
{
    struct hl__inode *inode = inode_for(node, ID_NONE), *old = NULL;
    uint32_t size = (uint32_t)hl__string_length(node->name);
    int64_t failure;

    if (!inode)
        return false;
    if (hl__directory_find(hl__tree_root, node->name, size, &old) || hl__inode_type(old) != S_IFDIR)
        hl__tree_root->link_count++;
    hl__inode_unref(old);
    failure = hl__directory_set(hl__tree_root, node->name, size, inode);
    hl__inode_unref(inode);
    return !failure;
}

bool hl__proc_init(void)
{
    return hang_up(&roots[0]) && hang_up(&roots[1]);
}

/* Growing text */

void hl__output_bytes(struct hl__output *output, const void *bytes, size_t size)
{
    size_t capacity = output->capacity ? output->capacity : 512;
    char *larger;

    if (output->failed)
        return;
    while (capacity - output->size < size)
        capacity *= 2;
    if (capacity != output->capacity) {
        larger = hl__heap_resize(output->bytes, output->capacity, capacity);
        if (!larger) {
            output->failed = true;
            return;
        }
        output->bytes = larger;
        output->capacity = capacity;
    }
    memcpy(output->bytes + output->size, bytes, size);
    output->size += size;
}

void hl__output_text(struct hl__output *output, const char *text)
{
    hl__output_bytes(output, text, hl__string_length(text));
}

void hl__output_number(struct hl__output *output, uint64_t number)
{
    char digits[24];
    uint32_t size = digits_put(digits, number);

    hl__output_bytes(output, digits, size);
}

void hl__output_hex(struct hl__output *output, uint64_t number, unsigned digits)
{
    for (unsigned at = 16; at-- > 0;)
        if (at < digits || number >> at * 4)
            hl__output_bytes(output, &"0123456789abcdef"[number >> at * 4 & 15], 1);
}

void hl__output_line(struct hl__output *output, const char *label, uint64_t number,
                     const char *suffix)
{
    hl__output_text(output, label);
    hl__output_number(output, number);
    hl__output_text(output, suffix);
}
