/* Listing and sweeping the directory of the cache. */
#define _GNU_SOURCE
#include "image/host/cache_list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static DIR *open_again(int directory)
{
    int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = copy < 0 ? NULL : fdopendir(copy);
    if (!stream && copy >= 0)
        close(copy);
    return stream;
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t size = strlen(name), end = strlen(suffix);
    return size > end && strcmp(name + size - end, suffix) == 0;
}

static bool add_item(struct hl__cache_list *list, int directory, const char *name)
{
    struct stat attributes, stamp;
    size_t size = strlen(name) - strlen(".image");
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 32;
        struct hl__cache_item *items = reallocarray(list->items, room, sizeof *items);
        if (!items)
            return false;
        list->items = items;
        list->room = room;
    }
    struct hl__cache_item *item = &list->items[list->count];
    *item = (struct hl__cache_item){0};
    if (size >= sizeof item->key)
        return true;
    memcpy(item->key, name, size);
    if (fstatat(directory, name, &attributes, AT_SYMLINK_NOFOLLOW) != 0)
        return true; /* somebody removed it */
    item->size = (uint64_t)attributes.st_blocks * 512;
    char stamp_name[sizeof item->key + 8];
    snprintf(stamp_name, sizeof stamp_name, "%s.stamp", item->key);
    if (fstatat(directory, stamp_name, &stamp, AT_SYMLINK_NOFOLLOW) == 0) {
        item->used_s = stamp.st_mtim.tv_sec;
        item->used_ns = stamp.st_mtim.tv_nsec;
    } else {
        /* It may be about to get its stamp. */
        item->used_s = attributes.st_mtim.tv_sec;
    }
    list->count++;
    return true;
}

bool hl__cache_list_read(struct hl__cache_list *list, int directory)
{
    DIR *stream = open_again(directory);
    const struct dirent *entry;
    bool good = stream != NULL;
    while (good && (entry = readdir(stream)))
        if (has_suffix(entry->d_name, ".image"))
            good = add_item(list, directory, entry->d_name);
    if (stream)
        closedir(stream);
    return good;
}

static int compare_items(const void *left, const void *right)
{
    const struct hl__cache_item *a = left, *b = right;
    if (a->used_s != b->used_s)
        return a->used_s < b->used_s ? -1 : 1;
    return (a->used_ns > b->used_ns) - (a->used_ns < b->used_ns);
}

void hl__cache_list_sort(struct hl__cache_list *list)
{
    if (list->count > 1)
        qsort(list->items, list->count, sizeof *list->items, compare_items);
}

void hl__cache_list_free(struct hl__cache_list *list)
{
    free(list->items);
    *list = (struct hl__cache_list){0};
}

void hl__cache_sweep(int directory, const char *suffix, int64_t before_s)
{
    DIR *stream = open_again(directory);
    const struct dirent *entry;
    struct stat attributes;
    while (stream && (entry = readdir(stream)))
        if (has_suffix(entry->d_name, suffix) &&
            fstatat(directory, entry->d_name, &attributes, AT_SYMLINK_NOFOLLOW) == 0 &&
            attributes.st_mtim.tv_sec < before_s)
            unlinkat(directory, entry->d_name, 0);
    if (stream)
        closedir(stream);
}
