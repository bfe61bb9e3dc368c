/* Memory of this process as parts of sections, which other processes can be given views of. */
#ifndef HL_OS_WINDOWS_SECTION_H
#define HL_OS_WINDOWS_SECTION_H

#include <hyperlight/error.h>

/* The section behind an address that hl__os_memory_map or hl__os_file_map gave out, and the place in
 * it. False if there is none. */
bool hl__os_memory_section(const void *address, void **section, uint64_t *offset);

/* Maps a part of a section for reading; hl__os_memory_unmap gives it back. The section stays the
 * caller's. */
hl_status hl__windows_section_map(void *section, uint64_t offset, size_t size, void **address,
                                  hl_error *err);

/* A new section of `size` bytes of zeroes, backed when it is touched. */
hl_status hl__windows_section_new(uint64_t size, void **section, hl_error *err);

/* The message of GetLastError(). */
hl_status hl__windows_error(hl_error *err, hl_status status, const char *source, const char *what);

#endif
