/* The functions the host may call, and the one way to call the host. */
#include "guest.h"

enum { MAX_PARAMETERS = 2 };

enum { CALL_OF_HOST = 2 };
enum { RETURNS_INT = 0 };
enum { RESULT_VALUE = 1, RESULT_ERROR = 2 };

/* A parameter or a result: `number` or `text`, as its type says. */
struct value {
    enum value_type type;
    uint64_t number;
    struct text text;
};

struct call {
    struct text name;
    unsigned count;
    struct value parameters[MAX_PARAMETERS];
};

/* Outlives a call, and is what a snapshot must bring back. */
static int32_t counter;

/* ---- Encoding ---- */

static uint32_t add_value(struct flat *flat, struct value value)
{
    const uint8_t size = value.type == VALUE_ULONG ? 8 : 4;
    uint32_t table = flat_table(flat, value.type == VALUE_VOID ? 0 : 1, &size);
    if (value.type == VALUE_STRING) {
        flat_link(flat, flat_field(flat, table, 0), flat_text(flat, value.text));
    } else if (value.type != VALUE_VOID) {
        flat_set(flat, flat_field(flat, table, 0), value.number, size);
    }
    return table;
}

/* A table of two fields: the tag of a union, and the union, which is still to be linked. */
static uint32_t add_union(struct flat *flat, uint8_t tag)
{
    uint32_t table = flat_table(flat, 2, (const uint8_t[]){1, 4});
    flat_set(flat, flat_field(flat, table, 0), tag, 1);
    return table;
}

/* As ParameterValue and ReturnValue have it. */
static uint32_t add_tagged_value(struct flat *flat, struct value value)
{
    uint32_t table = add_union(flat, (uint8_t)value.type);
    flat_link(flat, flat_field(flat, table, 1), add_value(flat, value));
    return table;
}

static struct message *begin_message(struct flat *flat)
{
    uint32_t capacity;
    struct message *message = transport_outgoing(&capacity);
    flat_begin(flat, message->payload, capacity);
    return message;
}

static void respond_value(struct value value)
{
    struct flat flat;
    struct message *message = begin_message(&flat);
    uint32_t result = add_union(&flat, RESULT_VALUE);
    flat_link(&flat, flat_field(&flat, result, 1), add_tagged_value(&flat, value));
    flat_end(&flat, result);
    message->payload_size = flat.size;
    transport_respond();
}

static void respond_error(enum error_code code, struct text text)
{
    struct flat flat;
    struct message *message = begin_message(&flat);
    uint32_t result = add_union(&flat, RESULT_ERROR), error;
    error = flat_table(&flat, 2, (const uint8_t[]){8, 4});
    flat_link(&flat, flat_field(&flat, result, 1), error);
    flat_set(&flat, flat_field(&flat, error, 0), code, 8);
    flat_link(&flat, flat_field(&flat, error, 1), flat_text(&flat, text));
    flat_end(&flat, result);
    message->payload_size = flat.size;
    transport_respond();
}

static void respond_int(int32_t number)
{
    respond_value((struct value){.type = VALUE_INT, .number = (uint32_t)number});
}

/* ---- Decoding ---- */

static struct value read_value(struct view *view, uint32_t table)
{
    uint32_t tag = view_field(view, table, 0), content = view_child(view, table, 1), field;
    struct value value = {.type = tag ? view_u8(view, tag) : 0};
    field = view_field(view, content, 0);
    if (value.type == VALUE_STRING) {
        value.text = view_text(view, view_child(view, content, 0));
    } else if (field && value.type == VALUE_INT) {
        value.number = view_u32(view, field);
    } else if (field && value.type == VALUE_ULONG) {
        value.number = view_u64(view, field);
    }
    return value;
}

static struct view view_of(const struct message *message)
{
    return (struct view){message->payload, message->payload_size, false};
}

static struct call read_call(const struct message *message)
{
    struct view view = view_of(message);
    struct call call = {0};
    uint32_t root = view_root(&view), vector = view_child(&view, root, 1);
    call.name = view_text(&view, view_child(&view, root, 0));
    call.count = vector ? view_u32(&view, vector) : 0;
    for (unsigned i = 0; i < call.count && i < MAX_PARAMETERS; i++) {
        uint32_t element = vector + 4 + 4 * i;
        call.parameters[i] = read_value(&view, element + view_u32(&view, element));
    }
    if (view.bad) {
        guest_abort(ERROR_UNKNOWN, TEXT("bad call from the host"));
    }
    return call;
}

/* ---- Calling the host ---- */

static void write_host_call(struct text name, struct value parameter)
{
    struct flat flat;
    struct message *message = begin_message(&flat);
    uint32_t call = flat_table(&flat, 4, (const uint8_t[]){4, 4, 1, 1}), vector;
    flat_link(&flat, flat_field(&flat, call, 0), flat_text(&flat, name));
    vector = flat_vector(&flat, 1);
    flat_link(&flat, flat_field(&flat, call, 1), vector);
    flat_link(&flat, vector + 4, add_tagged_value(&flat, parameter));
    flat_set(&flat, flat_field(&flat, call, 2), CALL_OF_HOST, 1);
    flat_set(&flat, flat_field(&flat, call, 3), RETURNS_INT, 1);
    flat_end(&flat, call);
    message->payload_size = flat.size;
}

/* Passes on what the host function returned, a failure too. */
static void respond_with_host(struct text name, struct value parameter)
{
    write_host_call(name, parameter);
    struct view view = view_of(transport_ask());
    uint32_t root = view_root(&view), tag = view_field(&view, root, 0);
    uint8_t kind = tag ? view_u8(&view, tag) : 0;
    uint32_t content = view_child(&view, root, 1);
    if (kind == RESULT_ERROR) {
        respond_error(ERROR_HOST, view_text(&view, view_child(&view, content, 1)));
        return;
    }
    struct value value = read_value(&view, content);
    if (kind != RESULT_VALUE || value.type != VALUE_INT || view.bad) {
        guest_abort(ERROR_UNKNOWN, TEXT("bad result from the host"));
    }
    respond_int((int32_t)value.number);
}

/* ---- Functions ---- */

static void call_echo(const struct value *parameters)
{
    respond_value(parameters[0]);
}

static void call_add(const struct value *parameters)
{
    respond_int((int32_t)(uint32_t)(parameters[0].number + parameters[1].number));
}

static void call_count(const struct value *parameters)
{
    (void)parameters;
    respond_int(++counter);
}

static void call_print(const struct value *parameters)
{
    respond_with_host(TEXT("HostPrint"), parameters[0]);
}

static void call_ask(const struct value *parameters)
{
    respond_with_host(TEXT("HostSquare"), parameters[0]);
}

static void call_ask_nobody(const struct value *parameters)
{
    respond_with_host(TEXT("HostNobody"), parameters[0]);
}

static void call_spin(const struct value *parameters)
{
    (void)parameters;
    for (;;) {
        __asm__ volatile("pause");
    }
}

static void call_read_null(const struct value *parameters)
{
    (void)parameters;
    uint64_t value;
    __asm__ volatile("mov 0x10, %0" : "=r"(value));
    respond_int((int32_t)value);
}

static void call_triple_fault(const struct value *parameters)
{
    (void)parameters;
    guest_triple_fault();
}

static void call_peek(const struct value *parameters)
{
    uint64_t number = *memory_window(parameters[0].number);
    respond_value((struct value){.type = VALUE_ULONG, .number = number});
}

static void call_poke(const struct value *parameters)
{
    *memory_window(parameters[0].number) = parameters[1].number;
    respond_value((struct value){.type = VALUE_VOID});
}

static void call_in(const struct value *parameters)
{
    uint32_t value;
    __asm__ volatile("inl %w1, %0" : "=a"(value) : "d"((uint32_t)parameters[0].number));
    respond_int((int32_t)value);
}

static void call_read_msr(const struct value *parameters)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"((uint32_t)parameters[0].number));
    respond_value((struct value){.type = VALUE_ULONG, .number = low | (uint64_t)high << 32});
}

static void call_write_msr(const struct value *parameters)
{
    uint64_t value = parameters[1].number;
    __asm__ volatile("wrmsr"
                     :
                     : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)),
                       "c"((uint32_t)parameters[0].number));
    respond_value((struct value){.type = VALUE_VOID});
}

static void call_halt(const struct value *parameters)
{
    (void)parameters;
    __asm__ volatile("cli\n\thlt");
}

/* Vector registers: only where ring 0 is not interpreted. */

static void set_vector(uint64_t value)
{
    __asm__ volatile("movq %0, %%xmm7\n\tmovq %0, %%xmm15" : : "r"(value));
}

/* What both registers hold. */
static uint64_t get_vector(void)
{
    uint64_t one, other;
    __asm__ volatile("movq %%xmm7, %0\n\tmovq %%xmm15, %1" : "=r"(one), "=r"(other));
    return one == other ? one : ~0ull;
}

static void call_set_vector(const struct value *parameters)
{
    set_vector(parameters[0].number);
    respond_value((struct value){.type = VALUE_VOID});
}

static void call_get_vector(const struct value *parameters)
{
    (void)parameters;
    respond_value((struct value){.type = VALUE_ULONG, .number = get_vector()});
}

static void call_vector_across_host(const struct value *parameters)
{
    set_vector(parameters[0].number);
    out32(PORT_NOTIFY, 0);
    call_get_vector(parameters);
}

static const struct function {
    struct text name;
    void (*run)(const struct value *parameters);
    unsigned count;
    enum value_type types[MAX_PARAMETERS];
} functions[] = {
    {{"Echo", 4}, call_echo, 1, {VALUE_STRING}},
    {{"Add", 3}, call_add, 2, {VALUE_INT, VALUE_INT}},
    {{"Count", 5}, call_count, 0, {0}},
    {{"Print", 5}, call_print, 1, {VALUE_STRING}},
    {{"Ask", 3}, call_ask, 1, {VALUE_INT}},
    {{"AskNobody", 9}, call_ask_nobody, 1, {VALUE_INT}},
    {{"Spin", 4}, call_spin, 0, {0}},
    {{"ReadNull", 8}, call_read_null, 0, {0}},
    {{"TripleFault", 11}, call_triple_fault, 0, {0}},
    {{"Halt", 4}, call_halt, 0, {0}},
    {{"SetVector", 9}, call_set_vector, 1, {VALUE_ULONG}},
    {{"GetVector", 9}, call_get_vector, 0, {0}},
    {{"VectorAcrossHost", 16}, call_vector_across_host, 1, {VALUE_ULONG}},
    {{"Peek", 4}, call_peek, 1, {VALUE_ULONG}},
    {{"Poke", 4}, call_poke, 2, {VALUE_ULONG, VALUE_ULONG}},
    {{"In", 2}, call_in, 1, {VALUE_INT}},
    {{"ReadMsr", 7}, call_read_msr, 1, {VALUE_ULONG}},
    {{"WriteMsr", 8}, call_write_msr, 2, {VALUE_ULONG, VALUE_ULONG}},
};

static bool same_text(struct text one, struct text other)
{
    if (one.size != other.size) {
        return false;
    }
    for (uint32_t i = 0; i < one.size; i++) {
        if (one.bytes[i] != other.bytes[i]) {
            return false;
        }
    }
    return true;
}

static void run_function(const struct function *function, const struct call *call)
{
    if (call->count != function->count) {
        respond_error(ERROR_PARAMETER_COUNT, TEXT("wrong number of parameters"));
        return;
    }
    for (unsigned i = 0; i < call->count; i++) {
        if (call->parameters[i].type != function->types[i]) {
            respond_error(ERROR_PARAMETER_TYPE, TEXT("wrong type of a parameter"));
            return;
        }
    }
    function->run(call->parameters);
}

static void run_call(const struct call *call)
{
    for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++) {
        if (same_text(functions[i].name, call->name)) {
            run_function(&functions[i], call);
            return;
        }
    }
    respond_error(ERROR_FUNCTION_NOT_FOUND, TEXT("no such function"));
}

/* The entry of each call. */
void guest_dispatch(void)
{
    const struct message *message = transport_receive();
    if (message && message->kind == MESSAGE_CHECKPOINT) {
        transport_prepare();
    } else if (message && message->kind == MESSAGE_REQUEST) {
        struct call call = read_call(message);
        run_call(&call);
    }
}
