/*
 * A tour: a host application runs an untrusted Lua plugin in a micro VM. Calls in, host functions
 * out, a snapshot, a rewind, attacks contained, and what each of it cost here. `./dev run` shows
 * it.
 */
#include <hyperlight/hyperlight.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char plugin_source[] =
    "visits = 0\n"
    "function greet(name)\n"
    "  visits = visits + 1\n"
    "  return 'Hello ' .. name .. ', visit number ' .. visits\n"
    "end\n"
    "function price(item, count)\n"
    "  return host('price_of', item) * count\n"
    "end\n"
    "function fib(n) if n < 2 then return n end return fib(n-1) + fib(n-2) end\n"
    "function hang() while true do end end\n"
    "function hoard() local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end end\n"
    "function pry() return io.open('/etc/passwd') ~= nil end\n"
    "function escape() return os.execute('id') end\n";

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static _Noreturn void give_up(const char *what, const hl_error *err)
{
    fprintf(stderr, "tour: %s: %s (%s)\n", what, err->message, hl_status_name(err->status));
    exit(EXIT_FAILURE);
}

static void step(const char *text, uint64_t started_ns)
{
    double us = (double)(now_ns() - started_ns) / 1e3;
    if (us < 1000)
        printf("  %-66s %8.1f us\n", text, us);
    else
        printf("  %-66s %8.1f ms\n", text, us / 1e3);
}

static void show(const hl_value *value)
{
    switch (value->type) {
    case HL_TYPE_STRING:
        printf("      -> \"%s\"\n", value->as.string.data);
        break;
    case HL_TYPE_I64:
        printf("      -> %" PRId64 "\n", value->as.i64);
        break;
    case HL_TYPE_F64:
        printf("      -> %.2f\n", value->as.f64);
        break;
    case HL_TYPE_BOOL:
        printf("      -> %s\n", value->as.boolean ? "true" : "false");
        break;
    default:
        printf("      -> %s\n", hl_type_name(value->type));
    }
}

/* What the plugin may ask of its host: nothing but this. */
static hl_status price_of(hl_call *call, const hl_value *arguments, size_t count, hl_value *reply,
                          void *user)
{
    (void)count, (void)user;
    const char *item = arguments[0].as.string.data;
    if (strcmp(item, "apple") != 0)
        return hl_call_fail(call, "no price for '%s'", item);
    *reply = hl_value_f64(0.35);
    return HL_OK;
}

static void call(hl_sandbox *sandbox, const char *title, const hl_value *arguments, size_t count)
{
    hl_value reply = hl_value_null();
    hl_error err = HL_ERROR_INIT;
    uint64_t started = now_ns();
    if (hl_sandbox_call(sandbox, "call", arguments, count, &reply, &err))
        give_up(title, &err);
    step(title, started);
    show(&reply);
    hl_value_free(&reply);
}

/* An attack must fail with a certain status; then the sandbox is thrown back and works again. */
static void attack(hl_sandbox *sandbox, const hl_snapshot *snapshot, const char *title,
                   const char *function, hl_status expected)
{
    hl_error err = HL_ERROR_INIT;
    const hl_value arguments[] = {hl_value_string(function)};
    uint64_t started = now_ns();
    hl_status status = hl_sandbox_call(sandbox, "call", arguments, 1, NULL, &err);
    if (status != expected)
        give_up(title, &err);
    step(title, started);
    printf("      -> %s: %.90s\n", hl_status_name(status), err.message);
    started = now_ns();
    if (hl_sandbox_restore(sandbox, snapshot, &err))
        give_up("restore", &err);
    step("  and back to the snapshot", started);
}

static hl_host_functions *make_host_functions(void)
{
    static const hl_type parameters[] = {HL_TYPE_STRING};
    const hl_signature signature = {parameters, 1, HL_TYPE_F64};
    hl_host_functions *functions;
    hl_error err = HL_ERROR_INIT;
    if (hl_host_functions_new(&functions, &err) ||
        hl_host_functions_add(functions, "price_of", &signature, price_of, NULL, NULL, &err))
        give_up("host functions", &err);
    return functions;
}

static hl_sandbox *start(const char *path, hl_host_functions *functions)
{
    const hl_sandbox_options options = {
        .size = sizeof options, .memory_size = 16 << 20, .host_functions = functions};
    hl_program *program;
    hl_sandbox *sandbox;
    hl_error err = HL_ERROR_INIT;
    uint64_t started = now_ns();
    if (hl_program_open(path, NULL, &program, &err))
        give_up("program", &err);
    if (hl_sandbox_new(program, &options, &sandbox, &err))
        give_up("sandbox", &err);
    step("a sandbox with Lua 5.4 started from its ELF file", started);
    hl_program_free(program);
    const hl_value source = hl_value_string(plugin_source);
    started = now_ns();
    if (hl_sandbox_call(sandbox, "load", &source, 1, NULL, &err))
        give_up("load", &err);
    step("the plugin's source loaded", started);
    return sandbox;
}

/* A second sandbox, with a deadline of its own, that the plugin then hangs. */
static void hang_a_clone(const hl_snapshot *snapshot, hl_host_functions *functions)
{
    const hl_sandbox_options hasty = {
        .size = sizeof hasty, .timeout_ns = 200000000, .host_functions = functions};
    hl_sandbox *sandbox;
    hl_error err = HL_ERROR_INIT;
    uint64_t started = now_ns();
    if (hl_sandbox_from_snapshot(snapshot, &hasty, &sandbox, &err))
        give_up("clone", &err);
    step("a second sandbox made from the snapshot, its calls limited to 200 ms", started);
    call(sandbox, "its first call: greet('Grace')",
         (hl_value[]){hl_value_string("greet"), hl_value_string("Grace")}, 2);
    attack(sandbox, snapshot, "it loops for ever: hang()", "hang", HL_TIMED_OUT);
    started = now_ns();
    hl_sandbox_free(sandbox);
    step("the second sandbox destroyed", started);
}

static void show_machine(void)
{
    hl_driver_info info = {.size = sizeof info};
    hl_error err = HL_ERROR_INIT;
    if (hl_driver_probe(hl_driver_name(0), &info, &err) == HL_OK)
        printf("libhyperlight %s on %s: %s\n\n", hl_version(), info.name, info.detail);
}

static void show_counts(const hl_sandbox *sandbox)
{
    hl_stats stats = {.size = sizeof stats};
    if (hl_sandbox_stats(sandbox, &stats, NULL) == HL_OK)
        printf("\n%" PRIu64 " calls and %" PRIu64 " host calls took %" PRIu64
               " entries into the VM; %" PRIu64 " restores copied %" PRIu64 " pages; %" PRIu64
               " KiB of guest memory in use.\n",
               stats.calls, stats.host_calls, stats.entries, stats.restores, stats.pages_restored,
               stats.memory_mapped / 1024);
}

/* Path of a file in the folder of a program. */
static void beside(char *out, size_t capacity, const char *program, const char *name)
{
    const char *slash = strrchr(program, '/');
    int folder = slash ? (int)(slash - program) + 1 : 0;
    snprintf(out, capacity, "%.*s%s", folder, program, name);
}

int main(int argc, char **argv)
{
    hl_error err = HL_ERROR_INIT;
    hl_snapshot *snapshot;
    char plugin[4096];
    if (argc > 2) {
        fprintf(stderr, "usage: tour [PLUGIN]\nPLUGIN is the guest; by default the program "
                        "`plugin` beside this one.\n");
        return EXIT_FAILURE;
    }
    beside(plugin, sizeof plugin, argv[0], "plugin");
    show_machine();
    hl_host_functions *functions = make_host_functions();
    hl_sandbox *sandbox = start(argc == 2 ? argv[1] : plugin, functions);
    uint64_t started = now_ns();
    if (hl_sandbox_snapshot(sandbox, &snapshot, &err))
        give_up("snapshot", &err);
    step("a snapshot taken", started);
    call(sandbox, "a call into the plugin: greet('Ada')",
         (hl_value[]){hl_value_string("greet"), hl_value_string("Ada")}, 2);
    call(sandbox, "once more, warm: greet('Ada')",
         (hl_value[]){hl_value_string("greet"), hl_value_string("Ada")}, 2);
    call(sandbox, "a call that calls the host: price('apple', 12)",
         (hl_value[]){hl_value_string("price"), hl_value_string("apple"), hl_value_i32(12)}, 3);
    call(sandbox, "work at native speed: fib(24)",
         (hl_value[]){hl_value_string("fib"), hl_value_i32(24)}, 2);
    started = now_ns();
    if (hl_sandbox_restore(sandbox, snapshot, &err))
        give_up("restore", &err);
    step("back to the snapshot", started);
    call(sandbox, "which has forgotten the visits: greet('Ada')",
         (hl_value[]){hl_value_string("greet"), hl_value_string("Ada")}, 2);
    printf("\n  Now the plugin turns on its host.\n");
    hang_a_clone(snapshot, functions);
    attack(sandbox, snapshot, "it eats memory: hoard(), with 16 MiB", "hoard", HL_GUEST_ERROR);
    call(sandbox, "it looks for the host's files: pry()", (hl_value[]){hl_value_string("pry")}, 1);
    call(sandbox, "it runs a program: escape()", (hl_value[]){hl_value_string("escape")}, 1);
    show_counts(sandbox);
    hl_sandbox_free(sandbox);
    hl_snapshot_free(snapshot);
    hl_host_functions_free(functions);
    return EXIT_SUCCESS;
}
