/*
 * Open files and descriptors. An open file is what open, pipe, socketpair, eventfd, ... make; one or
 * more descriptors refer to it. What it does is told by its operations; the generic parts of read,
 * write, poll and so on are in file/descriptor.c and file/transfer.c.
 */
#ifndef HL_SHIM_FILE_H
#define HL_SHIM_FILE_H

#include "base/linux.h"
#include "file/inode.h"
#include "thread/wait.h"

#include <stdbool.h>
#include <stdint.h>

struct hl__file;
struct hl__process;
struct hl__vectors; /* io/vectors.h */

/*
 * Operations. NULL ones give what Linux gives for such files (-EINVAL, -ESPIPE, -ENOTTY, always ready,
 * ...). `address` is the program's memory: only hl__user_*() may touch it. An operation never waits: it
 * does what can be done now and returns -EAGAIN if that is nothing; the caller waits on `queue` and tries
 * again unless the file is O_NONBLOCK.
 */
struct hl__file_ops {
    const char *name; /* for /proc/self/fd: "pipe", "anon_inode:[eventfd]", ...; NULL: has a path */
    /* At most `size` bytes; `position` is the file's own or that of pread, to be advanced. */
    int64_t (*read)(struct hl__file *file, uint64_t address, uint64_t size, uint64_t *position);
    int64_t (*write)(struct hl__file *file, uint64_t address, uint64_t size, uint64_t *position);
    /* Instead of the two above, for objects to which a call's vectors are one read or one write: pipes
     * and sockets. They look at O_NONBLOCK and wait themselves: what they return, HL__WAITING or
     * -EAGAIN, is the call's result. */
    int64_t (*read_vectors)(struct hl__file *file, const struct hl__vectors *to);
    int64_t (*write_vectors)(struct hl__file *file, const struct hl__vectors *from);
    int64_t (*seek)(struct hl__file *file, int64_t offset, int whence);
    /* HL__READY_* (poll's bits) that hold now. */
    uint32_t (*ready)(struct hl__file *file);
    int64_t (*ioctl)(struct hl__file *file, uint64_t request, uint64_t argument);
    int64_t (*stat)(struct hl__file *file, struct linux_stat *stat);
    /* Commands of fcntl that are only such files': F_SETPIPE_SZ, F_ADD_SEALS, ...; NULL: -EINVAL. */
    int64_t (*control)(struct hl__file *file, uint64_t command, uint64_t argument);
    /* getdents64; `old`: getdents */
    int64_t (*entries)(struct hl__file *file, uint64_t address, uint64_t size, bool old);
    int64_t (*truncate)(struct hl__file *file, uint64_t size);
    int64_t (*set_flags)(struct hl__file *file,
                         uint32_t flags); /* fcntl F_SETFL, beside keeping them */
    /* Opens it again, by way of /proc/self/fd: a file of one reference. NULL: -ENXIO. */
    int64_t (*reopen)(struct hl__file *file, uint32_t flags, struct hl__file **opened);
    /* The last descriptor went; the file is freed afterwards. */
    void (*close)(struct hl__file *file);
};

struct hl__file {
    uint32_t
        references; /* descriptors, and calls under way that hold it (epoll, mappings, SCM_RIGHTS) */
    uint32_t flags; /* O_ACCMODE, O_APPEND, O_NONBLOCK, O_PATH, O_DIRECTORY... */
    const struct hl__file_ops *ops;
    uint64_t position;
    struct hl__inode *inode; /* referenced; NULL for anonymous objects */
    void *object;            /* the operations' own */
    /* Threads that wait until it can be read (0), written (1); woken by hl__file_changed(). */
    struct hl__queue queues[2];
    struct hl__epoll_item *watchers; /* io/epoll.c: epolls that look at it */
};

enum { HL__FILE_READ = 0, HL__FILE_WRITE = 1 };

/* A file without a descriptor yet; one reference. NULL: memory has run out; then nothing was taken over. */
struct hl__file *hl__file_new(const struct hl__file_ops *ops, uint32_t flags,
                              struct hl__inode *inode, void *object);
void hl__file_ref(struct hl__file *file);
void hl__file_unref(struct hl__file *file); /* NULL is fine */
/* Its readiness changed: wakes who waits for it, and epolls. `events`: POLLIN, POLLOUT... that are new. */
void hl__file_changed(struct hl__file *file, uint32_t events);

/* Descriptors */

#define HL__DESCRIPTORS_MAX 65536u
#define HL__DESCRIPTORS_SOFT 1024u /* RLIMIT_NOFILE at the start */

struct hl__descriptor {
    struct hl__file *file; /* NULL: free */
    bool close_on_exec;
};

struct hl__descriptors {
    struct hl__descriptor *items;
    uint32_t capacity, lowest_free;
};

struct hl__descriptors *hl__descriptors_new(void); /* empty; NULL: memory has run out */
/* The same open files under the same descriptors. NULL: memory has run out. */
struct hl__descriptors *hl__descriptors_copy(const struct hl__descriptors *from);
void hl__descriptors_free(struct hl__process *process); /* closes them */
/* The file of a descriptor of the current process, not referenced; NULL: -EBADF. For a call that has waited,
 * the one that it had at first. */
struct hl__file *hl__descriptor_file(uint64_t descriptor);
/* A call begins, or is tried again; it waits, and keeps the files that it looked up; it is over. */
void hl__files_look_anew(void);
void hl__files_hold(struct hl__wait *wait);
void hl__files_release(struct hl__wait *wait);
/* The lowest free descriptor from `lowest` on gets the file and takes over its reference. Returns it, or
 * -EMFILE, -ENOMEM: the reference is then given up. */
int64_t hl__descriptor_add(struct hl__file *file, uint32_t lowest, bool close_on_exec);
int64_t hl__descriptor_close(uint64_t descriptor);

/* 0, 1 and 2: file/stream.c. False when memory has run out. */
bool hl__streams_init(struct hl__descriptors *descriptors);
/* Hands waiting output to the host. Must be called before the program ends by the shim's own doing (exit
 * needs it not: the host takes it) and before large output goes around the buffer. */
void hl__output_flush(void);

/* Whether a thread waits for standard input that the host must be asked for. */
bool hl__stream_input_wanted(void);
/* The host says that reading would not wait. */
void hl__stream_input_ready(void);

/* Paths: file/path.c */

/* Finds the program of execve and of the start, follows links. 0 or -errno; *inode is referenced. */
int64_t hl__path_find(const char *path, bool follow, struct hl__inode **inode);
/* Makes a node (mknod) of a type and permissions, less the umask. 0 or -errno; *inode is referenced. */
int64_t hl__path_make(const char *path, uint32_t mode, struct hl__inode **inode);
/* The path of a directory or of an inode that was opened by path, as getcwd gives it: written to `path`.
 * Bytes without NUL, or -ENOENT (was unlinked), -ERANGE. */
int64_t hl__path_of(struct hl__inode *inode, char *path, uint64_t size);
/* Reads from a regular file into the shim's memory: the loader's. Bytes, fewer at the end. */
int64_t hl__inode_read(struct hl__inode *inode, void *to, uint64_t size, uint64_t position);
/* Sets up the tree: the image if there is one, /dev, /proc, /tmp, /etc defaults, the guest binary. */
bool hl__tree_init(void);

#endif
