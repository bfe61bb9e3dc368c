/**
 * @file driver.h
 * @brief Which hypervisors this library can use here, and what they can do.
 */
#ifndef HYPERLIGHT_DRIVER_H
#define HYPERLIGHT_DRIVER_H

#include <hyperlight/base.h>
#include <hyperlight/error.h>

/** How a hypervisor executes guest code. */
typedef enum hl_virtualization {
    HL_VIRTUALIZATION_UNKNOWN = 0,
    HL_VIRTUALIZATION_HARDWARE = 1,  /**< VT-x or SVM: every privilege level runs natively. */
    HL_VIRTUALIZATION_PAGE_TABLE = 2 /**< PVM: user mode runs natively, ring 0 is interpreted. */
} hl_virtualization;

/** What a probe found out. Strings are static or belong to the structure. */
typedef struct hl_driver_info {
    size_t size;                      /**< sizeof(hl_driver_info), set by the caller. */
    const char *name;                 /**< "kvm", "mshv" or "whp". */
    hl_status status;                 /**< HL_OK: usable. Otherwise why not. */
    hl_virtualization virtualization; /**< Valid if usable. */
    bool syscall_stays_in_user_mode;  /**< Where the `syscall` instruction lands: true on PVM. */
    uint32_t api_version;             /**< Version that the hypervisor's interface reports. */
    uint64_t capabilities;            /**< HL_CAPABILITY_* bits. */
    uint64_t tsc_khz;                 /**< Rate of the guest's time-stamp counter; 0 if unknown. */
    uint32_t vcpus_max;               /**< Most vCPUs in one VM; 0 if unknown. */
    uint32_t memory_slots_max;        /**< Most memory slots in one VM; 0 if unknown. */
    char detail[256]; /**< One line for a person: what was found, or what is missing and how to get
                                           it. */
} hl_driver_info;

#define HL_CAPABILITY_DIRTY_LOG (1u << 0)   /**< Dirtied pages can be found out. */
#define HL_CAPABILITY_DIRTY_REARM (1u << 1) /**< Single pages can be re-protected (the hot set). */
#define HL_CAPABILITY_SYNC_REGISTERS                                                               \
    (1u << 2) /**< Registers move with an entry, without calls of their own. */
#define HL_CAPABILITY_READONLY_MEMORY (1u << 3) /**< Memory that the guest cannot write. */
#define HL_CAPABILITY_IMMEDIATE_EXIT (1u << 4)  /**< A kick cannot be lost. */
#define HL_CAPABILITY_SMAP (1u << 5) /**< Supervisor-mode access prevention is on in guests. */
#define HL_CAPABILITY_UMIP (1u << 6) /**< User-mode instruction prevention is on in guests. */

HL_BEGIN_DECLS

/** @brief Number of drivers built into this library. Any thread. */
HL_API size_t hl_driver_count(void);

/** @brief Name of driver `index`, in order of preference. @return A static string; NULL past the end. Any thread. */
HL_API const char *hl_driver_name(size_t index);

/**
 * @brief Finds out what a driver can do on this machine. Creates and destroys a small VM; the first time takes about
 * 2 ms.
 * @param name  Name of the driver.
 * @param info  Filled in; `info->size` must be set. Also filled in if the driver is not usable: see `info->status`.
 * @return HL_OK if the probe could be made (usable or not), HL_INVALID_ARGUMENT for an unknown name or size. Any
 * thread.
 */
HL_API HL_MUST_CHECK hl_status hl_driver_probe(const char *name, hl_driver_info *info,
                                               hl_error *err);

/**
 * @brief Told of each self-test as it ends.
 * @param name    Name of the test, static.
 * @param passed  Whether it passed; a test that does not apply to this machine passes.
 * @param detail  One line: why it failed, why it does not apply ("does not apply: ..."), or what a test that passed
 *                counted; may be empty. Valid until the function returns.
 */
typedef void (*hl_driver_selftest_report)(void *user, const char *name, bool passed,
                                          const char *detail);

/**
 * @brief Runs the tests that every driver must pass, each in small VMs of its own; takes seconds, where
 * entries are slow up to a minute.
 *
 * While it runs, it handles one real-time signal that the process does not use (not on Windows), and calls with this function
 * wait for each other.
 * @param name    Name of the driver, or NULL for the first one that is usable.
 * @param report  Called on this thread with each result; may be NULL.
 * @param user    Handed to `report`.
 * @return HL_OK if all passed; HL_SYSTEM if one failed; HL_INVALID_ARGUMENT for an unknown name; or why the driver is
 * not usable: HL_NO_HYPERVISOR, HL_HYPERVISOR_DENIED, HL_HYPERVISOR_TOO_OLD. Any thread.
 */
HL_API HL_MUST_CHECK hl_status hl_driver_selftest(const char *name,
                                                  hl_driver_selftest_report report, void *user,
                                                  hl_error *err);

/** @brief Name of self-test `index`, in the order they run. @return A static string; NULL past the end. Any thread. */
HL_API const char *hl_driver_selftest_name(size_t index);

HL_END_DECLS

#endif
