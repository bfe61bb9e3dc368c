/* Reading the tables of an image, and printing them. An image may come from anywhere: it is checked. */
#define _GNU_SOURCE
#include "cli.h"

#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define DEPTH_MAX 4096

/* ---- Reading ---- */

struct reading {
    int file;
    uint64_t size;
};

/* A table with a NUL behind it. NULL: it is not in the file. */
static void *read_range(const struct reading *reading, struct hl_image_range range, size_t element)
{
    uint64_t bytes;
    if (__builtin_mul_overflow(range.count, element, &bytes) || range.offset > reading->size ||
        bytes > reading->size - range.offset)
        return NULL;
    char *table = malloc(bytes + 1);
    uint64_t done = 0;
    while (table && done < bytes) {
        ssize_t taken =
            pread(reading->file, table + done, bytes - done, (off_t)(range.offset + done));
        if (taken <= 0) {
            free(table);
            return NULL;
        }
        done += (uint64_t)taken;
    }
    if (table)
        table[bytes] = '\0';
    return table;
}

static bool read_tables(const struct reading *reading, struct image_tables *tables)
{
    const struct hl_image_head *head = &tables->head;
    tables->inodes = read_range(reading, head->inodes, sizeof *tables->inodes);
    tables->entries = read_range(reading, head->entries, sizeof *tables->entries);
    tables->rewrites = read_range(reading, head->rewrites, sizeof *tables->rewrites);
    tables->names = read_range(reading, head->names, 1);
    tables->arguments = read_range(reading, head->arguments, 1);
    tables->environment = read_range(reading, head->environment, 1);
    tables->directory = read_range(reading, head->directory, 1);
    return tables->inodes && tables->entries && tables->rewrites && tables->names &&
           tables->arguments && tables->environment && tables->directory &&
           head->inodes.count > HL_IMAGE_ROOT;
}

void image_free(struct image_tables *tables)
{
    free(tables->inodes);
    free(tables->entries);
    free(tables->rewrites);
    free(tables->names);
    free(tables->arguments);
    free(tables->environment);
    free(tables->directory);
}

static bool refuse(const char *path, const char *why)
{
    report_error("'%s' %s", path, why);
    return false;
}

static bool read_file(const char *path, const struct reading *reading, struct image_tables *tables)
{
    struct hl_image_head *head = &tables->head;
    if (pread(reading->file, head, sizeof *head, 0) != (ssize_t)sizeof *head ||
        head->magic != HL_IMAGE_MAGIC)
        return refuse(path, "is no prepared image; 'hyperlight image create' makes one");
    if (head->version != HL_IMAGE_VERSION)
        return refuse(path, "is an image of another version; make it anew");
    if (head->size != reading->size || !read_tables(reading, tables))
        return refuse(path, "is damaged; make it anew");
    return true;
}

bool image_read(const char *path, struct image_tables *tables)
{
    struct stat attributes;
    struct reading reading = {.file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
    *tables = (struct image_tables){0};
    if (reading.file < 0 || fstat(reading.file, &attributes) != 0) {
        report_error("cannot read '%s': %s", path, strerror(errno));
        if (reading.file >= 0)
            close(reading.file);
        return false;
    }
    reading.size = (uint64_t)attributes.st_size;
    bool good = read_file(path, &reading, tables);
    close(reading.file);
    if (!good)
        image_free(tables);
    return good;
}

/* ---- Walking ---- */

static const struct hl_image_inode *inode_at(const struct image_tables *tables, uint32_t number)
{
    static const struct hl_image_inode none;
    return number < tables->head.inodes.count ? &tables->inodes[number] : &none;
}

/* A name or a target; nothing if it is not among the names. */
static const char *name_at(const struct image_tables *tables, uint64_t offset, uint64_t *size)
{
    if (offset > tables->head.names.count || *size > tables->head.names.count - offset)
        *size = 0;
    return *size ? tables->names + offset : "";
}

typedef void visitor(const struct image_tables *tables, const char *path,
                     const struct hl_image_inode *inode, void *user);

struct walk {
    const struct image_tables *tables;
    visitor *visit;
    void *user;
    uint64_t left; /* entries: an image that was made to be walked for ever has more */
    int depth;
    char *path;
    size_t size, room;
};

static bool push_name(struct walk *walk, const char *name, size_t size)
{
    if (walk->size + size + 2 > walk->room) {
        size_t room = 2 * (walk->size + size + 2);
        char *path = realloc(walk->path, room);
        if (!path)
            return false;
        walk->path = path;
        walk->room = room;
    }
    walk->path[walk->size++] = '/';
    memcpy(walk->path + walk->size, name, size);
    walk->size += size;
    walk->path[walk->size] = '\0';
    return true;
}

static void walk_directory(struct walk *walk, const struct hl_image_inode *directory)
{
    const struct image_tables *tables = walk->tables;
    for (uint64_t i = 0; i < directory->size && walk->depth < DEPTH_MAX && walk->left > 0; i++) {
        if (directory->data >= tables->head.entries.count ||
            i >= tables->head.entries.count - directory->data)
            return;
        const struct hl_image_entry *entry = &tables->entries[directory->data + i];
        const struct hl_image_inode *inode = inode_at(tables, entry->inode);
        uint64_t size = entry->name_size;
        const char *name = name_at(tables, entry->name, &size);
        size_t before = walk->size;
        walk->left--;
        if (!push_name(walk, name, size))
            return;
        walk->visit(tables, walk->path, inode, walk->user);
        walk->depth++;
        if (S_ISDIR(inode->mode))
            walk_directory(walk, inode);
        walk->depth--;
        walk->size = before;
    }
}

static void walk_image(const struct image_tables *tables, visitor *visit, void *user)
{
    struct walk walk = {
        .tables = tables, .visit = visit, .user = user, .left = tables->head.entries.count};
    const struct hl_image_inode *root = inode_at(tables, HL_IMAGE_ROOT);
    visit(tables, "/", root, user);
    if (S_ISDIR(root->mode))
        walk_directory(&walk, root);
    free(walk.path);
}

/* ---- Printing ---- */

/* A name on one line, whatever is in it. */
static void print_text(const char *text, size_t size)
{
    char *copy = strndup(text, size), *shown = copy ? malloc(4 * size + 8) : NULL;
    if (shown) {
        report_escape(shown, 4 * size + 8, copy);
        fputs(shown, stdout);
    }
    free(copy);
    free(shown);
}

static void format_mode(uint32_t mode, char out[11])
{
    static const char types[] = "?pc?d?b?-?l?s???", bits[] = "rwxrwxrwx";
    out[0] = types[mode >> 12 & 15];
    for (int i = 0; i < 9; i++)
        out[1 + i] = mode & 0400u >> i ? bits[i] : '-';
    if (mode & S_ISUID)
        out[3] = mode & S_IXUSR ? 's' : 'S';
    if (mode & S_ISGID)
        out[6] = mode & S_IXGRP ? 's' : 'S';
    if (mode & S_ISVTX)
        out[9] = mode & S_IXOTH ? 't' : 'T';
    out[10] = '\0';
}

static void format_time(int64_t seconds, char out[32])
{
    struct tm parts;
    time_t time = (time_t)seconds;
    if (!gmtime_r(&time, &parts) || !strftime(out, 32, "%Y-%m-%d %H:%M:%S", &parts))
        strcpy(out, "?");
}

static void print_line(const struct image_tables *tables, const char *path,
                       const struct hl_image_inode *inode, void *user)
{
    char mode[11], changed[32], size[32];
    (void)user;
    format_mode(inode->mode, mode);
    format_time(inode->modified_s, changed);
    if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
        snprintf(size, sizeof size, "%u,%u", major(inode->size), minor(inode->size));
    else
        snprintf(size, sizeof size, "%" PRIu64, S_ISDIR(inode->mode) ? 0 : inode->size);
    printf("%s %3u %5u %5u %12s %s ", mode, inode->link_count, inode->uid, inode->gid, size,
           changed);
    print_text(path, strlen(path));
    if (S_ISLNK(inode->mode)) {
        uint64_t length = inode->size;
        const char *target = name_at(tables, inode->data, &length);
        fputs(" -> ", stdout);
        print_text(target, length);
    }
    putchar('\n');
}

void image_list(const struct image_tables *tables)
{
    walk_image(tables, print_line, NULL);
}

struct counts {
    uint64_t files, directories, links, others, bytes;
};

static void count_node(const struct image_tables *tables, const char *path,
                       const struct hl_image_inode *inode, void *user)
{
    struct counts *counts = user;
    (void)tables, (void)path;
    if (S_ISREG(inode->mode)) {
        counts->files++;
        counts->bytes += inode->size;
    } else if (S_ISDIR(inode->mode)) {
        counts->directories++;
    } else if (S_ISLNK(inode->mode)) {
        counts->links++;
    } else {
        counts->others++;
    }
}

/* Strings, each in its own line under a title. */
static void print_strings(const char *title, const char *text, uint64_t size)
{
    const char *end = text + size;
    for (; text < end; text += strlen(text) + 1) {
        printf("%-13s", title);
        print_text(text, strlen(text));
        putchar('\n');
        title = "";
    }
}

void image_show(const struct image_tables *tables)
{
    const struct hl_image_head *head = &tables->head;
    struct counts counts = {0};
    uint64_t sites = 0;
    walk_image(tables, count_node, &counts);
    for (uint64_t i = 0; i < head->rewrites.count; i++)
        sites += tables->rewrites[i].sites.count;
    printf("size         %" PRIu64 " bytes\n", head->size);
    printf("files        %" PRIu64 " (%" PRIu64 " bytes)\n", counts.files, counts.bytes);
    printf("directories  %" PRIu64 "\n", counts.directories);
    printf("links        %" PRIu64 "\n", counts.links);
    printf("others       %" PRIu64 "\n", counts.others);
    printf("rewritten    %" PRIu64 " programs and libraries, %" PRIu64 " system calls\n",
           head->rewrites.count, sites);
    print_strings("arguments", tables->arguments, head->arguments.count);
    print_strings("environment", tables->environment, head->environment.count);
    print_strings("directory", tables->directory, head->directory.count);
}
