"""Images of programs of this machine: what is taken, and that it is enough to run, in a chroot."""
import os
import shutil
import stat
import subprocess
import sys

import pytest

from prepared import Image

ENTER = [[], ["unshare", "--user", "--map-root-user"]][os.geteuid() != 0]
CAN_ENTER = subprocess.run([*ENTER, "chroot", "/", "/bin/true"], capture_output=True, check=False).returncode == 0


@pytest.fixture
def pack(tool, tmp_path):
    """pack(arguments...): the image and what the tool said."""
    def run(*arguments, **options):
        result = tool("pack", "-o", tmp_path / "image", *arguments, **options)
        assert result.returncode == 0, result.stderr
        return Image(tmp_path / "image"), result
    return run


def unpack(image, root):
    for path, node in sorted(image.nodes.items()):
        target = os.fspath(root) + path
        if node.kind == stat.S_IFDIR:
            os.makedirs(target, exist_ok=True)
        elif node.kind == stat.S_IFLNK:
            os.symlink(node.target, target)
        elif node.kind == stat.S_IFREG:
            with open(target, "wb") as file:
                file.write(node.data)
            os.chmod(target, node.mode & 0o7777)


def run_in(image, root, *arguments):
    """Output of what the image runs, with more arguments, and nothing else of this machine in reach."""
    if not CAN_ENTER:
        pytest.skip("no permission for chroot")
    unpack(image, root)
    environment = dict(variable.split("=", 1) for variable in image.environment)
    return subprocess.run([*ENTER, "chroot", root, *image.arguments, *arguments], env=environment, text=True, timeout=60,
                          capture_output=True, check=True).stdout


def compile_c(path, source, *options):
    subprocess.run(["gcc", "-xc", "-", "-o", path, *map(os.fspath, options)], input=source.encode(), check=True)
    return path


def test_dynamic_program(pack, tmp_path):
    image, result = pack("sort")
    assert image.arguments[0].endswith("/sort") and "files of" in result.stdout
    (tmp_path / "root").mkdir()
    assert "GNU coreutils" in run_in(image, tmp_path / "root", "--version")
    assert all(node.uid == 0 for node in image.nodes.values())


def test_defaults_are_there_unless_named(pack, tmp_path):
    (tmp_path / "passwd").write_text("mine")
    image, _ = pack("true", f"{tmp_path}/passwd:/etc/passwd")
    assert image["/etc/passwd"].data == b"mine"
    assert b"localhost" in image["/etc/hosts"].data and image["/tmp"].mode == stat.S_IFDIR | 0o1777


def test_static_program(pack, tmp_path):
    program = compile_c(tmp_path / "still", '#include <stdio.h>\nint main(void) { puts("still"); }', "-static")
    image, result = pack(program)
    assert "0 libraries" in result.stdout and image.arguments == [os.fspath(program)]
    assert not [path for path in image.nodes if ".so" in path]


@pytest.fixture
def plugin_program(tmp_path):
    """A program that finds lib1 by $ORIGIN in DT_RUNPATH, which finds lib2 by a DT_RPATH of its own."""
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    (home / "lib/inner").mkdir(parents=True)
    compile_c(home / "lib/inner/libtwo.so.1", "int two(void) { return 2; }", "-shared", "-fPIC", "-Wl,-soname,libtwo.so.1")
    (home / "lib/inner/libtwo.so").symlink_to("libtwo.so.1")
    compile_c(home / "lib/libone.so", "int two(void); int one(void) { return two() - 1; }", "-shared", "-fPIC",
              f"-L{home}/lib/inner", "-ltwo", "-Wl,--disable-new-dtags,-rpath,${ORIGIN}/inner")
    compile_c(home / "bin/program", '#include <stdio.h>\nint one(void); int main(void) { printf("%d\\n", one()); }',
              f"-L{home}/lib", "-lone", f"-Wl,-rpath-link,{home}/lib/inner", "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../lib")
    return home / "bin/program"


def test_libraries_by_rpath(pack, plugin_program, tmp_path):
    image, _ = pack(plugin_program)
    assert any(path.endswith("/inner/libtwo.so.1") for path in image.nodes)
    (tmp_path / "root").mkdir()
    assert run_in(image, tmp_path / "root") == "1\n"


def test_missing_library(tool, plugin_program, tmp_path):
    (plugin_program.parents[1] / "lib/inner/libtwo.so.1").unlink()
    result = tool("pack", "-o", tmp_path / "image", plugin_program)
    assert result.returncode == 1 and "'libtwo.so.1'" in result.stderr and "libone.so" in result.stderr
    assert not (tmp_path / "image").exists()


def test_library_that_another_file_brings(pack, plugin_program):
    """A library among FILES need not find what it needs: a runtime may have loaded that first. If it is nowhere, that is said."""
    library = plugin_program.parents[1] / "lib/libone.so"
    inner = library.parent / "inner"
    inner.rename(inner.with_name("other"))
    assert not pack("true", library.parent)[1].stderr
    assert "'libtwo.so.1'" in pack("true", library)[1].stderr


def test_named_files(pack, tmp_path):
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub/data").write_bytes(b"data")
    (source / "link").symlink_to("sub/data")
    image, result = pack("-v", "true", source, f"{source}:/moved/here")
    for top in [os.fspath(source), "/moved/here"]:
        assert image[top + "/sub/data"].data == b"data" and image[top + "/link"].target == "sub/data"
    assert f"/moved/here/sub/data (from {source}/sub/data)" in result.stdout


def test_links_that_lead_to_a_file_come_along(pack, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").write_bytes(b"x")
    (tmp_path / "alias").symlink_to("real")
    (tmp_path / "real/other").symlink_to("../alias/file")
    image, _ = pack("true", tmp_path / "alias/other")
    assert image[f"{tmp_path}/alias"].target == "real" and image[f"{tmp_path}/real/other"].target == "../alias/file"
    assert image[f"{tmp_path}/real/file"].data == b"x"


@pytest.mark.parametrize("line, expected", [("#!/bin/sh", ["/bin/sh"]), ("#! /bin/sh -e ", ["/bin/sh", "-e"]),
                                            ("#!/usr/bin/env sh", ["sh"]), ("#!/usr/bin/env -S sh -e -u", ["sh", "-e", "-u"])])
def test_scripts(pack, tmp_path, line, expected):
    script = tmp_path / "script"
    script.write_text(f"{line}\necho script $1\n")
    script.chmod(0o755)
    image, _ = pack(script)
    expected = [shutil.which("sh") if word == "sh" else word for word in expected]
    assert image.arguments == [*expected, os.fspath(script)]
    (tmp_path / "root").mkdir()
    assert run_in(image, tmp_path / "root", "works") == "script works\n"


@pytest.fixture
def script(tmp_path):
    """script(text...): an executable file of these lines in a folder of its own."""
    def make(*lines):
        path = tmp_path / "own/script"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join([*lines, ""]))
        path.chmod(0o755)
        return path
    return make


def test_script_by_its_name(pack, script, tmp_path):
    """What env(1) needs comes along, so that the script runs as a program, too, and PATH leads to it."""
    path = script("#!/usr/bin/env sh", "echo script $1")
    image, _ = pack(path)
    assert f"PATH={path.parent}:/usr/local/bin:/usr/bin:/bin" in ":".join(image.environment)
    image.arguments = ["/usr/bin/env", "script"]
    (tmp_path / "root").mkdir()
    assert run_in(image, tmp_path / "root", "works") == "script works\n"


def test_script_with_options_for_env(pack, script, tmp_path):
    path = script("#!/usr/bin/env -S -u NONE WORD=seen sh -e", "echo $WORD; false; echo no")
    image, _ = pack(path)
    assert image.arguments[0] == "/usr/bin/env" and image.arguments[-1] == os.fspath(path)
    (tmp_path / "root").mkdir()
    with pytest.raises(subprocess.CalledProcessError) as failure:
        run_in(image, tmp_path / "root")
    assert failure.value.stdout == "seen\n"


def test_script_without_interpreter(tool, tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/no/such/thing\n")
    script.chmod(0o755)
    result = tool("pack", "-o", tmp_path / "image", script)
    assert result.returncode == 1 and "/no/such/thing" in result.stderr


@pytest.mark.parametrize("program, text", [("no-such-program-anywhere", "PATH"), ("./missing", "does not exist"),
                                           ("here", "./ before"), ("/etc/passwd", "chmod +x")])
def test_programs_that_cannot_be(tool, tmp_path, monkeypatch, program, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").write_text("#!/bin/sh\n")
    result = tool("pack", "-o", tmp_path / "image", program)
    assert result.returncode == 1 and text in result.stderr


def test_damaged_elf(tool, tmp_path):
    """Whatever is cut off or overwritten: an answer, no crash."""
    whole = open(shutil.which("sort"), "rb").read()
    program = tmp_path / "damaged"
    for size in [4, 20, 64, 100, 1000, 5000]:
        program.write_bytes(whole[:size])
        program.chmod(0o755)
        assert tool("pack", "-o", tmp_path / "image", program).returncode in (0, 1)
    for at in range(16, 900, 7):
        program.write_bytes(whole[:at] + b"\xff" * 8 + whole[at + 8:])
        assert tool("pack", "-o", tmp_path / "image", program).returncode in (0, 1)


def test_python(pack, tmp_path):
    python = os.path.realpath("/usr/bin/python3")
    if not os.path.exists(python):
        pytest.skip("no python3 in /usr/bin")
    image, result = pack("--preset", "python", python)
    assert not [path for path in image.nodes if "/test/" in path or "/idlelib/" in path]
    assert not result.stderr
    (tmp_path / "root").mkdir()
    program = "import ssl, sqlite3, ctypes, lzma, decimal, json, zoneinfo; print(json.dumps(sorted({3, 1})))"
    assert run_in(image, tmp_path / "root", "-c", program) == "[1, 3]\n"


def test_python_of_an_environment(pack, script, tmp_path):
    """Its interpreter is a link; modules that were installed in it come along."""
    home = tmp_path / "environment"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", home], check=True)
    [packages] = home.glob("lib/python3.*/site-packages")
    (packages / "installed.py").write_text("word = 'works'")
    image, result = pack("--preset", "python", script(f"#!{home}/bin/python3", "import installed, sys; print(sys.prefix, installed.word)"))
    assert not result.stderr and image.arguments[0] == f"{home}/bin/python3"
    (tmp_path / "root").mkdir()
    assert run_in(image, tmp_path / "root") == f"{home} works\n"


def test_perl(pack, script, tmp_path):
    program = script("#!/usr/bin/perl", "use strict; use warnings; use List::Util 'sum'; use JSON::PP; use POSIX 'floor'; use Encode;",
                     "print JSON::PP->new->canonical->encode({sum => sum(1 .. 4), floor => floor(2.5)}), ucfirst(decode('UTF-8', 'x')), qq(\n);")
    assert "--preset perl" in pack(program)[1].stderr
    image, result = pack("--preset", "perl", program)
    assert not result.stderr
    (tmp_path / "root").mkdir()
    assert run_in(image, tmp_path / "root") == '{"floor":2,"sum":10}X\n'


def test_hint_about_libraries_that_are_opened_later(pack, tmp_path):
    source = "#include <dlfcn.h>\nint main(int c, char **v) { return c > 1 && !dlopen(v[1], 1); }"
    program = compile_c(tmp_path / "opens", source)
    assert "dlopen" in pack(program)[1].stderr
    assert "dlopen" not in pack(program, "/etc/passwd")[1].stderr and "dlopen" not in pack("true")[1].stderr


def test_node(pack, tmp_path):
    if not shutil.which("node"):
        pytest.skip("no node")
    image, _ = pack("node", "--preset", "node")
    (tmp_path / "root").mkdir()
    assert run_in(image, tmp_path / "root", "-p", "require('crypto').createHash('md5').update('').digest('hex')").startswith("d41d8cd9")


def test_hint_and_wrong_usage(pack, tool, tmp_path):
    assert "--preset python" in pack(os.path.realpath(sys.executable))[1].stderr
    for arguments in [["true"], ["-o", tmp_path / "x"], ["-o", tmp_path / "x", "--preset", "cobol", "true"], ["--nope"]]:
        assert tool("pack", *arguments).returncode == 2
