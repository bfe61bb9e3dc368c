/*
 * The floor under the benchmark: what each operation costs when nothing lies between the program
 * and KVM. One file, libc and <linux/kvm.h> only, no line shared with the library.
 *
 * It does the same things as the library: guest code at CPL 3 under page tables, GDT, IDT and TSS
 * built by the host, a 32-bit OUT as hypercall, requests and replies in shared memory, registers by
 * KVM_CAP_SYNC_REGS, and no vCPU ioctl except KVM_RUN on a warm path.
 *
 * It reads commands from standard input and answers each with one line of JSON:
 *     info                          what machine this is
 *     OPERATION COUNT [PAGES]       run it COUNT times; PAGES is what a cold start copies, or touches
 *     quit
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE_SIZE 4096ull
#define MESSAGE_BYTES 64

/* Guest-physical layout, which is also the virtual one. */
#define SYSTEM_ADDRESS 0x1000ull
#define SYSTEM_PAGES 8ull
#define SYSTEM_BYTES (SYSTEM_PAGES * PAGE_SIZE)
#define IMAGE_ADDRESS 0x100000ull
#define RAM_ADDRESS 0x400000ull
#define RAM_BYTES (64ull << 20)
#define RAM_PAGES (RAM_BYTES / PAGE_SIZE)

/* Pages of the system slot; all of them are supervisor-only for the guest. */
enum system_page {
    PAGE_PML4,
    PAGE_PDPT,
    PAGE_PD,
    PAGE_PT,
    PAGE_GDT_IDT,
    PAGE_TSS,
    PAGE_STUB,
    PAGE_FAULT_STACK
};
#define SYSTEM_PAGE_ADDRESS(page) (SYSTEM_ADDRESS + (uint64_t)(page)*PAGE_SIZE)
#define GDT_ADDRESS SYSTEM_PAGE_ADDRESS(PAGE_GDT_IDT)
#define IDT_ADDRESS (GDT_ADDRESS + 0x800)
#define IDT_VECTORS 32

/* The pages that a dirtying call writes: as far apart as those of the subject's guest. */
#define SCATTER_COUNT 10
#define SCATTER_FIRST_PAGE 256ull
#define SCATTER_STRIDE_PAGES 201ull

#define DEFAULT_COLD_PAGES 26
#define MAX_COLD_PAGES 4096ull

/* Pages that a cold start only touches, behind RAM: one memory for all machines. KVM maps neighbours along with
 * a page, within a block of so many. */
#define TOUCHED_ADDRESS (RAM_ADDRESS + RAM_BYTES)
#define TOUCHED_STRIDE_PAGES 8ull
#define TOUCHED_BYTES (MAX_COLD_PAGES * TOUCHED_STRIDE_PAGES * PAGE_SIZE)
#define MAX_SAMPLES 1000000

#define CALL_PORT 0xe0
#define DOORBELL_REST 1
#define DOORBELL_HOST_CALL 2
#define DOORBELL_FAULT 3

/* The first page of RAM. The guest code below knows these offsets. */
struct mailbox {
    uint32_t operation;
    uint32_t page_count;
    uint64_t first_page;
    uint64_t stride_bytes;
    uint8_t pad[40];
    char request[MESSAGE_BYTES];
    char reply[MESSAGE_BYTES];
    char host_request[MESSAGE_BYTES];
    char host_reply[MESSAGE_BYTES];
};
_Static_assert(offsetof(struct mailbox, request) == 64, "guest code knows this offset");
_Static_assert(offsetof(struct mailbox, host_reply) == 256, "guest code knows this offset");

enum guest_operation { GUEST_ECHO, GUEST_HOST_CALL, GUEST_DIRTY };

_Static_assert(CALL_PORT == 0xe0 && RAM_ADDRESS == 0x400000, "guest code knows these numbers");

/* A fresh or restored vCPU starts at guest_wake, where the OUT of a resting guest also returns. */
extern const uint8_t guest_begin[], guest_wake[], guest_end[], stub_begin[], stub_end[];
__asm__(".pushsection .rodata\n"
        "guest_begin:\n"
        "    mov $1, %eax\n"
        "    out %eax, $0xe0\n"
        "guest_wake:\n"
        "    mov $0x400000, %ebx\n"
        "    cld\n"
        "    mov (%rbx), %eax\n"
        "    lea 64(%rbx), %rsi\n"
        "    cmp $1, %eax\n"
        "    je 2f\n"
        "    cmp $2, %eax\n"
        "    je 3f\n"
        "1:  lea 128(%rbx), %rdi\n"
        "    mov $64, %ecx\n"
        "    rep movsb\n"
        "    jmp guest_begin\n"
        "2:  lea 192(%rbx), %rdi\n"
        "    mov $64, %ecx\n"
        "    rep movsb\n"
        "    mov $2, %eax\n"
        "    out %eax, $0xe0\n"
        "    lea 256(%rbx), %rsi\n"
        "    jmp 1b\n"
        "3:  mov 4(%rbx), %ecx\n"
        "    mov 8(%rbx), %rdi\n"
        "4:  notq (%rdi)\n"
        "    add 16(%rbx), %rdi\n"
        "    dec %ecx\n"
        "    jnz 4b\n"
        "    jmp 1b\n"
        "guest_end:\n"
        "stub_begin:\n"
        "    mov $3, %eax\n"
        "    out %eax, $0xe0\n"
        "    hlt\n"
        "stub_end:\n"
        ".popsection\n");

struct machine {
    int vm;
    int vcpu;
    struct kvm_run *run;
    uint8_t *system; /* the system pages, then RAM, in one mapping */
    uint8_t *ram;
    struct mailbox *mailbox;
};

struct counters {
    uint64_t ioctls;
    uint64_t exits;
    uint64_t pages_copied;
};

static struct counters counters;
static int kvm = -1;
static size_t run_bytes;
static bool hardware; /* VT-x or SVM; otherwise page-table-based KVM, which ignores CPUID2 */
static struct kvm_cpuid2 *cpuid;
static struct kvm_sregs start_sregs;
static uint8_t *image;    /* one page of guest code, shared by all machines, read-only for them */
static uint8_t *snapshot; /* the system pages, then RAM, as a machine starts with them */
static uint8_t *touched;  /* behind the RAM of all machines that have it */

static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Every ioctl of this program goes through here, so that the counts are true. */
static int counted_ioctl(int fd, unsigned long request, void *argument)
{
    counters.ioctls++;
    return ioctl(fd, request, argument);
}

static int must_ioctl(int fd, unsigned long request, unsigned long argument, const char *name)
{
    int result = counted_ioctl(fd, request, (void *)argument);
    if (result < 0)
        die(name);
    return result;
}
#define MUST_IOCTL(fd, request, argument)                                                          \
    must_ioctl(fd, request, (unsigned long)(argument), #request)

static void *must_map(size_t bytes, int protection, int flags, int fd)
{
    void *memory = mmap(NULL, bytes, protection, flags, fd, 0);
    if (memory == MAP_FAILED)
        die("mmap");
    return memory;
}

/* What a machine starts with */

#define PTE_PRESENT 0x1ull
#define PTE_WRITE 0x2ull
#define PTE_USER 0x4ull
#define PTE_ACCESSED_DIRTY 0x60ull
#define PTE_2M 0x80ull
#define PTE_NX (1ull << 63)
#define PTE_TABLE (PTE_PRESENT | PTE_WRITE | PTE_USER | PTE_ACCESSED_DIRTY)

static void *snapshot_system(enum system_page page)
{
    return snapshot + (size_t)page * PAGE_SIZE;
}

/* Accessed and dirty bits are preset, so that nothing ever writes the tables. */
static void build_page_tables(void)
{
    uint64_t *pml4 = snapshot_system(PAGE_PML4), *pdpt = snapshot_system(PAGE_PDPT);
    uint64_t *pd = snapshot_system(PAGE_PD), *pt = snapshot_system(PAGE_PT);
    pml4[0] = SYSTEM_PAGE_ADDRESS(PAGE_PDPT) | PTE_TABLE;
    pdpt[0] = SYSTEM_PAGE_ADDRESS(PAGE_PD) | PTE_TABLE;
    pd[0] = SYSTEM_PAGE_ADDRESS(PAGE_PT) | PTE_TABLE;
    for (uint64_t page = 0; page < SYSTEM_PAGES; page++) {
        uint64_t address = SYSTEM_PAGE_ADDRESS(page);
        bool writable = page == PAGE_FAULT_STACK || page == PAGE_TSS;
        pt[address / PAGE_SIZE] = address | PTE_PRESENT | PTE_ACCESSED_DIRTY |
                                  (writable ? PTE_WRITE : 0) | (page == PAGE_STUB ? 0 : PTE_NX);
    }
    pt[IMAGE_ADDRESS / PAGE_SIZE] = IMAGE_ADDRESS | PTE_PRESENT | PTE_USER | PTE_ACCESSED_DIRTY;
    for (uint64_t address = RAM_ADDRESS; address < TOUCHED_ADDRESS + TOUCHED_BYTES;
         address += 2ull << 20)
        pd[address >> 21] = address | PTE_TABLE | PTE_2M | PTE_NX;
}

/* One task-state segment of a page: its I/O bitmap covers the low ports and opens the call port. */
#define TSS_IO_BITMAP 104
#define TSS_BYTES (TSS_IO_BITMAP + 0x100 / 8 + 1)

static void build_tss(void)
{
    uint8_t *tss = snapshot_system(PAGE_TSS);
    uint64_t stack_top = SYSTEM_PAGE_ADDRESS(PAGE_FAULT_STACK) + PAGE_SIZE;
    uint16_t bitmap = TSS_IO_BITMAP;
    memcpy(tss + 4, &stack_top, sizeof stack_top);
    memcpy(tss + 36, &stack_top, sizeof stack_top); /* IST 1 */
    memcpy(tss + 102, &bitmap, sizeof bitmap);
    memset(tss + TSS_IO_BITMAP, 0xff, TSS_BYTES - TSS_IO_BITMAP);
    tss[TSS_IO_BITMAP + CALL_PORT / 8] = 0xf0; /* four ports: the OUT is 32 bits wide */
}

static void build_descriptors(void)
{
    uint64_t *gdt = snapshot_system(PAGE_GDT_IDT);
    uint64_t *idt = gdt + (IDT_ADDRESS - GDT_ADDRESS) / sizeof *gdt;
    uint64_t tss = SYSTEM_PAGE_ADDRESS(PAGE_TSS), stub = SYSTEM_PAGE_ADDRESS(PAGE_STUB);
    gdt[1] = 0x00af9b000000ffffull;
    gdt[2] = 0x00cf93000000ffffull;
    gdt[3] = 0x00cff3000000ffffull;
    gdt[4] = 0x00affb000000ffffull;
    gdt[5] = (TSS_BYTES - 1) | (tss & 0xffffff) << 16 | 0x8bull << 40 | (tss >> 24 & 0xff) << 56;
    gdt[6] = tss >> 32;
    for (int vector = 0; vector < IDT_VECTORS; vector++) {
        idt[2 * vector] = (stub & 0xffff) | 0x8ull << 16 | 1ull << 32 | 0x8eull << 40 |
                          (stub >> 16 & 0xffff) << 48;
        idt[2 * vector + 1] = stub >> 32;
    }
    memcpy(snapshot_system(PAGE_STUB), stub_begin, (size_t)(stub_end - stub_begin));
}

/* Offset of the i-th page that a cold start copies: the system, the mailbox, the scattered pages,
 * then as many more as were asked for. */
static size_t cold_page_offset(size_t index)
{
    if (index <= SYSTEM_PAGES)
        return index * PAGE_SIZE;
    index -= SYSTEM_PAGES + 1;
    if (index < SCATTER_COUNT)
        return SYSTEM_BYTES + (SCATTER_FIRST_PAGE + index * SCATTER_STRIDE_PAGES) * PAGE_SIZE;
    index -= SCATTER_COUNT;
    if (index < SCATTER_FIRST_PAGE - 1)
        return SYSTEM_BYTES + (1 + index) * PAGE_SIZE;
    index -= SCATTER_FIRST_PAGE - 1;
    size_t after = SCATTER_FIRST_PAGE + SCATTER_COUNT * SCATTER_STRIDE_PAGES;
    return SYSTEM_BYTES + (after + index) * PAGE_SIZE;
}
#define MIN_COLD_PAGES (SYSTEM_PAGES + 1)

static void build_snapshot(void)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    image = must_map(PAGE_SIZE, PROT_READ | PROT_WRITE, flags, -1);
    memcpy(image, guest_begin, (size_t)(guest_end - guest_begin));
    snapshot = must_map(SYSTEM_BYTES + RAM_BYTES, PROT_READ | PROT_WRITE, flags, -1);
    madvise(snapshot, SYSTEM_BYTES + RAM_BYTES, MADV_NOHUGEPAGE);
    touched = must_map(TOUCHED_BYTES, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, -1);
    madvise(touched, TOUCHED_BYTES, MADV_NOHUGEPAGE);
    build_page_tables();
    build_tss();
    build_descriptors();
    for (size_t i = SYSTEM_PAGES; i < MAX_COLD_PAGES; i++)
        snapshot[cold_page_offset(i) + PAGE_SIZE - 1] = 0x5a;
}

/* Machines */

static struct kvm_segment user_segment(uint16_t selector, uint8_t type, bool code)
{
    return (struct kvm_segment){.limit = 0xffffffff,
                                .selector = selector,
                                .type = type,
                                .present = 1,
                                .dpl = 3,
                                .db = !code,
                                .s = 1,
                                .l = code,
                                .g = 1};
}

/* QEMU's TCG checks the I/O bitmap only through an available TSS (type 9); processors want a busy
 * one. */
static uint8_t tss_type(void)
{
    const char *bed = getenv("HL_BED");
    return bed && strcmp(bed, "1") == 0 ? 0x9 : 0xb;
}

static void build_start_sregs(int vcpu)
{
    MUST_IOCTL(vcpu, KVM_GET_SREGS, &start_sregs);
    start_sregs.cs = user_segment(0x23, 0xb, true);
    start_sregs.ss = user_segment(0x1b, 0x3, false);
    start_sregs.ds = start_sregs.es = start_sregs.fs = start_sregs.gs = start_sregs.ss;
    start_sregs.tr = (struct kvm_segment){.base = SYSTEM_PAGE_ADDRESS(PAGE_TSS),
                                          .limit = TSS_BYTES - 1,
                                          .selector = 0x28,
                                          .type = tss_type(),
                                          .present = 1};
    start_sregs.gdt.base = GDT_ADDRESS;
    start_sregs.gdt.limit = 7 * 8 - 1;
    start_sregs.idt.base = IDT_ADDRESS;
    start_sregs.idt.limit = IDT_VECTORS * 16 - 1;
    start_sregs.cr0 = 0x80010033; /* PG, WP, NE, ET, MP, PE */
    start_sregs.cr3 = SYSTEM_PAGE_ADDRESS(PAGE_PML4);
    start_sregs.cr4 = 0x620;  /* PAE, OSFXSR, OSXMMEXCPT */
    start_sregs.efer = 0xd00; /* LME, LMA, NXE */
}

/* Registers go in with the next KVM_RUN; no ioctl. */
static void set_start_registers(struct machine *m)
{
    m->run->s.regs.sregs = start_sregs;
    m->run->s.regs.regs =
        (struct kvm_regs){.rip = IMAGE_ADDRESS + (uint64_t)(guest_wake - guest_begin), .rflags = 2};
    m->run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
}

static void add_slot(int vm, uint32_t slot, uint32_t flags, uint64_t address, size_t bytes,
                     const void *memory)
{
    struct kvm_userspace_memory_region region = {.slot = slot,
                                                 .flags = flags,
                                                 .guest_phys_addr = address,
                                                 .memory_size = bytes,
                                                 .userspace_addr = (uintptr_t)memory};
    MUST_IOCTL(vm, KVM_SET_USER_MEMORY_REGION, &region);
}

#define RAM_SLOT 1
#define TOUCHED_SLOT 3

static struct machine machine_new(size_t pages, bool dirty_log)
{
    struct machine m = {0};
    m.system = must_map(SYSTEM_BYTES + RAM_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    madvise(m.system, SYSTEM_BYTES + RAM_BYTES, MADV_NOHUGEPAGE);
    m.ram = m.system + SYSTEM_BYTES;
    m.mailbox = (struct mailbox *)m.ram;
    for (size_t i = 0; i < pages; i++)
        memcpy(m.system + cold_page_offset(i), snapshot + cold_page_offset(i), PAGE_SIZE);
    counters.pages_copied += pages;

    m.vm = MUST_IOCTL(kvm, KVM_CREATE_VM, 0);
    if (dirty_log) {
        struct kvm_enable_cap cap = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
                                     .args = {KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE}};
        MUST_IOCTL(m.vm, KVM_ENABLE_CAP, &cap);
    }
    add_slot(m.vm, 0, 0, SYSTEM_ADDRESS, SYSTEM_BYTES, m.system);
    add_slot(m.vm, RAM_SLOT, dirty_log ? KVM_MEM_LOG_DIRTY_PAGES : 0, RAM_ADDRESS, RAM_BYTES,
             m.ram);
    add_slot(m.vm, 2, KVM_MEM_READONLY, IMAGE_ADDRESS, PAGE_SIZE, image);
    m.vcpu = MUST_IOCTL(m.vm, KVM_CREATE_VCPU, 0);
    if (hardware)
        MUST_IOCTL(m.vcpu, KVM_SET_CPUID2, cpuid);
    m.run = must_map(run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m.vcpu);
    if (start_sregs.cr3 == 0)
        build_start_sregs(m.vcpu);
    set_start_registers(&m);
    return m;
}

/* The descriptors first: with the VM gone, unmapping its memory has nobody to notify. */
static void machine_free(struct machine *m)
{
    munmap(m->run, run_bytes);
    close(m->vcpu);
    close(m->vm);
    munmap(m->system, SYSTEM_BYTES + RAM_BYTES);
}

static void die_of_exit(const struct machine *m, uint32_t doorbell)
{
    fprintf(stderr, "floor: unexpected exit %u, doorbell %u\n", m->run->exit_reason, doorbell);
    exit(1);
}

/* Enter the guest until it rings; returns which doorbell. */
static uint32_t enter(struct machine *m)
{
    while (counted_ioctl(m->vcpu, KVM_RUN, NULL) < 0)
        if (errno != EINTR)
            die("KVM_RUN");
    counters.exits++;
    const struct kvm_run *run = m->run;
    if (run->exit_reason != KVM_EXIT_IO || run->io.direction != KVM_EXIT_IO_OUT ||
        run->io.port != CALL_PORT || run->io.size != 4 || run->io.count != 1)
        die_of_exit(m, 0);
    uint32_t doorbell;
    memcpy(&doorbell, (const uint8_t *)run + run->io.data_offset, sizeof doorbell);
    return doorbell;
}

static void enter_expecting(struct machine *m, uint32_t expected)
{
    uint32_t doorbell = enter(m);
    if (doorbell != expected)
        die_of_exit(m, doorbell);
}

static void request_to_dirty(const struct machine *m, size_t pages, uint64_t first,
                             uint64_t stride_pages)
{
    m->mailbox->operation = GUEST_DIRTY;
    m->mailbox->page_count = (uint32_t)pages;
    m->mailbox->first_page = first;
    m->mailbox->stride_bytes = stride_pages * PAGE_SIZE;
}

/* One call: 64 bytes in, 64 bytes out. The mailbox says which. */
static void call_requested(struct machine *m, const char *in, char *out)
{
    memcpy(m->mailbox->request, in, MESSAGE_BYTES);
    if (m->mailbox->operation == GUEST_HOST_CALL) {
        char from_guest[MESSAGE_BYTES];
        enter_expecting(m, DOORBELL_HOST_CALL);
        memcpy(from_guest, m->mailbox->host_request, MESSAGE_BYTES);
        memcpy(m->mailbox->host_reply, from_guest, MESSAGE_BYTES);
    }
    enter_expecting(m, DOORBELL_REST);
    memcpy(out, m->mailbox->reply, MESSAGE_BYTES);
}

static void call(struct machine *m, enum guest_operation operation, const char *in, char *out)
{
    m->mailbox->operation = operation;
    if (operation == GUEST_DIRTY)
        request_to_dirty(m, SCATTER_COUNT, RAM_ADDRESS + SCATTER_FIRST_PAGE * PAGE_SIZE,
                         SCATTER_STRIDE_PAGES);
    call_requested(m, in, out);
}

/* Copy back what the log names. Its bits are never cleared: pages once written stay writable, cost
 * no fault again, and are always copied. */
static void restore(struct machine *m)
{
    static uint64_t bitmap[RAM_PAGES / 64];
    struct kvm_dirty_log log = {.slot = RAM_SLOT, .dirty_bitmap = bitmap};
    MUST_IOCTL(m->vm, KVM_GET_DIRTY_LOG, &log);
    for (size_t word = 0; word < RAM_PAGES / 64; word++)
        for (uint64_t bits = bitmap[word]; bits; bits &= bits - 1) {
            size_t offset = (word * 64 + (size_t)__builtin_ctzll(bits)) * PAGE_SIZE;
            memcpy(m->ram + offset, snapshot + SYSTEM_BYTES + offset, PAGE_SIZE);
            counters.pages_copied++;
        }
    set_start_registers(m);
}

static void check_restored(const struct machine *m)
{
    for (size_t i = SYSTEM_PAGES; i < DEFAULT_COLD_PAGES; i++) {
        size_t offset = cold_page_offset(i);
        if (memcmp(m->system + offset, snapshot + offset, PAGE_SIZE) != 0) {
            fprintf(stderr, "floor: page at %#zx is not the snapshot's\n", offset);
            exit(1);
        }
    }
}

/* Operations. Each performs one, and says when its measured part began and ended. */

struct measured {
    uint64_t begin_ns;
    uint64_t end_ns;
    struct counters before;
    struct counters after;
};

static struct machine warm, logged; /* logged has its dirty log on; both live to the end */
static size_t cold_pages;
static char message[MESSAGE_BYTES], answer[MESSAGE_BYTES];

static void measure_begin(struct measured *sample)
{
    sample->before = counters;
    sample->begin_ns = now_ns();
}

static void measure_end(struct measured *sample)
{
    sample->end_ns = now_ns();
    sample->after = counters;
}

static void do_warm_call(struct measured *sample)
{
    measure_begin(sample);
    call(&warm, GUEST_ECHO, message, answer);
    measure_end(sample);
}

static void do_guest_to_host(struct measured *sample)
{
    measure_begin(sample);
    call(&warm, GUEST_HOST_CALL, message, answer);
    measure_end(sample);
}

static void do_restore_call(struct measured *sample)
{
    measure_begin(sample);
    call(&logged, GUEST_DIRTY, message, answer);
    restore(&logged);
    measure_end(sample);
    check_restored(&logged);
}

static void do_cold_first_reply(struct measured *sample)
{
    measure_begin(sample);
    struct machine m = machine_new(cold_pages, false);
    call(&m, GUEST_ECHO, message, answer);
    measure_end(sample);
    machine_free(&m);
}

/* A new machine whose guest touches `cold_pages` pages that are there, each with no neighbour to go with it: a
 * fault in KVM for each. */
static void do_cold_touch(struct measured *sample)
{
    for (size_t i = 0; i < cold_pages; i++)
        touched[i * TOUCHED_STRIDE_PAGES * PAGE_SIZE] = 1;
    measure_begin(sample);
    struct machine m = machine_new(MIN_COLD_PAGES, false);
    add_slot(m.vm, TOUCHED_SLOT, 0, TOUCHED_ADDRESS, TOUCHED_BYTES, touched);
    request_to_dirty(&m, cold_pages, TOUCHED_ADDRESS, TOUCHED_STRIDE_PAGES);
    call_requested(&m, message, answer);
    measure_end(sample);
    machine_free(&m);
}

static void do_cold_destroy(struct measured *sample)
{
    struct machine m = machine_new(cold_pages, false);
    call(&m, GUEST_ECHO, message, answer);
    measure_begin(sample);
    machine_free(&m);
    measure_end(sample);
}

static const struct operation {
    const char *name;
    void (*perform)(struct measured *sample);
} operations[] = {
    {"warm_call", do_warm_call},          {"guest_to_host", do_guest_to_host},
    {"restore_call_10", do_restore_call}, {"cold_first_reply", do_cold_first_reply},
    {"cold_destroy", do_cold_destroy},    {"cold_touch", do_cold_touch},
};

/* Each message differs from the one before, so that a stale reply is noticed. */
static void perform_checked(const struct operation *operation, struct measured *sample)
{
    static unsigned number;
    snprintf(message, sizeof message, "%063u", number++);
    operation->perform(sample);
    if (memcmp(message, answer, MESSAGE_BYTES) != 0) {
        fprintf(stderr, "floor: %s: wrong reply\n", operation->name);
        exit(1);
    }
}

static void run_operation(const struct operation *operation, size_t count)
{
    struct counters sum = {0};
    printf("{\"operation\": \"%s\", \"samples_ns\": [", operation->name);
    for (size_t i = 0; i < count; i++) {
        struct measured sample;
        perform_checked(operation, &sample);
        sum.ioctls += sample.after.ioctls - sample.before.ioctls;
        sum.exits += sample.after.exits - sample.before.exits;
        sum.pages_copied += sample.after.pages_copied - sample.before.pages_copied;
        printf("%s%llu", i ? "," : "", (unsigned long long)(sample.end_ns - sample.begin_ns));
    }
    double n = (double)count;
    printf("], \"exits\": %g, \"ioctls\": %g, \"pages_copied\": %g}\n", (double)sum.exits / n,
           (double)sum.ioctls / n, (double)sum.pages_copied / n);
}

static void print_info(void)
{
    printf("{\"kvm\": \"%s\", \"ram_bytes\": %llu, \"message_bytes\": %d, \"scattered_pages\": %d, "
           "\"min_cold_pages\": %llu, \"max_cold_pages\": %llu, \"default_cold_pages\": %d}\n",
           hardware ? "hardware" : "page-table-based", RAM_BYTES, MESSAGE_BYTES, SCATTER_COUNT,
           MIN_COLD_PAGES, MAX_COLD_PAGES, DEFAULT_COLD_PAGES);
}

static void run_command(const char *line)
{
    char name[32];
    size_t count = 0, pages = DEFAULT_COLD_PAGES;
    if (sscanf(line, "%31s %zu %zu", name, &count, &pages) < 1)
        return;
    if (strcmp(name, "info") == 0) {
        print_info();
        return;
    }
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        if (strcmp(name, operations[i].name) == 0 && count > 0 && count <= MAX_SAMPLES &&
            pages >= MIN_COLD_PAGES && pages <= MAX_COLD_PAGES) {
            cold_pages = pages;
            run_operation(&operations[i], count);
            return;
        }
    printf("{\"error\": \"not a command, or a count out of range\"}\n");
}

static bool has_hardware_virtualization(void)
{
    unsigned a, b, c, d;
    bool vmx = __get_cpuid(1, &a, &b, &c, &d) && (c & 1u << 5);
    bool svm = __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & 1u << 2);
    return vmx || svm;
}

static void require_capability(unsigned long capability, int bits, const char *name)
{
    int value = counted_ioctl(kvm, KVM_CHECK_EXTENSION, (void *)capability);
    if (value < 0 || (value & bits) != bits) {
        fprintf(stderr, "floor: this kernel's KVM has no %s\n", name);
        exit(1);
    }
}

static void open_kvm(void)
{
    kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0)
        die("/dev/kvm");
    require_capability(KVM_CAP_SYNC_REGS, KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS,
                       "KVM_CAP_SYNC_REGS");
    require_capability(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 1, "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2");
    run_bytes = (size_t)MUST_IOCTL(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    hardware = has_hardware_virtualization();
    enum { ENTRIES = 256 };
    cpuid = calloc(1, sizeof *cpuid + ENTRIES * sizeof(struct kvm_cpuid_entry2));
    if (!cpuid)
        die("calloc");
    cpuid->nent = ENTRIES;
    MUST_IOCTL(kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    open_kvm();
    build_snapshot();
    warm = machine_new(DEFAULT_COLD_PAGES, false);
    logged = machine_new(DEFAULT_COLD_PAGES, true);
    char line[128];
    while (fgets(line, sizeof line, stdin) && strcmp(line, "quit\n") != 0) {
        run_command(line);
        fflush(stdout);
    }
    machine_free(&logged);
    machine_free(&warm);
    return 0;
}
