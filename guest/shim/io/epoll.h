/* What open files and epolls have to do with each other. */
#ifndef HL_SHIM_EPOLL_H
#define HL_SHIM_EPOLL_H

#include "file/file.h"

/* For hl__file_changed(): tells the epolls that watch the file. */
void hl__epoll_notify(struct hl__file *file, uint32_t events);
/* The file goes: no epoll watches it any more. Called before its close operation. */
void hl__epoll_forget(struct hl__file *file);
/* What of poll's bits holds for a file now; files without the operation can always be read and
 * written. */
uint32_t hl__file_ready(struct hl__file *file);

#endif
