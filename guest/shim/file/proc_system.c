/* What /proc and /sys say of the system. */
#include "base/machine.h"
#include "base/random.h"
#include "base/text.h"
#include "entry/state.h"
#include "file/file.h"
#include "file/proc.h"
#include "memory/memory.h"
#include "thread/thread.h"
#include "time/clock.h"

#include <string.h>

#define NS_PER_SECOND 1000000000ull
#define TICK_NS 10000000ull
#define VERSION "Linux version 6.1.0-hyperlight (hyperlight) #1\n"

static void self_text(struct hl__output *output, int32_t id)
{
    (void)id;
    hl__output_number(output, (uint64_t)hl__process()->id);
}

static void thread_self_text(struct hl__output *output, int32_t id)
{
    self_text(output, id);
    hl__output_line(output, "/task/", (uint64_t)hl__thread->id, "");
}

static void mounts_text(struct hl__output *output, int32_t id)
{
    self_text(output, id);
    hl__output_text(output, "/mounts");
}

static const struct {
    uint8_t leaf, word, bit; /* word: 0 eax ... 3 edx */
    const char *name;
} cpu_flags[] = {
    {1, 3, 0, "fpu"},          {1, 3, 4, "tsc"},
    {1, 3, 8, "cx8"},          {1, 3, 15, "cmov"},
    {1, 3, 19, "clflush"},     {1, 3, 23, "mmx"},
    {1, 3, 24, "fxsr"},        {1, 3, 25, "sse"},
    {1, 3, 26, "sse2"},        {1, 2, 0, "pni"},
    {1, 2, 1, "pclmulqdq"},    {1, 2, 9, "ssse3"},
    {1, 2, 12, "fma"},         {1, 2, 13, "cx16"},
    {1, 2, 19, "sse4_1"},      {1, 2, 20, "sse4_2"},
    {1, 2, 22, "movbe"},       {1, 2, 23, "popcnt"},
    {1, 2, 25, "aes"},         {1, 2, 26, "xsave"},
    {1, 2, 28, "avx"},         {1, 2, 29, "f16c"},
    {1, 2, 30, "rdrand"},      {1, 2, 31, "hypervisor"},
    {7, 1, 0, "fsgsbase"},     {7, 1, 3, "bmi1"},
    {7, 1, 5, "avx2"},         {7, 1, 8, "bmi2"},
    {7, 1, 9, "erms"},         {7, 1, 16, "avx512f"},
    {7, 1, 17, "avx512dq"},    {7, 1, 18, "rdseed"},
    {7, 1, 19, "adx"},         {7, 1, 23, "clflushopt"},
    {7, 1, 24, "clwb"},        {7, 1, 28, "avx512cd"},
    {7, 1, 29, "sha_ni"},      {7, 1, 30, "avx512bw"},
    {7, 1, 31, "avx512vl"},    {7, 2, 1, "avx512vbmi"},
    {7, 2, 6, "avx512_vbmi2"}, {7, 2, 8, "gfni"},
    {7, 2, 9, "vaes"},         {7, 2, 10, "vpclmulqdq"},
    {7, 2, 11, "avx512_vnni"}, {7, 2, 12, "avx512_bitalg"},
};

static bool cpu_has(uint8_t leaf, uint8_t word, uint8_t bit)
{
    struct hl__cpuid r = hl__cpuid(leaf, 0);
    const uint32_t words[] = {r.eax, r.ebx, r.ecx, r.edx};

    return words[word] >> bit & 1;
}

static void put_cpu_name(struct hl__output *output)
{
    if (hl__cpuid(0x80000000, 0).eax < 0x80000004)
        return;
    for (uint32_t leaf = 0x80000002; leaf <= 0x80000004; leaf++) {
        struct hl__cpuid r = hl__cpuid(leaf, 0);
        char bytes[17] = {0};

        memcpy(bytes, &r, 16);
        hl__output_text(output, bytes);
    }
}

static void cpuinfo_text(struct hl__output *output, int32_t id)
{
    struct hl__cpuid vendor = hl__cpuid(0, 0), r = hl__cpuid(1, 0);
    uint32_t family = r.eax >> 8 & 15, model = r.eax >> 4 & 15;
    char name[13] = {0};

    (void)id;
    memcpy(name, &vendor.ebx, 4);
    memcpy(name + 4, &vendor.edx, 4);
    memcpy(name + 8, &vendor.ecx, 4);
    if (family == 6 || family == 15)
        model |= r.eax >> 12 & 0xf0;
    if (family == 15)
        family += r.eax >> 20 & 0xff;
    hl__output_text(output, "processor\t: 0\nvendor_id\t: ");
    hl__output_text(output, name);
    hl__output_line(output, "\ncpu family\t: ", family, "");
    hl__output_line(output, "\nmodel\t\t: ", model, "\nmodel name\t: ");
    put_cpu_name(output);
    hl__output_line(output, "\nstepping\t: ", r.eax & 15, "\n");
    hl__output_text(
        output, "physical id\t: 0\nsiblings\t: 1\ncore id\t\t: 0\ncpu cores\t: 1\nfpu\t\t: yes\n"
                "flags\t\t:");
    for (unsigned i = 0; i < sizeof cpu_flags / sizeof cpu_flags[0]; i++) {
        if (cpu_flags[i].leaf > vendor.eax ||
            !cpu_has(cpu_flags[i].leaf, cpu_flags[i].word, cpu_flags[i].bit))
            continue;
        hl__output_text(output, " ");
        hl__output_text(output, cpu_flags[i].name);
    }
    hl__output_text(output, " lm nx\nclflush size\t: 64\ncache_alignment\t: 64\n\n");
}

static void meminfo_text(struct hl__output *output, int32_t id)
{
    uint64_t page_kib = HL_ABI_PAGE_SIZE / 1024;
    uint64_t total = hl__memory.total_pages * page_kib;
    uint64_t free = hl__pages_free(&hl__memory.pages) * page_kib;

    (void)id;
    hl__output_line(output, "MemTotal:       ", total, " kB\n");
    hl__output_line(output, "MemFree:        ", free, " kB\n");
    hl__output_line(output, "MemAvailable:   ", free, " kB\n");
    hl__output_text(output, "Buffers:        0 kB\nCached:         0 kB\nSwapCached:     0 kB\n"
                            "SwapTotal:      0 kB\nSwapFree:       0 kB\nShmem:          0 kB\n"
                            "HugePages_Total:       0\nHugePages_Free:        0\n"
                            "Hugepagesize:       2048 kB\n");
}

static void put_seconds(struct hl__output *output, uint64_t ns)
{
    uint64_t hundredths = ns / TICK_NS % 100;

    hl__output_line(output, "", ns / NS_PER_SECOND, hundredths < 10 ? ".0" : ".");
    hl__output_number(output, hundredths);
}

static uint64_t idle_ns(void)
{
    uint64_t up = hl__clock_monotonic_ns(), busy = hl__process_cpu_ns(hl__process());

    return up > busy ? up - busy : 0;
}

static void uptime_text(struct hl__output *output, int32_t id)
{
    (void)id;
    put_seconds(output, hl__clock_monotonic_ns());
    hl__output_text(output, " ");
    put_seconds(output, idle_ns());
    hl__output_text(output, "\n");
}

static void loadavg_text(struct hl__output *output, int32_t id)
{
    (void)id;
    hl__output_line(output, "0.00 0.00 0.00 1/", hl__process()->thread_count, " ");
    hl__output_line(output, "", (uint64_t)hl__thread->id, "\n");
}

static void put_cpu_times(struct hl__output *output, const char *label)
{
    hl__output_line(output, label, hl__process_cpu_ns(hl__process()) / TICK_NS, " 0 0 ");
    hl__output_line(output, "", idle_ns() / TICK_NS, " 0 0 0 0 0 0\n");
}

static void stat_text(struct hl__output *output, int32_t id)
{
    uint64_t boot_ns = hl__clock_realtime_ns() - hl__clock_monotonic_ns();

    (void)id;
    put_cpu_times(output, "cpu  ");
    put_cpu_times(output, "cpu0 ");
    hl__output_line(output, "intr 0\nctxt 0\nbtime ", boot_ns / NS_PER_SECOND, "\n");
    hl__output_text(output, "processes 1\nprocs_running 1\nprocs_blocked 0\n");
}

/* Version 4 of RFC 4122. */
static void put_uuid(struct hl__output *output, uint8_t bytes[16])
{
    bytes[6] = (uint8_t)((bytes[6] & 15) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 63) | 0x80);
    for (int i = 0; i < 16; i++) {
        hl__output_text(output, i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "");
        hl__output_hex(output, bytes[i], 2);
    }
    hl__output_text(output, "\n");
}

static void uuid_text(struct hl__output *output, int32_t id)
{
    uint8_t bytes[16];

    (void)id;
    hl__random_bytes(bytes, sizeof bytes);
    put_uuid(output, bytes);
}

static void boot_id_text(struct hl__output *output, int32_t id)
{
    static uint8_t boot_id[16];
    static bool made;
    uint8_t bytes[16];

    (void)id;
    if (!made)
        hl__random_bytes(boot_id, sizeof boot_id);
    made = true;
    memcpy(bytes, boot_id, sizeof bytes);
    put_uuid(output, bytes);
}

#define FIXED(function, text)                                                                      \
    static void function(struct hl__output *output, int32_t id)                                    \
    {                                                                                              \
        (void)id;                                                                                  \
        hl__output_text(output, text);                                                             \
    }

FIXED(version_text, VERSION)
FIXED(filesystems_text, "nodev\tproc\nnodev\tsysfs\nnodev\ttmpfs\n")
FIXED(kernel_cmdline_text, "\n")
FIXED(ostype_text, "Linux\n")
FIXED(osrelease_text, "6.1.0-hyperlight\n")
FIXED(kernel_version_text, "#1\n")
FIXED(hostname_text, "hyperlight\n")
FIXED(domainname_text, "(none)\n")
FIXED(pid_max_text, "4194304\n")
FIXED(threads_max_text, "4096\n")
FIXED(ngroups_text, "64\n")
FIXED(cap_text, "40\n")
FIXED(overflow_text, "65534\n")
FIXED(entropy_text, "256\n")
FIXED(one_text, "1\n")
FIXED(map_count_text, "65530\n")
FIXED(min_address_text, "65536\n")
FIXED(zero_text, "0\n")
FIXED(file_max_text, "65536\n")
FIXED(pipe_max_text, "1048576\n")

#define DIRECTORY(in, name, group)                                                                 \
    {                                                                                              \
        in, name, S_IFDIR | 0555, group, NULL, NULL, NULL                                          \
    }
#define FILE(in, name, text)                                                                       \
    {                                                                                              \
        in, name, S_IFREG | 0444, HL__PROC_NONE, text, NULL, NULL                                  \
    }
#define LINK(in, name, text)                                                                       \
    {                                                                                              \
        in, name, S_IFLNK | 0777, HL__PROC_NONE, text, NULL, NULL                                  \
    }

const struct hl__proc_node hl__proc_system_nodes[] = {
    LINK(HL__PROC_ROOT, "self", self_text),
    LINK(HL__PROC_ROOT, "thread-self", thread_self_text),
    LINK(HL__PROC_ROOT, "mounts", mounts_text),
    FILE(HL__PROC_ROOT, "cpuinfo", cpuinfo_text),
    FILE(HL__PROC_ROOT, "meminfo", meminfo_text),
    FILE(HL__PROC_ROOT, "uptime", uptime_text),
    FILE(HL__PROC_ROOT, "loadavg", loadavg_text),
    FILE(HL__PROC_ROOT, "stat", stat_text),
    FILE(HL__PROC_ROOT, "version", version_text),
    FILE(HL__PROC_ROOT, "filesystems", filesystems_text),
    FILE(HL__PROC_ROOT, "cmdline", kernel_cmdline_text),
    DIRECTORY(HL__PROC_ROOT, "sys", HL__PROC_SYS),
    DIRECTORY(HL__PROC_SYS, "kernel", HL__PROC_SYS_KERNEL),
    DIRECTORY(HL__PROC_SYS, "vm", HL__PROC_SYS_VM),
    DIRECTORY(HL__PROC_SYS, "fs", HL__PROC_SYS_FS),
    FILE(HL__PROC_SYS_KERNEL, "ostype", ostype_text),
    FILE(HL__PROC_SYS_KERNEL, "osrelease", osrelease_text),
    FILE(HL__PROC_SYS_KERNEL, "version", kernel_version_text),
    FILE(HL__PROC_SYS_KERNEL, "hostname", hostname_text),
    FILE(HL__PROC_SYS_KERNEL, "domainname", domainname_text),
    FILE(HL__PROC_SYS_KERNEL, "pid_max", pid_max_text),
    FILE(HL__PROC_SYS_KERNEL, "threads-max", threads_max_text),
    FILE(HL__PROC_SYS_KERNEL, "ngroups_max", ngroups_text),
    FILE(HL__PROC_SYS_KERNEL, "cap_last_cap", cap_text),
    FILE(HL__PROC_SYS_KERNEL, "overflowuid", overflow_text),
    FILE(HL__PROC_SYS_KERNEL, "overflowgid", overflow_text),
    DIRECTORY(HL__PROC_SYS_KERNEL, "random", HL__PROC_SYS_RANDOM),
    FILE(HL__PROC_SYS_RANDOM, "uuid", uuid_text),
    FILE(HL__PROC_SYS_RANDOM, "boot_id", boot_id_text),
    FILE(HL__PROC_SYS_RANDOM, "entropy_avail", entropy_text),
    FILE(HL__PROC_SYS_RANDOM, "poolsize", entropy_text),
    FILE(HL__PROC_SYS_VM, "overcommit_memory", one_text),
    FILE(HL__PROC_SYS_VM, "max_map_count", map_count_text),
    FILE(HL__PROC_SYS_VM, "mmap_min_addr", min_address_text),
    FILE(HL__PROC_SYS_VM, "swappiness", zero_text),
    FILE(HL__PROC_SYS_FS, "file-max", file_max_text),
    FILE(HL__PROC_SYS_FS, "nr_open", file_max_text),
    FILE(HL__PROC_SYS_FS, "pipe-max-size", pipe_max_text),
    DIRECTORY(HL__SYS_ROOT, "devices", HL__SYS_DEVICES),
    DIRECTORY(HL__SYS_DEVICES, "system", HL__SYS_SYSTEM),
    DIRECTORY(HL__SYS_SYSTEM, "cpu", HL__SYS_CPUS),
    FILE(HL__SYS_CPUS, "online", zero_text),
    FILE(HL__SYS_CPUS, "possible", zero_text),
    FILE(HL__SYS_CPUS, "present", zero_text),
};
const uint32_t hl__proc_system_node_count =
    sizeof hl__proc_system_nodes / sizeof hl__proc_system_nodes[0];
