/* The start of the shim. */
#ifndef HL_SHIM_START_H
#define HL_SHIM_START_H

/* Called by entry.S; hl__hot.syscall says where the program begins when it returns. */
void hl__start_program(void);

#endif
