/*
 * The helper's confinement: limits of resources, no new privileges, no other descriptors, and the few
 * system calls that reading descriptors and writing one take. None that opens, connects or executes.
 */
#define _GNU_SOURCE
#include "image/confine.h"

#include "util/error.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Address space: libraries and unpackers, tables of files, and what reads and sorts them. */
#define MEMORY_BASE (UINT64_C(768) << 20)
#define MEMORY_PER_FILE 512u
/* The image's tables come on top of its limit before that is noticed. */
#define FILE_SLACK (UINT64_C(1) << 20)

static hl_status confine_failed(hl_error *err, int os_error, const char *source)
{
    return hl__error_os(err, HL_SYSTEM, os_error, source, "the helper cannot be confined");
}

/* `grace`: how far the hard limit lies above, for those limits that first warn. */
static hl_status limit(int resource, uint64_t most, uint64_t grace, hl_error *err)
{
    struct rlimit now, wanted;
    if (getrlimit((__rlimit_resource_t)resource, &now) != 0)
        return confine_failed(err, errno, "getrlimit");
    wanted.rlim_max = most + grace < now.rlim_max ? most + grace : now.rlim_max;
    wanted.rlim_cur = most < wanted.rlim_max ? most : wanted.rlim_max;
    if (setrlimit((__rlimit_resource_t)resource, &wanted) != 0)
        return confine_failed(err, errno, "setrlimit");
    return HL_OK;
}

static hl_status limit_resources(const struct hl__job *job, hl_error *err)
{
    uint64_t memory = MEMORY_BASE + (uint64_t)job->inodes_max * MEMORY_PER_FILE;
    hl_status status = limit(RLIMIT_CORE, 0, 0, err);
    if (status == HL_OK)
        status = limit(RLIMIT_NOFILE, HL__HELPER_INPUT + 2, 0, err);
    if (status == HL_OK)
        status = limit(RLIMIT_FSIZE, job->size_max + FILE_SLACK, 0, err);
    if (status == HL_OK)
        status = limit(RLIMIT_CPU, job->cpu_time_s, 2, err);
#ifndef HL_UNCONFINED
    if (status == HL_OK)
        status = limit(RLIMIT_AS, memory, 0, err);
#endif
    (void)memory;
    return status;
}

#ifndef HL_UNCONFINED
/* Calls that are harmless with any arguments, because there are only the helper's descriptors. */
static const int allowed[] = {
    SCMP_SYS(read),           SCMP_SYS(readv),     SCMP_SYS(pread64),
    SCMP_SYS(write),          SCMP_SYS(pwrite64),  SCMP_SYS(lseek),
    SCMP_SYS(ftruncate),      SCMP_SYS(close),     SCMP_SYS(munmap),
    SCMP_SYS(mremap),         SCMP_SYS(brk),       SCMP_SYS(madvise),
    SCMP_SYS(futex),          SCMP_SYS(getrandom), SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),   SCMP_SYS(sendto),    SCMP_SYS(sendmsg),
    SCMP_SYS(recvfrom),       SCMP_SYS(recvmsg),   SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(exit),      SCMP_SYS(exit_group),
    SCMP_SYS(sysinfo),
};

/*
 * Memory is never executable. Converters of character sets are looked for in files: there are none,
 * which is no reason to die.
 */
static int allow_some(scmp_filter_ctx filter)
{
    int result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(openat), 0);
    if (result == 0)
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                                  SCMP_A2(SCMP_CMP_MASKED_EQ, (scmp_datum_t)PROT_EXEC, 0));
    if (result == 0)
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                                  SCMP_A2(SCMP_CMP_MASKED_EQ, (scmp_datum_t)PROT_EXEC, 0));
    return result;
}

static int load_filter(scmp_filter_ctx filter)
{
    int result = allow_some(filter);
    for (size_t i = 0; result == 0 && i < sizeof allowed / sizeof *allowed; i++)
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    return result == 0 ? seccomp_load(filter) : result;
}

static hl_status filter_calls(hl_error *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return confine_failed(err, ENOMEM, "seccomp_init");
    int result = load_filter(filter);
    seccomp_release(filter);
    return result == 0 ? HL_OK : confine_failed(err, -result, "seccomp_load");
}
#endif

hl_status hl__confine(const struct hl__job *job, hl_error *err)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return confine_failed(err, errno, "prctl");
    if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return confine_failed(err, errno, "signal");
    hl_status status = limit_resources(job, err);
#ifndef HL_UNCONFINED
    if (status == HL_OK)
        status = filter_calls(err);
#endif
    return status;
}
