/*
 * Every status of the API's list is provoked once.
 * test-labels: bed
 */
#include "driver/override.h"
#include "fixture.h"
#include "linux_numbers.h"
#include "system.h"
#include <elf.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool seen[256];

static void note(hl_status status)
{
    seen[status] = true;
}

/* A call that must come to a status, in a sandbox of its own. */
static void expect_call(hl_status status, const hl_sandbox_options *options, const char *function,
                        const hl_value *arguments, size_t count)
{
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", options);
    fixture_expect(status, sandbox, function, arguments, count);
    note(status);
    hl_sandbox_free(sandbox);
}

static void calls_that_do_not_fit(void **state)
{
    (void)state;
    static char large[2000];
    const hl_sandbox_options small = FIXTURE_OPTIONS(.request_size_max = 1000);
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", NULL);
    assert_status(HL_INVALID_ARGUMENT,
                  hl_sandbox_call(sandbox, NULL, NO_ARGUMENTS, NULL, &fixture_error));
    note(HL_INVALID_ARGUMENT);
    hl_sandbox_free(sandbox);
    expect_call(HL_OK, NULL, "echo", ARGUMENTS(hl_value_null()));
    expect_call(HL_INVALID_VALUE, NULL, "echo", ARGUMENTS(hl_value_string("\xff\xfe")));
    expect_call(HL_UNKNOWN_FUNCTION, NULL, "no such function", NO_ARGUMENTS);
    assert_non_null(strstr(fixture_error.message, "no such function"));
    expect_call(HL_SIGNATURE_MISMATCH, NULL, "typed", ARGUMENTS(hl_value_bool(true)));
    assert_non_null(strstr(fixture_error.message, "typed(string, i32)"));
    expect_call(HL_REQUEST_TOO_LARGE, &small, "echo",
                ARGUMENTS(hl_value_bytes(large, sizeof large)));
    assert_non_null(strstr(fixture_error.message, "request_size_max"));
}

static void finished_program(void **state)
{
    (void)state;
    int code = -1;
    hl_sandbox *sandbox;
    hl_program *program = fixture_program("plugin.musl", "exit");
    assert_status(HL_OK, hl_sandbox_new_stopped(program, NULL, &sandbox, &fixture_error));
    assert_status(HL_OK, hl_sandbox_run(sandbox, &code, &fixture_error));
    assert_int_equal(code, 3);
    assert_int_equal(hl_sandbox_status(sandbox), HL_SANDBOX_FINISHED);
    assert_status(HL_NOT_SERVING,
                  hl_sandbox_call(sandbox, "echo", NO_ARGUMENTS, NULL, &fixture_error));
    note(HL_NOT_SERVING);
    hl_sandbox_free(sandbox);
    assert_status(HL_GUEST_EXITED, hl_sandbox_new(program, NULL, &sandbox, &fixture_error));
    assert_int_equal(fixture_error.exit_code, 3);
    hl_program_free(program);
}

static hl_status call_again(hl_call *call, const hl_value *arguments, size_t count, hl_value *reply,
                            void *user)
{
    (void)call, (void)arguments, (void)count;
    *reply = hl_value_i32(
        hl_sandbox_call(*(hl_sandbox **)user, "echo", NO_ARGUMENTS, NULL, &fixture_error));
    hl_sandbox_free(*(hl_sandbox **)user);
    return HL_OK;
}

static void reentry(void **state)
{
    (void)state;
    hl_sandbox *sandbox = NULL;
    hl_host_functions *functions;
    assert_status(HL_OK, hl_host_functions_new(&functions, &fixture_error));
    assert_status(HL_OK, hl_host_functions_add(functions, "again", NULL, call_again, &sandbox, NULL,
                                               &fixture_error));
    const hl_sandbox_options options = FIXTURE_OPTIONS(.host_functions = functions);
    sandbox = fixture_sandbox("plugin.musl", &options);
    hl_value reply = fixture_call(sandbox, "call_host", ARGUMENTS(hl_value_string("again")));
    assert_int_equal(reply.as.i32, HL_BUSY);
    note(HL_BUSY);
    fixture_honest_call(sandbox);
    hl_sandbox_free(sandbox);
    hl_host_functions_free(functions);
}

static void limits(void **state)
{
    (void)state;
    static char text[256];
    memset(text, 'x', sizeof text);
    const hl_sandbox_options hasty = FIXTURE_OPTIONS(.timeout_ns = 20000000);
    const hl_sandbox_options frugal = FIXTURE_OPTIONS(.cpu_time_ns = 100000000);
    const hl_sandbox_options quiet = FIXTURE_OPTIONS(.output_size_max = 1000);
    const hl_sandbox_options curt = FIXTURE_OPTIONS(.reply_size_max = 1000);
    const hl_sandbox_options lonely = FIXTURE_OPTIONS(.host_calls_max = 2);
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", &hasty);
    fixture_expect(HL_TIMED_OUT, sandbox, "spin", NO_ARGUMENTS);
    note(HL_TIMED_OUT);
    assert_status(HL_POISONED,
                  hl_sandbox_call(sandbox, "echo", NO_ARGUMENTS, NULL, &fixture_error));
    note(HL_POISONED);
    hl_sandbox_free(sandbox);
    expect_call(HL_CPU_LIMIT, &frugal, "spin", NO_ARGUMENTS);
    expect_call(
        HL_OUTPUT_LIMIT, &quiet, "print",
        ARGUMENTS(hl_value_i32(1), hl_value_string_n(text, sizeof text), hl_value_i32(100)));
    expect_call(HL_REPLY_TOO_LARGE, &curt, "bytes", ARGUMENTS(hl_value_u64(5000)));
    expect_call(HL_HOST_CALL_LIMIT, &lonely, "call_host_often",
                ARGUMENTS(hl_value_string("x"), hl_value_i32(3)));
    expect_call(HL_MEMORY_LIMIT, NULL, "overcommit", ARGUMENTS(hl_value_u64(UINT64_C(256) << 20)));
}

static void *interrupt_later(void *handle)
{
    while (hl_sandbox_interrupt(handle) != HL_OK)
        usleep(2000);
    return NULL;
}

static void interruption(void **state)
{
    (void)state;
    pthread_t thread;
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", NULL);
    hl_interrupt_handle *handle = hl_sandbox_interrupt_handle(sandbox);
    assert_int_equal(pthread_create(&thread, NULL, interrupt_later, handle), 0);
    fixture_expect(HL_INTERRUPTED, sandbox, "spin", NO_ARGUMENTS);
    note(HL_INTERRUPTED);
    pthread_join(thread, NULL);
    hl_sandbox_free(sandbox);
    assert_int_equal(hl_sandbox_interrupt(handle), HL_INVALID_ARGUMENT);
    hl_interrupt_handle_free(handle);
}

static void guests_that_misbehave(void **state)
{
    (void)state;
    expect_call(HL_GUEST_ERROR, NULL, "fail", ARGUMENTS(hl_value_string("it\nhurts")));
    assert_string_equal(fixture_error.message, "it\\x0ahurts");
    expect_call(HL_GUEST_EXITED, NULL, "leave", ARGUMENTS(hl_value_i32(42)));
    assert_int_equal(fixture_error.exit_code, 42);
    expect_call(HL_GUEST_FAULT, NULL, "touch", ARGUMENTS(hl_value_u64(0x1234), hl_value_i32(0)));
    assert_int_equal(fixture_error.fault_vector, 14);
    assert_int_equal(fixture_error.fault_address, 0x1234);
    assert_int_equal(fixture_error.signal, LINUX_SIGSEGV);
    expect_call(HL_GUEST_ABORTED, NULL, "abort", NO_ARGUMENTS);
    assert_int_equal(fixture_error.signal, LINUX_SIGABRT);
    expect_call(HL_GUEST_BAD_REPLY, NULL, "raw_rest",
                ARGUMENTS(hl_value_i32(1), hl_value_u64(0x1000), hl_value_u64(16)));
    expect_call(HL_GUEST_BAD_REPLY, NULL, "lie", NO_ARGUMENTS);
    assert_non_null(
        strstr(fixture_error.message, "'lie' returned string where its signature promises i32"));
    expect_call(HL_GUEST_VIOLATION, NULL, "raw_out", ARGUMENTS(hl_value_u32(12345)));
}

/* A minimal ELF header that the test then breaks. */
static Elf64_Ehdr elf_header(void)
{
    Elf64_Ehdr header = {.e_type = ET_EXEC,
                         .e_machine = EM_X86_64,
                         .e_version = EV_CURRENT,
                         .e_ehsize = sizeof header,
                         .e_phentsize = sizeof(Elf64_Phdr),
                         .e_phoff = sizeof header,
                         .e_phnum = 1,
                         .e_entry = 0x400000};
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    return header;
}

static void expect_refused(hl_status status, const void *data, size_t size)
{
    hl_program *program;
    hl_sandbox *sandbox;
    assert_status(HL_OK, hl_program_from_memory(data, size, NULL, &program, &fixture_error));
    assert_status(status, hl_sandbox_new(program, NULL, &sandbox, &fixture_error));
    note(status);
    hl_program_free(program);
}

static void programs_that_are_no_good(void **state)
{
    (void)state;
    hl_program *program;
    hl_sandbox *sandbox;
    struct {
        Elf64_Ehdr header;
        Elf64_Phdr segment;
        char content[16];
    } image = {.header = elf_header(),
               .segment = {.p_type = PT_LOAD,
                           .p_flags = PF_R | PF_X,
                           .p_vaddr = 0x400000,
                           .p_memsz = 4096,
                           .p_align = 4096}};
    image.segment.p_filesz = sizeof image;
    assert_status(HL_PROGRAM_UNREADABLE,
                  hl_program_open("/nonexistent/plugin", NULL, &program, &fixture_error));
    assert_non_null(strstr(fixture_error.message, "/nonexistent/plugin"));
    note(HL_PROGRAM_UNREADABLE);
    expect_refused(HL_PROGRAM_INVALID, "#!/bin/sh\necho no\n", 18);
    image.header.e_machine = EM_AARCH64;
    expect_refused(HL_PROGRAM_WRONG_MACHINE, &image, sizeof image);
    image.header.e_machine = EM_X86_64;
    image.segment.p_memsz = UINT64_C(1) << 40;
    image.segment.p_flags = PF_R | PF_W | PF_X;
    expect_refused(HL_PROGRAM_TOO_LARGE, &image, sizeof image);
    program = NULL;
    assert_status(HL_OK, hl_program_open("/bin/true", NULL, &program, &fixture_error));
    assert_status(HL_PROGRAM_NEEDS_INTERPRETER,
                  hl_sandbox_new(program, NULL, &sandbox, &fixture_error));
    assert_non_null(strstr(fixture_error.message, "ld-linux-x86-64.so.2"));
    note(HL_PROGRAM_NEEDS_INTERPRETER);
    hl_program_free(program);
}

static void expect_image(hl_status status, const char *path)
{
    hl_image *image;
    assert_status(status, hl_image_map(NULL, path, NULL, &image, &fixture_error));
    note(status);
}

static void images_that_are_no_good(void **state)
{
    char path[] = "/tmp/hl-status-XXXXXX";
    int file = mkstemp(path);
    (void)state;
    assert_true(file >= 0);
    close(file); /* on Windows nobody may have an image open for writing */
    expect_image(HL_IMAGE_UNREADABLE, "/nonexistent");
    expect_image(HL_IMAGE_INVALID, path);
    system_resize(path, HL_IMAGE_FILE_SIZE_MAX + 4096);
    expect_image(HL_IMAGE_TOO_LARGE, path);
    unlink(path);
}

static void foreign_snapshot(void **state)
{
    (void)state;
    hl_snapshot *snapshot;
    hl_sandbox *one = fixture_sandbox("plugin.musl", NULL),
               *other = fixture_sandbox("plugin.glibc", NULL);
    assert_status(HL_OK, hl_sandbox_snapshot(one, &snapshot, &fixture_error));
    assert_status(HL_INCOMPATIBLE_SNAPSHOT, hl_sandbox_restore(other, snapshot, &fixture_error));
    note(HL_INCOMPATIBLE_SNAPSHOT);
    fixture_honest_call(other);
    hl_sandbox_free(one);
    hl_sandbox_free(other);
    hl_snapshot_free(snapshot);
}

static hl_status no_vm(void *vm, uint32_t vcpu_count, uint64_t *counter, hl_error *err)
{
    (void)vm, (void)vcpu_count, (void)counter;
    if (err)
        *err = (hl_error){.status = HL_SYSTEM, .message = "refused for a test"};
    return HL_SYSTEM;
}

/* What a caller gets of a driver: the context, or else the sandbox, fails. */
static hl_status start_with(const hl__driver *driver, const hl_driver_info *info,
                            const struct hl__machine *machine)
{
    hl_context *context = NULL;
    hl_program *program = NULL;
    hl_sandbox *sandbox = NULL;
    hl__driver_override(driver, info, machine);
    hl_status status = hl_context_new(NULL, &context, &fixture_error);
    const hl_program_options options = {.size = sizeof options, .context = context};
    if (!status)
        status = hl_program_open(HL_TEST_GUESTS "/plugin.musl", &options, &program, &fixture_error);
    if (!status)
        status = hl_sandbox_new(program, NULL, &sandbox, &fixture_error);
    hl_sandbox_free(sandbox);
    hl_program_free(program);
    hl_context_free(context);
    hl__driver_override(NULL, NULL, NULL);
    return status;
}

/* Whole machines that lack something: what the probe says is what the caller gets. */
static void machines_that_lack_something(void **state)
{
    static const hl_status wanted[] = {HL_NO_HYPERVISOR, HL_HYPERVISOR_DENIED,
                                       HL_HYPERVISOR_TOO_OLD, HL_SYSTEM};
    const hl__driver *real;
    hl_driver_info info = {.size = sizeof info};
    struct hl__machine machine;
    (void)state;
    assert_status(HL_OK, hl__driver_find(NULL, &real, &info, &machine, &fixture_error));
    hl__driver broken = *real;
    broken.vm_create = no_vm;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        info.status = wanted[i] == HL_SYSTEM ? HL_OK : wanted[i];
        assert_status(wanted[i], start_with(&broken, &info, &machine));
        note(wanted[i]);
    }
}

static void needs_of_the_system(void **state)
{
    (void)state;
    system_statuses(note);
}

static void all_seen(void **state)
{
    (void)state;
    /* Only libhyperlight-image gives these. */
    seen[HL_IMAGE_TOO_MANY_FILES] = seen[HL_IMAGE_TOO_DEEP] = true;
#define CHECK(name, number, poisons, meaning)                                                      \
    if (!seen[number])                                                                             \
        fail_msg("no test provokes HL_%s", #name);
    HL_STATUS_LIST(CHECK)
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(machines_that_lack_something),
        cmocka_unit_test(needs_of_the_system),
        cmocka_unit_test(calls_that_do_not_fit),
        cmocka_unit_test(finished_program),
        cmocka_unit_test(reentry),
        cmocka_unit_test(limits),
        cmocka_unit_test(interruption),
        cmocka_unit_test(guests_that_misbehave),
        cmocka_unit_test(programs_that_are_no_good),
        cmocka_unit_test(images_that_are_no_good),
        cmocka_unit_test(foreign_snapshot),
        cmocka_unit_test(all_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
