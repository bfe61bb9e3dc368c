/* /dev/hyperlight: the program's memory on one side, the service on the other. */
#include "file/device.h"
#include "entry/access.h"
#include "functions/service.h"
#include "io/vectors.h"
#include "memory/heap.h"
#include "thread/thread.h"

#define PIECE_SIZE 2048u
/* Bytes between looks at whether others want to run. */
#define SIZE_PER_CALL (16u << 20)

/* Open devices: all of them change when one is written to. */
struct open_device {
    struct hl__file *file;
    struct open_device *next;
};

static struct open_device *open_devices;

static int64_t device_open(struct hl__file *file)
{
    struct open_device *device = hl__heap_new(sizeof *device);
    int64_t failure = hl__service_open();

    if (!device || failure) {
        hl__heap_free(device, sizeof *device);
        return -ENOMEM;
    }
    *device = (struct open_device){file, open_devices};
    open_devices = device;
    return 0;
}

static void device_close(struct hl__file *file)
{
    for (struct open_device **at = &open_devices; *at; at = &(*at)->next) {
        struct open_device *device = *at;

        if (device->file != file)
            continue;
        *at = device->next;
        hl__heap_free(device, sizeof *device);
        return;
    }
}

/* A thread that reads while another one still serves the call waits for its reply; a program with one
 * thread will never reply. */
static bool reply_may_come(void)
{
    return hl__service_owes() && !hl__thread_is_only();
}

static uint32_t device_ready(struct hl__file *file)
{
    (void)file;
    return POLLOUT | (hl__service_unread() || !hl__service_owes() ? POLLIN : 0);
}

/* What there is to read, up to `size` bytes. */
static int64_t read_piece(uint64_t address, uint64_t size)
{
    uint8_t bytes[PIECE_SIZE];
    uint64_t done = 0;

    while (done < size && hl__service_unread()) {
        uint64_t wanted = size - done < sizeof bytes ? size - done : sizeof bytes;
        uint64_t present = hl__user_present(address + done, wanted, true);
        int64_t piece = present ? hl__service_read(bytes, present) : -EFAULT;

        if (piece > 0 && hl__user_write(address + done, bytes, (size_t)piece) < 0)
            piece = -EFAULT;
        if (piece <= 0)
            return done ? (int64_t)done : piece;
        done += (uint64_t)piece;
    }
    return (int64_t)done;
}

/* Makes something to read: 0, or what the call returns instead. */
static int64_t await_line(struct hl__file *file)
{
    if (hl__service_unread())
        return 0;
    if (!reply_may_come())
        return hl__service_rest();
    return file->flags & O_NONBLOCK ? -EAGAIN
                                    : hl__wait_on(&file->queues[HL__FILE_READ], UINT64_MAX);
}

/* All of a call's vectors are one read: it ends where a line does, and rests at most once. */
static int64_t device_read(struct hl__file *file, const struct hl__vectors *to)
{
    uint64_t done = 0;
    int64_t failure;

    if (!to->size)
        return 0;
    failure = await_line(file);
    if (failure)
        return failure;
    for (uint32_t i = 0; i < to->count; i++) {
        int64_t piece = read_piece(to->items[i].address, to->items[i].size);

        if (piece < 0)
            return done ? (int64_t)done : piece;
        done += (uint64_t)piece;
        if ((uint64_t)piece < to->items[i].size)
            break;
    }
    return (int64_t)done;
}

static void tell_all(void)
{
    for (struct open_device *device = open_devices; device; device = device->next)
        hl__file_changed(device->file, POLLIN);
}

static int64_t device_write(struct hl__file *file, uint64_t address, uint64_t size,
                            uint64_t *position)
{
    uint8_t bytes[PIECE_SIZE];
    uint64_t done = 0;
    bool owed = hl__service_owes();

    (void)file, (void)position;
    while (done < size && done < SIZE_PER_CALL) {
        size_t piece = size - done < sizeof bytes ? size - done : sizeof bytes;
        int64_t taken = hl__user_read(bytes, address + done, piece);

        if (!taken)
            taken = hl__service_write(bytes, piece);
        if (taken < 0) {
            if (!done && taken != -EFAULT)
                hl__service_complain();
            if (!done)
                return taken;
            break;
        }
        done += (uint64_t)taken;
        if ((uint64_t)taken < piece)
            break;
    }
    if (owed && !hl__service_owes())
        tell_all();
    return (int64_t)done;
}

static const struct hl__file_ops device_ops = {.name = NULL,
                                               .read_vectors = device_read,
                                               .write = device_write,
                                               .ready = device_ready,
                                               .close = device_close};

const struct hl__device hl__device_hyperlight = {HL__DEVICE_HYPERLIGHT, &device_ops, device_open};
