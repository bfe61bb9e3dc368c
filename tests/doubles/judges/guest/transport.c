/*
 * Messages over two packed virtio rings in scratch memory. The guest is the driver of both; the host works on them while the
 * guest is stopped, so at most one message to the host is on its way.
 */
#include "guest.h"

enum {
    FLAG_NEXT = 1 << 0,
    FLAG_DEVICE_WRITES = 1 << 1,
    FLAG_AVAILABLE = 1 << 7,
    FLAG_USED = 1 << 15,
};

enum { INBOX_BYTES = 32768 };

struct descriptor {
    uint64_t address;
    uint32_t size;
    uint16_t id, flags;
};

struct cursor {
    uint16_t index;
    bool wrap;
};

struct ring {
    struct descriptor *descriptors;
    uint16_t size;
    struct cursor free, used;
};

static struct {
    struct ring to_host, to_guest;
    uint8_t *outbox, *replies, *buffers;
    uint32_t half_bytes; /* of the pool for messages to the host: half for them, half for replies */
    uint32_t buffer_bytes;
    uint16_t buffer_count;
    uint16_t chain_length; /* of the message on its way to the host */
    uint32_t correlation;
    volatile uint64_t *mailbox;
} state;

static uint8_t inbox[INBOX_BYTES] __attribute__((aligned(8)));

static struct cursor advanced(const struct ring *ring, struct cursor cursor, unsigned count)
{
    unsigned index = cursor.index + count;
    if (index >= ring->size) {
        return (struct cursor){(uint16_t)(index - ring->size), !cursor.wrap};
    }
    return (struct cursor){(uint16_t)index, cursor.wrap};
}

static void fill(const struct ring *ring, struct cursor cursor, struct descriptor content)
{
    struct descriptor *descriptor = &ring->descriptors[cursor.index];
    uint16_t flags = content.flags | (cursor.wrap ? FLAG_AVAILABLE : FLAG_USED);
    descriptor->address = content.address;
    descriptor->size = content.size;
    descriptor->id = content.id;
    __atomic_store_n(&descriptor->flags, flags, __ATOMIC_RELEASE);
}

/* The last descriptor first: the first one's flags hand over the chain. */
static void post(struct ring *ring, const struct descriptor *chain, unsigned length)
{
    for (unsigned i = length; i-- > 0;) {
        fill(ring, advanced(ring, ring->free, i), chain[i]);
    }
    ring->free = advanced(ring, ring->free, length);
}

/* The next descriptor that the host is done with, NULL if there is none. */
static const struct descriptor *next_used(const struct ring *ring)
{
    const struct descriptor *descriptor = &ring->descriptors[ring->used.index];
    uint16_t flags = __atomic_load_n(&descriptor->flags, __ATOMIC_ACQUIRE);
    bool available = flags & FLAG_AVAILABLE, used = flags & FLAG_USED;
    return available == ring->used.wrap && used == ring->used.wrap ? descriptor : NULL;
}

static void clear_ring(struct ring *ring)
{
    uint64_t *words = (uint64_t *)ring->descriptors;
    for (unsigned i = 0; i < ring->size * 2u; i++) {
        words[i] = 0;
    }
    *(uint32_t *)&ring->descriptors[ring->size] = 0; /* the driver's event area */
    ring->free = ring->used = (struct cursor){0, true};
}

static void post_buffer(uint16_t id)
{
    struct descriptor buffer = {(uint64_t)(state.buffers + id * state.buffer_bytes),
                                state.buffer_bytes, id, FLAG_DEVICE_WRITES};
    post(&state.to_guest, &buffer, 1);
}

void transport_prepare(void)
{
    clear_ring(&state.to_host);
    clear_ring(&state.to_guest);
    state.chain_length = 0;
    for (uint16_t id = 0; id < state.buffer_count; id++) {
        post_buffer(id);
    }
    *state.mailbox = 1;
}

static uint64_t ring_bytes(uint16_t size)
{
    return size * sizeof(struct descriptor) + 8;
}

static uint64_t align_up(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

void transport_start(void)
{
    uint64_t arena = (uint64_t)memory_of_scratch(scratch_word(META_ARENA_GPA));
    uint64_t pool_bytes = scratch_word(META_TO_HOST_PAGES) * PAGE_BYTES, mailbox, second;
    state.to_host.size = (uint16_t)scratch_word(META_TO_HOST_QUEUE);
    state.to_guest.size = (uint16_t)scratch_word(META_TO_GUEST_QUEUE);
    state.buffer_bytes = (uint32_t)scratch_word(META_TO_GUEST_BUFFER);
    second = arena + align_up(ring_bytes(state.to_host.size), 16);
    mailbox = align_up(second + ring_bytes(state.to_guest.size), 8);
    state.to_host.descriptors = (struct descriptor *)arena;
    state.to_guest.descriptors = (struct descriptor *)second;
    state.mailbox = (uint64_t *)mailbox;
    state.half_bytes = (uint32_t)(pool_bytes / 2);
    state.outbox = (uint8_t *)align_up(mailbox + 8, PAGE_BYTES);
    state.replies = state.outbox + state.half_bytes;
    state.buffers = state.outbox + pool_bytes;
    uint64_t count = scratch_word(META_TO_GUEST_PAGES) * PAGE_BYTES / state.buffer_bytes;
    state.buffer_count = (uint16_t)(count < state.to_guest.size ? count : state.to_guest.size);
    transport_prepare();
}

/* Appends the host's next buffer to the `size` bytes in the inbox; returns the new size, the same if there is none. */
static uint32_t receive_buffer(uint32_t size)
{
    const struct descriptor *used = next_used(&state.to_guest);
    uint16_t id;
    if (!used) {
        return size;
    }
    id = used->id;
    if (id >= state.buffer_count || used->size > INBOX_BYTES - size) {
        guest_abort(ERROR_UNKNOWN, TEXT("bad buffer from the host"));
    }
    copy_bytes(inbox + size, state.buffers + id * state.buffer_bytes, used->size);
    size += used->size;
    state.to_guest.used = advanced(&state.to_guest, state.to_guest.used, 1);
    post_buffer(id);
    return size;
}

static void reclaim(void)
{
    if (state.chain_length && next_used(&state.to_host)) {
        state.to_host.used = advanced(&state.to_host, state.to_host.used, state.chain_length);
        state.chain_length = 0;
    }
}

const struct message *transport_receive(void)
{
    const struct message *message = (const struct message *)inbox;
    uint32_t size = receive_buffer(0), before;
    reclaim();
    if (size == 0) {
        return NULL;
    }
    do {
        before = size;
        if (size >= sizeof(*message) && size - sizeof(*message) == message->payload_size) {
            return message;
        }
        size = receive_buffer(size);
    } while (size > before);
    guest_abort(ERROR_UNKNOWN, TEXT("bad message from the host"));
}

struct message *transport_outgoing(uint32_t *capacity)
{
    if (state.chain_length) {
        guest_abort(ERROR_UNKNOWN, TEXT("the host left a message behind"));
    }
    *capacity = state.half_bytes - sizeof(struct message);
    return (struct message *)state.outbox;
}

static void send(enum message_kind kind, uint32_t correlation, unsigned chain_length)
{
    struct message *message = (struct message *)state.outbox;
    struct descriptor chain[2] = {
        {(uint64_t)message, (uint32_t)sizeof(*message) + message->payload_size, 0, 0},
        {(uint64_t)state.replies, state.half_bytes, 0, FLAG_DEVICE_WRITES},
    };
    message->kind = (uint8_t)kind;
    message->reserved[0] = message->reserved[1] = message->reserved[2] = 0;
    message->correlation = correlation;
    if (chain_length > 1) {
        chain[0].flags = FLAG_NEXT;
    }
    state.chain_length = (uint16_t)chain_length;
    post(&state.to_host, chain, chain_length);
}

/* The host looks for it after the halt. */
void transport_respond(void)
{
    send(MESSAGE_RESPONSE, ((const struct message *)inbox)->correlation, 1);
}

const struct message *transport_ask(void)
{
    const struct message *reply = (const struct message *)state.replies;
    const struct descriptor *used;
    uint32_t size;
    send(MESSAGE_REQUEST, ++state.correlation, 2);
    out32(PORT_NOTIFY, 0);
    used = next_used(&state.to_host);
    size = used ? used->size : 0;
    reclaim();
    if (size < sizeof(*reply) || size > state.half_bytes ||
        reply->payload_size != size - sizeof(*reply) || reply->kind != MESSAGE_RESPONSE ||
        reply->correlation != state.correlation) {
        guest_abort(ERROR_UNKNOWN, TEXT("bad reply from the host"));
    }
    return reply;
}
