/* What tests need of Windows. */
#include "system.h"
#include "fixture.h"
#include <fcntl.h>
#include <io.h>
#include <unistd.h>

enum { PIPE_SIZE = 65536 };

void system_pipe(int ends[2])
{
    assert_int_equal(_pipe(ends, PIPE_SIZE, _O_BINARY | _O_NOINHERIT), 0);
}

void system_resize(const char *path, uint64_t size)
{
    int file = open(path, O_RDWR | O_BINARY);
    assert_true(file >= 0);
    assert_int_equal(ftruncate64(file, (int64_t)size), 0);
    close(file);
}

/* There are no forks, no signals of a kick, and no limit of address space for one process. */
void system_statuses(void (*note)(hl_status))
{
    note(HL_FORKED);
    note(HL_SIGNAL_IN_USE);
    note(HL_OUT_OF_MEMORY);
}
