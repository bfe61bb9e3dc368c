/* The confined helper, seen from the library: started, fed, listened to, ended. */
#ifndef HL_IMAGE_HOST_CHILD_H
#define HL_IMAGE_HOST_CHILD_H

#include "image/protocol.h"

#include <hyperlight/prepare.h>
#include <sys/types.h>

struct hl__child {
    pid_t pid;
    int control;
    int bulk; /* -1: there is none */
    int64_t deadline_ns;
    const hl_prepare_options *options; /* complete: no field is zero but those that may be NULL */
    /* Opens a file that an OCI layout's reader wants; negative errno if there is none. */
    int (*open)(const char *path, void *user);
    void *open_user;
    bool failed, done;
    uint64_t size; /* of the image, when done */
    uint32_t files;
};

/* Starts the helper for a kind of input. `input`: the archive, -1 for the others. */
hl_status hl__child_start(struct hl__child *child, uint32_t kind, int input, int output,
                          const hl_prepare_options *options, hl_error *err);

/* Sends bytes of records. A failure is the helper's, or its end. */
hl_status hl__child_send(struct hl__child *child, const void *data, size_t size, hl_error *err);

/* Waits for the helper's result, and for its end. */
hl_status hl__child_finish(struct hl__child *child, hl_error *err);

/* Ends a helper whose result does not matter. */
void hl__child_abandon(struct hl__child *child);

#endif
