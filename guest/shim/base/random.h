/* Random bytes from the host's seed, fresh after each restore. */
#ifndef HL_SHIM_RANDOM_H
#define HL_SHIM_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void hl__random_bytes(void *to, size_t size);
uint64_t hl__random_number(void);

/* The block function of ChaCha20 (RFC 8439): `counter` and `nonce` are words 12 to 15. */
void hl__chacha20_block(uint32_t out[16], const uint32_t key[8], uint64_t counter, uint64_t nonce);

#endif
