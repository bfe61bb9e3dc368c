/**
 * @file hyperlight.h
 * @brief The whole host API of libhyperlight: run untrusted code in hypervisor-isolated micro virtual machines.
 *
 * | object             | what it is                                                  | threads             |
 * |--------------------|-------------------------------------------------------------|---------------------|
 * | hl_context         | driver, log, kick signal, watchdog; NULL means the default  | any, at once        |
 * | hl_image           | the files that guests find; immutable                       | any, at once        |
 * | hl_program         | a guest binary, arguments, environment; immutable           | any, at once        |
 * | hl_host_functions  | what the guest may call; immutable once a sandbox uses it   | any, at once        |
 * | hl_sandbox         | one micro VM that runs a program                            | one at a time       |
 * | hl_snapshot        | a sandbox's state between two calls; immutable              | any, at once        |
 * | hl_interrupt_handle| stops what a sandbox runs                                   | any, signal handlers|
 */
#ifndef HYPERLIGHT_HYPERLIGHT_H
#define HYPERLIGHT_HYPERLIGHT_H

#include <hyperlight/base.h>
#include <hyperlight/context.h>
#include <hyperlight/driver.h>
#include <hyperlight/error.h>
#include <hyperlight/host_function.h>
#include <hyperlight/image.h>
#include <hyperlight/program.h>
#include <hyperlight/sandbox.h>
#include <hyperlight/value.h>

#endif
