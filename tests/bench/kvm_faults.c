/* KVM's own statistics of a vCPU, by the descriptor that the library has of it. */
#define _GNU_SOURCE
#include "kvm_faults.h"

#include <dirent.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FOLDER "/proc/self/fd"
#define NAME_SIZE 64 /* more than the kernel's */

static int newest_vcpu(void)
{
    DIR *folder = opendir(FOLDER);
    int newest = -1;
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char target[64] = "";
        int descriptor = atoi(entry->d_name);
        if (readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1) > 0 &&
            strstr(target, "kvm-vcpu") && descriptor > newest)
            newest = descriptor;
    }
    if (folder)
        closedir(folder);
    return newest;
}

static size_t statistic(int statistics, const char *wanted)
{
    struct kvm_stats_header header;
    union {
        struct kvm_stats_desc head;
        char bytes[sizeof(struct kvm_stats_desc) + NAME_SIZE];
    } entry = {0};
    uint64_t value = 0;
    if (pread(statistics, &header, sizeof header, 0) != sizeof header ||
        header.name_size >= NAME_SIZE)
        return 0;
    size_t size = sizeof entry.head + header.name_size;
    for (uint32_t i = 0; i < header.num_desc; i++)
        if (pread(statistics, &entry, size, (off_t)(header.desc_offset + i * size)) ==
                (ssize_t)size &&
            strcmp(entry.head.name, wanted) == 0 &&
            pread(statistics, &value, sizeof value,
                  (off_t)(header.data_offset + entry.head.offset)) == sizeof value)
            return (size_t)value;
    return 0;
}

size_t kvm_faults(void)
{
    int vcpu = newest_vcpu();
    int statistics = vcpu < 0 ? -1 : ioctl(vcpu, KVM_GET_STATS_FD, NULL);
    if (statistics < 0)
        return 0;
    size_t count = statistic(statistics, "pf_taken");
    close(statistics);
    return count;
}
