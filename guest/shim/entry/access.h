/*
 * Memory that the program names. Only system calls use these (not fault handling): a page that is
 * backed lazily is brought in by the fault that the access takes.
 */
#ifndef HL_SHIM_ACCESS_H
#define HL_SHIM_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const char hl__access_start[], hl__access_end[], hl__access_failed[];

int64_t hl__access_copy(void *to, const void *from, size_t size);
int64_t hl__access_zero(void *to, size_t size);
int64_t hl__access_string(char *to, const char *from, size_t size);
int64_t hl__access_touch(const void *page);
int64_t hl__access_touch_write(void *page);
int64_t hl__access_xrstor(const void *area, uint64_t components);
int64_t hl__access_fxrstor(const void *area);

/* Whether a range is the program's to name: its own memory, a message, or transfer memory. */
bool hl__user_range(uint64_t address, uint64_t size);

/* Makes a buffer of the shim's pass for the program's memory, so that operations of files can be given
 * it: within one system call, until it is taken back by (NULL, 0). */
void hl__user_lend(const void *buffer, uint64_t size);

/* 0 or -EFAULT. */
int64_t hl__user_read(void *to, uint64_t from, size_t size);
int64_t hl__user_write(uint64_t to, const void *from, size_t size);
int64_t hl__user_clear(uint64_t to, size_t size);

/* Length without the NUL, -ENAMETOOLONG if `size` is too small, -EFAULT. */
int64_t hl__user_string(char *to, uint64_t from, size_t size);

/* Bytes from `address` on, at most `size`, that are there for the host to read or write; a prefix
 * if not all are. */
uint64_t hl__user_present(uint64_t address, uint64_t size, bool write);

#endif
