/* /dev/kvm: opening it, what the driver needs of it, and requests to it. */
#include "driver/kvm_internal.h"

#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

struct kvm_host hl__kvm_host = {.fd = -1};

struct kvm_requirement {
    int capability;
    int least; /* bits, if it reports bits, else 1 */
    const char *name;
    const char *kernel; /* first one that has it */
};

static const struct kvm_requirement kvm_requirements[] = {
    {KVM_CAP_USER_MEMORY, 1, "KVM_CAP_USER_MEMORY", "2.6.25"},
    {KVM_CAP_XSAVE, 1, "KVM_CAP_XSAVE", "2.6.36"},
    {KVM_CAP_XCRS, 1, "KVM_CAP_XCRS", "2.6.36"},
    {KVM_CAP_READONLY_MEM, 1, "KVM_CAP_READONLY_MEM", "3.7"},
    {KVM_CAP_IMMEDIATE_EXIT, 1, "KVM_CAP_IMMEDIATE_EXIT", "4.11"},
    {KVM_CAP_SYNC_REGS, KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS,
     "KVM_CAP_SYNC_REGS", "4.17"},
    {KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE,
     "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2", "5.2"},
};

static int kvm_check(int fd, int capability)
{
    int answer = ioctl(fd, KVM_CHECK_EXTENSION, capability);
    return answer < 0 ? 0 : answer;
}

static hl_status kvm_open_failed(int error, hl_error *err)
{
    switch (error) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
        return hl__error_os(
            err, HL_NO_HYPERVISOR, error, "open",
            "there is no KVM here: load the module kvm_intel or kvm_amd "
            "(modprobe), switch on virtualization in the firmware, or nested "
            "virtualization if this is a VM; a container needs --device /dev/kvm; opening it");
    case EACCES:
    case EPERM:
        return hl__error_os(
            err, HL_HYPERVISOR_DENIED, error, "open",
            "/dev/kvm may not be used: add the user to its group (usermod -aG kvm "
            "USER, then log in again); a container needs --device /dev/kvm; opening it");
    default:
        return hl__error_os(err, HL_SYSTEM, error, "open", "cannot open /dev/kvm");
    }
}

static hl_status kvm_too_old(const char *what, const char *kernel, hl_error *err)
{
    struct utsname system = {.release = "?"};
    (void)uname(&system);
    return hl__error_set(err, HL_HYPERVISOR_TOO_OLD, "KVM_CHECK_EXTENSION",
                         "KVM of this kernel (Linux %s) has no %s; Linux %s or newer has it",
                         system.release, what, kernel);
}

static hl_status kvm_check_requirements(int fd, hl_error *err)
{
    int version = ioctl(fd, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION)
        return kvm_too_old("stable interface (version 12)", "2.6.22", err);
    hl__kvm_host.api_version = (uint32_t)version;

    for (size_t i = 0; i < sizeof kvm_requirements / sizeof *kvm_requirements; i++) {
        const struct kvm_requirement *need = &kvm_requirements[i];
        if ((kvm_check(fd, need->capability) & need->least) != need->least)
            return kvm_too_old(need->name, need->kernel, err);
    }
    return HL_OK;
}

static hl_status kvm_read_facts(int fd, hl_error *err)
{
    struct kvm_host *host = &hl__kvm_host;
    int run_size = ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (run_size < (int)sizeof(struct kvm_run))
        return hl__error_os(err, HL_SYSTEM, errno, "KVM_GET_VCPU_MMAP_SIZE",
                            "cannot learn the size of a vCPU's state");
    host->run_size = (size_t)run_size;
    host->slots_max = (uint32_t)kvm_check(fd, KVM_CAP_NR_MEMSLOTS);
    if (host->slots_max < 32)
        host->slots_max = 32; /* documented for kernels that do not tell */
    host->vcpus_max = (uint32_t)kvm_check(fd, KVM_CAP_MAX_VCPUS);
    host->triple_fault_event = kvm_check(fd, KVM_CAP_X86_TRIPLE_FAULT_EVENT) > 0;
    host->cpuid.head.nent = HL__KVM_CPUID_ENTRIES;
    if (hl__kvm_ioctl(fd, NULL, KVM_GET_SUPPORTED_CPUID, &host->cpuid) < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "KVM_GET_SUPPORTED_CPUID",
                            "cannot learn what processor KVM offers");
    return HL_OK;
}

static hl_status kvm_open_device(hl_error *err)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return kvm_open_failed(errno, err);
    hl_status status = HL_OK;
    if (hl__kvm_host.run_size == 0 && (status = kvm_check_requirements(fd, err)) == HL_OK)
        status = kvm_read_facts(fd, err);
    if (status == HL_OK)
        hl__kvm_host.fd = fd;
    else
        close(fd);
    return status;
}

static pthread_mutex_t kvm_users_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned kvm_users;

hl_status hl__kvm_open(hl_error *err)
{
    pthread_mutex_lock(&kvm_users_lock);
    hl_status status = kvm_users ? HL_OK : kvm_open_device(err);
    kvm_users += status == HL_OK;
    pthread_mutex_unlock(&kvm_users_lock);
    return status;
}

void hl__kvm_close(void)
{
    pthread_mutex_lock(&kvm_users_lock);
    if (--kvm_users == 0) {
        close(hl__kvm_host.fd);
        hl__kvm_host.fd = -1;
    }
    pthread_mutex_unlock(&kvm_users_lock);
}

/* Requests */

int hl__kvm_ioctl(int fd, uint64_t *counter, unsigned long request, const void *argument)
{
    int result;
    do {
        if (counter)
            (*counter)++;
        result = ioctl(fd, request, argument);
    } while (result < 0 && errno == EINTR);
    return result;
}
