"""`hyperlight run`: as if the program ran natively."""
import hashlib
import os
import re
import subprocess

import pytest
from conftest import PATIENCE_S, message
from guests import ECHO, HELLO

PROGRAMS = {
    "hello": HELLO,
    "both streams": r"""
#include <stdio.h>
int main(void) { fputs("out", stdout); fputs("err", stderr); return 3; }
""",
    "malloc": r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void)
{
    static char *kept[1000];
    unsigned long sum = 0;
    for (unsigned i = 0; i < 1000000; i++) {
        size_t size = i * 7919u % 500 + 1;
        free(kept[i % 1000]);
        kept[i % 1000] = malloc(size);
        memset(kept[i % 1000], (int)i, size);
        sum += (unsigned char)kept[i * 31 % (i < 1000 ? i + 1 : 1000)][0];
    }
    printf("%lu\n", sum);
    return 0;
}
""",
    "qsort and libm": r"""
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}
int main(void)
{
    static double numbers[20000];
    for (int i = 0; i < 20000; i++)
        numbers[i] = sin(i) * pow(i, 0.5) + log1p(i) + fmod(i, 3.7);
    qsort(numbers, 20000, sizeof *numbers, compare);
    for (int i = 0; i < 20000; i += 1000)
        printf("%.17g\n", numbers[i]);
    return 0;
}
""",
    "TLS and constructors": r"""
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
static _Thread_local int counter = 41;
static void __attribute__((constructor)) begin(void) { puts("constructor"); }
static void end(void) { puts("exit handler"); }
int main(void)
{
    atexit(end);
    errno = 5;
    printf("%d %d\n", ++counter, errno);
    return 9;
}
""",
    "deep stack": r"""
#include <stdio.h>
static int depth(int n) { volatile char block[1000]; block[0] = (char)n; return n ? depth(n - 1) + block[0] * 0 + 1 : 0; }
int main(void) { printf("%d\n", depth(5000)); return 0; }
""",
    "time passes": r"""
#include <stdio.h>
#include <time.h>
int main(void)
{
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while (now.tv_sec * 1000 + now.tv_nsec / 1000000 < start.tv_sec * 1000 + start.tv_nsec / 1000000 + 20);
    puts(time(NULL) > 1700000000 ? "plausible" : "wrong");
    return 0;
}
""",
    "signal handler": r"""
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
static void on_signal(int number) { if (write(1, "caught\n", 7) == 7) _exit(number); }
int main(void) { signal(SIGSEGV, on_signal); *(volatile int *)16 = 1; return 0; }
""",
}


@pytest.mark.parametrize("libc", ["glibc", "musl"])
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.everywhere
def test_is_as_native(tool, compile_guest, name, libc):
    program = compile_guest(PROGRAMS[name], libc)
    native = subprocess.run([program], capture_output=True, timeout=PATIENCE_S)
    result = tool("run", program)
    assert (result.returncode, result.stdout, result.stderr) == \
        (native.returncode, native.stdout, native.stderr)


def test_static_pie_is_as_native(tool, compile_guest):
    program = compile_guest(PROGRAMS["both streams"], flags=("-static-pie", "-fPIE"))
    result = tool("run", program)
    assert (result.returncode, result.stdout, result.stderr) == (3, b"out", b"err")


def test_avx2_is_as_native(tool, compile_guest):
    if "avx2" not in open("/proc/cpuinfo").read():
        pytest.skip("the processor has no AVX2")
    program = compile_guest(r"""
#include <immintrin.h>
#include <stdio.h>
int main(void)
{
    __m256i sum = _mm256_setzero_si256();
    int lanes[8], total = 0;
    for (int i = 0; i < 1000; i++)
        sum = _mm256_add_epi32(sum, _mm256_mullo_epi32(_mm256_set1_epi32(i), _mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 8)));
    _mm256_storeu_si256((__m256i *)lanes, sum);
    for (int i = 0; i < 8; i++)
        total += lanes[i];
    printf("%d\n", total);
    return 0;
}
""", flags=("-static", "-mavx2"))
    assert tool("run", program).stdout == subprocess.run([program], capture_output=True).stdout


EXIT = r"""
#include <stdlib.h>
int main(int argc, char **argv) { return argc > 1 ? atoi(argv[1]) : 0; }
"""


def test_every_exit_code_is_passed_on(tool, compile_guest):
    program = compile_guest(EXIT, "musl")
    codes = [tool("run", program, str(code)).returncode for code in range(256)]
    assert codes == list(range(256))


@pytest.mark.everywhere
def test_stdin_is_passed_on(tool, compile_guest):
    data = os.urandom(300000)
    result = tool("run", compile_guest(ECHO), stdin=data)
    assert result.returncode == 0
    assert result.stdout.endswith(data)


@pytest.mark.everywhere
def test_stdin_may_be_a_file_and_empty(tool, compile_guest, tmp_path):
    path = tmp_path / "input"
    path.write_bytes(b"from a file\n")
    with open(path, "rb") as file:
        assert tool("run", compile_guest(ECHO), stdin_file=file).stdout.endswith(b"from a file\n")
    assert tool("run", compile_guest(ECHO), stdin=b"").returncode == 0


def test_stdin_is_interactive(tool, compile_guest):
    program = compile_guest(r"""
#include <stdio.h>
int main(void)
{
    char line[100];
    while (fgets(line, sizeof line, stdin)) { printf("got %s", line); fflush(stdout); }
    return 0;
}
""")
    process = tool.start("run", program)
    for line in (b"one\n", b"two\n"):
        process.stdin.write(line)
        process.stdin.flush()
        assert process.stdout.readline() == b"got " + line
    process.stdin.close()
    assert process.wait(PATIENCE_S) == 0


def test_closed_streams_fail_in_the_guest_alone(tool, compile_guest):
    program = compile_guest(r"""
#include <errno.h>
#include <unistd.h>
int main(void) { return write(1, "x", 1) < 0 && errno == EBADF ? 5 : 6; }
""")
    native = subprocess.run(["sh", "-c", f"{program} >&-"])
    result = subprocess.run(["sh", "-c", f"{tool.path} run {program} >&-"], timeout=PATIENCE_S)
    assert native.returncode == result.returncode == 5


BIG = r"""
#include <stdio.h>
int main(void)
{
    for (unsigned i = 0; i < 4000000; i++)
        printf("%09u\n", i);
    return 0;
}
"""


def test_big_output_is_complete(tool, compile_guest):
    program = compile_guest(BIG)
    digests = []
    for command in ([program], [tool.path, "run", program]):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        digest = hashlib.sha256()
        while chunk := process.stdout.read(1 << 20):
            digest.update(chunk)
        assert process.wait(PATIENCE_S) == 0
        digests.append(digest.hexdigest())
    assert digests[0] == digests[1]


def test_reader_that_goes_away_ends_it_as_natively(tool, compile_guest):
    program = compile_guest(BIG)
    statuses = []
    for command in (f"{program}", f"{tool.path} run {program}"):
        script = f"{command} | head -1; echo ${{PIPESTATUS[0]}}"
        result = subprocess.run(["bash", "-c", script], capture_output=True, timeout=PATIENCE_S)
        assert result.stderr == b""
        statuses.append(result.stdout)
    assert statuses[0] == statuses[1]


ARGUMENTS = ["two words", "", "ünïcödé ✓", "--help", "--timeout", "a\tb", "'\"$HOME"]


def test_arguments_are_passed_on(tool, compile_guest):
    program = compile_guest(ECHO)
    native = subprocess.run([program, *ARGUMENTS], env={}, input=b"", capture_output=True)
    assert tool("run", program, *ARGUMENTS).stdout == native.stdout


def test_options_stop_at_the_program_and_at_two_dashes(tool, compile_guest):
    program = compile_guest(ECHO)
    expected = f"argument 0 {program}\nargument 1 --stats\n".encode()
    assert tool("run", "--", program, "--stats").stdout == expected


def test_environment_is_what_was_given_and_nothing_else(tool, compile_guest):
    environment = {**os.environ, "PASSED": "on", "SECRET": "kept"}
    result = tool("run", "--env", "A=1", "--env", "PASSED", "--env", "NOT_SET_ANYWHERE", "--env=B=x=y ü",
                  "--env", "A=2", "--env", "EMPTY=", compile_guest(ECHO), env=environment)
    variables = [line for line in result.stdout.decode().splitlines() if line.startswith("variable")]
    assert variables == ["variable A=2", "variable PASSED=on", "variable B=x=y ü", "variable EMPTY="]


def test_no_environment_by_default(tool, compile_guest):
    assert b"variable" not in tool("run", compile_guest(ECHO)).stdout


def test_stats_are_printed_on_stderr(tool, compile_guest):
    result = tool("run", "--stats", compile_guest(HELLO))
    assert (result.returncode, result.stdout) == (0, b"hello\n")
    text = message(result)
    for word in ("statistics", "run time", "VM entries", "memory", "of 64.0 MiB", "output", "6 bytes"):
        assert word in text


def test_memory_option_changes_the_limit(tool, compile_guest):
    result = tool("run", "--stats", "--memory", "256M", compile_guest(HELLO))
    assert "of 256.0 MiB" in message(result)


def test_trace_prints_system_calls(tool, compile_guest):
    program = compile_guest(r"""
#include <errno.h>
#include <unistd.h>
#include <sys/syscall.h>
int main(void) { return syscall(SYS_lookup_dcookie, "x", 0) < 0 && errno == ENOSYS ? 0 : 1; }
""")
    silent, traced = tool("run", program), tool("run", "--trace", program)
    assert (silent.returncode, silent.stderr) == (0, b"")
    assert traced.returncode == 0
    assert re.search(r"lookup_dcookie\(0x[0-9a-f]+, 0, .*\) = -1 ENOSYS \(Function not implemented\) \[not served\]", message(traced))
    assert re.search(r"exit_group\(0\) = \?", message(traced))


GONE = r"""
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static char told[200];
static int piped;
static void note(int number) { piped += number == SIGPIPE; }
static void try(const char *text)
{
    int count = piped, written = write(1, text, 1);
    sprintf(told + strlen(told), " %s:%s%s", text, written == 1 ? "1" : errno == EPIPE ? "EPIPE" : "?", piped > count ? "+SIGPIPE" : "");
}
int main(int argc, char **argv)
{
    char line[9];
    signal(SIGPIPE, note);
    if (read(0, line, sizeof line) < 1)
        return 1;
    for (const char *step = argv[1]; *step; step++)
        if (*step == 'e')
            write(2, "e\n", 2);
        else if (*step == 's')
            usleep(100);
        else
            try((char[2]){*step});
    strcat(told, "\n");
    return write(2, told, strlen(told)) < 0;
}
"""


def closed_reader(command):
    """Runs it; the reader of its standard output goes away before it writes."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    process.stdin.write(b"go\n")
    process.stdin.close()
    text = process.stderr.read().decode().splitlines()
    process.stderr.close()
    assert process.wait(PATIENCE_S) == 0
    return text


def test_every_write_to_a_closed_pipe_fails(tool, compile_guest):
    program = compile_guest(GONE)
    native = closed_reader([program, "123"])
    assert closed_reader([tool.path, "run", program, "123"]) == native == [" 1:EPIPE+SIGPIPE 2:EPIPE+SIGPIPE 3:EPIPE+SIGPIPE"]


@pytest.mark.parametrize("gone", ["e", "s"], ids=["flushed", "taken"])
def test_gathered_output_that_is_lost_fails_the_next_write(tool, compile_guest, gone):
    """Right behind other output it is gathered: what comes of it is told later."""
    result = closed_reader([tool.path, "run", compile_guest(GONE), f"e12{gone}34e5"])
    assert result[:-1] == ["e"] * (f"e{gone}e".count("e"))
    assert result[-1].endswith(" 3:EPIPE+SIGPIPE 4:EPIPE+SIGPIPE 5:EPIPE+SIGPIPE")


def test_a_full_device_fails_the_next_write(tool, compile_guest):
    program = compile_guest(r"""
#include <errno.h>
#include <unistd.h>
int main(void)
{
    write(2, "e", 1);
    for (int i = 0; i < 3; i++)
        if (write(1, "x", 1) < 0 && errno == ENOSPC)
            return i < 2 ? 5 : 6;
        else
            usleep(100);
    return 7;
}
""")
    with open("/dev/full", "wb") as full:
        assert subprocess.run([tool.path, "run", program], stdout=full, timeout=PATIENCE_S).returncode == 5
