/* Exceptions that the host reflects. */
#ifndef HL_SHIM_FAULT_H
#define HL_SHIM_FAULT_H

/* Called by entry.S; what hl__interrupted.registers say when it returns is where the program
 * continues. */
void hl__fault_enter(void);

#endif
