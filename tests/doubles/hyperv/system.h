/*
 * Linux by raw system calls, for doubles that are no Linux programs (a DLL in wine) and for those
 * that stand between a program and its system calls (a preload library).
 *
 * Every call returns what the kernel returns: a negated errno if it failed.
 */
#ifndef DOUBLES_HYPERV_SYSTEM_H
#define DOUBLES_HYPERV_SYSTEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The kernel's numbers, which differ from those of a C library for Windows. */
enum { SYSTEM_EPERM = 1, SYSTEM_EINTR = 4, SYSTEM_EAGAIN = 11 };

int64_t system_call(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                    uint64_t f);

/* Opens a device for reading and writing. */
int system_open(const char *path);
void system_close(int file);
int64_t system_ioctl(int file, unsigned long request, void *argument);
/* Shared, for reading and writing; NULL if it fails. */
void *system_map(int file, size_t size);
void system_unmap(void *address, size_t size);

/* Copies from, and to, memory of this process that may be gone at any moment; false if it is. */
bool system_peek(void *to, const void *from, size_t size);
bool system_poke(void *to, const void *from, size_t size);

/* The calling thread, and what makes a system call of a thread return EINTR. */
int system_thread(void);
void system_interrupt_prepare(void);
void system_interrupt(int thread);

/* A lock that knows no operating system; zeroed memory is an open one. */
typedef struct system_lock {
    atomic_flag taken;
} system_lock;
void lock_take(system_lock *lock);
void lock_release(system_lock *lock);

#endif
