"""Images of tars made here by GNU tar and by Python, and of directories."""
import hashlib
import io
import os
import shutil
import stat
import subprocess
import tarfile
import time

import pytest

LONG = "d" * 100 + "/" + "e" * 200 + "/" + "f" * 255


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A directory with everything that a tar has a type for."""
    root = tmp_path_factory.mktemp("folder") / "root"
    root.mkdir()
    (root / "empty").write_bytes(b"")
    (root / "small").write_bytes(b"small\n")
    (root / "edge").write_bytes(b"x" * 2047)
    (root / "page").write_bytes(b"y" * 2048)
    (root / "large").write_bytes(os.urandom(1000003))
    shutil.copy(root / "large", root / "same")
    (root / "sub/deeper").mkdir(parents=True)
    (root / "sub/deeper/file").write_bytes(b"deep")
    (root / "sub.file").write_bytes(b"sorts between sub and sub/")
    os.link(root / "small", root / "sub/hard")
    os.symlink("../small", root / "sub/soft")
    os.symlink("/nowhere/at/all", root / "dangling")
    (root / LONG).parent.mkdir(parents=True)
    (root / LONG).write_bytes(b"long")
    (root / "ünïcødé").write_bytes(b"utf-8")
    with open(os.fsencode(root) + b"/bytes\xff\xfe", "wb") as file:
        file.write(b"no utf-8")
    os.mkfifo(root / "pipe")
    with open(root / "sparse", "wb") as file:
        file.seek(5 << 20)
        file.write(b"end")
        file.truncate(9 << 20)
    os.chmod(root / "small", 0o4751)
    os.utime(root / "page", ns=(0, 1234567890123456789))
    return root


def check_against(image, root, whole_seconds=False):
    """Every file of the directory is in the image as it is, and nothing else is."""
    found = {"/": os.lstat(root)}
    for base, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(base, name)
            found["/" + os.path.relpath(path, root)] = os.lstat(path)
    assert image.paths() == sorted(found)
    for path, expected in found.items():
        node, real = image[path], os.fspath(root) + path
        assert node.mode == expected.st_mode
        assert (node.uid, node.gid) == (expected.st_uid, expected.st_gid)
        assert node.modified[0] == expected.st_mtime_ns // 10**9
        assert node.modified[1] == (0 if whole_seconds else expected.st_mtime_ns % 10**9)
        if stat.S_ISREG(expected.st_mode):
            with open(real, "rb") as file:
                assert node.data == file.read(), path
            assert node.links == expected.st_nlink
        elif stat.S_ISLNK(expected.st_mode):
            assert node.target == os.readlink(real)


def make_tar(folder, target, *options):
    subprocess.run(["tar", "-cf", target, "-C", folder, *options, "."], check=True)
    return target


@pytest.mark.parametrize("options", [["--format=gnu"], ["--format=gnu", "--sparse"], ["--format=posix"],
                                     ["--format=posix", "--sparse"],
                                     ["--format=posix", "--sparse", "--sparse-version=0.1"]], ids=" ".join)
def test_gnu_tar(folder, tmp_path, create, options):
    image = create(make_tar(folder, tmp_path / "tar", *options))
    check_against(image, folder, whole_seconds="--format=gnu" in options)


def test_ustar(folder, tmp_path, create):
    narrow = tmp_path / "narrow"
    shutil.copytree(folder, narrow, symlinks=True, ignore=lambda _, names: {"d" * 100, "pipe"} & set(names))
    image = create(make_tar(narrow, tmp_path / "tar", "--format=ustar"))
    check_against(image, narrow, whole_seconds=True)


@pytest.mark.parametrize("option", ["--gzip", "--bzip2", "--xz", "--zstd"])
def test_compressed(folder, tmp_path, create, option):
    check_against(create(make_tar(folder, tmp_path / "tar", "--format=posix", option)), folder)


def test_directory(folder, create):
    check_against(create(folder), folder)


def test_equal_contents_lie_in_one_place(folder, create):
    image = create(folder)
    assert image["/large"].offset == image["/same"].offset
    assert image["/large"].number != image["/same"].number
    assert image["/small"].number == image["/sub/hard"].number


def test_same_input_same_image(folder, tmp_path, tool):
    digests = set()
    for name in ["one", "two"]:
        assert tool("image", "create", "-o", tmp_path / name, folder).returncode == 0
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).digest())
    assert len(digests) == 1


def test_sockets_are_left_out_and_proc_is_empty(tmp_path, create):
    import socket
    source = tmp_path / "source"
    source.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(source / "socket"))
        assert create(source).paths() == ["/"]


def add(tar, name, data=b"", **fields):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for field, value in fields.items():
        setattr(member, field, value)
    tar.addfile(member, io.BytesIO(data))


@pytest.fixture
def archive(tmp_path):
    """archive((name, data, fields)...): path of a tar with these members."""
    def make(*members):
        path = tmp_path / "made.tar"
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            for member in members:
                add(tar, member[0], member[1] if len(member) > 1 else b"", **(member[2] if len(member) > 2 else {}))
        return path
    return make


def test_last_of_duplicates_stays_and_leaves_nothing(archive, create):
    secret = os.urandom(300000)
    image = create(archive(("a", secret), ("small", b"secret"), ("b", b"b" * 5000), ("a", b"new"), ("small", b"other")))
    assert (image["/a"].data, image["/small"].data, image["/b"].data) == (b"new", b"other", b"b" * 5000)
    assert secret[:64] not in image.bytes and b"secret" not in image.bytes
    assert len(image.bytes) < 100000


def test_devices(archive, create):
    image = create(archive(("null", b"", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3, "mode": 0o666}),
                           ("disk", b"", {"type": tarfile.BLKTYPE, "devmajor": 300, "devminor": 70000})))
    assert image["/null"].mode == stat.S_IFCHR | 0o666
    assert image["/null"].size == os.makedev(1, 3)
    assert image["/disk"].size == os.makedev(300, 70000)


def test_absolute_names_lose_their_slash(archive, create):
    image = create(archive(("/etc/passwd", b"x"), ("//a//b/./c", b"y"),
                           ("hard", b"", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"})))
    assert image.paths() == ["/", "/a", "/a/b", "/a/b/c", "/etc", "/etc/passwd", "/hard"]
    assert image["/hard"].number == image["/etc/passwd"].number


def test_links_on_the_way_are_followed_inside(archive, create):
    link = {"type": tarfile.SYMTYPE}
    image = create(archive(("lib", b"", {**link, "linkname": "usr/lib"}), ("lib/a", b"a"),
                           ("out", b"", {**link, "linkname": "../../../../tmp"}), ("out/b", b"b"),
                           ("abs", b"", {**link, "linkname": "/var/x"}), ("abs/c", b"c")))
    assert image["/usr/lib/a"].data == b"a" and image["/tmp/b"].data == b"b" and image["/var/x/c"].data == b"c"
    assert image["/lib"].target == "usr/lib" and image["/out"].target == "../../../../tmp"


def test_hundred_thousand_files(tmp_path, tool):
    path = tmp_path / "many.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(100000):
            add(tar, f"d{number // 1000}/{number}", b"%d" % number)
    start = time.monotonic()
    result = tool("image", "create", "-o", tmp_path / "image", path)
    assert result.returncode == 0, result.stderr
    assert time.monotonic() - start < 30
    image = __import__("prepared").Image(tmp_path / "image")
    assert len(image.nodes) == 100101 and image["/d99/99999"].data == b"99999"


def test_output_is_replaced_in_one_step(archive, tool, tmp_path):
    output = tmp_path / "image"
    output.write_bytes(b"old")
    bad = tmp_path / "bad"
    bad.write_bytes(b"no tar" * 1000)
    assert tool("image", "create", "-o", output, bad).returncode == 1
    assert output.read_bytes() == b"old"
    assert tool("image", "create", "-o", output, archive(("a", b"a"))).returncode == 0
    assert output.stat().st_size > 4096
