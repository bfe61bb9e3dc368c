"""`hyperlight run --root`: programs with the files of an image."""
import io
import json
import shutil
import tarfile

import pytest
from conftest import message
from guests import HELLO

ARGUMENTS = r"""
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    char directory[100], content[100] = "";
    FILE *file = fopen("/file", "r");
    if (!file || !fgets(content, sizeof content, file) || !getcwd(directory, sizeof directory))
        return 1;
    printf("%s %s", directory, content);
    for (int i = 0; i < argc; i++)
        printf(" %s", argv[i]);
    return 7;
}
"""


@pytest.fixture(scope="module")
def image(tool, tmp_path_factory, compile_guest):
    folder = tmp_path_factory.mktemp("root")
    (folder / "tree/bin").mkdir(parents=True)
    shutil.copy(compile_guest(ARGUMENTS), folder / "tree/bin/tell")
    (folder / "tree" / "file").write_text("content")
    path = folder / "image"
    result = tool("image", "create", "-o", path, folder / "tree")
    assert result.returncode == 0, result.stderr
    return path


def test_a_program_of_this_machine_with_an_image(tool, image, compile_guest):
    plain = tool("run", compile_guest(HELLO))
    result = tool("run", "--root", image, "--host-program", compile_guest(HELLO))
    assert (result.returncode, result.stderr) == (plain.returncode, b"")
    assert result.stdout == plain.stdout and plain.stdout


@pytest.mark.parametrize("program", ["tell", "/bin/tell"])
def test_a_program_of_the_image(tool, image, program):
    result = tool("run", "--root", image, program, "a", "b")
    assert (result.returncode, result.stderr) == (7, b"")
    assert result.stdout.decode() == f"/ content {program} a b"


def test_the_working_directory(tool, image):
    result = tool("run", "--root", image, "--directory", "/bin", "tell")
    assert (result.returncode, result.stdout) == (7, b"/bin content tell")


def test_an_image_that_is_writable_for_others(tool, image, compile_guest):
    image.chmod(0o666)
    result = tool("run", "--root", image, "--host-program", compile_guest(HELLO))
    image.chmod(0o644)
    assert (result.returncode, result.stderr) == (0, b"")


def test_no_image(tool, tmp_path, compile_guest):
    result = tool("run", "--root", tmp_path / "none", "--host-program", compile_guest(HELLO))
    assert result.returncode == 125
    assert str(tmp_path / "none") in message(result)
    result = tool("run", "--root", compile_guest(HELLO), "/bin/hello")
    assert result.returncode == 125
    assert "no prepared image" in message(result)


def test_a_directory_that_is_none(tool, image, compile_guest):
    result = tool("run", "--root", image, "--directory", "tmp", "--host-program", compile_guest(HELLO))
    assert result.returncode == 125
    assert "must begin with '/'" in message(result)


def test_a_program_of_this_machine_needs_a_name(tool, image):
    result = tool("run", "--root", image, "--host-program")
    assert result.returncode == 125
    assert "no program given" in message(result)


def test_a_program_that_the_image_does_not_have(tool, image):
    result = tool("run", "--root", image, "/bin/none")
    assert result.returncode == 125
    assert "none" in message(result)


def docker_archive(path, files, config):
    """What `docker save` writes: one layer with {path: data}."""
    identity = "0" * 64

    def add(tar, name, data):
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(data), 0o755
        tar.addfile(entry, io.BytesIO(data))

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for name, data in files.items():
            add(tar, name, data)
    with tarfile.open(path, "w") as tar:
        add(tar, f"{identity}/layer.tar", layer.getvalue())
        add(tar, f"{identity}.json", json.dumps({"architecture": "amd64", "config": config}).encode())
        add(tar, "manifest.json", json.dumps([{"Config": f"{identity}.json", "Layers": [f"{identity}/layer.tar"]}]).encode())
    return path


@pytest.fixture(scope="module")
def configured(tool, tmp_path_factory, compile_guest):
    """An image with an environment."""
    program = compile_guest(r"""
#include <stdio.h>
extern char **environ;
int main(void)
{
    for (char **variable = environ; *variable; variable++)
        puts(*variable);
    return 0;
}
""")
    folder = tmp_path_factory.mktemp("configured")
    archive = docker_archive(folder / "tar", {"opt/tools/tell": program.read_bytes(), "bin/tell": b"#!/none"},
                             {"Env": ["PATH=/opt/tools:/bin", "A=image", "AB=kept"], "Cmd": ["tell"]})
    result = tool("image", "create", "-o", folder / "image", archive)
    assert result.returncode == 0, result.stderr
    return folder / "image"


@pytest.mark.parametrize("given, expected", [
    ([], "PATH=/opt/tools:/bin A=image AB=kept"),
    (["B=new", "C="], "PATH=/opt/tools:/bin A=image AB=kept B=new C="),
    (["A=given", "B=new"], "PATH=/opt/tools:/bin A=given AB=kept B=new"),
    (["AB=", "PATH=/opt/tools"], "PATH=/opt/tools A=image AB="),
], ids=["none", "added", "replaced", "emptied"])
def test_variables_add_to_the_image(tool, configured, given, expected):
    options = [word for variable in given for word in ("--env", variable)]
    result = tool("run", "--root", configured, *options, "tell")
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode().split() == expected.split()
