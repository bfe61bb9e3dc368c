/* The start-up test of the mechanism that takes rights away from a guest. */
#ifndef HL_VM_POKE_TEST_H
#define HL_VM_POKE_TEST_H

#include "driver/driver.h"

/* Whether, on this machine, a page that the host made read-only is read-only for user mode after a
 * poke through ring 0. Creates and destroys a small VM. If not, hl__driver::flush is used instead.
 */
bool hl__poke_works(const hl__driver *driver, const struct hl__machine *machine);

#endif
