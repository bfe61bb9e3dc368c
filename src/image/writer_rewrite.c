/* Rewriting the programs of an image. */
#define _GNU_SOURCE
#include "image/writer_rewrite.h"

#include "image/rewrite.h"
#include "util/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static hl_status no_memory(hl_error *err)
{
    return hl__error_set(err, HL_OUT_OF_MEMORY, NULL, "no memory left for rewritten programs");
}

/* Room for `more` elements behind `count`. */
static bool grow(void *array, uint64_t count, uint64_t more, uint64_t *room, size_t element)
{
    if (more <= *room - count)
        return true;
    uint64_t wanted = (count + more) * 2;
    void *moved = reallocarray(*(void **)array, wanted, element);
    if (!moved)
        return false;
    *(void **)array = moved;
    *room = wanted;
    return true;
}

static hl_status add_patches(struct hl__rewrites *rewrites, struct hl__contents *contents,
                             const struct hl__rewrite *made, struct hl_image_range *range,
                             hl_error *err)
{
    uint64_t data = 0;
    if (!grow(&rewrites->patches, rewrites->patch_count, made->patch_count, &rewrites->patch_room,
              sizeof *rewrites->patches))
        return no_memory(err);
    hl_status status = hl__contents_append(
        contents, made->patch_bytes, (size_t)made->patch_count * HL__REWRITE_PAGE, &data, err);
    *range = (struct hl_image_range){rewrites->patch_count * sizeof *rewrites->patches,
                                     made->patch_count};
    for (uint32_t i = 0; i < made->patch_count; i++)
        rewrites->patches[rewrites->patch_count++] =
            (struct hl_image_patch){made->patch_pages[i], data + (uint64_t)i * HL__REWRITE_PAGE};
    return status;
}

static hl_status add_sites(struct hl__rewrites *rewrites, const struct hl__rewrite *made,
                           struct hl_image_range *range, hl_error *err)
{
    if (!grow(&rewrites->sites, rewrites->site_count, made->site_count, &rewrites->site_room,
              sizeof *rewrites->sites))
        return no_memory(err);
    *range =
        (struct hl_image_range){rewrites->site_count * sizeof *rewrites->sites, made->site_count};
    memcpy(rewrites->sites + rewrites->site_count, made->sites,
           made->site_count * sizeof *made->sites);
    rewrites->site_count += made->site_count;
    return HL_OK;
}

static hl_status add_rewrite(struct hl__rewrites *rewrites, struct hl__contents *contents,
                             const struct hl__rewrite *made, uint32_t *number, hl_error *err)
{
    uint64_t room = rewrites->room;
    if (!grow(&rewrites->list, rewrites->count, 1, &room, sizeof *rewrites->list))
        return no_memory(err);
    rewrites->room = (uint32_t)room;
    struct hl_image_rewrite *rewrite = &rewrites->list[rewrites->count];
    *rewrite = (struct hl_image_rewrite){.stubs_pages = made->stubs_pages,
                                         .stubs_address = made->stubs_address};
    hl_status status = hl__contents_append(
        contents, made->stubs, (size_t)made->stubs_pages * HL__REWRITE_PAGE, &rewrite->stubs, err);
    if (status == HL_OK)
        status = add_patches(rewrites, contents, made, &rewrite->patches, err);
    if (status == HL_OK)
        status = add_sites(rewrites, made, &rewrite->sites, err);
    if (status == HL_OK)
        *number = ++rewrites->count;
    return status;
}

static hl_status rewrite_record(struct hl__rewrites *rewrites, struct hl__contents *contents,
                                uint32_t number, hl_error *err)
{
    struct hl__contents_record *record = &contents->records[number];
    struct hl__rewrite made = {0};
    hl_status status = HL_OK;
    /* What cannot be mapped stays as it is, which is slower and just as right. */
    void *bytes =
        mmap(NULL, record->size, PROT_READ, MAP_PRIVATE, contents->output, (off_t)record->offset);
    if (bytes == MAP_FAILED)
        return HL_OK;
    if (memcmp(bytes, "\177ELF", 4) == 0 && hl__rewrite_elf(bytes, record->size, &made))
        status = add_rewrite(rewrites, contents, &made, &record->rewrite, err);
    hl__rewrite_free(&made);
    munmap(bytes, record->size);
    return status;
}

hl_status hl__rewrites_make(struct hl__rewrites *rewrites, struct hl__contents *contents,
                            hl_error *err)
{
    hl_status status = HL_OK;
    for (uint32_t i = 1; i < contents->count && status == HL_OK; i++)
        if (contents->records[i].references > 0 && contents->records[i].size >= HL_IMAGE_SMALL_MAX)
            status = rewrite_record(rewrites, contents, i, err);
    return status;
}

hl_status hl__rewrites_write(struct hl__rewrites *rewrites, struct hl__contents *contents,
                             struct hl_image_range *range, hl_error *err)
{
    uint64_t patches = 0, sites = 0;
    if (rewrites->count == 0)
        return HL_OK;
    hl_status status =
        hl__contents_append(contents, rewrites->patches,
                            rewrites->patch_count * sizeof *rewrites->patches, &patches, err);
    if (status == HL_OK)
        status = hl__contents_append(contents, rewrites->sites,
                                     rewrites->site_count * sizeof *rewrites->sites, &sites, err);
    for (uint32_t i = 0; i < rewrites->count; i++) {
        rewrites->list[i].patches.offset += patches;
        rewrites->list[i].sites.offset += sites;
    }
    range->count = rewrites->count;
    if (status == HL_OK)
        status = hl__contents_append(contents, rewrites->list,
                                     rewrites->count * sizeof *rewrites->list, &range->offset, err);
    return status;
}

void hl__rewrites_free(struct hl__rewrites *rewrites)
{
    free(rewrites->list);
    free(rewrites->patches);
    free(rewrites->sites);
}
