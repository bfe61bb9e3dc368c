"""`hyperlight run`: deaths, limits and Ctrl-C."""
import os
import signal
import subprocess
import time

import pytest
from conftest import PATIENCE_S, message
from guests import ECHO, HELLO, LOOP

# Far more than a timely stop takes on a busy machine.
LATE_S = 5

DEATHS = {
    "abort": ("#include <stdlib.h>\nint main(void) { abort(); }", signal.SIGABRT),
    "null": ("int main(void) { *(volatile int *)0 = 1; }", signal.SIGSEGV),
    "wild": ("int main(void) { return *(volatile int *)0x7123456789ab; }", signal.SIGSEGV),
    "privileged": ('int main(void) { __asm__ volatile("hlt"); }', signal.SIGSEGV),
    "illegal": ('int main(void) { __asm__ volatile("ud2"); }', signal.SIGILL),
    "division": ("int main(int c, char **v) { (void)v; volatile int zero = c - 1; return c / zero; }",
                 signal.SIGFPE),
    "stack": ("static int f(int n) { volatile char b[4096]; b[0] = 1; return f(n + 1) + b[0]; }\n"
              "int main(void) { return f(0); }", signal.SIGSEGV),
    "raised": ("#include <signal.h>\nint main(void) { raise(SIGUSR1); return 0; }", signal.SIGUSR1),
}


@pytest.mark.parametrize("name", DEATHS)
@pytest.mark.everywhere
def test_death_by_signal_is_128_plus_n(tool, compile_guest, name):
    source, number = DEATHS[name]
    result = tool("run", compile_guest(source, flags=("-static", "-O1")))
    assert result.returncode == 128 + number
    message(result)


@pytest.mark.everywhere
def test_output_before_a_death_is_kept(tool, compile_guest):
    program = compile_guest('#include <unistd.h>\n#include <stdlib.h>\n'
                            'int main(void) { if (write(1, "last words", 10) == 10) abort(); }')
    result = tool("run", program)
    assert (result.returncode, result.stdout) == (134, b"last words")


@pytest.mark.everywhere
def test_deadline_is_124(tool, compile_guest):
    start = time.monotonic()
    result = tool("run", "--timeout", "300ms", compile_guest(LOOP))
    assert 0.25 < time.monotonic() - start < LATE_S
    assert (result.returncode, result.stdout) == (124, b"looping\n")
    message(result)


def test_deadline_covers_waiting_for_input(tool, compile_guest):
    process = tool.start("run", "--timeout", "0.3", compile_guest(ECHO))
    assert process.wait(LATE_S) == 124


def test_deadline_covers_a_blocked_write(tool, compile_guest):
    flood = "#include <stdio.h>\nint main(void) { for (;;) puts(\"flood\"); }"
    process = tool.start("run", "--timeout", "0.3", compile_guest(flood))
    assert process.wait(LATE_S) == 124


@pytest.mark.everywhere
def test_cpu_time_is_124(tool, compile_guest):
    result = tool("run", "--cpu-time", "200ms", compile_guest(LOOP))
    assert result.returncode == 124
    message(result)


@pytest.mark.everywhere
def test_deadline_in_time_changes_nothing(tool, compile_guest):
    result = tool("run", "--timeout", "1m", "--cpu-time", "1m", compile_guest(HELLO))
    assert (result.returncode, result.stdout, result.stderr) == (0, b"hello\n", b"")


@pytest.mark.everywhere
def test_output_limit_is_137(tool, compile_guest):
    flood = "#include <stdio.h>\nint main(void) { for (;;) puts(\"flood\"); }"
    result = tool("run", "--output-limit", "64K", compile_guest(flood))
    assert result.returncode == 137
    assert len(result.stdout) <= 65536
    assert "output" in message(result)


def test_memory_that_is_used_up_is_seen_by_malloc(tool, compile_guest):
    program = compile_guest(r"""
#include <stdlib.h>
#include <string.h>
int main(void)
{
    for (;;) {
        char *block = malloc(1 << 20);
        if (!block)
            return 12;
        memset(block, 1, 1 << 20);
    }
}
""", "musl")
    assert tool("run", "--memory", "16M", program).returncode in (12, 137)


def wait_for_loop(process):
    assert process.stdout.readline() == b"looping\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_it_cleanly(tool, compile_guest, number):
    process = tool.start("run", compile_guest(LOOP))
    wait_for_loop(process)
    process.send_signal(number)
    assert process.wait(LATE_S) == 128 + number
    assert process.stderr.read() == b""
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_ctrl_c_of_the_terminal_ends_it(tool, compile_guest):
    process = tool.start("run", compile_guest(LOOP))
    wait_for_loop(process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(LATE_S) == 130


def test_ctrl_c_while_the_guest_waits_for_input(tool, compile_guest):
    program = compile_guest('#include <stdio.h>\nint main(void)'
                            ' { puts("looping"); fflush(stdout); return getchar(); }')
    process = tool.start("run", program)
    wait_for_loop(process)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(LATE_S) == 130


@pytest.mark.parametrize("delay_ms", range(0, 30, 3))
def test_ctrl_c_at_any_moment_of_the_start(tool, compile_guest, delay_ms):
    program = compile_guest("int main(void) { for (volatile int i = 0;; i++) { } }")
    process = tool.start("run", program)
    time.sleep(delay_ms / 1000)
    process.send_signal(signal.SIGINT)
    # Before the handler is in place the signal itself ends the process; a shell shows 130 for both.
    assert process.wait(LATE_S) in (130, -signal.SIGINT)


def test_ignored_ctrl_c_stays_ignored(tool, compile_guest):
    program = compile_guest(LOOP)
    script = f"trap '' INT; exec {tool.path} run --timeout 1s {program}"
    process = subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for_loop(process)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 124
