/*
 * A double of /dev/mshv, to be preloaded (LD_PRELOAD): programs that open the device get partitions
 * and VPs that the engine runs on KVM.
 *
 * Descriptors are memory files: those of VPs have the page of registers and the message inside, so
 * that mmap() needs no help. Every other call of the program goes to the kernel untouched.
 *
 * Environment: MSHV_DOUBLE_HIDE_KVM=1 has the program find no /dev/kvm; MSHV_DOUBLE_TRACE=1 prints
 * what happens; MSHV_DOUBLE_DEPOSIT=N makes every Nth hypercall stop halfway for want of memory;
 * MSHV_DOUBLE_BARE=1 never has a page of registers, keeps newer vector state from guests, and has
 * more vector state than fits into a page, as with AMX.
 */
#define _GNU_SOURCE
#include "mshv_double.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define EXPORTED __attribute__((visibility("default")))

void trace(const char *format, ...)
{
    static atomic_int wanted; /* 1: no, 2: yes */
    if (!atomic_load(&wanted))
        atomic_store(&wanted, getenv("MSHV_DOUBLE_TRACE") ? 2 : 1);
    if (atomic_load(&wanted) == 1)
        return;
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    fprintf(stderr, "mshv double: %s\n", line);
}

bool deposit_is_due(void)
{
    static atomic_uint count;
    static atomic_int interval = -1;
    if (atomic_load(&interval) < 0) {
        const char *text = getenv("MSHV_DOUBLE_DEPOSIT");
        atomic_store(&interval, text ? atoi(text) : 0);
    }
    unsigned every = (unsigned)atomic_load(&interval);
    return every && atomic_fetch_add(&count, 1) % every == every - 1;
}

bool is_bare(void)
{
    static atomic_int known; /* 1: no, 2: yes */
    if (!atomic_load(&known))
        atomic_store(&known, getenv("MSHV_DOUBLE_BARE") ? 2 : 1);
    return atomic_load(&known) == 2;
}

/* Descriptors */

enum kind { KIND_NONE, KIND_DEVICE, KIND_PARTITION, KIND_VP };
enum { DESCRIPTORS_MAX = 65536 };

static struct descriptor {
    enum kind kind;
    void *object;
} descriptors[DESCRIPTORS_MAX];

static struct descriptor *descriptor_find(int number)
{
    bool known = number >= 0 && number < DESCRIPTORS_MAX && descriptors[number].kind;
    return known ? &descriptors[number] : NULL;
}

/* A new descriptor with `size` bytes of memory, or -1 and errno. */
static int descriptor_new(const char *name, size_t size, enum kind kind, void *object)
{
    int number = memfd_create(name, MFD_CLOEXEC);
    if (number >= 0 && (number >= DESCRIPTORS_MAX || ftruncate(number, (off_t)size))) {
        syscall(SYS_close, number);
        errno = EMFILE;
        return -1;
    }
    if (number >= 0)
        descriptors[number] = (struct descriptor){kind, object};
    return number;
}

static void descriptor_end(int number)
{
    descriptors[number].kind = KIND_NONE;
    syscall(SYS_close, number);
}

static int fail(int error)
{
    errno = error;
    return -1;
}

static int answer(int error)
{
    return error ? fail(error) : 0;
}

/* Partitions */

static void vp_free(struct vp *vp)
{
    if (vp->page)
        munmap(vp->page, 2 * PAGE_BYTES);
    if (vp->engine)
        engine_vp_free(vp->engine);
    free(vp);
}

static void partition_release(struct partition *partition)
{
    if (atomic_fetch_sub(&partition->references, 1) > 1)
        return;
    for (unsigned i = 0; i < VPS_MAX; i++)
        if (partition->vps[i])
            vp_free(partition->vps[i]);
    engine_vm_free(partition->engine);
    free(partition);
}

static int partition_new(const struct partition_request *request)
{
    if (request->flags & ~(uint64_t)PARTITION_FLAGS || request->isolation)
        return fail(EINVAL);
    struct partition *partition = calloc(1, sizeof *partition);
    if (!partition)
        return fail(ENOMEM);
    partition->engine = engine_vm_new(request->flags & PARTITION_HAS_APIC);
    if (!partition->engine) {
        free(partition);
        return fail(ENOMEM);
    }
    atomic_store(&partition->references, 1);
    int number = descriptor_new("mshv_partition", 0, KIND_PARTITION, partition);
    if (number < 0)
        partition_release(partition);
    return number;
}

static bool vp_prepare(struct vp *vp, int number)
{
    void *pages = mmap(NULL, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, number, 0);
    if (pages == MAP_FAILED)
        return false;
    vp->page = pages;
    vp->message = (struct message *)((uint8_t *)pages + PAGE_BYTES);
    register_page_fill(vp);
    return true;
}

static int vp_new(struct partition *partition, uint32_t index)
{
    if (index >= VPS_MAX)
        return fail(EINVAL);
    if (partition->vps[index])
        return fail(EEXIST);
    if (!partition->initialized)
        return fail(EIO);
    struct vp *vp = calloc(1, sizeof *vp);
    if (!vp)
        return fail(ENOMEM);
    vp->partition = partition;
    vp->engine = engine_vp_new(partition->engine, index);
    int number = vp->engine ? descriptor_new("mshv_vp", 2 * PAGE_BYTES, KIND_VP, vp) : -1;
    if (number < 0 || !vp_prepare(vp, number)) {
        if (number >= 0)
            descriptor_end(number);
        vp_free(vp);
        return fail(ENOMEM);
    }
    partition->vps[index] = vp;
    atomic_fetch_add(&partition->references, 1);
    return number;
}

/* Memory */

/* The kernel pins memory for writing, whatever the guest may do with it. */
static bool host_is_writable(uint64_t address)
{
    return madvise((void *)(uintptr_t)address, PAGE_BYTES, MADV_POPULATE_WRITE) == 0 ||
           errno == EINTR;
}

static int memory_error(enum engine_result result)
{
    return result == ENGINE_OK ? 0 : result == ENGINE_EXISTS ? EEXIST : ENOMEM;
}

static int memory_unmap(struct partition *partition, const struct memory_request *request)
{
    struct engine_slot slot;
    uint64_t address = request->guest_page * PAGE_BYTES;
    if (!engine_find(partition->engine, address, &slot) || slot.address != address ||
        slot.size != request->size || (uintptr_t)slot.host != request->host)
        return EINVAL;
    return memory_error(engine_unmap(partition->engine, address, request->size));
}

static int memory_set(struct partition *partition, const struct memory_request *request)
{
    uint8_t *host = (uint8_t *)(uintptr_t)request->host;
    if (!request->size || request->size % PAGE_BYTES || request->host % PAGE_BYTES ||
        request->flags & ~MEMORY_FLAGS)
        return EINVAL;
    for (size_t i = 0; i < sizeof request->reserved; i++)
        if (request->reserved[i])
            return EINVAL;
    if (request->flags & MEMORY_UNMAP)
        return memory_unmap(partition, request);
    if (engine_has_host(partition->engine, host, request->size))
        return EEXIST;
    if (!host_is_writable(request->host))
        return EFAULT;
    unsigned access = ENGINE_READ | (request->flags & MEMORY_WRITE ? ENGINE_WRITE : 0) |
                      (request->flags & MEMORY_EXECUTE ? ENGINE_EXECUTE : 0);
    return memory_error(engine_map(partition->engine, request->guest_page * PAGE_BYTES,
                                   request->size, host, access));
}

static int memory_bitmap(struct partition *partition, const struct bitmap_request *request)
{
    enum { ACCESSED, DIRTY };
    uint8_t *bitmap = (uint8_t *)(uintptr_t)request->bitmap;
    /* The kernel knows clearing and setting: who asks for neither sets, too. */
    enum engine_dirty operation =
        request->operation == ENGINE_DIRTY_CLEAR ? ENGINE_DIRTY_CLEAR : ENGINE_DIRTY_SET;
    if (request->type > DIRTY || request->operation > ENGINE_DIRTY_SET || !request->count ||
        !request->bitmap || !partition->engine->tracks)
        return EINVAL;
    for (size_t i = 0; i < sizeof request->reserved; i++)
        if (request->reserved[i])
            return EINVAL;
    memset(bitmap, 0, (request->count + 7) / 8);
    return engine_dirty(partition->engine, request->guest_page, request->count, operation,
                        bitmap) == ENGINE_OK
               ? 0
               : EIO;
}

/* Requests */

static int device_request(unsigned request, void *argument)
{
    switch (request) {
    case REQUEST_CREATE_PARTITION:
        return partition_new(argument);
    case REQUEST_HYPERCALL:
        return answer(mshv_hypercall(NULL, NULL, argument));
    default:
        return fail(ENOTTY);
    }
}

static int partition_request(struct partition *partition, unsigned request, void *argument)
{
    switch (request) {
    case REQUEST_INITIALIZE:
        partition->initialized = true; /* once more does no harm */
        return 0;
    case REQUEST_SET_MEMORY:
        return answer(memory_set(partition, argument));
    case REQUEST_CREATE_VP: {
        uint32_t index;
        memcpy(&index, argument, sizeof index);
        return vp_new(partition, index);
    }
    case REQUEST_ACCESS_BITMAP:
        return answer(memory_bitmap(partition, argument));
    case REQUEST_HYPERCALL:
        return answer(mshv_hypercall(partition, NULL, argument));
    case REQUEST_IRQFD:
    case REQUEST_IOEVENTFD:
    case REQUEST_MSI_ROUTING:
        return 0; /* accepted, never acted on */
    default:
        return fail(ENOTTY);
    }
}

static int vp_request(struct vp *vp, unsigned request, void *argument)
{
    int error;
    switch (request) {
    case REQUEST_RUN:
        return answer(mshv_run(vp, argument));
    case REQUEST_GET_STATE:
        register_page_take(vp);
        return answer(mshv_state(vp, argument, false));
    case REQUEST_SET_STATE:
        register_page_take(vp);
        error = mshv_state(vp, argument, true);
        register_page_fill(vp);
        return answer(error);
    case REQUEST_HYPERCALL:
        return answer(mshv_hypercall(vp->partition, vp, argument));
    default:
        return fail(ENOTTY);
    }
}

static int serve(const struct descriptor *descriptor, unsigned request, void *argument)
{
    struct partition *partition = descriptor->object;
    struct vp *vp = descriptor->object;
    system_lock *lock = descriptor->kind == KIND_PARTITION ? &partition->lock
                        : descriptor->kind == KIND_VP      ? &vp->lock
                                                           : NULL;
    if (!lock)
        return device_request(request, argument);
    lock_take(lock);
    int result = descriptor->kind == KIND_VP ? vp_request(vp, request, argument)
                                             : partition_request(partition, request, argument);
    int error = errno;
    lock_release(lock);
    errno = error;
    return result;
}

/* What the program calls */

EXPORTED int ioctl(int number, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    const struct descriptor *descriptor = descriptor_find(number);
    if (!descriptor)
        return (int)syscall(SYS_ioctl, number, request, argument);
    int before = errno, result = serve(descriptor, (unsigned)request, argument), error = errno;
    trace("request %u of a descriptor of kind %d: %s", (unsigned)request & 0xff,
          (int)descriptor->kind, result < 0 ? strerror(error) : "done");
    errno = result < 0 ? error : before;
    return result;
}

static int open_any(int folder, const char *path, int flags, unsigned mode)
{
    if (path && !strcmp(path, "/dev/mshv"))
        return engine_present() ? descriptor_new("mshv", 0, KIND_DEVICE, NULL) : fail(ENOENT);
    if (path && !strcmp(path, "/dev/kvm") && getenv("MSHV_DOUBLE_HIDE_KVM"))
        return fail(ENOENT);
    return (int)syscall(SYS_openat, folder, path, flags, mode);
}

#define MODE_OF(flags)                                                                             \
    unsigned mode = 0;                                                                             \
    if (flags & (O_CREAT | __O_TMPFILE)) {                                                         \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        mode = va_arg(arguments, unsigned);                                                        \
        va_end(arguments);                                                                         \
    }

EXPORTED int open(const char *path, int flags, ...)
{
    MODE_OF(flags)
    return open_any(AT_FDCWD, path, flags, mode);
}

EXPORTED int open64(const char *path, int flags, ...)
{
    MODE_OF(flags)
    return open_any(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

EXPORTED int openat(int folder, const char *path, int flags, ...)
{
    MODE_OF(flags)
    return open_any(folder, path, flags, mode);
}

EXPORTED int openat64(int folder, const char *path, int flags, ...)
{
    MODE_OF(flags)
    return open_any(folder, path, flags | O_LARGEFILE, mode);
}

EXPORTED int close(int number)
{
    struct descriptor *descriptor = descriptor_find(number);
    if (descriptor) {
        struct descriptor closed = *descriptor;
        descriptor->kind = KIND_NONE;
        if (closed.kind == KIND_PARTITION)
            partition_release(closed.object);
        else if (closed.kind == KIND_VP)
            partition_release(((struct vp *)closed.object)->partition);
    }
    return (int)syscall(SYS_close, number);
}
