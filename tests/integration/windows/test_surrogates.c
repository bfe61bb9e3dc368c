/* Surrogates are kept for later sandboxes. One that somebody ended meanwhile is none. */
#include "fixture.h"
#include <wchar.h>

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <tlhelp32.h>

/* Ends every surrogate of this process, and waits until it is gone; returns how many there were. */
static unsigned end_surrogates(void)
{
    PROCESSENTRY32W entry = {.dwSize = sizeof entry};
    unsigned count = 0;
    HANDLE list = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
    assert_ptr_not_equal(list, INVALID_HANDLE_VALUE);
    for (BOOL more = Process32FirstW(list, &entry); more; more = Process32NextW(list, &entry)) {
        if (entry.th32ParentProcessID != GetCurrentProcessId() ||
            _wcsicmp(entry.szExeFile, L"hyperlight-surrogate.exe") != 0)
            continue;
        HANDLE process = OpenProcess(PROCESS_TERMINATE | SYNCHRONIZE, FALSE, entry.th32ProcessID);
        assert_non_null(process);
        assert_true(TerminateProcess(process, 0));
        assert_int_equal(WaitForSingleObject(process, INFINITE), WAIT_OBJECT_0);
        CloseHandle(process);
        count++;
    }
    CloseHandle(list);
    return count;
}

static void an_ended_one_is_replaced(void **state)
{
    hl_program *program = fixture_program("plugin.musl", NULL); /* keeps the driver open */
    (void)state;
    for (int i = 0; i < 3; i++) {
        hl_sandbox *sandbox;
        assert_status(HL_OK, hl_sandbox_new(program, NULL, &sandbox, &fixture_error));
        fixture_honest_call(sandbox);
        hl_sandbox_free(sandbox);
        assert_int_equal(end_surrogates(), 1);
    }
    hl_program_free(program);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ended_one_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
