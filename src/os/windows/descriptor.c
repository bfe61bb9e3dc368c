/*
 * Input and output of the host application's own descriptors, those of the C runtime.
 *
 * Windows has no wait for a pipe that could end early. So a read waits in slices; and a write to a pipe,
 * which blocks while nobody reads, is a thread's of the pool: who asked for it looks in slices whether it is
 * done, and asks again.
 */
#include "os/os.h"
#include "os/thread.h"

#include <errno.h>
#include <io.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

enum { SLICE_MS = 5, PIECE_MAX = 65536 };

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
int hl__os_descriptor_wait(int descriptor, bool to_write, int signal, uint64_t until_ns)
{
    HANDLE handle = handle_of(descriptor);
    (void)signal;
    if (to_write || handle == INVALID_HANDLE_VALUE || is_readable(handle))
        return 0;
    if (hl__os_monotonic_ns() >= until_ns)
        return -EAGAIN;
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

/* Bytes taken, or a negated errno. */
static int64_t write_piece(HANDLE handle, const void *data, size_t size)
{
    DWORD taken = 0;
    if (!WriteFile(handle, data, size < PIECE_MAX ? (DWORD)size : PIECE_MAX, &taken, NULL))
        return -error_number(GetLastError());
    return taken;
}

/* A write that may take its time. */
struct writing {
    SRWLOCK lock;
    CONDITION_VARIABLE ended;
    HANDLE handle;
    DWORD thread; /* that writes, 0 before */
    bool done, abandoned;
    int64_t result;
    const void *source; /* whose copy `data` is */
    size_t size;
    char data[PIECE_MAX];
};

static void CALLBACK writing_run(PTP_CALLBACK_INSTANCE instance, void *user)
{
    struct writing *writing = user;
    (void)CallbackMayRunLong(instance);
    AcquireSRWLockExclusive(&writing->lock);
    writing->thread = GetCurrentThreadId();
    bool abandoned = writing->abandoned;
    ReleaseSRWLockExclusive(&writing->lock);
    int64_t result = abandoned ? 0 : write_piece(writing->handle, writing->data, writing->size);
    AcquireSRWLockExclusive(&writing->lock);
    writing->result = result;
    writing->done = true;
    abandoned = writing->abandoned;
    ReleaseSRWLockExclusive(&writing->lock);
    if (abandoned)
        free(writing);
    else
        WakeConditionVariable(&writing->ended);
}

/* NULL if there is no memory or no thread. */
static struct writing *writing_start(HANDLE handle, const void *data, size_t size)
{
    struct writing *writing = malloc(sizeof *writing);
    if (!writing)
        return NULL;
    size = size < PIECE_MAX ? size : PIECE_MAX;
    writing->lock = (SRWLOCK)SRWLOCK_INIT;
    writing->ended = (CONDITION_VARIABLE)CONDITION_VARIABLE_INIT;
    writing->handle = handle;
    writing->thread = 0;
    writing->done = writing->abandoned = false;
    writing->source = data;
    writing->size = size;
    memcpy(writing->data, data, size);
    if (TrySubmitThreadpoolCallback(writing_run, writing, NULL))
        return writing;
    free(writing);
    return NULL;
}

/* Nobody wants to hear of it any more. */
static void writing_abandon(struct writing *writing)
{
    AcquireSRWLockExclusive(&writing->lock);
    bool done = writing->done;
    writing->abandoned = true;
    HANDLE thread =
        done || !writing->thread ? NULL : OpenThread(THREAD_TERMINATE, FALSE, writing->thread);
    if (thread) {
        CancelSynchronousIo(thread);
        CloseHandle(thread);
    }
    ReleaseSRWLockExclusive(&writing->lock);
    if (done)
        free(writing);
}

/* What the calling thread asked for and has not heard of; one that ends does not want to any more. */
static pthread_key_t unheard_key;

static void unheard_end(void *writing)
{
    writing_abandon(writing);
}

static void unheard_prepare(void)
{
    (void)pthread_key_create(&unheard_key, unheard_end);
}

static struct writing *unheard_get(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, unheard_prepare);
    return pthread_getspecific(unheard_key);
}

static void unheard_set(struct writing *writing)
{
    (void)pthread_setspecific(unheard_key, writing);
}

/* Its result, or -EAGAIN if it has none after a slice. */
static int64_t writing_hear(struct writing *writing)
{
    int64_t result = -EAGAIN;
    AcquireSRWLockExclusive(&writing->lock);
    if (!writing->done)
        SleepConditionVariableSRW(&writing->ended, &writing->lock, SLICE_MS, 0);
    bool done = writing->done;
    if (done)
        result = writing->result;
    ReleaseSRWLockExclusive(&writing->lock);
    unheard_set(done ? NULL : writing);
    if (done)
        free(writing);
    return result;
}

/* Who was told -EAGAIN asks again with the same bytes; with others, if it gave up before. */
static bool is_asked_again(const struct writing *writing, HANDLE handle, const void *data,
                           size_t size)
{
    return writing && writing->handle == handle && writing->source == data &&
           size >= writing->size && memcmp(writing->data, data, writing->size) == 0;
}

static int64_t write_to_pipe(HANDLE handle, const void *data, size_t size)
{
    struct writing *writing = unheard_get();
    if (!is_asked_again(writing, handle, data, size)) {
        if (writing)
            writing_abandon(writing);
        unheard_set(NULL);
        writing = writing_start(handle, data, size);
    }
    return writing ? writing_hear(writing) : -ENOMEM;
}

int64_t hl__os_descriptor_write(int descriptor, const void *data, size_t size, uint64_t until_ns)
{
    HANDLE handle = handle_of(descriptor);
    (void)until_ns;
    if (handle == INVALID_HANDLE_VALUE)
        return -EBADF;
    /* While another thread's write is under way nothing may be asked of a pipe's handle. */
    const struct writing *unheard = unheard_get();
    if (unheard && unheard->handle == handle)
        return write_to_pipe(handle, data, size);
    return GetFileType(handle) == FILE_TYPE_PIPE ? write_to_pipe(handle, data, size)
                                                 : write_piece(handle, data, size);
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
    if (ReadFile(handle, data, size < PIECE_MAX ? (DWORD)size : PIECE_MAX, &taken, NULL))
        return taken;
    DWORD error = GetLastError();
    return error == ERROR_BROKEN_PIPE || error == ERROR_HANDLE_EOF ? 0 : -error_number(error);
}
