"""What the tests of the `hyperlight` tool share: the tool itself, and guests compiled on the fly.

The tool is $HL_BUILD/bin/hyperlight; HL_BUILD defaults to the folder `build` of the repository. HL_TEST_TOOL is a command to
use instead, for the tool of another system: that has to pass the tests marked `everywhere`.
"""
import os
import pathlib
import shlex
import subprocess
import tempfile

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("HL_BUILD", REPOSITORY / "build")).resolve()
COMPILERS = {"glibc": "gcc", "musl": "musl-gcc"}

# Images that are made on the way are the tests' own.
CACHE = tempfile.TemporaryDirectory(prefix="hl-cache-")
os.environ["HL_CACHE_DIR"] = CACHE.name

# No test waits longer than this for the tool: a hang is a failure.
PATIENCE_S = 60


def pytest_configure(config):
    config.addinivalue_line("markers", "everywhere: for the tool of any system, through HL_TEST_TOOL")


class Tool:
    """The tool, run with captured streams."""

    path = str(BUILD / "bin" / "hyperlight")
    command = shlex.split(os.environ.get("HL_TEST_TOOL", "")) or [path]

    def __call__(self, *arguments, stdin=b"", **options):
        source = {} if "stdin_file" in options else {"input": stdin}
        if "stdin_file" in options:
            source["stdin"] = options.pop("stdin_file")
        return subprocess.run([*self.command, *map(os.fspath, arguments)], capture_output=True,
                              **{"timeout": PATIENCE_S, **source, **options})

    def start(self, *arguments, **options):
        """Starts the tool in a session of its own, as a shell would."""
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([*self.command, *map(os.fspath, arguments)], start_new_session=True,
                                **{**streams, **options})


@pytest.fixture(scope="session")
def tool():
    assert os.access(Tool.command[0], os.X_OK), f"{Tool.command[0]} does not exist: build it, or set HL_BUILD"
    return Tool()


@pytest.fixture(scope="session")
def compile_guest(tmp_path_factory):
    """compile_guest(source, libc="glibc", flags=("-static",)): path of the program. Once for each."""
    folder = tmp_path_factory.mktemp("guests")
    programs = {}

    def compile_source(source, libc="glibc", flags=("-static",)):
        key = (source, libc, tuple(flags))
        if key not in programs:
            path = folder / f"guest{len(programs)}"
            sdk = [str(BUILD / "libhyperlight-guest.a")] if "hyperlight/guest.h" in source else []
            subprocess.run([COMPILERS[libc], "-O2", "-o", path, f"-I{REPOSITORY / 'include'}", "-xc", "-",
                            "-xnone", *sdk, *flags, "-lm"], input=source.encode(), check=True)
            programs[key] = path
        return programs[key]

    return compile_source


@pytest.fixture(scope="session")
def repository():
    return REPOSITORY


def message(result):
    """The tool's own message: one line, prefixed, without control characters."""
    text = result.stderr.decode()
    assert text.startswith("hyperlight: ") and text.endswith("\n"), text
    assert all(ord(character) >= 32 or character == "\n" for character in text), text
    return text
