/* VPs: their page of registers, running them, and state that moves as a whole. */
#include "mshv_double.h"

#include <errno.h>
#include <string.h>

/* The page of registers: what KVM gives with each exit. XMM registers are taken from it and never
 * filled in, since they would cost every exit a system call. */

enum { PAGE_SEGMENTS = 6, PAGE_XMMS = 6 };

void register_page_take(struct vp *vp)
{
    struct register_page *page = vp->page;
    struct kvm_run *run = vp->engine->run;
    struct kvm_regs *regs = &run->s.regs.regs;
    union engine_value value;
    uint32_t dirty = page->is_valid ? page->dirty : 0;
    for (unsigned i = 0; dirty & DIRTY_GENERAL && i < 16; i++)
        *engine_general(regs, NAME_RAX + i) = page->general[i];
    if (dirty & DIRTY_RIP)
        regs->rip = page->rip;
    if (dirty & DIRTY_FLAGS)
        regs->rflags = page->rflags;
    if (dirty & (DIRTY_GENERAL | DIRTY_RIP | DIRTY_FLAGS))
        run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
    for (unsigned i = 0; dirty & DIRTY_XMM && i < PAGE_XMMS; i++) {
        memcpy(&value, page->xmm[i], sizeof value);
        (void)engine_set(vp->engine, NAME_XMM0 + i, &value);
    }
    for (unsigned i = 0; dirty & DIRTY_SEGMENTS && i < PAGE_SEGMENTS; i++) {
        memcpy(&value, &page->segments[i], sizeof value);
        (void)engine_set(vp->engine, NAME_ES + i, &value);
    }
    page->dirty = 0;
}

void register_page_fill(struct vp *vp)
{
    enum { UNKNOWN_DR7 = 5 };
    static const uint32_t controls[] = {[0] = NAME_CR0,
                                        [1] = NAME_CR3,
                                        [2] = NAME_CR4,
                                        [3] = NAME_CR8,
                                        [4] = NAME_EFER,
                                        [6] = NAME_PENDING_INTERRUPTION,
                                        [7] = NAME_INTERRUPT_STATE,
                                        [8] = NAME_DELIVERABILITY,
                                        [9] = NAME_XCR0};
    struct register_page *page = vp->page;
    struct kvm_regs *regs = &vp->engine->run->s.regs.regs;
    union engine_value value;
    for (unsigned i = 0; i < 16; i++)
        page->general[i] = *engine_general(regs, NAME_RAX + i);
    page->rip = regs->rip;
    page->rflags = regs->rflags;
    for (unsigned i = 0; i < PAGE_SEGMENTS; i++) {
        (void)engine_get(vp->engine, NAME_ES + i, &value);
        memcpy(&page->segments[i], &value, sizeof value);
    }
    for (unsigned i = 0; i < sizeof controls / sizeof *controls; i++)
        if (i != UNKNOWN_DR7) {
            (void)engine_get(vp->engine, controls[i], &value);
            page->control[i] = value.word[0];
        }
    page->version = 1;
    page->is_valid = !is_bare();
    page->dirty = 0;
}

/* Messages */

static void fill_intercept(const struct vp *vp, const struct engine_exit *exit,
                           struct intercept_head *head)
{
    enum { FIRST_PROTECTED = 2 };
    const struct kvm_sregs *sregs = &vp->engine->run->s.regs.sregs;
    const struct kvm_regs *regs = &vp->engine->run->s.regs.regs;
    union engine_value cs;
    (void)engine_get(vp->engine, NAME_CS, &cs);
    memcpy(&head->cs, &cs, sizeof head->cs);
    head->vp = vp->engine->index;
    head->length_and_cr8 = (uint8_t)((exit->length & 15) | (sregs->cr8 & 15) << 4);
    head->access = exit->is_write ? 1 : 0;
    head->execution_state = (uint16_t)((sregs->cs.dpl & 3) | (sregs->cr0 & 1) << FIRST_PROTECTED |
                                       (sregs->cr0 >> 18 & 1) << 3 | (sregs->efer >> 10 & 1) << 4);
    head->rip = regs->rip;
    head->rflags = regs->rflags;
}

static void fill_port(const struct vp *vp, const struct engine_exit *exit, struct message *message)
{
    const struct kvm_regs *regs = &vp->engine->run->s.regs.regs;
    struct port_message *port = &message->payload.port;
    message->head.type = (uint32_t)MESSAGE_PORT;
    message->head.size = sizeof *port;
    port->port = exit->port;
    port->access = (uint8_t)(exit->size | exit->is_string << 3 | exit->is_repeated << 4);
    port->byte_count = exit->byte_count;
    memcpy(port->bytes, exit->bytes, sizeof port->bytes);
    port->rax = regs->rax;
    port->rcx = regs->rcx;
    port->rsi = regs->rsi;
    port->rdi = regs->rdi;
}

static void fill_memory(const struct engine_exit *exit, struct message *message)
{
    enum { CACHE_WRITE_BACK = 6 };
    struct memory_message *memory = &message->payload.memory;
    message->head.type = (uint32_t)(exit->is_mapped ? MESSAGE_NO_ACCESS : MESSAGE_UNMAPPED);
    message->head.size = sizeof *memory;
    memory->cache_type = CACHE_WRITE_BACK;
    memory->physical_address = exit->address;
}

/* The message of an exit, or an errno. */
static int fill_message(const struct vp *vp, const struct engine_exit *exit,
                        struct message *message)
{
    *message = (struct message){.head.size = sizeof message->payload.intercept};
    fill_intercept(vp, exit, &message->payload.intercept);
    switch (exit->kind) {
    case ENGINE_EXIT_PORT:
        fill_port(vp, exit, message);
        return 0;
    case ENGINE_EXIT_MEMORY:
        fill_memory(exit, message);
        return 0;
    case ENGINE_EXIT_HALT:
        message->head.type = (uint32_t)MESSAGE_HALT;
        return 0;
    case ENGINE_EXIT_TRIPLE_FAULT:
        message->head.type = (uint32_t)MESSAGE_TRIPLE_FAULT;
        return 0;
    case ENGINE_EXIT_BAD_STATE:
        message->head.type = (uint32_t)MESSAGE_BAD_REGISTER;
        return 0;
    default:
        trace("KVM gave up: %x", exit->failure);
        return EIO;
    }
}

int mshv_run(struct vp *vp, struct message *message)
{
    struct engine_exit exit;
    if (!vp->partition->initialized)
        return EINVAL;
    register_page_take(vp);
    engine_run(vp->engine, &exit);
    register_page_fill(vp);
    if (exit.kind == ENGINE_EXIT_SIGNAL || exit.kind == ENGINE_EXIT_CANCELLED)
        return EINTR;
    int error = fill_message(vp, &exit, vp->message);
    if (!error)
        memcpy(message, vp->message, sizeof *message);
    return error;
}

/* State that moves as a whole */

/* The registers of the APIC in the order of Hyper-V's state, as offsets in the APIC's own page. */
static const uint16_t apic_order[] = {0x20,  0x30,  0xd0,  0xe0,  0xf0,  0x100, 0x110, 0x120, 0x130,
                                      0x140, 0x150, 0x160, 0x170, 0x180, 0x190, 0x1a0, 0x1b0, 0x1c0,
                                      0x1d0, 0x1e0, 0x1f0, 0x200, 0x210, 0x220, 0x230, 0x240, 0x250,
                                      0x260, 0x270, 0x280, 0x310, 0x300, 0x320, 0x330, 0x340, 0x350,
                                      0x360, 0x370, 0x2f0, 0x280, 0x380, 0x390, 0x3e0, 0xc0};

static int state_apic(struct vp *vp, uint8_t *buffer, bool is_write)
{
    struct kvm_lapic_state apic;
    if (!vp->partition->engine->has_apic)
        return EINVAL;
    (void)engine_flush(vp->engine);
    if (system_ioctl(vp->engine->file, KVM_GET_LAPIC, &apic) < 0)
        return EIO;
    for (size_t i = 0; i < sizeof apic_order / sizeof *apic_order; i++)
        if (is_write)
            memcpy(apic.regs + apic_order[i], buffer + 4 * i, 4);
        else
            memcpy(buffer + 4 * i, apic.regs + apic_order[i], 4);
    return is_write && system_ioctl(vp->engine->file, KVM_SET_LAPIC, &apic) < 0 ? EINVAL : 0;
}

static int state_xsave(struct vp *vp, uint8_t *buffer, bool is_write)
{
    enum engine_result result =
        is_write ? engine_xsave_set(vp->engine, buffer) : engine_xsave_get(vp->engine, buffer);
    return result == ENGINE_OK ? 0 : result == ENGINE_BAD_VALUE ? EINVAL : EIO;
}

int mshv_state(struct vp *vp, struct state_request *request, bool is_write)
{
    enum { BARE_XSAVE_SIZE = 11008 };
    uint32_t size = request->type == STATE_TIMERS               ? (uint32_t)STATE_TIMERS_SIZE
                    : request->type == STATE_XSAVE && is_bare() ? (uint32_t)BARE_XSAVE_SIZE
                                                                : PAGE_BYTES;
    uint32_t given = request->size;
    uint8_t *buffer = (uint8_t *)(uintptr_t)request->buffer;
    if (request->type >= STATE_COUNT ||
        request->reserved[0] | request->reserved[1] | request->reserved[2] || !given ||
        given % PAGE_BYTES || request->buffer % PAGE_BYTES)
        return EINVAL;
    request->size = size;
    if (size > given)
        return EINVAL;
    if (request->type == STATE_APIC)
        return state_apic(vp, buffer, is_write);
    if (request->type == STATE_XSAVE)
        return state_xsave(vp, buffer, is_write);
    if (is_write)
        memcpy(vp->blobs[request->type], buffer, size);
    else
        memcpy(buffer, vp->blobs[request->type], size);
    return 0;
}
