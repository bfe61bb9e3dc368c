/* Numbers of Linux that guests see and tests expect, whatever system the test runs on. */
#ifndef HL_TESTS_LINUX_NUMBERS_H
#define HL_TESTS_LINUX_NUMBERS_H

enum {
    LINUX_SIGILL = 4,
    LINUX_SIGTRAP = 5,
    LINUX_SIGABRT = 6,
    LINUX_SIGBUS = 7,
    LINUX_SIGFPE = 8,
    LINUX_SIGSEGV = 11,
    LINUX_SIGPIPE = 13
};

enum { LINUX_PROT_NONE = 0, LINUX_PROT_READ = 1, LINUX_PROT_WRITE = 2, LINUX_PROT_EXEC = 4 };

#endif
