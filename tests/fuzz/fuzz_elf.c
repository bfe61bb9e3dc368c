/*
 * Fuzzes the shim's ELF reader. Whatever it accepts must be safe to load: inside the file, inside
 * the program's addresses, in order and disjoint.
 */
#include "../../guest/shim/base/text.c"
#include "../../guest/shim/program/elf.c"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_require(bool condition)
{
    if (!condition)
        abort();
}

static void check_segment(const struct hl__elf_plan *plan, const struct hl__elf_segment *segment,
                          uint64_t size)
{
    uint64_t bytes = segment->page_count * HL_ABI_PAGE_SIZE;
    uint64_t limit = plan->movable ? HL__ELF_SPAN_MAX : HL_ABI_USER_END;

    fuzz_require(segment->address % HL_ABI_PAGE_SIZE == 0 && segment->page_count > 0);
    fuzz_require(plan->movable || segment->address >= HL_ABI_USER_START);
    fuzz_require(segment->address < limit && bytes <= limit - segment->address);
    fuzz_require(segment->file_pages <= segment->page_count);
    if (segment->file_pages) {
        fuzz_require(segment->file_offset % HL_ABI_PAGE_SIZE == 0);
        fuzz_require(segment->file_offset + segment->file_pages * HL_ABI_PAGE_SIZE <=
                     (size + PAGE_MASK) / HL_ABI_PAGE_SIZE * HL_ABI_PAGE_SIZE);
        fuzz_require(
            segment->file_end > segment->address + (segment->file_pages - 1) * HL_ABI_PAGE_SIZE &&
            segment->file_end <= segment->address + segment->file_pages * HL_ABI_PAGE_SIZE);
    }
}

static void check_plan(const struct hl__elf_plan *plan, uint64_t size)
{
    uint64_t end = 0, private_pages = 0;
    bool entry = false;

    fuzz_require(plan->segment_count > 0 && plan->segment_count <= HL__ELF_SEGMENTS_MAX);
    for (uint32_t i = 0; i < plan->segment_count; i++) {
        const struct hl__elf_segment *segment = &plan->segments[i];
        uint64_t bytes = segment->page_count * HL_ABI_PAGE_SIZE;

        check_segment(plan, segment, size);
        fuzz_require(segment->address >= end);
        end = segment->address + bytes;
        private_pages += segment->rights & HL_ABI_RIGHT_WRITE
                             ? segment->page_count
                             : segment->page_count - segment->file_pages;
        entry |= segment->rights & HL_ABI_RIGHT_EXECUTE && plan->entry >= segment->address &&
                 plan->entry < end;
    }
    fuzz_require(entry && end == plan->end && private_pages == plan->private_pages);
    fuzz_require(plan->alignment >= HL_ABI_PAGE_SIZE && !(plan->alignment & (plan->alignment - 1)));
}

static bool read_bytes(const struct hl__elf_source *source, void *to, uint64_t size,
                       uint64_t position)
{
    fuzz_require(position <= source->size && size <= source->size - position);
    memcpy(to, (const uint8_t *)source->object + position, size);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct hl__elf_plan plan;
    const struct hl__elf_source source = {
        .size = size, .read = read_bytes, .object = (void *)(uintptr_t)data};

    if (hl__elf_read(&plan, &source)) {
        check_plan(&plan, size);
        return 0;
    }
    fuzz_require(plan.refusal == HL_ABI_REFUSAL_INVALID || plan.refusal == HL_ABI_REFUSAL_MACHINE);
    fuzz_require(memchr(plan.text, 0, sizeof plan.text));
    return 0;
}
