/* What /proc says of the program. */
#include "base/text.h"
#include "entry/access.h"
#include "entry/state.h"
#include "file/credentials.h"
#include "file/file.h"
#include "file/path.h"
#include "file/proc.h"
#include "memory/memory.h"
#include "thread/thread.h"
#include "time/clock.h"

#include <string.h>

#define TICK_NS 10000000u
#define KIB 1024u

/* The thread that a file is about: the first one if it is about the process. */
static const struct hl__thread *thread_of(int32_t id)
{
    const struct hl__thread *thread = hl__thread_find(id);

    return thread ? thread : hl__thread;
}

/* Memory of the program, as it is now. */
static void put_memory(struct hl__output *output, uint64_t start, uint64_t end)
{
    char bytes[256];

    while (start < end) {
        uint64_t piece = end - start < sizeof bytes ? end - start : sizeof bytes;

        if (hl__user_read(bytes, start, piece) < 0)
            return;
        hl__output_bytes(output, bytes, piece);
        start += piece;
    }
}

static void cmdline_text(struct hl__output *output, int32_t id)
{
    (void)id;
    put_memory(output, hl__memory.space->arguments, hl__memory.space->environment);
}

static void environ_text(struct hl__output *output, int32_t id)
{
    (void)id;
    put_memory(output, hl__memory.space->environment, hl__memory.space->environment_end);
}

static void auxv_text(struct hl__output *output, int32_t id)
{
    (void)id;
    put_memory(output, hl__memory.space->aux, hl__memory.space->aux_end);
}

static void comm_text(struct hl__output *output, int32_t id)
{
    hl__output_text(output, thread_of(id)->name);
    hl__output_text(output, "\n");
}

static int64_t comm_write(int32_t id, const char *bytes, uint64_t size)
{
    struct hl__thread *thread = hl__thread_find(id);

    if (!thread)
        return -ESRCH;
    if (size && bytes[size - 1] == '\n')
        size--;
    if (size >= HL__THREAD_NAME_SIZE)
        size = HL__THREAD_NAME_SIZE - 1;
    memset(thread->name, 0, sizeof thread->name);
    memcpy(thread->name, bytes, size);
    return 0;
}

/* Memory in pages: of addresses, and in use. */
struct usage {
    uint64_t size, resident, data, stack, text;
};

static void put_mapping(struct hl__output *output, const struct hl__mapping *mapping)
{
    size_t start = output->size;
    char path[512];
    int64_t length;

    hl__output_hex(output, mapping->start, 8);
    hl__output_text(output, "-");
    hl__output_hex(output, mapping->end, 8);
    hl__output_text(output, mapping->rights & HL_ABI_RIGHT_READ ? " r" : " -");
    hl__output_text(output, mapping->rights & HL_ABI_RIGHT_WRITE ? "w" : "-");
    hl__output_text(output, mapping->rights & HL_ABI_RIGHT_EXECUTE ? "x" : "-");
    hl__output_text(output, mapping->shared ? "s " : "p ");
    hl__output_hex(output, mapping->offset, 8);
    hl__output_text(output, mapping->inode ? " 00:18 " : " 00:00 ");
    hl__output_number(output, mapping->inode ? mapping->inode->number : 0);
    hl__output_text(output, " ");
    if (!mapping->inode && !mapping->name) {
        hl__output_text(output, "\n");
        return;
    }
    while (output->size - start < 73 && !output->failed)
        hl__output_text(output, " ");
    length = mapping->inode ? hl__path_of(mapping->inode, path, sizeof path) : -ENOENT;
    if (length > 0)
        hl__output_bytes(output, path, (size_t)length);
    else
        hl__output_text(output, mapping->name ? mapping->name : "/memfd: (deleted)");
    hl__output_text(output, "\n");
}

static void maps_text(struct hl__output *output, int32_t id)
{
    struct hl__mapping mapping;

    (void)id;
    for (uint64_t at = 0; hl__memory_mapping(at, &mapping); at = mapping.end)
        put_mapping(output, &mapping);
}

static struct usage usage_now(void)
{
    struct usage usage = {0};
    struct hl__mapping mapping;

    for (uint64_t at = 0; hl__memory_mapping(at, &mapping); at = mapping.end) {
        uint64_t pages = HL__PAGES(mapping.end - mapping.start);

        usage.size += pages;
        if (mapping.rights & HL_ABI_RIGHT_EXECUTE)
            usage.text += pages;
        else if (mapping.rights & HL_ABI_RIGHT_WRITE && !mapping.shared)
            usage.data += pages;
    }
    usage.stack = HL__PAGES(hl__memory.space->stack_end - hl__memory.space->stack_start);
    usage.resident = hl__memory.total_pages - hl__pages_free(&hl__memory.pages);
    return usage;
}

static void statm_text(struct hl__output *output, int32_t id)
{
    struct usage usage = usage_now();

    (void)id;
    hl__output_line(output, "", usage.size, " ");
    hl__output_line(output, "", usage.resident, " 0 ");
    hl__output_line(output, "", usage.text, " 0 ");
    hl__output_line(output, "", usage.data, " 0\n");
}

static void put_numbers(struct hl__output *output, uint32_t count, uint64_t number)
{
    while (count--)
        hl__output_line(output, " ", number, "");
}

static void stat_text(struct hl__output *output, int32_t id)
{
    const struct hl__thread *thread = thread_of(id);
    struct usage usage = usage_now();
    uint64_t cpu =
        id == hl__process()->id ? hl__process_cpu_ns(hl__process()) : hl__thread_cpu_ns(thread);

    hl__output_line(output, "", (uint64_t)thread->id, " (");
    hl__output_text(output, thread->name);
    hl__output_text(output, thread == hl__thread ? ") R" : ") S");
    hl__output_line(output, " ", (uint64_t)hl__process_parent_id(hl__process()), "");
    hl__output_line(output, " ", (uint64_t)hl__process()->group, "");
    hl__output_line(output, " ", (uint64_t)hl__process()->session, " 0 -1 4194304 0 0 0 0");
    hl__output_line(output, " ", cpu / TICK_NS, " 0 0 0 20 0");
    hl__output_line(output, " ", hl__process()->thread_count, " 0 0");
    hl__output_line(output, " ", usage.size * HL_ABI_PAGE_SIZE, "");
    hl__output_line(output, " ", usage.resident, " 18446744073709551615 1 1");
    hl__output_line(output, " ", hl__memory.space->stack_end, "");
    put_numbers(output, 9, 0);
    hl__output_text(output, " 17 0 0 0 0 0 0 0 0");
    hl__output_line(output, " ", hl__memory.space->break_start, "");
    hl__output_line(output, " ", hl__memory.space->arguments, "");
    hl__output_line(output, " ", hl__memory.space->environment, "");
    hl__output_line(output, " ", hl__memory.space->environment, "");
    hl__output_line(output, " ", hl__memory.space->environment_end, " 0\n");
}

static void put_identity(struct hl__output *output, const char *label,
                         const struct hl__identity *identity)
{
    hl__output_text(output, label);
    hl__output_line(output, "\t", identity->real, "");
    hl__output_line(output, "\t", identity->effective, "");
    hl__output_line(output, "\t", identity->saved, "");
    hl__output_line(output, "\t", identity->file, "\n");
}

static void put_mask(struct hl__output *output, const char *label, uint64_t mask)
{
    hl__output_text(output, label);
    hl__output_hex(output, mask, 16);
    hl__output_text(output, "\n");
}

static void put_signals(struct hl__output *output, const struct hl__thread *thread)
{
    const struct hl__process_signals *signals = &thread->process->signals;
    uint64_t ignored = 0, caught = 0;

    for (unsigned signal = 1; signal <= SIGNAL_COUNT; signal++) {
        uint64_t handler = signals->actions[signal].handler;

        ignored |= handler == SIG_IGN ? HL__SIGNAL_BIT(signal) : 0;
        caught |= handler > 1 ? HL__SIGNAL_BIT(signal) : 0;
    }
    put_mask(output, "SigPnd:\t", thread->signals.waiting.set);
    put_mask(output, "ShdPnd:\t", signals->waiting.set);
    put_mask(output, "SigBlk:\t", thread->signals.mask);
    put_mask(output, "SigIgn:\t", ignored);
    put_mask(output, "SigCgt:\t", caught);
}

static void put_capabilities(struct hl__output *output)
{
    uint64_t all = hl__is_root() ? 0x1ffffffffffull : 0;

    put_mask(output, "CapInh:\t", 0);
    put_mask(output, "CapPrm:\t", all);
    put_mask(output, "CapEff:\t", all);
    put_mask(output, "CapBnd:\t", 0x1ffffffffffull);
    put_mask(output, "CapAmb:\t", 0);
}

static void status_text(struct hl__output *output, int32_t id)
{
    const struct hl__thread *thread = thread_of(id);
    struct usage usage = usage_now();
    uint64_t page_kib = HL_ABI_PAGE_SIZE / KIB;

    hl__output_text(output, "Name:\t");
    hl__output_text(output, thread->name);
    hl__output_line(output, "\nUmask:\t0", hl__process()->file_mask >> 6 & 7, "");
    hl__output_number(output, hl__process()->file_mask >> 3 & 7);
    hl__output_line(output, "", hl__process()->file_mask & 7, "\n");
    hl__output_text(output,
                    thread == hl__thread ? "State:\tR (running)\n" : "State:\tS (sleeping)\n");
    hl__output_line(output, "Tgid:\t", (uint64_t)hl__process()->id, "\nNgid:\t0\n");
    hl__output_line(output, "Pid:\t", (uint64_t)thread->id, "");
    hl__output_line(output, "\nPPid:\t", (uint64_t)hl__process_parent_id(hl__process()),
                    "\nTracerPid:\t0\n");
    put_identity(output, "Uid:", &hl__credentials()->user);
    put_identity(output, "Gid:", &hl__credentials()->group);
    hl__output_line(output, "FDSize:\t", hl__process()->descriptors->capacity, "\nGroups:\t");
    for (uint32_t i = 0; i < hl__credentials()->group_count; i++)
        hl__output_line(output, "", hl__credentials()->groups[i], " ");
    hl__output_line(output, "\nVmPeak:\t", usage.size * page_kib, " kB\n");
    hl__output_line(output, "VmSize:\t", usage.size * page_kib,
                    " kB\nVmLck:\t0 kB\nVmPin:\t0 kB\n");
    hl__output_line(output, "VmHWM:\t", usage.resident * page_kib, " kB\n");
    hl__output_line(output, "VmRSS:\t", usage.resident * page_kib, " kB\n");
    hl__output_line(output, "VmData:\t", usage.data * page_kib, " kB\n");
    hl__output_line(output, "VmStk:\t", usage.stack * page_kib, " kB\n");
    hl__output_line(output, "VmExe:\t", usage.text * page_kib,
                    " kB\nVmLib:\t0 kB\nVmSwap:\t0 kB\n");
    hl__output_line(output, "Threads:\t", hl__process()->thread_count, "\nSigQ:\t0/4096\n");
    put_signals(output, thread);
    put_capabilities(output);
    hl__output_text(output, "NoNewPrivs:\t0\nSeccomp:\t0\nCpus_allowed:\t1\nCpus_allowed_list:\t0\n"
                            "Mems_allowed:\t1\nMems_allowed_list:\t0\n"
                            "voluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n");
}

static void put_limit(struct hl__output *output, const char *name, const struct linux_rlimit *limit,
                      const char *unit)
{
    const uint64_t values[] = {limit->soft, limit->hard};

    hl__output_text(output, name);
    for (size_t at = hl__string_length(name); at < 26; at++)
        hl__output_text(output, " ");
    for (int i = 0; i < 2; i++) {
        size_t start = output->size;

        if (values[i] == RLIM_INFINITY)
            hl__output_text(output, "unlimited");
        else
            hl__output_number(output, values[i]);
        while (output->size - start < 21 && !output->failed)
            hl__output_text(output, " ");
    }
    hl__output_text(output, unit);
    hl__output_text(output, "\n");
}

static void limits_text(struct hl__output *output, int32_t id)
{
    static const struct {
        uint32_t resource;
        const char *name, *unit;
    } shown[] = {
        {RLIMIT_CPU, "Max cpu time", "seconds   "},
        {RLIMIT_FSIZE, "Max file size", "bytes     "},
        {RLIMIT_DATA, "Max data size", "bytes     "},
        {RLIMIT_STACK, "Max stack size", "bytes     "},
        {RLIMIT_CORE, "Max core file size", "bytes     "},
        {RLIMIT_NPROC, "Max processes", "processes "},
        {RLIMIT_NOFILE, "Max open files", "files     "},
        {RLIMIT_AS, "Max address space", "bytes     "},
    };

    (void)id;
    hl__output_text(
        output, "Limit                     Soft Limit           Hard Limit           Units     \n");
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++)
        put_limit(output, shown[i].name, &hl__process()->limits[shown[i].resource], shown[i].unit);
}

static void mounts_text(struct hl__output *output, int32_t id)
{
    (void)id;
    hl__output_text(output, "tmpfs / tmpfs rw,noatime 0 0\nproc /proc proc rw,noatime 0 0\n"
                            "sysfs /sys sysfs rw,noatime 0 0\n");
}

static void mountinfo_text(struct hl__output *output, int32_t id)
{
    (void)id;
    hl__output_text(output, "1 0 0:24 / / rw,noatime - tmpfs tmpfs rw\n"
                            "2 1 0:25 / /proc rw,noatime - proc proc rw\n"
                            "3 1 0:26 / /sys rw,noatime - sysfs sysfs rw\n");
}

static void zero_text(struct hl__output *output, int32_t id)
{
    (void)id;
    hl__output_text(output, "0\n");
}

/* There is nobody to kill instead: any value does. */
static int64_t ignore_write(int32_t id, const char *bytes, uint64_t size)
{
    (void)id, (void)bytes, (void)size;
    return 0;
}

static void cgroup_text(struct hl__output *output, int32_t id)
{
    (void)id;
    hl__output_text(output, "0::/\n");
}

static void id_map_text(struct hl__output *output, int32_t id)
{
    (void)id;
    hl__output_text(output, "         0          0 4294967295\n");
}

static void loginuid_text(struct hl__output *output, int32_t id)
{
    (void)id;
    hl__output_text(output, "4294967295");
}

static int64_t inode_follow(struct hl__inode *from, struct hl__inode **inode)
{
    if (!from)
        return -ENOENT;
    hl__inode_ref(from);
    *inode = from;
    return 0;
}

static int64_t exe_follow(int32_t id, struct hl__inode **inode, struct hl__file **file)
{
    (void)id, (void)file;
    return inode_follow(hl__memory.space->executable, inode);
}

static int64_t cwd_follow(int32_t id, struct hl__inode **inode, struct hl__file **file)
{
    (void)id, (void)file;
    return inode_follow(hl__process()->directory, inode);
}

static int64_t root_follow(int32_t id, struct hl__inode **inode, struct hl__file **file)
{
    (void)id, (void)file;
    return inode_follow(hl__tree_root, inode);
}

#define DIRECTORY(name, group)                                                                     \
    {                                                                                              \
        HL__PROC_PROCESS, name, S_IFDIR | 0555, group, NULL, NULL, NULL                            \
    }
#define FILE(name, text)                                                                           \
    {                                                                                              \
        HL__PROC_PROCESS, name, S_IFREG | 0444, HL__PROC_NONE, text, NULL, NULL                    \
    }
#define WRITABLE(name, text, write)                                                                \
    {                                                                                              \
        HL__PROC_PROCESS, name, S_IFREG | 0644, HL__PROC_NONE, text, write, NULL                   \
    }
#define LINK(name, follow)                                                                         \
    {                                                                                              \
        HL__PROC_PROCESS, name, S_IFLNK | 0777, HL__PROC_NONE, NULL, NULL, follow                  \
    }

const struct hl__proc_node hl__proc_process_nodes[] = {
    DIRECTORY("task", HL__PROC_TASKS),
    DIRECTORY("fd", HL__PROC_FDS),
    DIRECTORY("fdinfo", HL__PROC_FDINFOS),
    LINK("exe", exe_follow),
    LINK("cwd", cwd_follow),
    LINK("root", root_follow),
    FILE("cmdline", cmdline_text),
    FILE("environ", environ_text),
    FILE("auxv", auxv_text),
    WRITABLE("comm", comm_text, comm_write),
    FILE("maps", maps_text),
    FILE("stat", stat_text),
    FILE("statm", statm_text),
    FILE("status", status_text),
    FILE("limits", limits_text),
    FILE("mounts", mounts_text),
    FILE("mountinfo", mountinfo_text),
    FILE("cgroup", cgroup_text),
    FILE("uid_map", id_map_text),
    FILE("gid_map", id_map_text),
    FILE("loginuid", loginuid_text),
    FILE("oom_score", zero_text),
    WRITABLE("oom_score_adj", zero_text, ignore_write),
    WRITABLE("oom_adj", zero_text, ignore_write),
};
const uint32_t hl__proc_process_node_count =
    sizeof hl__proc_process_nodes / sizeof hl__proc_process_nodes[0];
