/* Hypercalls by name. Addresses are the guest's own. */
#ifndef HL_SHIM_HOST_H
#define HL_SHIM_HOST_H

#include "hyperlight/abi/hypercall.h"

#include <stddef.h>
#include <stdint.h>

int64_t hl__host_hello(void);
int64_t hl__host_edit(const struct hl_abi_edit *edits, uint32_t count);
int64_t hl__host_write(uint64_t stream, uint64_t address, uint64_t size);
int64_t hl__host_read(uint64_t address, uint64_t size);
void hl__host_log(const char *text, size_t size);
/* The same at an hl_log_level of the host API. */
void hl__host_log_at(uint64_t level, const char *text, size_t size);
/* Declares the functions that are served; HL_ABI_EXPORT_* flags. */
int64_t hl__host_export(const void *message, uint64_t size, uint64_t flags);
/* Waits for a time or for HL_ABI_EVENT_*; returns those that are there. */
int64_t hl__host_wait(uint64_t duration_ns, uint64_t events);
/* Asks for ticks; `delay_ns` UINT64_MAX: for none. */
void hl__host_timer(uint64_t delay_ns, uint64_t period_ns);
_Noreturn void hl__host_exit(uint64_t code, uint64_t signal, const struct hl_abi_fault *fault);
_Noreturn void hl__host_refuse(enum hl_abi_refusal refusal, const char *text);

#endif
