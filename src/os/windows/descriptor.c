/*
 * Input and output of the host application's own descriptors, those of the C runtime.
 *
 * A read waits in slices, since Windows has no wait for a pipe that could end early. A write to a pipe
 * that nobody reads blocks; the other deadlines hold.
 */
#include "os/os.h"
#include "os/thread.h"

#include <errno.h>
#include <io.h>

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

enum { SLICE_MS = 5 };

static HANDLE handle_of(int descriptor)
{
    HANDLE handle = (HANDLE)_get_osfhandle(descriptor);
    /* -2: the process was started without this stream. */
    return handle == (HANDLE)(intptr_t)-2 ? INVALID_HANDLE_VALUE : handle;
}

/* Whether a read would return at once: with bytes, the end, or an error. */
static bool is_readable(HANDLE handle)
{
    DWORD available = 0;
    switch (GetFileType(handle)) {
    case FILE_TYPE_PIPE:
        return !PeekNamedPipe(handle, NULL, 0, NULL, &available, NULL) || available > 0;
    case FILE_TYPE_CHAR:
        return WaitForSingleObject(handle, 0) != WAIT_TIMEOUT;
    default:
        return true;
    }
}

/* Interrupted every slice, so that the caller looks whether it was cancelled. */
int hl__os_descriptor_wait(int descriptor, bool to_write, int signal)
{
    HANDLE handle = handle_of(descriptor);
    (void)signal;
    if (to_write || handle == INVALID_HANDLE_VALUE || is_readable(handle))
        return 0;
    Sleep(SLICE_MS);
    return -EINTR;
}

static int error_number(DWORD error)
{
    switch (error) {
    case ERROR_BROKEN_PIPE:
    case ERROR_NO_DATA:
        return EPIPE;
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
        return ENOSPC;
    case ERROR_INVALID_HANDLE:
    case ERROR_ACCESS_DENIED:
        return EBADF;
    default:
        return EIO;
    }
}

int64_t hl__os_descriptor_write(int descriptor, const void *data, size_t size, uint64_t until_ns)
{
    HANDLE handle = handle_of(descriptor);
    size_t done = 0;
    (void)until_ns;
    if (handle == INVALID_HANDLE_VALUE)
        return -EBADF;
    while (done < size) {
        DWORD taken = 0, piece = size - done < 65536 ? (DWORD)(size - done) : 65536;
        if (!WriteFile(handle, (const char *)data + done, piece, &taken, NULL))
            return done ? (int64_t)done : -error_number(GetLastError());
        done += taken;
    }
    return (int64_t)done;
}

int64_t hl__os_descriptor_read(int descriptor, void *data, size_t size, uint64_t until_ns)
{
    HANDLE handle = handle_of(descriptor);
    DWORD taken = 0;
    if (handle == INVALID_HANDLE_VALUE)
        return -EBADF;
    while (!is_readable(handle)) {
        if (hl__os_monotonic_ns() >= until_ns)
            return -EAGAIN;
        Sleep(SLICE_MS);
    }
    if (ReadFile(handle, data, size < 65536 ? (DWORD)size : 65536, &taken, NULL))
        return taken;
    DWORD error = GetLastError();
    return error == ERROR_BROKEN_PIPE || error == ERROR_HANDLE_EOF ? 0 : -error_number(error);
}
