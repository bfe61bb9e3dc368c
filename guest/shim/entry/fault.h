/* Exceptions and ticks that the host reflects. Called by entry.S. */
#ifndef HL_SHIM_FAULT_H
#define HL_SHIM_FAULT_H

/* One that interrupted the shim: goes on at hl__interrupted.registers. */
void hl__fault_in_shim(void);
/* One that interrupted the program: goes on at hl__hot.syscall. */
void hl__fault_in_program(void);

#endif
