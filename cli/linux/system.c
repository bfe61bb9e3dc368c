/* The tool's own streams and arguments on Linux. */
#define _GNU_SOURCE
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/*
 * A standard stream that is closed is opened for the wrong direction: it fails with EBADF as before,
 * and no descriptor of a VM can take its number and become the guest's standard output.
 */
bool system_prepare(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; descriptor++) {
        int mode = descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY;
        if (fcntl(descriptor, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", mode) != descriptor)
            return false;
    }
    return true;
}

bool system_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

FILE *system_take_stdout(void)
{
    int descriptor = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    FILE *out = descriptor < 0 ? NULL : fdopen(descriptor, "w");
    return out && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0 ? out : NULL;
}
