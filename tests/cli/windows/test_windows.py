"""What is peculiar to the tool on Windows. HL_TEST_TOOL is the script `wine` and hyperlight.exe."""
import os
import shutil
import subprocess

import pytest
from conftest import PATIENCE_S, Tool, message
from guests import ECHO, HELLO, PLUGIN

pytestmark = pytest.mark.everywhere


@pytest.fixture
def lonely_tool(tmp_path):
    """The tool and its DLL in a folder without hyperlight-surrogate.exe."""
    wine, program = Tool.command
    for name in ("hyperlight.exe", "hyperlight.dll"):
        shutil.copy(os.path.join(os.path.dirname(program), name), tmp_path)

    def run(*arguments, timeout=PATIENCE_S):
        return subprocess.run([wine, tmp_path / "hyperlight.exe", *arguments], capture_output=True, stdin=subprocess.DEVNULL,
                              timeout=timeout)
    return run


def without_hypervisor(tool, *arguments):
    return tool(*arguments, env={**os.environ, "HL_WHP_DOUBLE": "none"})


def test_doctor_without_hypervisor_says_what_to_do(tool):
    result = without_hypervisor(tool, "doctor")
    text = result.stdout.decode()
    assert result.returncode == 1
    assert "no Hypervisor Platform" in text and "Enable-WindowsOptionalFeature" in text
    assert "Programs cannot run here" in text


def test_run_without_hypervisor_says_what_to_do(tool, compile_guest):
    result = without_hypervisor(tool, "run", compile_guest(HELLO))
    assert (result.returncode, result.stdout) == (125, b"")
    assert "Enable-WindowsOptionalFeature" in message(result)


def test_one_sandbox_needs_no_surrogate(lonely_tool, compile_guest):
    assert b"one sandbox at a time" in lonely_tool("doctor").stdout
    result = lonely_tool("run", compile_guest(HELLO))
    assert (result.returncode, result.stdout, result.stderr) == (0, b"hello\n", b"")
    assert lonely_tool("call", compile_guest(PLUGIN), "add", "40", "2").stdout == b"42\n"


def test_selftest_passes_without_surrogates(lonely_tool):
    result = lonely_tool("selftest", timeout=300)
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"many-vms # SKIP does not apply: a process has one VM at a time here" in result.stdout


def test_names_and_arguments_are_unicode(tool, compile_guest, tmp_path):
    folder = tmp_path / "Grüße, 世界 😀"
    folder.mkdir()
    program = folder / "prögram ✓"
    shutil.copy(compile_guest(ECHO), program)
    result = tool("run", "--env", "NAME=wért 😀", program, "ä ö", "世界", 'a "quoted\\" one', "")
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode().splitlines()[1:6] == [
        "argument 1 ä ö", "argument 2 世界", 'argument 3 a "quoted\\" one', "argument 4 ", "variable NAME=wért 😀"]
    missing = tool("run", folder / "fehlt ✗")
    assert missing.returncode == 125 and "fehlt ✗: No such file" in message(missing)


def test_variable_is_passed_on_as_unicode(tool, compile_guest):
    result = tool("run", "--env", "HL_WORT", compile_guest(ECHO), env={**os.environ, "HL_WORT": "Grüße 😀"})
    assert "variable HL_WORT=Grüße 😀" in result.stdout.decode()


def test_long_paths(tool, compile_guest, tmp_path):
    folder = tmp_path
    for _ in range(3):
        folder = folder / ("long" * 30)
    folder.mkdir(parents=True)
    program = folder / "program"
    shutil.copy(compile_guest(HELLO), program)
    assert len(str(program)) > 300
    assert tool("run", program).stdout == b"hello\n"


def test_bytes_arrive_as_they_are(tool, compile_guest):
    data = bytes(range(256)) * 3 + b"a\nb\r\nc\x1a\n" + os.urandom(100000)
    assert tool("run", compile_guest(ECHO), stdin=data).stdout.endswith(data)
    assert b"\r" not in tool("doctor").stdout + tool("--help").stdout + tool("run", "nowhere").stderr
