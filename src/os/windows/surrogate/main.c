/*
 * A surrogate: a process that does nothing but exist. Hyper-V takes the memory of a partition from one
 * process, and each partition needs another; the host application's process gives a surrogate views of
 * its own memory. It is started suspended and ended by the job it is in.
 */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

int main(void)
{
    Sleep(INFINITE);
    return 0;
}
