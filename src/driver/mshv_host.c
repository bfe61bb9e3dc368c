/* /dev/mshv: opening it, and the requests that pass through it. */
#include "driver/mshv_internal.h"

#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

/* How often the kernel may ask to repeat a request, giving Hyper-V a page of memory each time. */
#define ATTEMPTS_MAX 1000

struct mshv_host hl__mshv_host = {.fd = -1};

static hl_status mshv_open_failed(int error, hl_error *err)
{
    switch (error) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
        return hl__error_os(err, HL_NO_HYPERVISOR, error, "open",
                            "there is no MSHV here: it needs Linux 6.15 or newer with the module "
                            "mshv_root (modprobe) as the root partition of Hyper-V; a container "
                            "needs --device /dev/mshv; opening it");
    case EACCES:
    case EPERM:
        return hl__error_os(
            err, HL_HYPERVISOR_DENIED, error, "open",
            "/dev/mshv may not be used: only root may at first; give it a group "
            "(chgrp, chmod g+rw, or a udev rule) and add the user to that; opening it");
    default:
        return hl__error_os(err, HL_SYSTEM, error, "open", "cannot open /dev/mshv");
    }
}

static hl_status mshv_open_device(hl_error *err)
{
    hl__mshv_host.fd = open("/dev/mshv", O_RDWR | O_CLOEXEC);
    return hl__mshv_host.fd >= 0 ? HL_OK : mshv_open_failed(errno, err);
}

static pthread_mutex_t mshv_users_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned mshv_users;

hl_status hl__mshv_open(hl_error *err)
{
    pthread_mutex_lock(&mshv_users_lock);
    hl_status status = mshv_users ? HL_OK : mshv_open_device(err);
    mshv_users += status == HL_OK;
    pthread_mutex_unlock(&mshv_users_lock);
    return status;
}

void hl__mshv_close(void)
{
    pthread_mutex_lock(&mshv_users_lock);
    if (--mshv_users == 0) {
        close(hl__mshv_host.fd);
        hl__mshv_host.fd = -1;
    }
    pthread_mutex_unlock(&mshv_users_lock);
}

/* Requests */

int hl__mshv_ioctl(int fd, uint64_t *counter, unsigned long request, void *argument)
{
    int result, attempts = 0;
    do {
        if (counter)
            (*counter)++;
        result = ioctl(fd, request, argument);
    } while (result < 0 && (errno == EINTR || (errno == EAGAIN && ++attempts < ATTEMPTS_MAX)));
    return result;
}

/* A hypercall. Returns the repetitions done, or -1 with errno. A request that is repeated must start
 * with a clean form, which the kernel wrote its answer to. */
static int mshv_hypercall(int fd, uint64_t *counter, const struct mshv_hypercall *form)
{
    struct mshv_hypercall request;
    int result, attempts = 0;
    do {
        request = *form;
        if (counter)
            (*counter)++;
        result = ioctl(fd, MSHV_HYPERCALL, &request);
    } while (result < 0 && (errno == EINTR || (errno == EAGAIN && ++attempts < ATTEMPTS_MAX)));
    return result < 0 ? result : request.repetitions;
}

int hl__mshv_property_set(const struct mshv_vm *vm, uint32_t code, uint64_t value)
{
    struct mshv_set_property input = {.code = code, .value = value};
    const struct mshv_hypercall form = {
        .code = MSHV_HYPERCALL_SET_PROPERTY,
        .input_size = sizeof input,
        .input = (uintptr_t)&input,
    };
    return mshv_hypercall(vm->fd, vm->counter, &form) < 0 ? errno : 0;
}

/* Registers: Hyper-V may do fewer than were asked for, and the rest follows. */

_Static_assert(HL__HYPERV_BATCH_MAX <= MSHV_REGISTERS_MAX, "a batch fits into one hypercall");

/* How many were set from the given one on; -1 with errno. */
static int mshv_set_some(const struct mshv_vcpu *vcpu, const struct hl__hyperv_batch *batch,
                         uint32_t first)
{
    struct mshv_set_registers input;
    uint32_t count = batch->count - first;
    input.head = (struct mshv_register_head){.vp = vcpu->index};
    for (uint32_t i = 0; i < count; i++)
        input.registers[i] = (struct mshv_named_register){.name = batch->names[first + i],
                                                          .value = batch->values[first + i]};
    const struct mshv_hypercall form = {
        .code = MSHV_HYPERCALL_SET_REGISTERS,
        .repetitions = (uint16_t)count,
        .input_size = (uint16_t)(sizeof input.head + count * sizeof *input.registers),
        .input = (uintptr_t)&input,
    };
    return mshv_hypercall(vcpu->fd, vcpu->counter, &form);
}

hl_status hl__mshv_registers_set(const struct mshv_vcpu *vcpu, const struct hl__hyperv_batch *batch,
                                 hl_error *err)
{
    int some;
    for (uint32_t done = 0; done < batch->count; done += (uint32_t)some) {
        some = mshv_set_some(vcpu, batch, done);
        if (some <= 0)
            return hl__error_os(err, HL_SYSTEM, some ? errno : EIO, "MSHV_ROOT_HVCALL",
                                "cannot set register 0x%x", (unsigned)batch->names[done]);
    }
    return HL_OK;
}

/* How many were read from the given one on; -1 with errno. */
static int mshv_get_some(const struct mshv_vcpu *vcpu, struct hl__hyperv_batch *batch,
                         uint32_t first)
{
    struct mshv_get_registers input;
    uint32_t count = batch->count - first;
    input.head = (struct mshv_register_head){.vp = vcpu->index};
    memcpy(input.names, batch->names + first, count * sizeof *input.names);
    const struct mshv_hypercall form = {
        .code = MSHV_HYPERCALL_GET_REGISTERS,
        .repetitions = (uint16_t)count,
        .input_size = (uint16_t)(sizeof input.head + count * sizeof *input.names),
        .output_size = (uint16_t)(count * sizeof *batch->values),
        .input = (uintptr_t)&input,
        .output = (uintptr_t)(batch->values + first),
    };
    return mshv_hypercall(vcpu->fd, vcpu->counter, &form);
}

hl_status hl__mshv_registers_get(const struct mshv_vcpu *vcpu, struct hl__hyperv_batch *batch,
                                 hl_error *err)
{
    int some;
    for (uint32_t done = 0; done < batch->count; done += (uint32_t)some) {
        some = mshv_get_some(vcpu, batch, done);
        if (some <= 0)
            return hl__error_os(err, HL_SYSTEM, some ? errno : EIO, "MSHV_ROOT_HVCALL",
                                "cannot read register 0x%x", (unsigned)batch->names[done]);
    }
    return HL_OK;
}
