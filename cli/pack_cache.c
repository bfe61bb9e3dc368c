/* The loader's cache of libraries: reading this machine's, and writing one for an image. */
#define _GNU_SOURCE
#include "pack.h"

#include <stdlib.h>
#include <string.h>

#define CACHE_PATH "/etc/ld.so.cache"
#define CACHE_MAGIC "glibc-ld.so.cache1.1"
#define CACHE_SIZE_MAX (64u << 20)
#define FLAGS_X86_64 0x0303 /* of the C library since version 2, for x86-64 */
#define LITTLE_ENDIAN_FLAG 2

struct cache_head {
    char magic[20];
    uint32_t count, strings_size;
    uint8_t flags, padding[3];
    uint32_t extension_offset, unused[3];
};
_Static_assert(sizeof(struct cache_head) == 48, "size of the cache's head");

struct cache_entry {
    int32_t flags;
    uint32_t name, path; /* offsets from the head */
    uint32_t os_version;
    uint64_t hardware;
};
_Static_assert(sizeof(struct cache_entry) == 24, "size of a cache's entry");

/* ---- Reading ---- */

/* This machine's cache with a NUL behind it, read once. */
static const char *load_cache(size_t *size)
{
    static char *cache;
    static size_t cache_size;
    static bool tried;
    if (!tried) {
        tried = true;
        FILE *file = fopen(CACHE_PATH, "rbe");
        if (file && fseek(file, 0, SEEK_END) == 0) {
            long length = ftell(file);
            rewind(file);
            if (length > 0 && length <= (long)CACHE_SIZE_MAX)
                cache = calloc(1, (size_t)length + 1);
            if (cache)
                cache_size = fread(cache, 1, (size_t)length, file);
        }
        if (file)
            fclose(file);
    }
    *size = cache_size;
    return cache;
}

bool cache_find(const char *name, char path[PATH_MAX])
{
    size_t size;
    const char *cache = load_cache(&size);
    struct cache_head head;
    if (!cache || size < sizeof head || memcmp(cache, CACHE_MAGIC, sizeof head.magic) != 0)
        return false;
    memcpy(&head, cache, sizeof head);
    for (uint32_t i = 0; i < head.count; i++) {
        struct cache_entry entry;
        size_t offset = sizeof head + (size_t)i * sizeof entry;
        if (offset + sizeof entry > size)
            return false;
        memcpy(&entry, cache + offset, sizeof entry);
        if (entry.flags == FLAGS_X86_64 && entry.hardware == 0 && entry.name < size &&
            entry.path < size && strcmp(cache + entry.name, name) == 0)
            return snprintf(path, PATH_MAX, "%s", cache + entry.path) < PATH_MAX;
    }
    return false;
}

/* ---- Writing ---- */

bool pack_note_library(struct pack *pack, const char *name, const char *path)
{
    for (size_t i = 0; i < pack->library_count; i++)
        if (strcmp(pack->libraries[i].name, name) == 0)
            return true;
    if (pack->library_count == pack->library_room) {
        size_t room = pack->library_room ? 2 * pack->library_room : 32;
        struct pack_library *list = reallocarray(pack->libraries, room, sizeof *list);
        if (!list) {
            report_error("out of memory");
            return false;
        }
        pack->libraries = list;
        pack->library_room = room;
    }
    struct pack_library *library = &pack->libraries[pack->library_count];
    *library = (struct pack_library){strdup(name), strdup(path)};
    if (!library->name || !library->path) {
        free(library->name);
        free(library->path);
        report_error("out of memory");
        return false;
    }
    pack->library_count++;
    return true;
}

static bool is_digit(char character)
{
    return character >= '0' && character <= '9';
}

/* The loader's own order: runs of digits count as numbers. */
static int compare_names(const char *a, const char *b)
{
    while (*a) {
        if (is_digit(*a) != is_digit(*b))
            return is_digit(*a) ? 1 : -1;
        if (is_digit(*a)) {
            char *a_end, *b_end;
            unsigned long first = strtoul(a, &a_end, 10), second = strtoul(b, &b_end, 10);
            if (first != second)
                return first < second ? -1 : 1;
            a = a_end;
            b = b_end;
        } else if (*a != *b) {
            return *a - *b;
        } else {
            a++;
            b++;
        }
    }
    return *a - *b;
}

/* The loader looks for names in descending order. */
static int compare_libraries(const void *left, const void *right)
{
    const struct pack_library *a = left, *b = right;
    return compare_names(b->name, a->name);
}

static size_t strings_size(const struct pack *pack)
{
    size_t size = 0;
    for (size_t i = 0; i < pack->library_count; i++)
        size += strlen(pack->libraries[i].name) + strlen(pack->libraries[i].path) + 2;
    return size;
}

static uint32_t add_string(char *cache, size_t *used, const char *text)
{
    size_t size = strlen(text) + 1, at = *used;
    memcpy(cache + at, text, size);
    *used += size;
    return (uint32_t)at;
}

bool pack_write_cache(struct pack *pack)
{
    size_t count = pack->library_count, texts = strings_size(pack);
    size_t used = sizeof(struct cache_head) + count * sizeof(struct cache_entry);
    struct cache_head head = {
        .count = (uint32_t)count, .strings_size = (uint32_t)texts, .flags = LITTLE_ENDIAN_FLAG};
    if (count == 0)
        return true;
    char *cache = malloc(used + texts);
    if (!cache) {
        report_error("out of memory");
        return false;
    }
    memcpy(head.magic, CACHE_MAGIC, sizeof head.magic);
    memcpy(cache, &head, sizeof head);
    qsort(pack->libraries, count, sizeof *pack->libraries, compare_libraries);
    for (size_t i = 0; i < count; i++) {
        struct cache_entry entry = {.flags = FLAGS_X86_64};
        entry.name = add_string(cache, &used, pack->libraries[i].name);
        entry.path = add_string(cache, &used, pack->libraries[i].path);
        memcpy(cache + sizeof head + i * sizeof entry, &entry, sizeof entry);
    }
    bool good = pack_default(pack, CACHE_PATH, cache, used);
    free(cache);
    return good;
}
