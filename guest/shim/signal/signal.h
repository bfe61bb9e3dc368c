/* Signals: from the program's own faults and from itself; there is nobody else to send any. */
#ifndef HL_SHIM_SIGNAL_H
#define HL_SHIM_SIGNAL_H

#include "hyperlight/abi/hypercall.h"
#include "base/linux.h"

#include <stdbool.h>
#include <stdint.h>

struct hl__signals {
    uint64_t mask;    /* bit n - 1: signal n is blocked */
    uint64_t waiting; /* raised, not delivered */
    struct linux_stack stack;
    int8_t codes[SIGNAL_COUNT + 1]; /* si_code of waiting signals */
    struct linux_sigaction actions[SIGNAL_COUNT + 1];
};

extern struct hl__signals hl__signals;

void hl__signals_init(void);
void hl__signal_raise(int signal, int code);
/* Whether a raised signal may be delivered now. */
bool hl__signal_waiting(void);
void hl__signal_deliver_waiting(struct hl_abi_registers *registers);
/* A signal that the interrupted instruction caused; ends the program if it cannot be handled. */
void hl__signal_fault(struct hl_abi_fault *fault, const struct linux_siginfo *info);

/* frame.c */

void hl__vector_state_init(void);
uint64_t hl__vector_state_size(void);
/* Makes the program continue in its handler. False if the frame does not fit on its stack. */
bool hl__frame_push(struct hl_abi_registers *registers, const struct linux_sigaction *action,
                    const struct linux_siginfo *info, const struct hl_abi_fault *fault);

#endif
