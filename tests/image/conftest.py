"""What the tests of images share. The tool is $HL_BUILD/bin/hyperlight, as for tests/cli."""
import os
import pathlib
import subprocess

import pytest

from prepared import Image

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("HL_BUILD", REPOSITORY / "build")).resolve()
PATIENCE_S = 120


@pytest.fixture(scope="session")
def tool():
    def run(*arguments, **options):
        return subprocess.run([BUILD / "bin" / "hyperlight", *map(os.fspath, arguments)], capture_output=True, text=True,
                              check=False, **{"timeout": PATIENCE_S, **options})
    return run


@pytest.fixture
def create(tool, tmp_path):
    """create(input, ...): the image that is made of it."""
    def run(source, *options):
        output = tmp_path / "image"
        result = tool("image", "create", "-o", output, *options, source)
        assert result.returncode == 0, result.stderr
        return Image(output)
    return run


@pytest.fixture
def refuse(tool, tmp_path):
    """refuse(input, ...): the message; no image may be left, whole or in parts."""
    def run(source, *options):
        folder = tmp_path / "refused"
        folder.mkdir(exist_ok=True)
        result = tool("image", "create", "-o", folder / "image", *options, source)
        assert result.returncode == 1, result.stderr
        assert result.stderr.startswith("hyperlight: ") and result.stderr.count("\n") == 1
        assert not list(folder.iterdir())
        return result.stderr
    return run
