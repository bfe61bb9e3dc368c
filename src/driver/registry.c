/* The drivers of this build, each probed once per process. */
#include "driver/driver.h"
#include "driver/override.h"

#include "util/error.h"

#include <pthread.h>
#include <string.h>

extern const hl__driver hl__kvm_driver;

const hl__driver *const hl__drivers[] = {&hl__kvm_driver, NULL};

enum { DRIVER_COUNT = sizeof hl__drivers / sizeof *hl__drivers - 1 };

/* What is known of a driver. */
struct registry_entry {
    const hl__driver *driver;
    hl_driver_info info;
    struct hl__machine machine;
    hl_status status; /* of the probe itself */
    hl_error error;
};

static struct registry_entry registry_entries[DRIVER_COUNT];
static pthread_once_t registry_once = PTHREAD_ONCE_INIT;
static struct registry_entry registry_override; /* if it has a driver */

static void registry_probe_all(void)
{
    for (size_t i = 0; i < DRIVER_COUNT; i++) {
        struct registry_entry *entry = &registry_entries[i];
        entry->driver = hl__drivers[i];
        entry->status = entry->driver->probe(&entry->info, &entry->machine, &entry->error);
    }
}

void hl__driver_override(const hl__driver *driver, const hl_driver_info *info,
                         const struct hl__machine *machine)
{
    registry_override = (struct registry_entry){.driver = driver};
    if (driver) {
        registry_override.info = *info;
        registry_override.machine = *machine;
    }
}

static bool registry_is_usable(const struct registry_entry *entry)
{
    return entry->status == HL_OK && entry->info.status == HL_OK;
}

/* The driver of that name, or without a name the one to use; NULL if there is none. */
static const struct registry_entry *registry_find(const char *name)
{
    if (registry_override.driver && (!name || !strcmp(name, registry_override.driver->name)))
        return &registry_override;
    pthread_once(&registry_once, registry_probe_all);
    for (size_t i = 0; i < DRIVER_COUNT; i++) {
        const struct registry_entry *entry = &registry_entries[i];
        if (name ? !strcmp(name, entry->driver->name) : registry_is_usable(entry))
            return entry;
    }
    return name ? NULL : &registry_entries[0]; /* what the preferred driver lacks is the answer */
}

static hl_status registry_unknown(const char *name, hl_error *err)
{
    char text[64];
    hl__text_escape(text, sizeof text, name, strlen(name));
    return hl__error_set(err, HL_INVALID_ARGUMENT, NULL,
                         "no driver is named \"%s\"; this library has: %s", text,
                         hl__drivers[0]->name);
}

hl_status hl__driver_find(const char *name, const hl__driver **driver, hl_driver_info *info,
                          struct hl__machine *machine, hl_error *err)
{
    const struct registry_entry *entry = registry_find(name);
    if (!entry)
        return registry_unknown(name, err);
    if (entry->status != HL_OK) {
        if (err)
            *err = entry->error;
        return entry->status;
    }
    if (entry->info.status != HL_OK)
        return hl__error_set(err, entry->info.status, NULL, "%s", entry->info.detail);
    *driver = entry->driver;
    if (info)
        *info = entry->info;
    if (machine)
        *machine = entry->machine;
    return HL_OK;
}

size_t hl_driver_count(void)
{
    return DRIVER_COUNT;
}

const char *hl_driver_name(size_t index)
{
    return index < DRIVER_COUNT ? hl__drivers[index]->name : NULL;
}

hl_status hl_driver_probe(const char *name, hl_driver_info *info, hl_error *err)
{
    if (!name || !info)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_driver_probe",
                             "a name and a structure for the answer are needed");
    if (info->size < sizeof info->size || info->size > sizeof *info)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_driver_probe",
                             "info->size is %zu, not sizeof(hl_driver_info)", info->size);
    const struct registry_entry *entry = registry_find(name);
    if (!entry)
        return registry_unknown(name, err);
    if (entry->status != HL_OK) {
        if (err)
            *err = entry->error;
        return entry->status;
    }
    size_t size = info->size;
    memcpy(info, &entry->info, size);
    info->size = size;
    return HL_OK;
}
