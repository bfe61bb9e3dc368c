/*
 * The host/guest contract: hypercalls and the structures in shared memory.
 *
 * Freestanding C, fixed-width fields, used unchanged by host, shim and SDK. Every structure that
 * the guest can write is hostile: the host copies it once and validates the copy. Numbers are
 * little-endian. "Address" means an address in the guest's address space; "offset" an offset into
 * the sandbox's RAM.
 */
#ifndef HYPERLIGHT_ABI_HYPERCALL_H
#define HYPERLIGHT_ABI_HYPERCALL_H

#include <stdint.h>

/* Versions of this contract that a shim and an SDK of this source speak; the host checks them at
 * the first hypercall. */
#define HL_ABI_VERSION_MIN 1
#define HL_ABI_VERSION_MAX 1

#define HL_ABI_ASSERT(condition) _Static_assert(condition, #condition)

#define HL_ABI_PAGE_SIZE 4096u

/*
 * Hypercalls: a 32-bit OUT of the operation's number to the call port. Arguments and result lie in
 * hl_abi_mailbox::call. Results: 0 or a count on success, a negated Linux errno on failure, unless
 * said otherwise.
 */
enum hl_abi_op {
    /* The guest rests for its next call. arg0: hl_abi_outcome of the call it just served; arg1,
     * arg2: address and size of the message that goes with it (wire.h). Result: HL_ABI_WAKE_*, and
     * hl_abi_mailbox::request is set. */
    HL_ABI_OP_REST = 1,
    /* Declares the exported functions, once, before the first rest. arg0, arg1: address and size of
     * an EXPORTS message; arg2, arg3: least and greatest version of the SDK; arg4:
     * HL_ABI_EXPORT_* flags. */
    HL_ABI_OP_EXPORT = 2,
    /* Calls a host function. arg0, arg1: address and size of a CALL message. Result:
     * hl_abi_outcome; hl_abi_mailbox::request is the answer's place. */
    HL_ABI_OP_HOST_CALL = 3,
    /* The program ended. arg0: exit code; arg1: fatal signal or 0; arg2: HL_ABI_EXIT_* flags; arg3:
     * vector of the fault or HL_ABI_NO_VECTOR; arg4: fault address; arg5: instruction pointer.
     * Never answered. */
    HL_ABI_OP_EXIT = 4,
    /* Changes the address space. arg0, arg1: address and number of hl_abi_edit, at most
     * HL_ABI_EDITS_MAX. All or nothing.
     * -EINVAL: refused range; -ENOMEM: no page tables left. */
    HL_ABI_OP_EDIT = 5,
    /* Output. arg0: 1 or 2; arg1, arg2: address and size, at most HL_ABI_IO_SIZE_MAX. Result: bytes
     * taken. */
    HL_ABI_OP_WRITE = 6,
    /* Input. arg0, arg1: address and size of a buffer, at most HL_ABI_IO_SIZE_MAX. Result: bytes
     * given, 0 at the end. */
    HL_ABI_OP_READ = 7,
    /* A log line. arg0: hl_log_level; arg1, arg2: address and size of its text, at most
     * HL_ABI_LOG_SIZE_MAX; arg3: 0 from the program, 1 from the shim. */
    HL_ABI_OP_LOG = 8,
    /* Waits arg0 ns (UINT64_MAX: for ever), or until one of the events in arg1 (HL_ABI_EVENT_*) is
     * there, or until the call is cancelled. Result: the events that are there. */
    HL_ABI_OP_WAIT = 9,
    /* The program could not be loaded. arg0: hl_abi_refusal; arg1, arg2: address and size of a
     * text. Never answered. */
    HL_ABI_OP_REFUSE = 10,
    /* First hypercall of all. arg0, arg1: least and greatest version of the shim. Anything else
     * first is a violation. */
    HL_ABI_OP_HELLO = 11,
    /* Asks for a tick in arg0 ns, and then one every arg1 ns (0: no more); each counts as
     * HL_ABI_TICK_MIN_NS at least. Replaces what was asked for before; arg0 UINT64_MAX: none. Result:
     * 0, or -ENOMEM if the host cannot keep time. A tick
     * interrupts the program: the shim's fault entry is entered with HL_ABI_VECTOR_TICK. While the
     * shim itself runs, hl_abi_mailbox::tick is set instead. Ticks are late rather than early, and
     * some may be lost in favour of the next. A rest ends them. */
    HL_ABI_OP_TIMER = 12,
    HL_ABI_OP_COUNT = 13
};

/* functions of any name are served, those that are not declared without a signature */
#define HL_ABI_EXPORT_ANY_NAME 1u

#define HL_ABI_EVENT_INPUT 1u /* reading standard input would not wait */
#define HL_ABI_TICK_MIN_NS 1000000u
#define HL_ABI_VECTOR_TICK 256u /* as hl_abi_fault::vector: no exception, a tick */

#define HL_ABI_EDITS_MAX 64
#define HL_ABI_IO_SIZE_MAX (1u << 20)
#define HL_ABI_LOG_SIZE_MAX 1000
#define HL_ABI_REFUSAL_TEXT_MAX 256
#define HL_ABI_NO_VECTOR 0xffffffffu

/* What a call came to, in HL_ABI_OP_REST and as the result of HL_ABI_OP_HOST_CALL. The message is:
 * OK: the result, one value; ERROR and the others: a text, one string. */
enum hl_abi_outcome {
    HL_ABI_OUTCOME_NONE = 0, /* rest: the first one, no call was served, no message */
    HL_ABI_OUTCOME_OK = 1,
    HL_ABI_OUTCOME_ERROR = 2,    /* the function failed */
    HL_ABI_OUTCOME_UNKNOWN = 3,  /* no function of that name */
    HL_ABI_OUTCOME_MISMATCH = 4, /* the arguments do not fit its signature */
    /* host call: the request, rest: the reply does not fit (out of guest memory while encoding) */
    HL_ABI_OUTCOME_TOO_LARGE = 5,
    /* host call: the host function's reply exceeds the limit */
    HL_ABI_OUTCOME_ANSWER_TOO_LARGE = 6,
    HL_ABI_OUTCOME_INVALID = 7, /* host call: the message was malformed */
    HL_ABI_OUTCOME_COUNT = 8
};

/* Results of HL_ABI_OP_REST, as bits. */
#define HL_ABI_WAKE_CALL 1u /* a request is there */
/* the generation in the wake record changed: run the restore hooks */
#define HL_ABI_WAKE_RESTORED 2u

#define HL_ABI_EXIT_MEMORY_REFUSED 1u /* an allocation was refused for want of memory before */

/* Why the shim would not load the program. */
enum hl_abi_refusal {
    HL_ABI_REFUSAL_INVALID = 1,     /* not an ELF executable, truncated, malformed */
    HL_ABI_REFUSAL_MACHINE = 2,     /* another architecture, class or byte order */
    HL_ABI_REFUSAL_INTERPRETER = 3, /* dynamically linked; the text names the interpreter */
    HL_ABI_REFUSAL_TOO_LARGE = 4,   /* does not fit into memory */
    /* memory ran out later: a touched page could not be backed (any time, not only while
     * loading) */
    HL_ABI_REFUSAL_MEMORY = 5,
    HL_ABI_REFUSAL_COUNT = 6
};

/* One change of the address space: `page_count` pages from `address` on become what `source` and
 * `rights` say. */
struct hl_abi_edit {
    uint64_t address;    /* page-aligned */
    uint64_t page_count; /* at least 1 */
    /* page-aligned; where in the source; 0 with HL_ABI_SOURCE_NONE and _KEEP */
    uint64_t offset;
    uint32_t source; /* hl_abi_source */
    uint32_t rights; /* HL_ABI_RIGHT_*; 0 with HL_ABI_SOURCE_NONE */
};
HL_ABI_ASSERT(sizeof(struct hl_abi_edit) == 32);

enum hl_abi_source {
    HL_ABI_SOURCE_NONE = 0, /* not present: an access faults. Pages already so are fine. */
    /* the sandbox's RAM at `offset`, beyond the part the host reserved */
    HL_ABI_SOURCE_RAM = 1,
    HL_ABI_SOURCE_PROGRAM = 2, /* the guest binary at `offset`; never writable */
    /* what is mapped there now, with new rights; pages that are not present stay so */
    HL_ABI_SOURCE_KEEP = 3,
    HL_ABI_SOURCE_ROOT = 4 /* the root image at `offset`; never writable */
};

#define HL_ABI_RIGHT_READ 1u /* implied by the others */
#define HL_ABI_RIGHT_WRITE 2u
#define HL_ABI_RIGHT_EXECUTE 4u
/* hint with HL_ABI_SOURCE_RAM: the pages are about to be touched */
#define HL_ABI_RIGHT_POPULATE 8u

/* What the host writes once, for the shim's start. Strings are NUL-terminated: argv first, then the
 * environment, then path and directory, each of the two only if its size is not 0. No argv: the image's.
 * The environment adds to the image's, and takes the place of variables of the same name. */
struct hl_abi_boot {
    uint32_t magic; /* HL_ABI_BOOT_MAGIC */
    uint32_t version;
    uint64_t program_size;    /* bytes at HL_ABI_PROGRAM_ADDRESS; 0: the program is in the image */
    uint64_t ram_size;        /* bytes of RAM; offsets are below it */
    uint64_t ram_free_offset; /* the shim owns RAM from here on */
    uint32_t argument_count;
    uint32_t environment_count;
    uint32_t strings_size; /* bytes of `strings`, all of them */
    uint32_t flags;        /* HL_ABI_BOOT_* */
    uint64_t root_size;    /* bytes of the image at HL_ABI_ROOT_ADDRESS, 0: none */
    /* With program_size 0: bytes of the program's path in the image, NUL included, behind argv and
     * environment in `strings`. 0: the path is argv[0] of the image. */
    uint32_t path_size;
    uint32_t directory_size; /* likewise the working directory, behind the path; 0: the image's */
    char strings[];
};
HL_ABI_ASSERT(sizeof(struct hl_abi_boot) == 64);
#define HL_ABI_BOOT_MAGIC 0x424c4831u /* "1HLB" */
#define HL_ABI_BOOT_TRACE 1u          /* report system calls */

/* A host-owned, guest-readable page: the one thing that differs after a restore. It also holds what
 * depends on the machine. */
struct hl_abi_wake {
    /* unique for each start, restore and sandbox from a snapshot, within a process and very
     * likely between processes */
    uint64_t generation;
    uint64_t tsc_base;       /* time-stamp counter when the times below were taken */
    uint64_t monotonic_ns;   /* never runs backwards within one generation */
    uint64_t realtime_ns;    /* since 1970 */
    uint32_t tsc_multiplier; /* ns = (ticks * tsc_multiplier) >> tsc_shift, in 128 bits */
    uint32_t tsc_shift;
    uint64_t sequence; /* even: the record is whole. Odd never seen by a guest that runs. */
    uint8_t seed[32];
    uint32_t syscall_stays; /* machine: 1 if `syscall` keeps user mode (PVM) */
    uint32_t reserved[7];
};
HL_ABI_ASSERT(sizeof(struct hl_abi_wake) == 112);

/* Registers of an interrupted program, as the host hands them to the shim's fault entry. */
struct hl_abi_registers {
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rip, rflags;
};
HL_ABI_ASSERT(sizeof(struct hl_abi_registers) == 144);

/* An exception that the host reflects to the shim. */
struct hl_abi_fault {
    uint32_t vector;     /* hardware exception number */
    uint32_t error_code; /* 0 where the hardware gives none */
    uint64_t address;    /* CR2 for page faults, else 0 */
    struct hl_abi_registers registers;
};
HL_ABI_ASSERT(sizeof(struct hl_abi_fault) == 160);

/* Arguments and result of a hypercall. */
struct hl_abi_call {
    uint64_t arg[6];
    int64_t result;
    uint64_t reserved;
};
HL_ABI_ASSERT(sizeof(struct hl_abi_call) == 64);

/* Where the host put a message for the guest. */
struct hl_abi_place {
    uint64_t address;
    uint64_t size;
};

#define HL_ABI_INLINE_SIZE (4u * HL_ABI_PAGE_SIZE - 256u)

/* Shared page(s) at HL_ABI_MAILBOX_ADDRESS, readable and writable by the guest. Small messages to
 * the guest lie in `inline_message`, larger ones in transfer memory. */
struct hl_abi_mailbox {
    struct hl_abi_call call;
    struct hl_abi_place request;
    struct hl_abi_fault fault;
    uint32_t tick; /* set by the host when a tick came while the shim ran */
    uint8_t reserved[12];
    /* starts on the page of the fields above: a small call dirties one page */
    uint8_t inline_message[HL_ABI_INLINE_SIZE];
};
HL_ABI_ASSERT(sizeof(struct hl_abi_mailbox) == 4 * HL_ABI_PAGE_SIZE);

/*
 * Output that waits to be taken, at HL_ABI_OUTPUT_ADDRESS: the host takes it with every hypercall, and
 * when the run ends in whatever way, before anything else is written. So nothing is lost or reordered,
 * and a program that writes a little and exits makes one exit.
 */
#define HL_ABI_OUTPUT_SIZE (8u * HL_ABI_PAGE_SIZE)
#define HL_ABI_OUTPUT_FAILED 0x80000000u
struct hl_abi_output {
    /* 1 or 2. If what was taken last could not be written, the host put HL_ABI_OUTPUT_FAILED and the
     * errno here. */
    uint32_t stream;
    uint32_t size;   /* bytes that wait, at most sizeof bytes */
    uint8_t bytes[HL_ABI_OUTPUT_SIZE - 8];
};
HL_ABI_ASSERT(sizeof(struct hl_abi_output) == HL_ABI_OUTPUT_SIZE);

/* Results are Linux's error numbers, negated, and signals are Linux's, whatever the host is. Those whose
 * number differs elsewhere: */
#define HL_ABI_EMSGSIZE 90
#define HL_ABI_SIGABRT 6

/*
 * The shim's door for the SDK: its address comes in the auxiliary vector under HL_ABI_AT_SHIM.
 * Absent: not inside a micro VM. `call` performs one hypercall (REST, EXPORT, HOST_CALL, LOG only;
 * the shim refuses others with -EINVAL) and returns its result.
 */
struct hl_abi_shim {
    uint32_t magic; /* HL_ABI_SHIM_MAGIC */
    uint32_t version_min, version_max;
    uint32_t reserved;
    int64_t (*call)(uint64_t op, uint64_t arg0, uint64_t arg1, uint64_t arg2, uint64_t arg3);
    const struct hl_abi_place *request; /* hl_abi_mailbox::request */
    const struct hl_abi_wake *wake;
};
HL_ABI_ASSERT(sizeof(struct hl_abi_shim) == 40);
#define HL_ABI_SHIM_MAGIC 0x534c4831u /* "1HLS" */
#define HL_ABI_AT_SHIM 0x484c5348u    /* key in the auxiliary vector */

#endif
