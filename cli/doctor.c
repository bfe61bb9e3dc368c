/* `hyperlight doctor`: what this machine can do, in words that a user can act on. */
#include "cli.h"
#include "machine.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

/* Drivers that the tool has room to report on; the library has three at most. */
#define DRIVERS_MAX 8

/* Fewer descriptors than this are soon used up by sandboxes. */
#define FILES_COMFORTABLE 1024

struct findings {
    struct machine machine;
    hl_driver_info drivers[DRIVERS_MAX];
    size_t driver_count;
    bool usable; /* At least one driver works. */
};

static const struct {
    uint64_t bit;
    const char *name;
    const char *meaning;
} capabilities[] = {
    {HL_CAPABILITY_DIRTY_LOG, "dirty-log", "dirtied pages are found out"},
    {HL_CAPABILITY_DIRTY_REARM, "dirty-rearm", "single pages are watched anew (hot set)"},
    {HL_CAPABILITY_SYNC_REGISTERS, "sync-registers", "registers move with an entry"},
    {HL_CAPABILITY_READONLY_MEMORY, "readonly-memory", "read-only shared memory"},
    {HL_CAPABILITY_IMMEDIATE_EXIT, "immediate-exit", "deadlines that cannot be missed"},
    {HL_CAPABILITY_SMAP, "smap", "SMAP is on in guests"},
    {HL_CAPABILITY_UMIP, "umip", "UMIP is on in guests"},
};

#define CAPABILITY_COUNT (sizeof capabilities / sizeof *capabilities)

static const struct option doctor_options[] = {
    {"json", no_argument, NULL, OPTION_JSON}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};

static int print_help(void)
{
    printf("Usage: hyperlight doctor [--json]\n"
           "\n"
           "Says which hypervisors can be used here, what they can do, and what to change where\n"
           "something is missing.\n"
           "\n"
           "      --json  print it for programs\n"
           "  -h, --help  print this help\n"
           "\n"
           "Exit status: 0 if programs can run here, 1 if not.\n");
    return report_finish(STATUS_OK, STATUS_USAGE);
}

static void examine(struct findings *findings)
{
    machine_examine(&findings->machine);
    for (size_t i = 0; i < hl_driver_count() && i < DRIVERS_MAX; i++) {
        hl_error err = HL_ERROR_INIT;
        hl_driver_info *info = &findings->drivers[findings->driver_count++];
        *info = (hl_driver_info){.size = sizeof *info};
        hl_status status = hl_driver_probe(hl_driver_name(i), info, &err);
        if (status != HL_OK) {
            info->status = status;
            snprintf(info->detail, sizeof info->detail, "%.255s", err.message);
        }
        info->name = hl_driver_name(i);
        findings->usable |= info->status == HL_OK;
    }
}

/* One line: "ok", "no" or "--" for what is just so, a subject, a text. */
static void HL_PRINTF(3, 4)
    print_finding(const char *mark, const char *subject, const char *format, ...)
{
    char text[512], escaped[4 * sizeof text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    report_escape(escaped, sizeof escaped, text);
    printf("  %-3s %-15s %s\n", mark, subject, escaped);
}

static const char *virtualization_text(const hl_driver_info *info, const struct machine *machine)
{
    switch (info->virtualization) {
    case HL_VIRTUALIZATION_HARDWARE:
        return machine->has_svm   ? "hardware virtualization (SVM)"
               : machine->has_vmx ? "hardware virtualization (VT-x)"
                                  : "hardware virtualization (VT-x or SVM)";
    case HL_VIRTUALIZATION_PAGE_TABLE:
        return "page-table-based virtualization (PVM), which needs no VT-x or SVM";
    default:
        return "unknown kind of virtualization";
    }
}

/* Under Hyper-V its own systems look like virtual machines, too. */
static const char *nesting_text(const hl_driver_info *info, const struct machine *machine)
{
    if (strcmp(info->name, "kvm") != 0)
        return "";
    return machine->is_virtual ? ", nested in a virtual machine" : ", not nested";
}

static void print_driver(const hl_driver_info *info, const struct machine *machine)
{
    bool usable = info->status == HL_OK;
    print_finding(usable ? "ok" : "no", info->name, "%s", info->detail);
    if (!usable)
        return;
    print_finding("", "", "%s%s", virtualization_text(info, machine), nesting_text(info, machine));
    print_finding("", "", "system calls arrive in %s mode",
                  info->syscall_stays_in_user_mode ? "user" : "supervisor");
    print_finding("", "", "up to %" PRIu32 " processors and %" PRIu32 " memory slots in a VM",
                  info->vcpus_max, info->memory_slots_max);
    for (size_t i = 0; i < CAPABILITY_COUNT; i++)
        print_finding("", "", "%-3s %-15s %s",
                      info->capabilities & capabilities[i].bit ? "ok" : "no", capabilities[i].name,
                      capabilities[i].meaning);
}

/* What to do about one that cannot be used, its driver says. One that is missing matters where no
 * hypervisor can be used. */
static void print_device(const struct device *device, bool urgent)
{
    switch (device->state) {
    case DEVICE_USABLE:
        print_finding("ok", device->path, "can be opened");
        break;
    case DEVICE_MISSING:
        print_finding(urgent ? "no" : "--", device->path, "does not exist");
        break;
    case DEVICE_DENIED:
        print_finding("no", device->path, "no permission");
        break;
    case DEVICE_BROKEN:
        print_finding("no", device->path, "cannot be opened: %s", strerror(device->error));
        break;
    }
}

static void print_machine(const struct machine *machine)
{
    print_finding("--", "kernel", "%s %s, %s", machine->system, machine->release,
                  machine->architecture);
    print_finding("--", "processor", "%s%s%s%s",
                  machine->processor[0] ? machine->processor : "unknown",
                  machine->has_vmx ? ", VT-x" : "", machine->has_svm ? ", SVM" : "",
                  machine->is_virtual ? ", in a virtual machine" : "");
    print_finding("--", "protections", "SMEP %s, SMAP %s, UMIP %s, FSGSBASE %s",
                  machine->has_smep ? "yes" : "no", machine->has_smap ? "yes" : "no",
                  machine->has_umip ? "yes" : "no", machine->has_fsgsbase ? "yes" : "no");
    print_finding("--", "memory", "%" PRIu64 " MiB of %" PRIu64 " MiB available",
                  machine->memory_available >> 20, machine->memory_total >> 20);
    if (machine->files_max == 0)
        return;
    if (machine->files_max >= FILES_COMFORTABLE)
        print_finding("ok", "descriptors", "%" PRIu64 " for a process", machine->files_max);
    else
        print_finding("no", "descriptors",
                      "%" PRIu64 " for a process; many sandboxes need more: "
                      "ulimit -n %" PRIu64,
                      machine->files_max, machine->files_hard_max);
}

static void print_text(const struct findings *findings)
{
    printf("hyperlight %s\n\nMachine\n", hl_version());
    print_machine(&findings->machine);
    for (unsigned i = 0; i < findings->machine.device_count; i++)
        print_device(&findings->machine.devices[i], !findings->usable);
    printf("\nHypervisors\n");
    for (size_t i = 0; i < findings->driver_count; i++)
        print_driver(&findings->drivers[i], &findings->machine);
    for (const struct foreign_driver *other = machine_foreign_drivers; other->name; other++)
        print_finding("--", other->name, "is for %s", other->system);
    printf("\n%s\n", findings->usable ? "Programs run here. Try: hyperlight run PROGRAM"
                                      : "Programs cannot run here until a hypervisor can be used.");
}

static json_t *driver_json(const hl_driver_info *info)
{
    static const char *const kinds[] = {"unknown", "hardware", "page-table"};
    json_t *names = json_array();
    for (size_t i = 0; i < CAPABILITY_COUNT; i++) {
        if (info->capabilities & capabilities[i].bit)
            json_array_append_new(names, json_string(capabilities[i].name));
    }
    const char *kind = info->virtualization <= HL_VIRTUALIZATION_PAGE_TABLE
                           ? kinds[info->virtualization]
                           : kinds[0];
    return json_pack("{s:s, s:b, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:o}", "name", info->name,
                     "usable", info->status == HL_OK, "status", hl_status_name(info->status),
                     "detail", info->detail, "virtualization", kind, "syscall_stays_in_user_mode",
                     info->syscall_stays_in_user_mode, "api_version", (json_int_t)info->api_version,
                     "tsc_khz", (json_int_t)info->tsc_khz, "vcpus_max", (json_int_t)info->vcpus_max,
                     "memory_slots_max", (json_int_t)info->memory_slots_max, "capabilities", names);
}

static json_t *processor_json(const struct machine *machine)
{
    return json_pack("{s:s, s:b, s:b, s:b, s:b, s:b, s:b, s:b}", "model", machine->processor, "vmx",
                     machine->has_vmx, "svm", machine->has_svm, "smep", machine->has_smep, "smap",
                     machine->has_smap, "umip", machine->has_umip, "fsgsbase",
                     machine->has_fsgsbase, "virtual", machine->is_virtual);
}

/* The state of each file that a driver needs: {"/dev/kvm": "usable"}. */
static json_t *devices_json(const struct machine *machine)
{
    static const char *const states[] = {"usable", "missing", "denied", "broken"};
    json_t *devices = json_object();
    for (unsigned i = 0; i < machine->device_count; i++)
        json_object_set_new(devices, machine->devices[i].path,
                            json_string(states[machine->devices[i].state]));
    return devices;
}

static json_t *machine_json(const struct machine *machine)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:o}", "system", machine->system,
                     "kernel", machine->release, "architecture", machine->architecture, "processor",
                     processor_json(machine), "memory_total", (json_int_t)machine->memory_total,
                     "memory_available", (json_int_t)machine->memory_available, "descriptors_max",
                     (json_int_t)machine->files_max, "devices", devices_json(machine));
}

static bool print_json(const struct findings *findings)
{
    json_t *drivers = json_array();
    for (size_t i = 0; i < findings->driver_count; i++)
        json_array_append_new(drivers, driver_json(&findings->drivers[i]));
    json_t *root =
        json_pack("{s:s, s:b, s:o, s:o}", "version", hl_version(), "usable", findings->usable,
                  "machine", machine_json(&findings->machine), "drivers", drivers);
    bool printed = root && json_dumpf(root, stdout, JSON_INDENT(2)) == 0 && putchar('\n') != EOF;
    json_decref(root);
    if (!printed)
        report_error("the findings cannot be written as JSON");
    return printed;
}

int verb_doctor(int argc, char **argv)
{
    static struct findings findings;
    bool as_json = false;
    int option;
    while ((option = getopt_long(argc, argv, ":h", doctor_options, NULL)) != -1) {
        if (option == 'h')
            return print_help();
        if (option != OPTION_JSON) {
            option_refused(option, argv);
            return STATUS_USAGE;
        }
        as_json = true;
    }
    if (optind != argc) {
        report_error("doctor takes no arguments; see 'hyperlight doctor --help'");
        return STATUS_USAGE;
    }
    examine(&findings);
    if (!as_json)
        print_text(&findings);
    else if (!print_json(&findings))
        return STATUS_USAGE;
    return report_finish(findings.usable ? STATUS_OK : STATUS_FAILED, STATUS_USAGE);
}
