/* The drivers of this build. Each is probed until it is usable, then never again in the process:
 * what is missing may come later. */
#include "driver/driver.h"
#include "driver/override.h"

#include "util/error.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#ifdef _WIN32
extern const hl__driver hl__whp_driver;
const hl__driver *const hl__drivers[] = {&hl__whp_driver, NULL};
#else
extern const hl__driver hl__kvm_driver, hl__mshv_driver;
const hl__driver *const hl__drivers[] = {&hl__kvm_driver, &hl__mshv_driver, NULL};
#endif

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
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct registry_entry registry_override; /* if it has a driver */

static bool registry_is_usable(const struct registry_entry *entry)
{
    return entry->status == HL_OK && entry->info.status == HL_OK;
}

static const struct registry_entry *registry_probe(size_t index)
{
    struct registry_entry *entry = &registry_entries[index];
    if (!entry->driver || !registry_is_usable(entry)) {
        entry->driver = hl__drivers[index];
        entry->status = entry->driver->probe(&entry->info, &entry->machine, &entry->error);
    }
    return entry;
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

/* Under the lock: the driver of that name, or without a name the first usable one, or else the
 * preferred one, for what it lacks is the answer. */
static const struct registry_entry *registry_choose(const char *name)
{
    const struct registry_entry *entry;
    for (size_t i = 0; i < DRIVER_COUNT; i++) {
        if (name && strcmp(name, hl__drivers[i]->name) != 0)
            continue;
        entry = registry_probe(i);
        if (name || registry_is_usable(entry))
            return entry;
    }
    return name ? NULL : &registry_entries[0];
}

/* Copies what is known of the driver with that name, or without a name of the one to use. Returns
 * whether there is one. */
static bool registry_find(const char *name, struct registry_entry *found)
{
    if (registry_override.driver && (!name || !strcmp(name, registry_override.driver->name))) {
        *found = registry_override;
        return true;
    }
    pthread_mutex_lock(&registry_lock);
    const struct registry_entry *entry = registry_choose(name);
    if (entry)
        *found = *entry;
    pthread_mutex_unlock(&registry_lock);
    return entry != NULL;
}

static hl_status registry_unknown(const char *name, hl_error *err)
{
    char text[64], known[64] = "";
    hl__text_escape(text, sizeof text, name, strlen(name));
    for (size_t i = 0; i < DRIVER_COUNT; i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", hl__drivers[i]->name);
    }
    return hl__error_set(err, HL_INVALID_ARGUMENT, NULL,
                         "no driver is named \"%s\"; this library has: %s", text, known);
}

hl_status hl__driver_find(const char *name, const hl__driver **driver, hl_driver_info *info,
                          struct hl__machine *machine, hl_error *err)
{
    struct registry_entry found;
    if (!registry_find(name, &found))
        return registry_unknown(name, err);
    const struct registry_entry *entry = &found;
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
    struct registry_entry found;
    if (!registry_find(name, &found))
        return registry_unknown(name, err);
    const struct registry_entry *entry = &found;
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
