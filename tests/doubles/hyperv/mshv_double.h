/* What the files of the double of /dev/mshv share: partitions, VPs, and what is asked of them. */
#ifndef DOUBLES_HYPERV_MSHV_DOUBLE_H
#define DOUBLES_HYPERV_MSHV_DOUBLE_H

#include "engine.h"
#include "mshv_interface.h"

enum { VPS_MAX = 256, PROPERTIES_MAX = 64 };

struct property {
    uint32_t code;
    uint64_t value;
};

struct vp {
    struct partition *partition;
    struct engine_vp *engine;
    struct register_page *page; /* shared with the program, and so is the message */
    struct message *message;
    uint8_t blobs[STATE_COUNT][PAGE_BYTES]; /* state that is stored, never acted on */
    system_lock lock;
};

struct partition {
    struct engine_vm *engine;
    atomic_int references; /* of its own descriptor and those of its VPs */
    bool initialized;
    struct vp *vps[VPS_MAX];
    struct property properties[PROPERTIES_MAX];
    unsigned property_count;
    system_lock lock;
};

/* A line for whoever set MSHV_DOUBLE_TRACE. */
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whether this request is one that Hyper-V has no memory for: every Nth of MSHV_DOUBLE_DEPOSIT=N. */
bool deposit_is_due(void);

/* Whether Hyper-V gives its programs less than usual: MSHV_DOUBLE_BARE. */
bool is_bare(void);

/* Takes what the program changed in the page of registers; fills the page in. */
void register_page_take(struct vp *vp);
void register_page_fill(struct vp *vp);

/* Each returns 0 or an errno. `partition` and `vp` are NULL where the descriptor is none of them. */
int mshv_hypercall(struct partition *partition, struct vp *vp, struct hypercall_request *request);
int mshv_run(struct vp *vp, struct message *message);
int mshv_state(struct vp *vp, struct state_request *request, bool is_write);

#endif
