/* What is in the directory of the cache. */
#ifndef HL_IMAGE_HOST_CACHE_LIST_H
#define HL_IMAGE_HOST_CACHE_LIST_H

#include <hyperlight/prepare.h>
#include <nettle/sha2.h>

struct hl__cache_item {
    char key[2 * SHA256_DIGEST_SIZE + 1];
    uint64_t size;  /* on disk */
    int64_t used_s; /* 0: never, it has no stamp */
    int64_t used_ns;
};

struct hl__cache_list {
    struct hl__cache_item *items;
    size_t count, room;
};

/* False: errno. */
bool hl__cache_list_read(struct hl__cache_list *list, int directory);
/* By their last use, the oldest first. */
void hl__cache_list_sort(struct hl__cache_list *list);
void hl__cache_list_free(struct hl__cache_list *list);

/* Removes files with the suffix that changed before. */
void hl__cache_sweep(int directory, const char *suffix, int64_t before_s);

#endif
