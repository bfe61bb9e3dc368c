/* The service behind /dev/hyperlight: a state between two hypercalls. Messages for the host lie in the
 * reader's buffer, those of the host where it put them, or in a copy where it will put the next. */
#include "functions/service.h"
#include "base/linux.h"
#include "base/text.h"
#include "entry/state.h"
#include "functions/json.h"
#include "host/host.h"
#include "memory/heap.h"
#include "signal/signal.h"

#include <string.h>

/* A buffer that grew beyond this is given back when its message was sent. */
#define BUFFER_KEPT (64u << 10)
#define TEXT_SIZE 160u

struct text_message {
    struct hl_wire_head head;
    struct hl_wire_value value;
    char text[TEXT_SIZE];
};

struct service {
    bool declared; /* the host knows which functions there are */
    bool serving, replied;
    bool notify_restored;
    bool frames;
    uint8_t magic_read; /* of the bytes that switch to frames */
    uint32_t outcome;   /* of the reply, with its message */
    const void *reply;
    uint64_t reply_size;
    uint8_t result_type; /* what the function that is served promises */
    const char *problem; /* why a write was refused */
    /* what is to be read: a line, or the rest of a frame's head and message */
    bool unread;
    uint8_t frame_read;
    struct hl__frame out;
    const uint8_t *out_message;
    uint64_t out_read;
    /* the frame that is being written */
    struct hl__frame in;
    uint8_t in_head;
    uint8_t *exports; /* the EXPORTS message that was declared, for its signatures */
    uint64_t exports_size;
    uint8_t *vector_state;
    struct text_message text;
    struct hl__json_writer writer;
    struct hl__json_reader reader;
    uint8_t message[HL_ABI_INLINE_SIZE] __attribute__((aligned(8)));
};

static struct service *service;

int64_t hl__door_call(uint64_t op, uint64_t arg0, uint64_t arg1, uint64_t arg2, uint64_t arg3);

int64_t hl__service_open(void)
{
    uint64_t size = hl__vector_state_size();

    if (service)
        return 0;
    service = hl__heap_new(sizeof *service);
    if (!service)
        return -ENOMEM;
    /* Whole pages are aligned for XSAVE. */
    service->vector_state = hl__heap_new(size < HL_ABI_PAGE_SIZE ? HL_ABI_PAGE_SIZE : size);
    if (!service->vector_state) {
        hl__heap_free(service, sizeof *service);
        service = NULL;
        return -ENOMEM;
    }
    hl__json_reader_init(&service->reader);
    return 0;
}

/* A VALUE message of a short text. */
static void make_text(const char *text)
{
    struct text_message *message = &service->text;
    uint64_t size = hl__string_length(text);

    if (size > TEXT_SIZE - 8)
        size = TEXT_SIZE - 8;
    memset(message, 0, sizeof *message);
    memcpy(message->text, text, size);
    message->value = (struct hl_wire_value){.type = HL__JSON_STRING, .data = size};
    message->head = (struct hl_wire_head){
        HL_WIRE_VALUE, 1, offsetof(struct text_message, text) + ((size + 8) & ~7ull)};
}

static bool refuse(const char *problem)
{
    service->problem = problem;
    return false;
}

static void buffer_reset(void)
{
    if (service->reader.capacity > BUFFER_KEPT)
        hl__json_reader_free(&service->reader);
    else
        hl__json_reader_reset(&service->reader);
    service->in_head = 0;
}

/* To the program */

static void give(enum hl__frame_kind kind, const void *message, uint64_t size, bool restored)
{
    static const enum hl__json_form forms[] = {[HL__FRAME_RESULT] = HL__JSON_RESULT,
                                               [HL__FRAME_ERROR] = HL__JSON_ERROR,
                                               [HL__FRAME_CALL] = HL__JSON_CALL};

    service->unread = true;
    if (service->frames) {
        service->out = (struct hl__frame){kind, restored ? HL__FRAME_RESTORED : 0, size};
        service->frame_read = 0;
        service->out_message = message;
        service->out_read = 0;
    } else if (!hl__json_write_start(&service->writer, forms[kind], message, size, restored)) {
        service->writer.failed = true;
    }
}

/* A message of the host. A small one moves out of the way of the next. */
static const void *take_message(uint64_t *size)
{
    const struct hl_abi_place place = HL__MAILBOX->request;

    *size = place.size;
    if (place.size > sizeof service->message)
        return (const void *)place.address;
    return memcpy(service->message, (const void *)place.address, place.size);
}

bool hl__service_unread(void)
{
    return service->unread;
}

bool hl__service_owes(void)
{
    return service->serving && !service->replied;
}

static int64_t read_frame(uint8_t *bytes, size_t size)
{
    size_t head = sizeof service->out - service->frame_read;
    uint64_t left = service->out.size - service->out_read;

    if (head > size)
        head = size;
    memcpy(bytes, (const uint8_t *)&service->out + service->frame_read, head);
    service->frame_read = (uint8_t)(service->frame_read + head);
    if (left > size - head)
        left = size - head;
    memcpy(bytes + head, service->out_message + service->out_read, left);
    service->out_read += left;
    if (service->frame_read == sizeof service->out && service->out_read == service->out.size)
        service->unread = false;
    return (int64_t)(head + left);
}

int64_t hl__service_read(uint8_t *bytes, size_t size)
{
    size_t done;

    if (service->frames)
        return read_frame(bytes, size);
    done = hl__json_write(&service->writer, bytes, size);
    if (service->writer.failed || hl__json_write_done(&service->writer))
        service->unread = false;
    return service->writer.failed && !done ? -EIO : (int64_t)done;
}

/* What the program says */

static bool reply(uint32_t outcome, const void *message, uint64_t size)
{
    if (!service->serving)
        return refuse("there is no call to reply to");
    service->replied = true;
    service->outcome = outcome;
    service->reply = message;
    service->reply_size = size;
    service->unread = false; /* what was not read of the call, it did not want to know */
    return true;
}

static bool call_host(const void *message, uint64_t size)
{
    int64_t outcome;
    uint64_t answer_size;
    const void *answer;

    if (service->unread)
        return refuse("what is to be read must be read before a host function is called");
    HL__MAILBOX->request = (struct hl_abi_place){0};
    outcome = hl__door_call(HL_ABI_OP_HOST_CALL, (uint64_t)message, size, 0, 0);
    answer = take_message(&answer_size);
    if (!answer_size) {
        make_text("the host could not answer");
        answer = &service->text;
        answer_size = service->text.head.size;
    }
    give(outcome == HL_ABI_OUTCOME_OK ? HL__FRAME_RESULT : HL__FRAME_ERROR, answer, answer_size,
         false);
    buffer_reset();
    return true;
}

/* `size` 0: no message, functions of any name. */
static void declare(const void *message, uint64_t size)
{
    static const struct hl_wire_head none = {HL_WIRE_EXPORTS, 0, sizeof none};

    hl__host_export(size ? message : &none, size ? size : sizeof none,
                    size ? 0 : HL_ABI_EXPORT_ANY_NAME);
    service->declared = true;
}

static bool declare_line(const struct hl__line *line)
{
    if (service->declared)
        return refuse("functions are declared once, before the first read");
    service->exports = line->any_name ? NULL : hl__heap_new(line->size);
    if (!line->any_name && !service->exports) {
        service->reader.no_memory = true;
        return refuse("no memory for the functions");
    }
    if (service->exports)
        memcpy(service->exports, line->message, service->exports_size = line->size);
    service->notify_restored = line->notify_restored;
    declare(service->exports, service->exports_size);
    buffer_reset();
    return true;
}

static bool take_line(void)
{
    struct hl__line line =
        hl__json_line(&service->reader, (enum hl__json_type)service->result_type);

    switch (line.kind) {
    case HL__LINE_RESULT:
        return reply(HL_ABI_OUTCOME_OK, line.message, line.size);
    case HL__LINE_ERROR:
        return reply(HL_ABI_OUTCOME_ERROR, line.message, line.size);
    case HL__LINE_CALL:
        return call_host(line.message, line.size);
    case HL__LINE_EXPORTS:
        return declare_line(&line);
    default:
        return refuse(service->reader.problem);
    }
}

static bool take_frame(void)
{
    const void *message = service->reader.bytes + HL__JSON_ROOM;

    switch (service->in.kind) {
    case HL__FRAME_RESULT:
        return reply(HL_ABI_OUTCOME_OK, message, service->in.size);
    case HL__FRAME_ERROR:
        return reply(HL_ABI_OUTCOME_ERROR, message, service->in.size);
    default:
        return call_host(message, service->in.size);
    }
}

static bool frame_start(void)
{
    const struct hl__frame *in = &service->in;

    if ((in->kind != HL__FRAME_RESULT && in->kind != HL__FRAME_ERROR &&
         in->kind != HL__FRAME_HOST) ||
        in->flags)
        return refuse("a frame of an unknown kind, or with flags");
    service->reader.size = HL__JSON_ROOM;
    return hl__json_reserve(&service->reader, in->size) || refuse(service->reader.problem);
}

/* Bytes of a frame. *taken may be less than `size`: a frame ended. */
static bool write_frame(const uint8_t *bytes, size_t size, size_t *taken)
{
    size_t head = sizeof service->in - service->in_head, rest;
    uint64_t left;

    if (head) {
        if (head > size)
            head = size;
        memcpy((uint8_t *)&service->in + service->in_head, bytes, head);
        service->in_head = (uint8_t)(service->in_head + head);
        *taken = head;
        if (service->in_head < sizeof service->in)
            return true;
        if (!frame_start())
            return false;
    }
    left = HL__JSON_ROOM + service->in.size - service->reader.size;
    rest = size - head < left ? size - head : (size_t)left;
    memcpy(service->reader.bytes + service->reader.size, bytes + head, rest);
    service->reader.size += rest;
    *taken = head + rest;
    return rest < left || take_frame();
}

static bool write_line(const uint8_t *bytes, size_t size, size_t *taken)
{
    switch (hl__json_read(&service->reader, bytes, size, taken)) {
    case HL__JSON_LINE:
        return take_line();
    case HL__JSON_MORE:
        return true;
    default:
        return refuse(service->reader.problem);
    }
}

static bool is_blank(uint8_t byte)
{
    return byte == '\n' || byte == ' ' || byte == '\t' || byte == '\r';
}

/* The bytes that switch to frames. */
static bool write_magic(const uint8_t *bytes, size_t size, size_t *taken)
{
    for (*taken = 0; *taken < size; ++*taken) {
        if (service->magic_read == HL__FRAMES_MAGIC_SIZE)
            break;
        if (bytes[*taken] != (uint8_t)HL__FRAMES_MAGIC[service->magic_read++]) {
            service->magic_read = 0;
            return refuse("a line starts with a zero byte but not with the frames' magic");
        }
    }
    if (service->magic_read < HL__FRAMES_MAGIC_SIZE)
        return true;
    service->magic_read = 0;
    if (service->unread)
        return refuse("what is to be read must be read before frames are used");
    service->frames = true;
    return true;
}

/* A piece of one line or frame. */
static bool write_piece(const uint8_t *bytes, size_t size, size_t *taken)
{
    if (service->replied && (service->frames || !is_blank(*bytes)))
        return refuse("the call was replied to; the next one must be read first");
    if (service->replied) {
        *taken = 1;
        return true;
    }
    if (service->frames)
        return write_frame(bytes, size, taken);
    if (service->magic_read || (!service->reader.started && !*bytes))
        return write_magic(bytes, size, taken);
    return write_line(bytes, size, taken);
}

int64_t hl__service_write(const uint8_t *bytes, size_t size)
{
    size_t done = 0;

    while (done < size) {
        size_t taken = 0;

        if (!write_piece(bytes + done, size - done, &taken)) {
            bool no_memory = service->reader.no_memory;

            if (!service->replied)
                buffer_reset();
            /* What came before is taken; the program will try the rest again. */
            return done ? (int64_t)done : no_memory ? -ENOMEM : -EINVAL;
        }
        done += taken;
    }
    return (int64_t)done;
}

void hl__service_complain(void)
{
    enum { LEVEL_WARNING = 2 }; /* hl_log_level of the host API */
    char bytes[TEXT_SIZE + 64];
    struct hl__text text;

    hl__text_start(&text, bytes, sizeof bytes);
    hl__text_add(&text, "/dev/hyperlight: refused what the program wrote: ");
    hl__text_add(&text, service->problem);
    hl__host_log_at(LEVEL_WARNING, bytes, text.size);
}

/* Resting */

/* What a function promises, by the name in a CALL message. */
static uint8_t promised_type(const uint8_t *message, uint64_t size)
{
    struct hl_wire_value name, other, types;
    uint64_t at = sizeof(struct hl_wire_head), end = service->exports_size;

    if (size < at + sizeof name || !service->exports)
        return HL__JSON_ANY;
    memcpy(&name, message + at, sizeof name);
    while (at < end) {
        const uint8_t *text = service->exports + at + sizeof other;
        uint64_t types_at;

        memcpy(&other, service->exports + at, sizeof other);
        types_at = at + sizeof other + ((other.data + 8) & ~7ull);
        memcpy(&types, service->exports + types_at, sizeof types);
        if (other.data == name.data &&
            memcmp(text, message + sizeof(struct hl_wire_head) + sizeof name, name.data) == 0)
            return types.type == HL__JSON_BYTES ? service->exports[types_at + sizeof types]
                                                : HL__JSON_ANY;
        at =
            types_at + sizeof types + (types.type == HL__JSON_BYTES ? (types.data + 8) & ~7ull : 0);
    }
    return HL__JSON_ANY;
}

static void fail_unanswered(void)
{
    make_text(service->reader.started || service->in_head
                  ? "no reply: the program read the next call before its reply was whole (a line "
                    "ends with a newline)"
                  : "no reply: the program read the next call before it replied");
    service->outcome = HL_ABI_OUTCOME_ERROR;
    service->reply = &service->text;
    service->reply_size = service->text.head.size;
}

/* One rest, from which another caller's registers or even another process may wake. */
static int64_t rest(void)
{
    int64_t wake;

    hl__vector_state_save(service->vector_state);
    wake = hl__door_call(HL_ABI_OP_REST, service->serving ? service->outcome : HL_ABI_OUTCOME_NONE,
                         service->serving ? (uint64_t)service->reply : 0,
                         service->serving ? service->reply_size : 0, 0);
    if (wake & HL_ABI_WAKE_RESTORED)
        hl__vector_state_load(service->vector_state);
    hl__hot.attention = true; /* the ticks ended, time passed */
    return wake;
}

int64_t hl__service_rest(void)
{
    bool restored = false;
    const uint8_t *message;
    uint64_t size;
    int64_t wake;

    if (!service->declared)
        declare(NULL, 0);
    if (hl__service_owes())
        fail_unanswered();
    do {
        wake = rest();
        service->serving = service->replied = false;
        restored |= (wake & HL_ABI_WAKE_RESTORED) != 0;
    } while (!(wake & HL_ABI_WAKE_CALL));
    service->serving = true;
    buffer_reset();
    message = take_message(&size);
    service->result_type = promised_type(message, size);
    give(HL__FRAME_CALL, message, size, restored && (service->notify_restored || service->frames));
    return 0;
}
