/* The linker sends every ioctl of the static library here (--wrap=ioctl). */
#include "ioctl_count.h"

#include <stdarg.h>
#include <stdatomic.h>

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

static atomic_uint_fast64_t count;

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
    return __real_ioctl(fd, request, argument);
}

uint64_t ioctl_count(void)
{
    return atomic_load_explicit(&count, memory_order_relaxed);
}
