/* What tests need of Linux. */
#include "system.h"
#include "fixture.h"
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

void system_pipe(int ends[2])
{
    assert_int_equal(pipe(ends), 0);
}

void system_resize(const char *path, uint64_t size)
{
    assert_int_equal(truncate(path, (off_t)size), 0);
}

/* Runs a check in a forked child, whose exit status is the status that it saw. */
static void expect_in_child(hl_status status, hl_status (*check)(void *), void *user,
                            void (*note)(hl_status))
{
    int result = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(check(user));
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), status);
    note(status);
}

static hl_status call_in_child(void *sandbox)
{
    return hl_sandbox_call(sandbox, "echo", NO_ARGUMENTS, NULL, NULL);
}

static hl_status context_with_taken_signal(void *user)
{
    hl_context *context;
    (void)user;
    signal(SIGRTMIN + 8, SIG_IGN);
    return hl_context_new(NULL, &context, NULL);
}

static hl_status large_sandbox_in_little_space(void *path)
{
    hl_program *program;
    hl_sandbox *sandbox;
    const hl_sandbox_options options = FIXTURE_OPTIONS(.memory_size = UINT64_C(8) << 30);
    const struct rlimit limit = {UINT64_C(2) << 30, UINT64_C(2) << 30};
    hl_status status = hl_program_open(path, NULL, &program, NULL);
    if (status)
        return status;
    setrlimit(RLIMIT_AS, &limit);
    return hl_sandbox_new(program, &options, &sandbox, NULL);
}

void system_statuses(void (*note)(hl_status))
{
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", NULL);
    expect_in_child(HL_FORKED, call_in_child, sandbox, note);
    hl_sandbox_free(sandbox);
    expect_in_child(HL_SIGNAL_IN_USE, context_with_taken_signal, NULL, note);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    static char path[] = HL_TEST_GUESTS "/plugin.musl";
    expect_in_child(HL_OUT_OF_MEMORY, large_sandbox_in_little_space, path, note);
#else
    note(HL_OUT_OF_MEMORY); /* a sanitizer needs the address space itself */
#endif
}
