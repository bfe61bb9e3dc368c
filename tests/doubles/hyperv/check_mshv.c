/* Compiled by check-uapi, never run: what we declare of /dev/mshv is what <linux/mshv.h> declares. */
#include <sys/ioctl.h>

/* The library has some of the kernel's names, for the same things. */
#define mshv_create_partition kernel_create_partition
#define mshv_create_vp kernel_create_vp
#define mshv_run_vp kernel_run_vp
#include <linux/mshv.h>

enum kernel_request {
    KERNEL_CREATE_PARTITION = MSHV_CREATE_PARTITION,
    KERNEL_INITIALIZE = MSHV_INITIALIZE_PARTITION,
    KERNEL_CREATE_VP = MSHV_CREATE_VP,
    KERNEL_SET_MEMORY = MSHV_SET_GUEST_MEMORY,
    KERNEL_IRQFD = MSHV_IRQFD,
    KERNEL_IOEVENTFD = MSHV_IOEVENTFD,
    KERNEL_MSI_ROUTING = MSHV_SET_MSI_ROUTING,
    KERNEL_ACCESS_BITMAP = MSHV_GET_GPAP_ACCESS_BITMAP,
    KERNEL_HYPERCALL = MSHV_ROOT_HVCALL,
    KERNEL_RUN = MSHV_RUN_VP,
    KERNEL_GET_STATE = MSHV_GET_VP_STATE,
    KERNEL_SET_STATE = MSHV_SET_VP_STATE
};
enum kernel_number {
    KERNEL_STATE_APIC = MSHV_VP_STATE_LAPIC,
    KERNEL_STATE_XSAVE = MSHV_VP_STATE_XSAVE,
    KERNEL_STATE_MESSAGES = MSHV_VP_STATE_SIMP,
    KERNEL_STATE_EVENTS = MSHV_VP_STATE_SIEFP,
    KERNEL_STATE_TIMERS = MSHV_VP_STATE_SYNTHETIC_TIMERS,
    KERNEL_STATE_COUNT = MSHV_VP_STATE_COUNT
};

#undef mshv_create_partition
#undef mshv_create_vp
#undef mshv_run_vp
#undef MSHV_CREATE_PARTITION
#undef MSHV_INITIALIZE_PARTITION
#undef MSHV_CREATE_VP
#undef MSHV_SET_GUEST_MEMORY
#undef MSHV_RUN_VP
#undef MSHV_GET_VP_STATE

#include "driver/mshv_abi.h"
#include "mshv_interface.h"

#define SAME(ours, theirs) _Static_assert((ours) == (theirs), #ours " is " #theirs)
#define SAME_SIZE(ours, theirs) SAME(sizeof(ours), sizeof(theirs))
#define SAME_PLACE(ours, member, theirs, their_member)                                             \
    SAME(__builtin_offsetof(ours, member), __builtin_offsetof(theirs, their_member));              \
    SAME_SIZE(((ours *)0)->member, ((theirs *)0)->their_member)

/* The library's requests and the double's. */
SAME(MSHV_CREATE_PARTITION, KERNEL_CREATE_PARTITION);
SAME(MSHV_INITIALIZE_PARTITION, KERNEL_INITIALIZE);
SAME(MSHV_CREATE_VP, KERNEL_CREATE_VP);
SAME(MSHV_SET_GUEST_MEMORY, KERNEL_SET_MEMORY);
SAME(MSHV_GET_ACCESS_BITMAP, KERNEL_ACCESS_BITMAP);
SAME(MSHV_HYPERCALL, KERNEL_HYPERCALL);
SAME(MSHV_RUN_VP, KERNEL_RUN);
SAME(MSHV_GET_VP_STATE, KERNEL_GET_STATE);

SAME(REQUEST_CREATE_PARTITION, KERNEL_CREATE_PARTITION);
SAME(REQUEST_INITIALIZE, KERNEL_INITIALIZE);
SAME(REQUEST_CREATE_VP, KERNEL_CREATE_VP);
SAME(REQUEST_SET_MEMORY, KERNEL_SET_MEMORY);
SAME(REQUEST_IRQFD, KERNEL_IRQFD);
SAME(REQUEST_IOEVENTFD, KERNEL_IOEVENTFD);
SAME(REQUEST_MSI_ROUTING, KERNEL_MSI_ROUTING);
SAME(REQUEST_ACCESS_BITMAP, KERNEL_ACCESS_BITMAP);
SAME(REQUEST_HYPERCALL, KERNEL_HYPERCALL);
SAME(REQUEST_RUN, KERNEL_RUN);
SAME(REQUEST_GET_STATE, KERNEL_GET_STATE);
SAME(REQUEST_SET_STATE, KERNEL_SET_STATE);

/* Numbers. */
SAME(MSHV_PAGE_SIZE, MSHV_HV_PAGE_SIZE);
SAME(MSHV_PARTITION_LARGE_PAGES, 1 << MSHV_PT_BIT_GPA_SUPER_PAGES);
SAME(MSHV_MEMORY_WRITABLE, 1 << MSHV_SET_MEM_BIT_WRITABLE);
SAME(MSHV_MEMORY_EXECUTABLE, 1 << MSHV_SET_MEM_BIT_EXECUTABLE);
SAME(MSHV_MEMORY_UNMAP, 1 << MSHV_SET_MEM_BIT_UNMAP);
SAME(MSHV_ACCESS_DIRTY, MSHV_GPAP_ACCESS_TYPE_DIRTY);
SAME(MSHV_ACCESS_CLEAR, MSHV_GPAP_ACCESS_OP_CLEAR);
SAME(MSHV_MESSAGE_SIZE, MSHV_RUN_VP_BUF_SZ);
SAME(MSHV_VP_STATE_XSAVE, KERNEL_STATE_XSAVE);
SAME(MSHV_MMAP_REGISTER_PAGE, MSHV_VP_MMAP_OFFSET_REGISTERS);

SAME(PARTITION_HAS_APIC, 1 << MSHV_PT_BIT_LAPIC);
SAME(PARTITION_HAS_FEATURES, 1 << MSHV_PT_BIT_CPU_AND_XSAVE_FEATURES);
SAME(PARTITION_FLAGS, MSHV_PT_FLAGS_MASK);
SAME((int)MEMORY_FLAGS, MSHV_SET_MEM_FLAGS_MASK);
SAME((int)MEMORY_WRITE, 1 << MSHV_SET_MEM_BIT_WRITABLE);
SAME((int)MEMORY_EXECUTE, 1 << MSHV_SET_MEM_BIT_EXECUTABLE);
SAME((int)MEMORY_UNMAP, 1 << MSHV_SET_MEM_BIT_UNMAP);
SAME((int)STATE_APIC, (int)KERNEL_STATE_APIC);
SAME((int)STATE_XSAVE, (int)KERNEL_STATE_XSAVE);
SAME((int)STATE_MESSAGES, (int)KERNEL_STATE_MESSAGES);
SAME((int)STATE_EVENTS, (int)KERNEL_STATE_EVENTS);
SAME((int)STATE_TIMERS, (int)KERNEL_STATE_TIMERS);
SAME((int)STATE_COUNT, (int)KERNEL_STATE_COUNT);

/* The library's structures. */
SAME_SIZE(struct mshv_create_partition, struct kernel_create_partition);
SAME_PLACE(struct mshv_create_partition, flags, struct kernel_create_partition, pt_flags);
SAME_PLACE(struct mshv_create_partition, isolation, struct kernel_create_partition, pt_isolation);

SAME_SIZE(struct mshv_create_vp, struct kernel_create_vp);
SAME_PLACE(struct mshv_create_vp, index, struct kernel_create_vp, vp_index);

SAME_SIZE(struct mshv_memory_region, struct mshv_user_mem_region);
SAME_PLACE(struct mshv_memory_region, size, struct mshv_user_mem_region, size);
SAME_PLACE(struct mshv_memory_region, guest_page, struct mshv_user_mem_region, guest_pfn);
SAME_PLACE(struct mshv_memory_region, host_address, struct mshv_user_mem_region, userspace_addr);
SAME_PLACE(struct mshv_memory_region, flags, struct mshv_user_mem_region, flags);
SAME_PLACE(struct mshv_memory_region, reserved, struct mshv_user_mem_region, rsvd);

SAME_SIZE(struct mshv_access_bitmap, struct mshv_gpap_access_bitmap);
SAME_PLACE(struct mshv_access_bitmap, type, struct mshv_gpap_access_bitmap, access_type);
SAME_PLACE(struct mshv_access_bitmap, operation, struct mshv_gpap_access_bitmap, access_op);
SAME_PLACE(struct mshv_access_bitmap, reserved, struct mshv_gpap_access_bitmap, rsvd);
SAME_PLACE(struct mshv_access_bitmap, page_count, struct mshv_gpap_access_bitmap, page_count);
SAME_PLACE(struct mshv_access_bitmap, guest_page, struct mshv_gpap_access_bitmap, gpap_base);
SAME_PLACE(struct mshv_access_bitmap, bitmap, struct mshv_gpap_access_bitmap, bitmap_ptr);

SAME_SIZE(struct mshv_hypercall, struct mshv_root_hvcall);
SAME_PLACE(struct mshv_hypercall, code, struct mshv_root_hvcall, code);
SAME_PLACE(struct mshv_hypercall, repetitions, struct mshv_root_hvcall, reps);
SAME_PLACE(struct mshv_hypercall, input_size, struct mshv_root_hvcall, in_sz);
SAME_PLACE(struct mshv_hypercall, output_size, struct mshv_root_hvcall, out_sz);
SAME_PLACE(struct mshv_hypercall, status, struct mshv_root_hvcall, status);
SAME_PLACE(struct mshv_hypercall, reserved, struct mshv_root_hvcall, rsvd);
SAME_PLACE(struct mshv_hypercall, input, struct mshv_root_hvcall, in_ptr);
SAME_PLACE(struct mshv_hypercall, output, struct mshv_root_hvcall, out_ptr);

SAME_SIZE(struct mshv_run_vp, struct kernel_run_vp);

SAME_SIZE(struct mshv_vp_state, struct mshv_get_set_vp_state);
SAME_PLACE(struct mshv_vp_state, type, struct mshv_get_set_vp_state, type);
SAME_PLACE(struct mshv_vp_state, reserved, struct mshv_get_set_vp_state, rsvd);
SAME_PLACE(struct mshv_vp_state, size, struct mshv_get_set_vp_state, buf_sz);
SAME_PLACE(struct mshv_vp_state, buffer, struct mshv_get_set_vp_state, buf_ptr);

/* The double's structures. */
SAME_SIZE(struct partition_request, struct kernel_create_partition);
SAME_PLACE(struct partition_request, flags, struct kernel_create_partition, pt_flags);
SAME_PLACE(struct partition_request, isolation, struct kernel_create_partition, pt_isolation);

SAME_SIZE(struct memory_request, struct mshv_user_mem_region);
SAME_PLACE(struct memory_request, size, struct mshv_user_mem_region, size);
SAME_PLACE(struct memory_request, guest_page, struct mshv_user_mem_region, guest_pfn);
SAME_PLACE(struct memory_request, host, struct mshv_user_mem_region, userspace_addr);
SAME_PLACE(struct memory_request, flags, struct mshv_user_mem_region, flags);
SAME_PLACE(struct memory_request, reserved, struct mshv_user_mem_region, rsvd);

SAME_SIZE(struct bitmap_request, struct mshv_gpap_access_bitmap);
SAME_PLACE(struct bitmap_request, type, struct mshv_gpap_access_bitmap, access_type);
SAME_PLACE(struct bitmap_request, operation, struct mshv_gpap_access_bitmap, access_op);
SAME_PLACE(struct bitmap_request, reserved, struct mshv_gpap_access_bitmap, rsvd);
SAME_PLACE(struct bitmap_request, count, struct mshv_gpap_access_bitmap, page_count);
SAME_PLACE(struct bitmap_request, guest_page, struct mshv_gpap_access_bitmap, gpap_base);
SAME_PLACE(struct bitmap_request, bitmap, struct mshv_gpap_access_bitmap, bitmap_ptr);

SAME_SIZE(struct hypercall_request, struct mshv_root_hvcall);
SAME_PLACE(struct hypercall_request, code, struct mshv_root_hvcall, code);
SAME_PLACE(struct hypercall_request, repetitions, struct mshv_root_hvcall, reps);
SAME_PLACE(struct hypercall_request, input_size, struct mshv_root_hvcall, in_sz);
SAME_PLACE(struct hypercall_request, output_size, struct mshv_root_hvcall, out_sz);
SAME_PLACE(struct hypercall_request, status, struct mshv_root_hvcall, status);
SAME_PLACE(struct hypercall_request, reserved, struct mshv_root_hvcall, rsvd);
SAME_PLACE(struct hypercall_request, input, struct mshv_root_hvcall, in_ptr);
SAME_PLACE(struct hypercall_request, output, struct mshv_root_hvcall, out_ptr);

SAME_SIZE(struct state_request, struct mshv_get_set_vp_state);
SAME_PLACE(struct state_request, type, struct mshv_get_set_vp_state, type);
SAME_PLACE(struct state_request, reserved, struct mshv_get_set_vp_state, rsvd);
SAME_PLACE(struct state_request, size, struct mshv_get_set_vp_state, buf_sz);
SAME_PLACE(struct state_request, buffer, struct mshv_get_set_vp_state, buf_ptr);

SAME_SIZE(struct message, struct kernel_run_vp);
