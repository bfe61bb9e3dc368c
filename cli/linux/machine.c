/* Facts about the machine, from the places where Linux shows them to everybody. */
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Whether `word` is one of the words of `line`. */
static bool has_word(const char *line, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = line; (at = strstr(at, word)); at += length) {
        bool starts = at == line || at[-1] == ' ' || at[-1] == '\t';
        if (starts && (at[length] == ' ' || at[length] == '\n' || at[length] == '\0'))
            return true;
    }
    return false;
}

static void take_flags(struct machine *machine, const char *flags)
{
    machine->has_vmx = has_word(flags, "vmx");
    machine->has_svm = has_word(flags, "svm");
    machine->has_smep = has_word(flags, "smep");
    machine->has_smap = has_word(flags, "smap");
    machine->has_umip = has_word(flags, "umip");
    machine->has_fsgsbase = has_word(flags, "fsgsbase");
    machine->is_virtual = has_word(flags, "hypervisor");
}

/* The first processor's lines; the others are alike. */
static void examine_processor(struct machine *machine)
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    char *line = NULL;
    size_t capacity = 0;
    while (file && getline(&line, &capacity, file) > 1) {
        const char *value = strchr(line, ':');
        if (!value || value[1] != ' ')
            continue;
        if (strncmp(line, "model name", 10) == 0)
            snprintf(machine->processor, sizeof machine->processor, "%.*s",
                     (int)strcspn(value + 2, "\n"), value + 2);
        else if (strncmp(line, "flags", 5) == 0)
            take_flags(machine, value + 2);
    }
    free(line);
    if (file)
        fclose(file);
}

static void examine_memory(struct machine *machine)
{
    FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    unsigned long long kilobytes;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "MemTotal: %llu kB", &kilobytes) == 1)
            machine->memory_total = kilobytes * 1024;
        else if (sscanf(line, "MemAvailable: %llu kB", &kilobytes) == 1)
            machine->memory_available = kilobytes * 1024;
    }
    if (file)
        fclose(file);
}

static void examine_system(struct machine *machine)
{
    struct rlimit files;
    struct utsname names = {.sysname = ""};
    uname(&names);
    snprintf(machine->system, sizeof machine->system, "%.63s", names.sysname);
    snprintf(machine->release, sizeof machine->release, "%.63s", names.release);
    snprintf(machine->architecture, sizeof machine->architecture, "%.63s", names.machine);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        machine->files_max = files.rlim_cur;
        machine->files_hard_max = files.rlim_max;
    }
}

const struct foreign_driver machine_foreign_drivers[] = {{"whp", "Windows"}, {NULL, NULL}};

static void examine_device(struct machine *machine, const char *path)
{
    struct device *device = &machine->devices[machine->device_count++];
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    *device = (struct device){.path = path, .error = descriptor < 0 ? errno : 0};
    if (descriptor >= 0)
        close(descriptor);
    else if (device->error == ENOENT)
        device->state = DEVICE_MISSING;
    else
        device->state =
            device->error == EACCES || device->error == EPERM ? DEVICE_DENIED : DEVICE_BROKEN;
}

void machine_examine(struct machine *machine)
{
    memset(machine, 0, sizeof *machine);
    examine_system(machine);
    examine_processor(machine);
    examine_memory(machine);
    examine_device(machine, "/dev/kvm");
    examine_device(machine, "/dev/mshv");
}
