/*
 * The other side of /dev/hyperlight: what the program wrote and what it reads next. A sandbox has one
 * resting place, so there is one service, however often the device is open.
 *
 * The program declares functions if it likes, and reads: that read rests until a call comes. It replies
 * and reads again. In between it may call host functions, and reads what they return.
 */
#ifndef HL_SHIM_SERVICE_H
#define HL_SHIM_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lines of JSON, or frames that hold the messages of hyperlight/abi/wire.h as they are: these eight bytes
 * between two lines switch to frames for good. */
#define HL__FRAMES_MAGIC "\0HLWIRE1"
#define HL__FRAMES_MAGIC_SIZE 8u

struct hl__frame {
    uint32_t kind;  /* hl__frame_kind */
    uint32_t flags; /* HL__FRAME_RESTORED or 0 */
    uint64_t size;  /* of the message that follows */
};

enum hl__frame_kind {
    HL__FRAME_RESULT = 1, /* VALUE: the reply to a call, or a host function's */
    HL__FRAME_ERROR = 2,  /* VALUE, a string: the same, failed */
    HL__FRAME_HOST = 3,   /* CALL, from the program: of a host function */
    HL__FRAME_CALL = 4    /* CALL, to the program */
};
#define HL__FRAME_RESTORED 1u

/* Makes the service ready. 0 or -ENOMEM. */
int64_t hl__service_open(void);

/* Takes bytes of the program: how many, at least one, or -EINVAL, -ENOMEM: then the line under way is
 * forgotten. Ends early behind a line that the program must read the answer to. */
int64_t hl__service_write(const uint8_t *bytes, size_t size);

/* Something to read without resting. */
bool hl__service_unread(void);
/* A call is being served and was not replied to. */
bool hl__service_owes(void);
/* Rests until the next call; what was not replied to fails. 0 or -ENOMEM. */
int64_t hl__service_rest(void);
/* Bytes for the program, up to the end of a line or frame. -EIO: the message was damaged. */
int64_t hl__service_read(uint8_t *bytes, size_t size);

/* Logs why the last write was refused. */
void hl__service_complain(void);

#endif
