/* What the core needs of the operating system: memory, files, time, randomness, threads. The only
 * place with OS code beside driver/. */
#ifndef HL_OS_OS_H
#define HL_OS_OS_H

#include "os/x86_64/tsc.h"
#include <hyperlight/error.h>
#include <stdatomic.h>

/* Anonymous zeroed memory, page-aligned, lazily backed, kept out of children and core dumps, close
 * to 2 MiB alignment. size: multiple of the page size. */
hl_status hl__os_memory_map(size_t size, void **address, hl_error *err);
/* Gives it back; NULL is fine. */
void hl__os_memory_unmap(void *address, size_t size);
/* Backs a range for writing now, as far as possible; a hint, never fails. */
void hl__os_memory_populate(void *address, size_t size);
/* Only some pages of the range will be used: none is backed that was not touched. A hint, never fails.
 */
void hl__os_memory_scattered(void *address, size_t size);
/* Makes a range zero again; anonymous private memory only. Gives large ranges back to the system.
 */
void hl__os_memory_zero(void *address, size_t size);

/* A memory file: -1 never; close with hl__os_file_close. Descriptors are close-on-exec. */
typedef struct hl__os_file {
    int descriptor;
} hl__os_file;

/* A memory file of `size` bytes (page multiple), sparse. */
hl_status hl__os_file_new(const char *debug_name, uint64_t size, hl__os_file *file, hl_error *err);
/* Writes at an offset, whole. */
hl_status hl__os_file_write(hl__os_file file, uint64_t offset, const void *data, size_t size,
                            hl_error *err);
/* Forbids every further change of content and size. */
hl_status hl__os_file_seal(hl__os_file file, hl_error *err);
/* Maps [offset, offset+size): private and writable (copy on write), or shared and read-only. Kept
 * out of children and core dumps. */
hl_status hl__os_file_map(hl__os_file file, uint64_t offset, size_t size, bool writable,
                          void **address, hl_error *err);
void hl__os_file_close(hl__os_file file);

/* Copies the regular file at `path` to a memory file at `offset` of *file (grown in page
 * multiples): whatever size it has up to size_max. Errors: HL_PROGRAM_UNREADABLE (missing, a
 * directory, no permission, changed while read: message names path and reason),
 * HL_PROGRAM_TOO_LARGE. */
hl_status hl__os_file_copy_path(hl__os_file file, uint64_t offset, const char *path,
                                uint64_t size_max, uint64_t *size, hl_error *err);

/* What a file was when it was mapped: equal ones are the same, unchanged file. All words, no padding. */
struct hl__os_file_identity {
    uint64_t device, number, size, modified_s, modified_ns, changed_s, changed_ns;
};

/* Maps the regular file at `path` whole, for reading (`writable`: copy on write), if it is private: it
 * belongs to this user or root, nobody else may write to it, and its directory is not writable for
 * everybody. *address is NULL where it is not, where files cannot be mapped so, or where its size is 0,
 * no multiple of pages, or larger than size_max; that is no error. *size is the file's where that is
 * known, else a page. HL_PROGRAM_UNREADABLE: as hl__os_file_copy_path. */
hl_status hl__os_file_map_private(const char *path, uint64_t size_max, bool writable,
                                  void **address, uint64_t *size,
                                  struct hl__os_file_identity *identity, hl_error *err);

uint64_t hl__os_monotonic_ns(void);
uint64_t hl__os_realtime_ns(void);

/* Fills with randomness of the system. Cannot fail on a system that works; falls back to nothing:
 * HL_SYSTEM. */
hl_status hl__os_random(void *data, size_t size, hl_error *err);

/* Changes in each forked child (pthread_atfork); the same number means the same process, if forks were
 * watched before either was read. Windows has no forks. */
extern atomic_uint_fast64_t hl__os_forks;
void hl__os_forks_watch(void);
static inline uint64_t hl__os_fork_generation(void)
{
    return atomic_load_explicit(&hl__os_forks, memory_order_relaxed);
}

/* What an error number of the system (errno) means, as text. */
void hl__os_error_text(int os_error, char *text, size_t size);

/* Open descriptors (handles) of this process; 0 where that cannot be told. */
size_t hl__os_handle_count(void);

/* Writes all or as much as the descriptor takes before `until_ns` (never blocks longer, SIGPIPE
 * never arrives). Returns bytes taken; a negated errno if none. */
int64_t hl__os_descriptor_write(int descriptor, const void *data, size_t size, uint64_t until_ns);
/* Reads what is there, waiting at most until `until_ns` or until *cancelled is non-zero. Returns
 * bytes, 0 at the end, negated errno (-EAGAIN: nothing came in time). */
int64_t hl__os_descriptor_read(int descriptor, void *data, size_t size, uint64_t until_ns);

#endif
