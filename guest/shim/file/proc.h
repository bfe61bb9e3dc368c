/* /proc and /sys: text that is made when it is opened. */
#ifndef HL_SHIM_PROC_H
#define HL_SHIM_PROC_H

#include "file/tree.h"

/* Text that grows in the shim's heap. */
struct hl__output {
    char *bytes;
    size_t capacity, size;
    bool failed; /* memory has run out */
};

void hl__output_bytes(struct hl__output *output, const void *bytes, size_t size);
void hl__output_text(struct hl__output *output, const char *text);
void hl__output_number(struct hl__output *output, uint64_t number);
/* In hexadecimal with at least `digits` digits. */
void hl__output_hex(struct hl__output *output, uint64_t number, unsigned digits);
/* "LABEL: number SUFFIX\n" and the like. */
void hl__output_line(struct hl__output *output, const char *label, uint64_t number,
                     const char *suffix);

/* What a directory of /proc or /sys holds. */
enum hl__proc_group {
    HL__PROC_NONE,
    HL__PROC_ROOT,
    HL__PROC_PROCESS,
    HL__PROC_THREAD, /* the same without its threads */
    HL__PROC_TASKS,
    HL__PROC_FDS,
    HL__PROC_FDINFOS,
    HL__PROC_SYS,
    HL__PROC_SYS_KERNEL,
    HL__PROC_SYS_RANDOM,
    HL__PROC_SYS_VM,
    HL__PROC_SYS_FS,
    HL__SYS_ROOT,
    HL__SYS_DEVICES,
    HL__SYS_SYSTEM,
    HL__SYS_CPUS
};

/* A file, directory or link; `id` is the thread or descriptor that its directory is about. */
struct hl__proc_node {
    enum hl__proc_group in;
    const char *name;
    uint32_t mode;
    enum hl__proc_group group; /* directories */
    void (*text)(struct hl__output *output, int32_t id);
    /* Written to. 0 or -errno. */
    int64_t (*write)(int32_t id, const char *bytes, uint64_t size);
    /* Links: where they lead; referenced. NULL for those that only have a text. */
    int64_t (*follow)(int32_t id, struct hl__inode **inode, struct hl__file **file);
};

/* Texts: proc_process.c, proc_system.c. */
extern const struct hl__proc_node hl__proc_process_nodes[], hl__proc_system_nodes[];
extern const uint32_t hl__proc_process_node_count, hl__proc_system_node_count;

/* Hangs both into the tree. False when memory has run out. */
bool hl__proc_init(void);

#endif
