/* The registry of drivers, and what it says where the hypervisor is missing, denied or too old. */
#include "doubles/fake_driver.h"
#include "driver/override.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOBODY 65534
/* Numbers of <linux/kvm.h>, which belongs to the driver alone. */
#define KVM_CHECK_EXTENSION_NUMBER 0xae03
#define KVM_CAP_SYNC_REGS_NUMBER 74

static void test_list(void **state)
{
    (void)state;
    size_t count = hl_driver_count();
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++)
        assert_ptr_equal(hl_driver_name(i), hl__drivers[i]->name);
    assert_null(hl_driver_name(count));
    assert_null(hl_driver_name(SIZE_MAX));
    assert_null(hl__drivers[count]);
}

/* Machines without a usable hypervisor, each in a child that has not probed yet. */

static void hide_device(void)
{
    char folder[] = "/tmp/hl_test_XXXXXX";
    if (!mkdtemp(folder) || chdir(folder) != 0 || rmdir(folder) != 0 || chroot(".") != 0)
        _exit(77);
}

static void deny_device(void)
{
    if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0 || access("/dev/kvm", R_OK | W_OK) == 0)
        _exit(77);
}

/* As a kernel without KVM_CAP_SYNC_REGS. */
static void age_kernel(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KVM_CHECK_EXTENSION_NUMBER, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KVM_CAP_SYNC_REGS_NUMBER, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    if (access("/dev/kvm", R_OK | W_OK) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(77);
}

/* In the child: 0 if the probe and the search both say `expected`, in words that contain `hint`. */
static int probe_says(hl_status expected, const char *hint)
{
    hl_driver_info info = {.size = sizeof info};
    hl_error err = HL_ERROR_INIT;
    const hl__driver *driver = NULL;
    if (hl_driver_probe("kvm", &info, &err) != HL_OK || info.status != expected)
        return 1;
    if (!strstr(info.detail, hint) || info.capabilities || info.tsc_khz)
        return 2;
    if (hl__driver_find(NULL, &driver, NULL, NULL, &err) != expected || driver)
        return 3;
    if (err.status != expected || strcmp(err.message, info.detail) != 0)
        return 4;
    return 0;
}

static void expect_in_child(void (*prepare)(void), hl_status expected, const char *hint)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        prepare();
        _exit(probe_says(expected, hint));
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_missing(void **state)
{
    (void)state;
    expect_in_child(hide_device, HL_NO_HYPERVISOR, "kvm_intel");
}

static void test_denied(void **state)
{
    (void)state;
    expect_in_child(deny_device, HL_HYPERVISOR_DENIED, "usermod -aG kvm");
}

static void test_too_old(void **state)
{
    (void)state;
    expect_in_child(age_kernel, HL_HYPERVISOR_TOO_OLD, "no KVM_CAP_SYNC_REGS; Linux 4.17");
}

/* This machine, whatever it is */

static void test_probe(void **state)
{
    (void)state;
    hl_driver_info info = {.size = sizeof info}, again = {.size = sizeof again};
    hl_error err = HL_ERROR_INIT;
    assert_int_equal(hl_driver_probe("kvm", &info, &err), HL_OK);
    assert_string_equal(info.name, "kvm");
    assert_true(strlen(info.detail) > 10);
    assert_int_equal(info.size, sizeof info);
    if (info.status == HL_OK) {
        assert_int_not_equal(info.virtualization, HL_VIRTUALIZATION_UNKNOWN);
        assert_true(info.tsc_khz > 1000);
        assert_true(info.memory_slots_max > 8 && info.vcpus_max > 0);
    } else {
        assert_true(info.status == HL_NO_HYPERVISOR || info.status == HL_HYPERVISOR_DENIED ||
                    info.status == HL_HYPERVISOR_TOO_OLD);
    }
    assert_int_equal(hl_driver_probe("kvm", &again, &err), HL_OK);
    assert_memory_equal(&info, &again, sizeof info);
    assert_int_equal(err.status, HL_OK); /* success leaves it alone */
}

static void test_probe_sizes(void **state)
{
    (void)state;
    hl_error err = HL_ERROR_INIT;
    hl_driver_info info = {.size = 0};
    assert_int_equal(hl_driver_probe("kvm", &info, &err), HL_INVALID_ARGUMENT);
    info.size = sizeof info + 8;
    assert_int_equal(hl_driver_probe("kvm", &info, &err), HL_INVALID_ARGUMENT);

    /* A caller compiled against a shorter structure. */
    memset(&info, 0x5a, sizeof info);
    info.size = offsetof(hl_driver_info, api_version);
    assert_int_equal(hl_driver_probe("kvm", &info, &err), HL_OK);
    assert_string_equal(info.name, "kvm");
    assert_int_equal(info.size, offsetof(hl_driver_info, api_version));
    assert_int_equal(info.api_version, 0x5a5a5a5a);
}

static void test_unknown_names(void **state)
{
    (void)state;
    hl_error err = HL_ERROR_INIT;
    hl_driver_info info = {.size = sizeof info};
    const hl__driver *driver = NULL;
    assert_int_equal(hl_driver_probe("no\nsuch", &info, &err), HL_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "no\\x0asuch"));
    assert_non_null(strstr(err.message, "kvm"));
    assert_int_equal(hl_driver_probe(NULL, &info, &err), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_driver_probe("kvm", NULL, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl__driver_find("nope", &driver, NULL, NULL, &err), HL_INVALID_ARGUMENT);
    assert_null(driver);
    assert_int_equal(hl_driver_selftest("nope", NULL, NULL, &err), HL_INVALID_ARGUMENT);
}

static void test_override(void **state)
{
    (void)state;
    hl_error err = HL_ERROR_INIT;
    hl_driver_info fake_info, info = {.size = sizeof info};
    struct hl__machine fake_machine, machine;
    const hl__driver *driver = NULL;
    fake_driver_describe(false, &fake_info, &fake_machine);
    hl__driver_override(&fake_driver, &fake_info, &fake_machine);

    assert_int_equal(hl__driver_find(NULL, &driver, &info, &machine, &err), HL_OK);
    assert_ptr_equal(driver, &fake_driver);
    assert_false(machine.syscall_stays);
    assert_int_equal(machine.cr4_wanted, fake_machine.cr4_wanted);
    assert_int_equal(hl__driver_find("fake", &driver, NULL, NULL, &err), HL_OK);
    assert_int_equal(hl_driver_probe("fake", &info, &err), HL_OK);
    assert_string_equal(info.name, "fake");

    fake_info.status = HL_HYPERVISOR_TOO_OLD;
    hl__driver_override(&fake_driver, &fake_info, &fake_machine);
    assert_int_equal(hl__driver_find(NULL, &driver, NULL, NULL, &err), HL_HYPERVISOR_TOO_OLD);
    assert_string_equal(err.message, fake_info.detail);

    hl__driver_override(NULL, NULL, NULL);
    assert_int_equal(hl__driver_find("fake", &driver, NULL, NULL, &err), HL_INVALID_ARGUMENT);
}

/* The fake driver itself: a script that writes memory, seen through the table. */

static struct hl__exit write_and_ring(void *user, struct fake_vcpu *vcpu)
{
    const uint32_t *value = user;
    bool written = fake_write(vcpu->vm, 0x3000, value, sizeof *value);
    vcpu->state.general.rax = vcpu->entries;
    return (struct hl__exit){.kind = HL__EXIT_DOORBELL, .port = 1, .value = written ? *value : 0};
}

static void test_fake_driver(void **state)
{
    (void)state;
    _Alignas(4096) static uint8_t memory[4][4096];
    uint64_t counter = 0, bitmap[2] = {~0ull, ~0ull};
    uint32_t value = 0xcafe;
    const struct hl__vcpu_setup setup = {.lstar = 1};
    struct hl__cpu_state registers;
    struct hl__exit exit;
    void *vm = calloc(1, fake_driver.vm_size), *vcpu = calloc(1, fake_driver.vcpu_size);

    assert_int_equal(fake_driver.vm_create(vm, 1, &counter, NULL), HL_OK);
    assert_int_equal(fake_driver.memory_add(vm, 0, (hl__gpa){0x1000}, memory, sizeof memory,
                                            HL__MEMORY_TRACKED, NULL),
                     HL_OK);
    assert_int_equal(fake_driver.memory_add(vm, 1, (hl__gpa){0x4000}, memory, 4096, 0, NULL),
                     HL_SYSTEM);
    assert_int_equal(fake_driver.vcpu_create(vm, vcpu, 0, &setup, NULL), HL_OK);
    fake_driver_play(write_and_ring, &value);
    assert_int_equal(fake_driver.run(vcpu, &exit, NULL), HL_OK);
    assert_int_equal(exit.value, value);
    assert_memory_equal(memory[2], &value, sizeof value);
    assert_int_equal(fake_driver.state_get(vcpu, HL__STATE_GENERAL, &registers, NULL), HL_OK);
    assert_int_equal(registers.general.rax, 1);

    assert_int_equal(fake_driver.dirty_collect(vm, 0, bitmap, 2, NULL), HL_OK);
    assert_true(bitmap[0] == 4 && bitmap[1] == 0);
    assert_int_equal(fake_driver.dirty_rearm(vm, 0, bitmap, 2, NULL), HL_OK);
    assert_int_equal(fake_driver.dirty_collect(vm, 0, bitmap, 2, NULL), HL_OK);
    assert_int_equal(bitmap[0], 0);

    fake_driver.kick(vcpu);
    assert_int_equal(fake_driver.run(vcpu, &exit, NULL), HL_OK);
    assert_int_equal(exit.kind, HL__EXIT_INTERRUPTED);
    fake_driver_play(NULL, NULL);
    fake_driver.vcpu_destroy(vcpu);
    fake_driver.vm_destroy(vm);
    assert_int_equal(fake_driver_vms() + fake_driver_vcpus(), 0);
    free(vcpu);
    free(vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        /* Before anything probes in this process. */
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_denied),
        cmocka_unit_test(test_too_old),
        cmocka_unit_test(test_probe),
        cmocka_unit_test(test_probe_sizes),
        cmocka_unit_test(test_unknown_names),
        cmocka_unit_test(test_override),
        cmocka_unit_test(test_fake_driver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
