/* Lets a test put a driver of its own into the registry. */
#ifndef HL_DRIVER_OVERRIDE_H
#define HL_DRIVER_OVERRIDE_H

#include "driver/driver.h"

/* From now on the registry finds this driver first, by its name or by none, with these facts.
 * NULL ends that. The tables must stay valid. Not to be called while another thread uses the
 * registry. */
void hl__driver_override(const hl__driver *driver, const hl_driver_info *info,
                         const struct hl__machine *machine);

#endif
