/* Puts the rewriting of a file together: stubs, sites and patched pages. */
#include "image/rewrite.h"
#include "image/rewrite_window.h"

#include <stdlib.h>

#define STUB_ALIGNMENT 16u
#define PAGE_MASK (HL__REWRITE_PAGE - 1u)
#define JUMP_OPCODE 0xe9
#define TRAP_OPCODE 0xcc /* int3: nothing may run here */

/* Most files have none. */
static bool has_syscall_bytes(const struct hl__rewrite_file *file)
{
    for (uint32_t i = 0; i < file->code_count; i++) {
        const uint8_t *at = file->codes[i].bytes, *end = at + file->codes[i].size;
        while (end - at >= 2 && (at = memchr(at, 0x0f, (size_t)(end - at) - 1)))
            if (*++at == 0x05)
                return true;
    }
    return false;
}

static bool read_all(struct hl__rewrite_file *file, const uint8_t *bytes, size_t size)
{
    if (!hl__rewrite_file_read(file, bytes, size) || !has_syscall_bytes(file) ||
        !hl__rewrite_read_symbols(file) || !hl__rewrite_read_frames(file))
        return false;
    if (!hl__rewrite_scan(file) || !file->site_count)
        return false;
    hl__rewrite_read_pointers(file);
    return true;
}

static bool stubs_append(struct hl__rewrite *out, size_t *used, const struct hl__window *window)
{
    size_t size = *used + window->site.stub_size;

    if (size > (size_t)out->stubs_pages * HL__REWRITE_PAGE) {
        uint32_t pages = out->stubs_pages ? 2 * out->stubs_pages : 1;
        uint8_t *stubs = realloc(out->stubs, (size_t)pages * HL__REWRITE_PAGE);
        if (!stubs)
            return false;
        memset(stubs + (size_t)out->stubs_pages * HL__REWRITE_PAGE, TRAP_OPCODE,
               (size_t)(pages - out->stubs_pages) * HL__REWRITE_PAGE);
        out->stubs = stubs;
        out->stubs_pages = pages;
    }
    memcpy(out->stubs + *used, window->code, window->site.stub_size);
    *used = (size + STUB_ALIGNMENT - 1) & ~(size_t)(STUB_ALIGNMENT - 1);
    return true;
}

static bool sites_make(struct hl__rewrite_file *file, struct hl__rewrite *out)
{
    uint64_t from = 0;
    size_t used = 0;

    out->sites = calloc(file->site_count, sizeof *out->sites);
    if (!out->sites)
        return false;
    for (uint32_t i = 0; i < file->site_count; i++) {
        struct hl__window window;
        if (!hl__window_make(file, file->sites[i], from, out->stubs_address + used, &window))
            continue;
        window.site.stub = (uint32_t)used;
        if (!stubs_append(out, &used, &window))
            return false;
        out->sites[out->site_count++] = window.site;
        from = window.site.address + window.site.size;
    }
    out->left_count = file->site_count - out->site_count;
    out->stubs_pages = (uint32_t)((used + PAGE_MASK) / HL__REWRITE_PAGE);
    return out->site_count > 0;
}

static uint64_t site_offset(struct hl__rewrite_file *file, const struct hl_image_site *site)
{
    const struct hl__rewrite_code *code = hl__rewrite_code_at(file, site->address);
    return code->offset + (site->address - code->address);
}

/* Copies the pages in which windows lie. `slots` has 1 for each page that is touched, and then the
 * number of its copy. */
static bool patches_copy(const struct hl__rewrite_file *file, struct hl__rewrite *out,
                         uint32_t *slots, uint64_t page_count)
{
    out->patch_pages = calloc(out->patch_count, sizeof *out->patch_pages);
    out->patch_bytes = calloc(out->patch_count, HL__REWRITE_PAGE);
    if (!out->patch_pages || !out->patch_bytes)
        return false;
    uint32_t next = 0;
    for (uint64_t page = 0; page < page_count; page++) {
        uint64_t offset = page * HL__REWRITE_PAGE, left = file->size - offset;
        if (!slots[page])
            continue;
        out->patch_pages[next] = page;
        memcpy(out->patch_bytes + (size_t)next * HL__REWRITE_PAGE, file->bytes + offset,
               left < HL__REWRITE_PAGE ? left : HL__REWRITE_PAGE);
        slots[page] = next++;
    }
    return true;
}

static void patch_site(struct hl__rewrite *out, const uint32_t *slots,
                       const struct hl_image_site *site, uint64_t offset)
{
    uint8_t window[UINT8_MAX];
    int32_t distance = (int32_t)(out->stubs_address + site->stub - (site->address + 5));

    memset(window, TRAP_OPCODE, sizeof window);
    window[0] = JUMP_OPCODE;
    memcpy(window + 1, &distance, sizeof distance);
    for (unsigned i = 0; i < site->size; i++) {
        uint64_t at = offset + i;
        out->patch_bytes[(size_t)slots[at / HL__REWRITE_PAGE] * HL__REWRITE_PAGE +
                         (at & PAGE_MASK)] = window[i];
    }
}

static bool patches_make(struct hl__rewrite_file *file, struct hl__rewrite *out)
{
    uint64_t page_count = (file->size + PAGE_MASK) / HL__REWRITE_PAGE;
    uint32_t *slots = calloc(page_count, sizeof *slots);

    if (!slots)
        return false;
    for (uint32_t i = 0; i < out->site_count; i++) {
        uint64_t offset = site_offset(file, &out->sites[i]);
        slots[offset / HL__REWRITE_PAGE] = 1;
        slots[(offset + out->sites[i].size - 1) / HL__REWRITE_PAGE] = 1;
    }
    for (uint64_t page = 0; page < page_count; page++)
        out->patch_count += slots[page];
    bool done = patches_copy(file, out, slots, page_count);
    for (uint32_t i = 0; done && i < out->site_count; i++)
        patch_site(out, slots, &out->sites[i], site_offset(file, &out->sites[i]));
    free(slots);
    return done;
}

bool hl__rewrite_elf(const uint8_t *bytes, size_t size, struct hl__rewrite *out)
{
    struct hl__rewrite_file file;
    struct hl__rewrite made = {0};

    *out = made;
    bool done = read_all(&file, bytes, size);
    if (done) {
        made.stubs_address = file.end;
        done = sites_make(&file, &made) && patches_make(&file, &made);
    }
    hl__rewrite_file_free(&file);
    if (done)
        *out = made;
    else
        hl__rewrite_free(&made);
    return done;
}

void hl__rewrite_free(struct hl__rewrite *rewrite)
{
    free(rewrite->stubs);
    free(rewrite->patch_pages);
    free(rewrite->patch_bytes);
    free(rewrite->sites);
    *rewrite = (struct hl__rewrite){0};
}
