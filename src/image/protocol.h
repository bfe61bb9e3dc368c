/*
 * What the library and its confined helper say to each other. Two sockets: `control`, a packet a
 * message, and `bulk`, a stream of records, for trees that come from the library itself. The helper has
 * read what others made: the library believes nothing that it says without looking.
 */
#ifndef HL_IMAGE_PROTOCOL_H
#define HL_IMAGE_PROTOCOL_H

#include <hyperlight/error.h>
#include <stdint.h>

#define HL__PROTOCOL_VERSION 1u

/* Descriptors of the helper. Where there is none, its number is closed. */
enum { HL__HELPER_CONTROL = 3, HL__HELPER_OUTPUT = 4, HL__HELPER_INPUT = 5 };

enum hl__input_kind {
    HL__INPUT_ARCHIVE = 1, /* the input is a file: a tar, also one that holds an OCI layout */
    HL__INPUT_LAYOUT,      /* there is no input: the helper asks for an OCI layout's files */
    HL__INPUT_STREAM       /* the input is the socket `bulk`: records */
};

/* The first message to the helper. Behind it: arguments, environment, directory. */
struct hl__job {
    uint32_t version, kind;
    uint64_t size_max;
    uint32_t inodes_max, depth_max;
    uint64_t cpu_time_s;
    uint32_t arguments_size, environment_size, directory_size; /* zero: as the image says */
    uint32_t reserved;
};

/* Arguments and environment fit into one packet. */
#define HL__JOB_TEXTS_MAX 131072u

enum hl__message_kind {
    HL__MESSAGE_PROGRESS = 1, /* may be lost */
    HL__MESSAGE_WANT,         /* an OCI layout's file: answered by its descriptor, or errno */
    HL__MESSAGE_FAILED,
    HL__MESSAGE_DONE
};

/* Every message of the helper. */
struct hl__message {
    uint32_t kind;
    uint32_t status;                 /* FAILED */
    int32_t os_error;                /* FAILED */
    uint32_t files;                  /* PROGRESS, DONE */
    uint64_t bytes_in;               /* PROGRESS */
    uint64_t size;                   /* PROGRESS: of what is written; DONE: the image's */
    char text[HL_ERROR_MESSAGE_MAX]; /* NUL-terminated: FAILED: why; WANT: path */
};

/* The answer to WANT; the descriptor comes with it if `os_error` is zero. */
struct hl__answer {
    int32_t os_error;
    uint32_t reserved;
};

enum hl__record_kind {
    HL__RECORD_NODE = 1, /* a path, a link's target, a file's bytes */
    HL__RECORD_LINK,     /* a path, the path of the file that gets another name */
    HL__RECORD_END
};

#define HL__RECORD_PATH_MAX 65535u

struct hl__record {
    uint32_t kind;
    uint32_t mode, uid, gid;
    int64_t modified_s;
    uint32_t modified_ns;
    uint32_t path_size, target_size; /* bytes, without NUL */
    uint32_t reserved;
    uint64_t size; /* file: its bytes, which follow; device: its number */
};

#endif
