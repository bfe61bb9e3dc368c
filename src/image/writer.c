/* The tables of an image: inodes, entries, names, rewritten programs, and the head. */
#define _GNU_SOURCE
#include "image/writer.h"

#include "image/writer_rewrite.h"
#include "util/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct writer {
    struct hl__tree *tree;
    struct hl__contents *contents;
    struct hl_image_head head;
    struct hl_image_inode *inodes;
    struct hl_image_entry *entries;
    uint32_t *order; /* inodes of the tree by their numbers in the image */
    uint32_t inode_count, entry_count;
    char *names;
    uint64_t names_size;
    struct hl__rewrites rewrites;
};

static hl_status no_memory(hl_error *err)
{
    return hl__error_set(err, HL_OUT_OF_MEMORY, NULL, "no memory left for the image's tables");
}

/* ---- Names and entries ---- */

static uint64_t measure_names(const struct hl__tree *tree, uint32_t *entry_count)
{
    uint64_t size = 0;
    *entry_count = 0;
    for (uint32_t i = 1; i < tree->entry_end; i++) {
        if (tree->entries[i].name) {
            size += tree->entries[i].name_size;
            ++*entry_count;
        }
    }
    for (uint32_t i = 1; i < tree->inode_end; i++)
        if (S_ISLNK(tree->inodes[i].attributes.mode))
            size += tree->inodes[i].target.size;
    return size;
}

static uint64_t add_name(struct writer *writer, const char *name, size_t size)
{
    uint64_t offset = writer->names_size;
    memcpy(writer->names + offset, name, size);
    writer->names_size += size;
    return offset;
}

static int compare_names(const void *left, const void *right, void *tree)
{
    const struct hl__tree_entry *entries = ((struct hl__tree *)tree)->entries;
    const struct hl__tree_entry *a = &entries[*(const uint32_t *)left];
    const struct hl__tree_entry *b = &entries[*(const uint32_t *)right];
    uint32_t common = a->name_size < b->name_size ? a->name_size : b->name_size;
    int difference = memcmp(a->name, b->name, common);
    return difference ? difference : (a->name_size > b->name_size) - (a->name_size < b->name_size);
}

static void number_inode(struct writer *writer, uint32_t inode)
{
    if (writer->tree->inodes[inode].number)
        return;
    writer->tree->inodes[inode].number = ++writer->inode_count;
    writer->order[writer->inode_count] = inode;
}

/* The entries of a directory, sorted, in `list`. Returns how many subdirectories it has. */
static uint32_t list_directory(struct writer *writer, uint32_t directory, uint32_t *list)
{
    struct hl__tree *tree = writer->tree;
    uint32_t count = 0, subdirectories = 0;
    uint32_t entry = tree->inodes[directory].directory.first;
    for (; entry; entry = tree->entries[entry].next) {
        list[count++] = entry;
        subdirectories += S_ISDIR(tree->inodes[tree->entries[entry].inode].attributes.mode);
    }
    qsort_r(list, count, sizeof *list, compare_names, tree);
    return subdirectories;
}

static void write_entries(struct writer *writer, const uint32_t *list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct hl__tree_entry *entry = &writer->tree->entries[list[i]];
        number_inode(writer, entry->inode);
        writer->entries[writer->entry_count++] = (struct hl_image_entry){
            .name = (uint32_t)add_name(writer, entry->name, entry->name_size),
            .name_size = (uint16_t)entry->name_size,
            .inode = writer->tree->inodes[entry->inode].number};
    }
}

/* ---- Inodes ---- */

static void write_directory(struct writer *writer, uint32_t number, uint32_t *list)
{
    struct hl_image_inode *out = &writer->inodes[number];
    const struct hl__tree_inode *inode = &writer->tree->inodes[writer->order[number]];
    out->link_count = 2 + list_directory(writer, writer->order[number], list);
    out->parent = writer->tree->inodes[inode->directory.parent].number;
    out->size = inode->directory.count;
    out->data = writer->entry_count;
    write_entries(writer, list, inode->directory.count);
}

static void write_file(struct writer *writer, struct hl_image_inode *out, uint32_t contents)
{
    const struct hl__contents_record *record = &writer->contents->records[contents];
    out->size = record->size;
    out->data = record->offset;
    out->rewrite = record->rewrite;
}

static void write_inode(struct writer *writer, uint32_t number, uint32_t *list)
{
    struct hl_image_inode *out = &writer->inodes[number];
    const struct hl__tree_inode *inode = &writer->tree->inodes[writer->order[number]];
    const struct hl__tree_attributes *attributes = &inode->attributes;
    *out = (struct hl_image_inode){.mode = attributes->mode,
                                   .uid = attributes->uid,
                                   .gid = attributes->gid,
                                   .link_count = inode->links,
                                   .modified_s = attributes->modified_s,
                                   .modified_ns = attributes->modified_ns};
    if (S_ISDIR(attributes->mode)) {
        write_directory(writer, number, list);
    } else if (S_ISREG(attributes->mode)) {
        write_file(writer, out, inode->contents);
    } else if (S_ISLNK(attributes->mode)) {
        out->size = inode->target.size;
        out->data = add_name(writer, inode->target.text, inode->target.size);
    } else {
        out->size = attributes->device;
    }
}

/* Inodes get their numbers when they are met, one directory after the other. */
static hl_status write_inodes(struct writer *writer, hl_error *err)
{
    uint32_t *list = malloc((writer->tree->entry_end + 1) * sizeof *list);
    if (!list)
        return no_memory(err);
    for (uint32_t i = 0; i < writer->tree->inode_end; i++)
        writer->tree->inodes[i].number = 0;
    number_inode(writer, HL__TREE_ROOT);
    for (uint32_t number = 1; number <= writer->inode_count; number++)
        write_inode(writer, number, list);
    free(list);
    return HL_OK;
}

/* ---- The parts of the file ---- */

static hl_status append_part(struct writer *writer, const void *data, size_t size, uint64_t count,
                             struct hl_image_range *range, hl_error *err)
{
    *range = (struct hl_image_range){0};
    if (size == 0)
        return HL_OK;
    range->count = count;
    return hl__contents_append(writer->contents, data, size, &range->offset, err);
}

static hl_status append_tables(struct writer *writer, const struct hl__image_texts *texts,
                               hl_error *err)
{
    struct hl_image_head *head = &writer->head;
    hl_status status =
        append_part(writer, writer->inodes, (writer->inode_count + 1) * sizeof *writer->inodes,
                    writer->inode_count + 1, &head->inodes, err);
    if (status == HL_OK)
        status = append_part(writer, writer->entries, writer->entry_count * sizeof *writer->entries,
                             writer->entry_count, &head->entries, err);
    if (status == HL_OK)
        status = append_part(writer, writer->names, writer->names_size, writer->names_size,
                             &head->names, err);
    if (status == HL_OK)
        status = hl__rewrites_write(&writer->rewrites, writer->contents, &head->rewrites, err);
    if (status == HL_OK)
        status = append_part(writer, texts->arguments, texts->arguments_size, texts->arguments_size,
                             &head->arguments, err);
    if (status == HL_OK)
        status = append_part(writer, texts->environment, texts->environment_size,
                             texts->environment_size, &head->environment, err);
    if (status == HL_OK)
        status = append_part(writer, texts->directory, texts->directory_size, texts->directory_size,
                             &head->directory, err);
    return status;
}

/* The head comes last: a file that was not finished has none. */
static hl_status write_head(struct writer *writer, hl_error *err)
{
    char page[HL__IMAGE_CONTENTS_START] = {0};
    struct hl_image_head *head = &writer->head;
    head->magic = HL_IMAGE_MAGIC;
    head->version = HL_IMAGE_VERSION;
    head->size = writer->contents->end;
    memcpy(page, head, sizeof *head);
    if (pwrite(writer->contents->output, page, sizeof page, 0) != (ssize_t)sizeof page)
        return hl__error_os(err, HL_SYSTEM, errno, "pwrite", "cannot write the image");
    return HL_OK;
}

static hl_status writer_init(struct writer *writer, struct hl__tree *tree, hl_error *err)
{
    uint32_t entry_count;
    uint64_t names_size = measure_names(tree, &entry_count);
    *writer = (struct writer){.tree = tree, .contents = tree->contents};
    if (names_size > UINT32_MAX)
        return hl__error_set(err, HL_IMAGE_TOO_LARGE, NULL,
                             "the image has more than 4 GiB of names");
    writer->inodes = calloc((size_t)tree->inode_count + 1, sizeof *writer->inodes);
    writer->order = calloc((size_t)tree->inode_count + 1, sizeof *writer->order);
    writer->entries = calloc((size_t)entry_count + 1, sizeof *writer->entries);
    writer->names = malloc(names_size + 1);
    if (!writer->inodes || !writer->order || !writer->entries || !writer->names)
        return no_memory(err);
    return HL_OK;
}

static void writer_free(struct writer *writer)
{
    free(writer->inodes);
    free(writer->order);
    free(writer->entries);
    free(writer->names);
    hl__rewrites_free(&writer->rewrites);
}

hl_status hl__image_write(struct hl__tree *tree, const struct hl__image_texts *texts,
                          uint64_t *size, hl_error *err)
{
    struct writer writer;
    hl_status status = writer_init(&writer, tree, err);
    if (status == HL_OK)
        status = hl__contents_finish(tree->contents, err);
    if (status == HL_OK)
        status = hl__rewrites_make(&writer.rewrites, tree->contents, err);
    if (status == HL_OK)
        status = write_inodes(&writer, err);
    if (status == HL_OK)
        status = append_tables(&writer, texts, err);
    if (status == HL_OK)
        status = write_head(&writer, err);
    if (status == HL_OK)
        *size = writer.contents->end;
    writer_free(&writer);
    return status;
}
