/* Checks all that abi/image.h says of a rewritten file, for tests and the fuzz target. */
#ifndef HL_TESTS_REWRITE_CHECK_H
#define HL_TESTS_REWRITE_CHECK_H

#include "hyperlight/abi/x86_64.h"
#include "image/rewrite.h"

#include <Zydis/Zydis.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_CALL_SIZE 19u

#define CHECK_REQUIRE(condition)                                                                   \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct check_decoded {
    ZydisDecodedInstruction head;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

static inline struct check_decoded check_decode(const uint8_t *bytes, size_t size)
{
    struct check_decoded decoded;
    ZydisDecoder decoder;

    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    CHECK_REQUIRE(ZYAN_SUCCESS(
        ZydisDecoderDecodeFull(&decoder, bytes, size, &decoded.head, decoded.operands)));
    return decoded;
}

/* Whether the two instructions do the same: equal operands, with addresses where they point. */
static inline bool check_same(const struct check_decoded *a, uint64_t a_address,
                              const struct check_decoded *b, uint64_t b_address)
{
    if (a->head.mnemonic != b->head.mnemonic ||
        a->head.operand_count_visible != b->head.operand_count_visible)
        return false;
    for (unsigned i = 0; i < a->head.operand_count_visible; i++) {
        const ZydisDecodedOperand *left = &a->operands[i], *right = &b->operands[i];
        ZyanU64 left_address = 0, right_address = 0;
        bool left_fixed =
            ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&a->head, left, a_address, &left_address));
        bool right_fixed =
            ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&b->head, right, b_address, &right_address));
        if (left->type != right->type || left_fixed != right_fixed || left_address != right_address)
            return false;
        if (left->type == ZYDIS_OPERAND_TYPE_REGISTER && left->reg.value != right->reg.value)
            return false;
    }
    /* What depends on no address is not touched. */
    return a->head.attributes & ZYDIS_ATTRIB_IS_RELATIVE || a->head.length == b->head.length;
}

static inline void check_call(const struct hl_image_site *site, const uint8_t *stub)
{
    static const uint8_t tail[] = {0x4c, 0x8d, 0x1d, 2, 0, 0, 0, 0xff, 0xe1};
    const uint64_t entry = HL_ABI_SYSCALL_JUMP;

    stub += site->stub_at[site->syscall];
    CHECK_REQUIRE(stub[0] == 0x48 && stub[1] == 0xb9);
    CHECK_REQUIRE(memcmp(stub + 2, &entry, sizeof entry) == 0);
    CHECK_REQUIRE(memcmp(stub + 10, tail, sizeof tail) == 0);
}

/* Each instruction of the window against the one in the stub. `window` is what the file has. */
static inline void check_stub(const struct hl__rewrite *out, const struct hl_image_site *site,
                              const uint8_t *window)
{
    const uint8_t *stub = out->stubs + site->stub;
    uint64_t stub_address = out->stubs_address + site->stub;
    unsigned at = 0, stub_at = 0;

    for (unsigned i = 0; i < site->count; i++) {
        CHECK_REQUIRE(site->at[i] == at && site->stub_at[i] == stub_at);
        struct check_decoded old = check_decode(window + at, site->size - at);
        struct check_decoded new = check_decode(stub + stub_at, site->stub_size - stub_at);
        CHECK_REQUIRE((old.head.mnemonic == ZYDIS_MNEMONIC_SYSCALL) == (i == site->syscall));
        if (i == site->syscall)
            check_call(site, stub);
        else
            CHECK_REQUIRE(check_same(&old, site->address + at, &new, stub_address + stub_at));
        if (i != site->syscall && !(old.head.attributes & ZYDIS_ATTRIB_IS_RELATIVE))
            CHECK_REQUIRE(memcmp(window + at, stub + stub_at, old.head.length) == 0);
        at += old.head.length;
        stub_at += i == site->syscall ? CHECK_CALL_SIZE : new.head.length;
    }
    CHECK_REQUIRE(at == site->size);
    CHECK_REQUIRE(stub_at + 5u == site->stub_size && stub[stub_at] == 0xe9);
    int32_t distance;
    memcpy(&distance, stub + stub_at + 1, sizeof distance);
    CHECK_REQUIRE(stub_address + site->stub_size + (uint64_t)(int64_t)distance ==
                  site->address + site->size);
}

/* The file's offset of an address in an executable segment that holds `size` bytes of the file there. */
static inline uint64_t check_offset(const uint8_t *bytes, uint64_t address, uint64_t size)
{
    Elf64_Ehdr header;

    memcpy(&header, bytes, sizeof header);
    for (unsigned i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;
        memcpy(&segment, bytes + header.e_phoff + i * sizeof segment, sizeof segment);
        if (segment.p_type == PT_LOAD && segment.p_flags & PF_X && address >= segment.p_vaddr &&
            address - segment.p_vaddr < segment.p_filesz &&
            segment.p_filesz - (address - segment.p_vaddr) >= size)
            return segment.p_offset + (address - segment.p_vaddr);
    }
    CHECK_REQUIRE(!"a window outside of executable segments");
    return 0;
}

static inline uint8_t *check_patched(const struct hl__rewrite *out, uint64_t offset)
{
    for (uint32_t i = 0; i < out->patch_count; i++)
        if (out->patch_pages[i] == offset / HL__REWRITE_PAGE)
            return out->patch_bytes + (size_t)i * HL__REWRITE_PAGE + offset % HL__REWRITE_PAGE;
    CHECK_REQUIRE(!"a window without its patch");
    return NULL;
}

/* The window's bytes as patched; puts back what the file has, so that nothing else may differ. */
static inline void check_window(const uint8_t *bytes, struct hl__rewrite *out,
                                const struct hl_image_site *site)
{
    uint64_t offset = check_offset(bytes, site->address, site->size);
    uint8_t window[32];
    int32_t distance;

    for (unsigned i = 0; i < site->size; i++) {
        uint8_t *patched = check_patched(out, offset + i);
        window[i] = *patched;
        *patched = bytes[offset + i];
    }
    memcpy(&distance, window + 1, sizeof distance);
    CHECK_REQUIRE(window[0] == 0xe9);
    CHECK_REQUIRE(site->address + 5 + (uint64_t)(int64_t)distance ==
                  out->stubs_address + site->stub);
    for (unsigned i = 5; i < site->size; i++)
        CHECK_REQUIRE(window[i] == 0xcc);
    check_stub(out, site, bytes + offset);
}

static inline void check_place(const uint8_t *bytes, const struct hl__rewrite *out)
{
    Elf64_Ehdr header;

    memcpy(&header, bytes, sizeof header);
    CHECK_REQUIRE(out->stubs_address % HL__REWRITE_PAGE == 0);
    for (unsigned i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;
        memcpy(&segment, bytes + header.e_phoff + i * sizeof segment, sizeof segment);
        CHECK_REQUIRE(segment.p_type != PT_LOAD ||
                      segment.p_vaddr + segment.p_memsz <= out->stubs_address);
    }
}

/* Everything. Undoes the patches in `out`. */
static inline void check_rewrite(const uint8_t *bytes, size_t size, struct hl__rewrite *out)
{
    uint64_t end = 0, stub_end = 0;

    CHECK_REQUIRE(out->site_count && out->patch_count && out->stubs_pages);
    check_place(bytes, out);
    for (uint32_t i = 0; i < out->patch_count; i++) {
        CHECK_REQUIRE(out->patch_pages[i] * HL__REWRITE_PAGE < size);
        CHECK_REQUIRE(i == 0 || out->patch_pages[i] > out->patch_pages[i - 1]);
    }
    for (uint32_t i = 0; i < out->site_count; i++) {
        const struct hl_image_site *site = &out->sites[i];
        CHECK_REQUIRE(site->size >= 5 && site->size <= 32 && site->syscall < site->count);
        CHECK_REQUIRE(site->count <= HL_IMAGE_SITE_INSTRUCTIONS);
        CHECK_REQUIRE(site->address >= end && site->stub >= stub_end);
        end = site->address + site->size;
        stub_end = site->stub + site->stub_size;
        CHECK_REQUIRE(stub_end <= (uint64_t)out->stubs_pages * HL__REWRITE_PAGE);
        check_window(bytes, out, site);
    }
    for (uint32_t i = 0; i < out->patch_count; i++) {
        uint64_t offset = out->patch_pages[i] * HL__REWRITE_PAGE, left = size - offset;
        size_t count = left < HL__REWRITE_PAGE ? left : HL__REWRITE_PAGE;
        const uint8_t *patch = out->patch_bytes + (size_t)i * HL__REWRITE_PAGE;
        CHECK_REQUIRE(memcmp(patch, bytes + offset, count) == 0);
        for (; count < HL__REWRITE_PAGE; count++)
            CHECK_REQUIRE(patch[count] == 0);
    }
}

#endif
