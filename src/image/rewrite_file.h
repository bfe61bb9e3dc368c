/* What the parts of the rewriter share: the ELF file as it was read, with what is known of its code. */
#ifndef HL_IMAGE_REWRITE_FILE_H
#define HL_IMAGE_REWRITE_FILE_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HL__REWRITE_SEGMENTS_MAX 64u
#define HL__REWRITE_CODES_MAX 16u

/* The bytes of the file that a segment maps. */
struct hl__rewrite_segment {
    uint64_t address, offset, size;
    bool executable;
};

/* An executable segment. One bit for each of its bytes in: */
struct hl__rewrite_code {
    uint64_t address, offset, size;
    const uint8_t *bytes;
    uint8_t *starts;  /* an instruction begins here, for certain */
    uint8_t *targets; /* something refers to this address */
    uint8_t *guesses; /* something refers to this address, if an instruction begins here */
    uint8_t *anchors; /* an instruction begins here, whatever stands before */
    uint8_t *data;    /* no code: a symbol says so */
};

/* A part of a code that is to be decoded in one go. */
struct hl__rewrite_range {
    struct hl__rewrite_code *code;
    uint64_t address, size;
    bool anchored; /* its first byte begins an instruction */
};

struct hl__rewrite_file {
    const uint8_t *bytes;
    size_t size;
    Elf64_Ehdr header;
    struct hl__rewrite_segment segments[HL__REWRITE_SEGMENTS_MAX];
    uint32_t segment_count;
    struct hl__rewrite_code codes[HL__REWRITE_CODES_MAX];
    uint32_t code_count;
    struct hl__rewrite_range *ranges;
    uint32_t range_count;
    uint64_t end;          /* of the highest segment in memory, rounded up to pages */
    uint64_t frame_header; /* address of .eh_frame_hdr, 0 if there is none */
    /* Steps that may still be taken in tables of the file. Tables may overlap, so that a small file
     * could otherwise cost hours. */
    uint64_t budget;
    uint64_t *sites; /* addresses of `syscall` instructions, in order of ranges */
    uint32_t site_count, site_capacity;
};

/* Reads headers, segments and ranges of code. False: not for the rewriter. Free in any case. */
bool hl__rewrite_file_read(struct hl__rewrite_file *file, const uint8_t *bytes, size_t size);
void hl__rewrite_file_free(struct hl__rewrite_file *file);

/* The bytes at `address` as a segment maps them, NULL if not at least `size` follow; sets `left` to how many do. */
const uint8_t *hl__rewrite_bytes_at(const struct hl__rewrite_file *file, uint64_t address,
                                    uint64_t size, uint64_t *left);

struct hl__rewrite_code *hl__rewrite_code_at(struct hl__rewrite_file *file, uint64_t address);

/* Takes `steps` of the budget; false if there are not so many. */
bool hl__rewrite_spend(struct hl__rewrite_file *file, uint64_t steps);

/* Notes what the file itself says of its code: symbols, unwind tables, pointers. False: out of budget. */
bool hl__rewrite_read_symbols(struct hl__rewrite_file *file);
bool hl__rewrite_read_frames(struct hl__rewrite_file *file);
void hl__rewrite_read_pointers(struct hl__rewrite_file *file);

/* Notes a table of 4-byte offsets that may be at `address`, each relative to the table. */
bool hl__rewrite_read_table(struct hl__rewrite_file *file, uint64_t address);

/* Decodes all code: sets starts and sites, and targets of what refers to code. False: no memory, no budget. */
bool hl__rewrite_scan(struct hl__rewrite_file *file);

/* Section `index`, all zero if there is none. */
Elf64_Shdr hl__rewrite_section(const struct hl__rewrite_file *file, uint32_t index);

/* The contents of a section, NULL if they are not wholly in the file. */
const uint8_t *hl__rewrite_section_bytes(const struct hl__rewrite_file *file,
                                         const Elf64_Shdr *section);

static inline bool hl__bit(const uint8_t *bits, uint64_t index)
{
    return bits[index / 8] >> index % 8 & 1;
}

static inline void hl__bit_set(uint8_t *bits, uint64_t index)
{
    bits[index / 8] |= (uint8_t)(1u << index % 8);
}

static inline void hl__bit_clear(uint8_t *bits, uint64_t index)
{
    bits[index / 8] &= (uint8_t) ~(1u << index % 8);
}

static inline uint64_t hl__read64(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static inline int32_t hl__read_offset(const uint8_t *bytes)
{
    int32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static inline void hl__rewrite_mark_target(struct hl__rewrite_file *file, uint64_t address)
{
    struct hl__rewrite_code *code = hl__rewrite_code_at(file, address);
    if (code)
        hl__bit_set(code->targets, address - code->address);
}

/* Code is only ever entered where an instruction begins; so a number that fits between is no address. */
static inline void hl__rewrite_mark_guess(struct hl__rewrite_file *file, uint64_t address)
{
    struct hl__rewrite_code *code = hl__rewrite_code_at(file, address);
    if (code)
        hl__bit_set(code->guesses, address - code->address);
}

/* An address where a function begins is a target too. */
static inline void hl__rewrite_mark_anchor(struct hl__rewrite_file *file, uint64_t address)
{
    struct hl__rewrite_code *code = hl__rewrite_code_at(file, address);
    if (!code)
        return;
    hl__bit_set(code->targets, address - code->address);
    hl__bit_set(code->anchors, address - code->address);
}

#endif
