/* Reading what an ELF file needs. The file may be anything: every offset in it is checked. */
#define _GNU_SOURCE
#include "pack.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TABLE_MAX (1u << 20)    /* program headers, the dynamic section */
#define STRINGS_MAX (64u << 20) /* the dynamic string table */

struct elf_file {
    int file;
    uint64_t size;
    Elf64_Phdr *segments;
    uint32_t segment_count;
    Elf64_Dyn *dynamic;
    size_t dynamic_count;
};

/* Reads a part of the file, with a NUL behind it. NULL: it is not in the file, or too large. */
static void *read_part(const struct elf_file *elf, uint64_t offset, uint64_t size, uint64_t most)
{
    if (size > most || offset > elf->size || size > elf->size - offset)
        return NULL;
    char *part = malloc(size + 1);
    if (part && pread(elf->file, part, size, (off_t)offset) != (ssize_t)size) {
        free(part);
        return NULL;
    }
    if (part)
        part[size] = '\0';
    return part;
}

static bool read_segments(struct elf_file *elf)
{
    Elf64_Ehdr header;
    if (pread(elf->file, &header, sizeof header, 0) != (ssize_t)sizeof header ||
        header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
        header.e_machine != EM_X86_64 || header.e_phentsize != sizeof(Elf64_Phdr) ||
        (header.e_type != ET_EXEC && header.e_type != ET_DYN))
        return false;
    elf->segment_count = header.e_phnum;
    elf->segments =
        read_part(elf, header.e_phoff, header.e_phnum * sizeof(Elf64_Phdr), TABLE_MAX * 4u);
    return elf->segments != NULL;
}

static const Elf64_Phdr *find_segment(const struct elf_file *elf, uint32_t type)
{
    for (uint32_t i = 0; i < elf->segment_count; i++)
        if (elf->segments[i].p_type == type)
            return &elf->segments[i];
    return NULL;
}

/* Where in the file an address of its memory lies. */
static bool find_offset(const struct elf_file *elf, uint64_t address, uint64_t *offset)
{
    for (uint32_t i = 0; i < elf->segment_count; i++) {
        const Elf64_Phdr *segment = &elf->segments[i];
        if (segment->p_type == PT_LOAD && address >= segment->p_vaddr &&
            address - segment->p_vaddr < segment->p_filesz) {
            *offset = segment->p_offset + (address - segment->p_vaddr);
            return true;
        }
    }
    return false;
}

static uint64_t dynamic_value(const struct elf_file *elf, int64_t tag, uint64_t absent)
{
    for (size_t i = 0; i < elf->dynamic_count && elf->dynamic[i].d_tag != DT_NULL; i++)
        if (elf->dynamic[i].d_tag == tag)
            return elf->dynamic[i].d_un.d_val;
    return absent;
}

static char *string_at(const struct elf_needs *needs, uint64_t offset, uint64_t size)
{
    return offset < size ? needs->strings + offset : NULL;
}

static bool list_needed(const struct elf_file *elf, struct elf_needs *needs, uint64_t size)
{
    size_t count = 0;
    needs->needed = calloc(elf->dynamic_count + 1, sizeof *needs->needed);
    if (!needs->needed)
        return false;
    for (size_t i = 0; i < elf->dynamic_count && elf->dynamic[i].d_tag != DT_NULL; i++) {
        char *name = string_at(needs, elf->dynamic[i].d_un.d_val, size);
        if (elf->dynamic[i].d_tag == DT_NEEDED && name && *name)
            needs->needed[count++] = name;
    }
    return true;
}

/* The dynamic section; a file without one needs nothing. False: damaged. */
static bool read_dynamic(struct elf_file *elf, struct elf_needs *needs)
{
    const Elf64_Phdr *segment = find_segment(elf, PT_DYNAMIC);
    uint64_t offset;
    if (!segment)
        return true;
    elf->dynamic = read_part(elf, segment->p_offset, segment->p_filesz, TABLE_MAX);
    if (!elf->dynamic)
        return false;
    elf->dynamic_count = segment->p_filesz / sizeof *elf->dynamic;
    uint64_t size = dynamic_value(elf, DT_STRSZ, 0);
    if (!find_offset(elf, dynamic_value(elf, DT_STRTAB, 0), &offset))
        return dynamic_value(elf, DT_NEEDED, UINT64_MAX) == UINT64_MAX;
    needs->strings = read_part(elf, offset, size, STRINGS_MAX);
    if (!needs->strings)
        return false;
    needs->opens = memmem(needs->strings, size, "\0dlopen", sizeof "\0dlopen") != NULL;
    needs->rpath = string_at(needs, dynamic_value(elf, DT_RPATH, UINT64_MAX), size);
    needs->runpath = string_at(needs, dynamic_value(elf, DT_RUNPATH, UINT64_MAX), size);
    needs->no_default = dynamic_value(elf, DT_FLAGS_1, 0) & DF_1_NODEFLIB;
    return list_needed(elf, needs, size);
}

static bool read_needs(struct elf_file *elf, struct elf_needs *needs)
{
    if (!read_segments(elf))
        return false;
    const Elf64_Phdr *interpreter = find_segment(elf, PT_INTERP);
    if (interpreter) {
        needs->interpreter = read_part(elf, interpreter->p_offset, interpreter->p_filesz, PATH_MAX);
        if (!needs->interpreter || !*needs->interpreter)
            return false;
    }
    return read_dynamic(elf, needs);
}

bool elf_read(const char *path, struct elf_needs *needs)
{
    struct elf_file elf = {.file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
    struct stat attributes;
    char magic[SELFMAG];
    *needs = (struct elf_needs){0};
    if (elf.file < 0)
        return false;
    if (fstat(elf.file, &attributes) == 0 && S_ISREG(attributes.st_mode) &&
        pread(elf.file, magic, sizeof magic, 0) == (ssize_t)sizeof magic &&
        memcmp(magic, ELFMAG, SELFMAG) == 0) {
        elf.size = (uint64_t)attributes.st_size;
        needs->is_elf = true;
        needs->is_other = !read_needs(&elf, needs);
    }
    free(elf.segments);
    free(elf.dynamic);
    close(elf.file);
    return true;
}

void elf_free(struct elf_needs *needs)
{
    free(needs->interpreter);
    free(needs->needed);
    free(needs->strings);
}
