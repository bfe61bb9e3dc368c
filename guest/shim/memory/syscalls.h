/* System calls on memory: see entry/syscall_table.h. */
#ifndef HL_SHIM_MEMORY_SYSCALLS_H
#define HL_SHIM_MEMORY_SYSCALLS_H

/* clang-format off */
#define HL__SYSCALLS_MEMORY(DONE, PARTIAL, REFUSED) \
    PARTIAL(9, mmap, "memory beyond the sandbox's is refused only if one piece asks for more than is left; MAP_HUGETLB fails with ENOMEM, MAP_SYNC with EOPNOTSUPP") \
    DONE(10, mprotect) DONE(11, munmap) DONE(12, brk) DONE(25, mremap) DONE(26, msync) \
    DONE(27, mincore) \
    PARTIAL(29, shmget, "no huge pages; every segment is open to all users; its memory is given back by the next call on segments") \
    DONE(30, shmat) PARTIAL(31, shmctl, "IPC_STAT, IPC_SET, IPC_RMID, SHM_LOCK and SHM_UNLOCK") \
    DONE(67, shmdt) \
    PARTIAL(28, madvise, "advice that concerns other processes, dumps, or huge pages has no effect; MADV_FREE frees nothing") \
    PARTIAL(149, mlock, "memory is never paged out, so it only brings pages in") \
    DONE(150, munlock) DONE(151, mlockall) DONE(152, munlockall) \
    REFUSED(216, remap_file_pages, ENOSYS, "obsolete") \
    REFUSED(237, mbind, ENOSYS, "the machine has one node of memory") \
    REFUSED(238, set_mempolicy, ENOSYS, "the machine has one node of memory") \
    REFUSED(239, get_mempolicy, ENOSYS, "the machine has one node of memory") \
    REFUSED(256, migrate_pages, ENOSYS, "the machine has one node of memory") \
    REFUSED(279, move_pages, ENOSYS, "the machine has one node of memory") \
    PARTIAL(310, process_vm_readv, "of the process itself only") \
    PARTIAL(311, process_vm_writev, "of the process itself only") \
    REFUSED(323, userfaultfd, EPERM, "needs a privilege") \
    DONE(324, membarrier) DONE(325, mlock2) \
    PARTIAL(329, pkey_mprotect, "there are no protection keys: only key -1") \
    PARTIAL(330, pkey_alloc, "there are no protection keys: ENOSPC") \
    PARTIAL(331, pkey_free, "there are no protection keys: EINVAL")
/* clang-format on */

#endif
