"""`hyperlight run`: what bad input gets. Always 125 and one line that names the file and the reason."""
import os
import struct
import subprocess

import pytest
from conftest import message
from guests import HELLO

MACHINE_OFFSET = 18
MACHINES = {"aarch64": 183, "riscv": 243}


@pytest.fixture
def hello(compile_guest):
    return compile_guest(HELLO).read_bytes()


def refused(tool, path, *words):
    result = tool("run", path)
    assert result.returncode == 125
    text = message(result)
    assert text.count("\n") == 1
    for word in words:
        assert word in text, text
    return text


@pytest.mark.everywhere
def test_missing_program(tool, tmp_path):
    refused(tool, tmp_path / "nowhere", "nowhere", "No such file")


@pytest.mark.everywhere
def test_directory(tool, tmp_path):
    refused(tool, tmp_path, tmp_path.name)


def test_unreadable_program(tool, tmp_path, hello):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = tmp_path / "secret"
    path.write_bytes(hello)
    path.chmod(0)
    refused(tool, path, "secret", "ermission")


@pytest.mark.everywhere
def test_empty_program(tool, tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    refused(tool, tmp_path / "empty", "empty")


@pytest.mark.parametrize("size", [1, 4, 63, 64, 100, 1000, 5000])
def test_truncated_program(tool, tmp_path, hello, size):
    (tmp_path / "short").write_bytes(hello[:size])
    refused(tool, tmp_path / "short", "short")


@pytest.mark.everywhere
def test_text_file(tool, tmp_path):
    (tmp_path / "script").write_text("#!/bin/sh\necho hello\n")
    refused(tool, tmp_path / "script", "script", "ELF")


@pytest.mark.parametrize("machine", MACHINES)
def test_program_for_another_machine(tool, tmp_path, hello, machine):
    data = bytearray(hello)
    struct.pack_into("<H", data, MACHINE_OFFSET, MACHINES[machine])
    (tmp_path / "foreign").write_bytes(data)
    refused(tool, tmp_path / "foreign", "foreign")


def test_32_bit_program(tool, tmp_path, hello):
    data = bytearray(hello)
    data[4] = 1
    struct.pack_into("<H", data, MACHINE_OFFSET, 3)
    (tmp_path / "i386").write_bytes(data)
    refused(tool, tmp_path / "i386", "i386")


def test_dynamic_program_names_its_interpreter(tool, compile_guest):
    path = compile_guest(HELLO, flags=())
    refused(tool, path, path.name, "ld-linux-x86-64.so.2", "hyperlight pack", "--root", "-static")


def test_program_that_does_not_fit(tool, compile_guest):
    path = compile_guest("static char block[100 << 20];\nint main(void) { block[5] = 1; return block[6]; }")
    refused(tool, path, path.name)


@pytest.mark.everywhere
def test_control_characters_in_names_are_escaped(tool, tmp_path):
    text = refused(tool, tmp_path / "a\x1b[31mb\rc", "\\x1b")
    assert "\x1b" not in text


USAGE = [
    ([], "no program"),
    (["--memory", "x", "p"], "'x' is not a size"),
    (["--memory", "1", "p"], "out of range"),
    (["--memory", "1000G", "p"], "out of range"),
    (["--memory", "99999999999999999999", "p"], "not a size"),
    (["--memory", "-1", "p"], "not a size"),
    (["--memory"], "needs a value"),
    (["--timeout", "0", "p"], "not a time"),
    (["--timeout", "10 s", "p"], "not a time"),
    (["--timeout", "5x", "p"], "not a time"),
    (["--timeout", "9999999999999999h", "p"], "not a time"),
    (["--cpu-time", "", "p"], "not a time"),
    (["--output-limit", "many", "p"], "not a size"),
    (["--env", "=x", "p"], "has no name"),
    (["--log", "loud", "p"], "not a level"),
    (["--bogus", "p"], "unknown option '--bogus'"),
    (["-x", "p"], "unknown option '-x'"),
    (["--stats=yes", "p"], "takes no value"),
]


@pytest.mark.parametrize("arguments,words", USAGE)
@pytest.mark.everywhere
def test_wrong_usage(tool, arguments, words):
    result = tool("run", *arguments)
    assert (result.returncode, result.stdout) == (125, b"")
    assert words in message(result)


@pytest.mark.everywhere
def test_unknown_driver(tool, compile_guest):
    result = tool("run", "--driver", "abacus", compile_guest(HELLO))
    assert result.returncode == 125
    assert "abacus" in message(result)


@pytest.mark.everywhere
def test_program_that_serves_calls(tool, compile_guest):
    from guests import PLUGIN
    result = tool("run", compile_guest(PLUGIN))
    assert result.returncode == 125
    assert "hyperlight call --list" in message(result)


def test_full_disk_is_reported(tool):
    with open("/dev/full", "wb") as full:
        result = subprocess.run([tool.path, "run", "--help"], stdout=full, stderr=subprocess.PIPE)
    assert result.returncode == 125
    assert "No space left" in message(result)
