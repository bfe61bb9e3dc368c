/* Pipes and fifos. */
#ifndef HL_SHIM_PIPE_H
#define HL_SHIM_PIPE_H

#include "file/file.h"
#include "io/vectors.h"

#define HL__PIPE_SIZE 65536u         /* a new pipe holds as much */
#define HL__PIPE_SIZE_MAX (1u << 20) /* F_SETPIPE_SZ */
#define HL__PIPE_BUF 4096u           /* writes up to here are never split */

/* Opens a fifo (an inode of S_IFIFO; its `object` is this file's). 0 and *file with one reference,
 * HL__WAITING for the other side (the open call is then tried again, with the same arguments), or
 * -errno: -ENXIO, -ENOMEM. */
int64_t hl__fifo_open(struct hl__inode *inode, uint32_t flags, struct hl__file **file);
/* An inode of S_IFIFO goes. */
void hl__fifo_free(struct hl__inode *inode);

struct hl__pipe;
/* The pipe of a file, NULL if it is none. */
struct hl__pipe *hl__pipe_of(const struct hl__file *file);
uint64_t hl__pipe_bytes(const struct hl__pipe *pipe); /* that wait to be read */
uint64_t hl__pipe_room(const struct hl__pipe *pipe);
bool hl__pipe_has_readers(const struct hl__pipe *pipe);
bool hl__pipe_has_writers(const struct hl__pipe *pipe);
/* For splice and tee: copies without removing, removes, appends. */
uint64_t hl__pipe_peek(const struct hl__pipe *pipe, uint64_t offset, void *to, uint64_t size);
void hl__pipe_drop(struct hl__pipe *pipe, uint64_t size);
int64_t hl__pipe_append(struct hl__pipe *pipe, const void *from, uint64_t size);

#endif
