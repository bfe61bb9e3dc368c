/* Facts about the machine, from Windows and from the processor itself. */
#include "machine.h"

#include <cpuid.h>
#include <stdio.h>
#include <string.h>

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

const struct foreign_driver machine_foreign_drivers[] = {
    {"kvm", "Linux"}, {"mshv", "Linux"}, {NULL, NULL}};

static void examine_processor(struct machine *machine)
{
    unsigned a, b, c, d, words[12] = {0};
    if (__get_cpuid(1, &a, &b, &c, &d)) {
        machine->has_vmx = c >> 5 & 1;
        machine->is_virtual = c >> 31 & 1;
    }
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        machine->has_fsgsbase = b & 1;
        machine->has_smep = b >> 7 & 1;
        machine->has_smap = b >> 20 & 1;
        machine->has_umip = c >> 2 & 1;
    }
    if (__get_cpuid(0x80000001, &a, &b, &c, &d))
        machine->has_svm = c >> 2 & 1;
    for (unsigned i = 0; i < 3; i++)
        (void)__get_cpuid(0x80000002 + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2],
                          &words[4 * i + 3]);
    snprintf(machine->processor, sizeof machine->processor, "%.48s", (const char *)words);
}

static void examine_system(struct machine *machine)
{
    typedef LONG(WINAPI * get_version)(OSVERSIONINFOW *);
    OSVERSIONINFOW version = {.dwOSVersionInfoSize = sizeof version};
    get_version ask =
        (get_version)(void *)GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "RtlGetVersion");
    if (ask)
        ask(&version);
    snprintf(machine->system, sizeof machine->system, "Windows");
    snprintf(machine->release, sizeof machine->release, "%lu.%lu.%lu", version.dwMajorVersion,
             version.dwMinorVersion, version.dwBuildNumber);
    snprintf(machine->architecture, sizeof machine->architecture, "x86_64");
}

void machine_examine(struct machine *machine)
{
    MEMORYSTATUSEX memory = {.dwLength = sizeof memory};
    memset(machine, 0, sizeof *machine);
    examine_system(machine);
    examine_processor(machine);
    if (GlobalMemoryStatusEx(&memory)) {
        machine->memory_total = memory.ullTotalPhys;
        machine->memory_available = memory.ullAvailPhys;
    }
}
