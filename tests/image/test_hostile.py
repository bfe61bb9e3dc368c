"""Archives made to do harm: each is refused with a message that names the member, or does none. Limits have errors of their own."""
import gzip
import io
import os
import pathlib
import signal
import subprocess
import tarfile
import time

import pytest

from conftest import BUILD
from test_archives import add, archive  # noqa: F401 (a fixture)

LINK = {"type": tarfile.SYMTYPE}
HARD = {"type": tarfile.LNKTYPE}


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "a/..", "..", "/../evil"])
def test_names_that_lead_out(archive, refuse, name):
    message = refuse(archive((name, b"evil")))
    assert name.lstrip("/") in message and "'..'" in message


@pytest.mark.parametrize("members, text", [
    ([("h", b"", {**HARD, "linkname": "../../etc/passwd"})], "'h'"),
    ([("h", b"", {**HARD, "linkname": "missing"})], "'missing'"),
    ([("d", b"", {"type": tarfile.DIRTYPE}), ("h", b"", {**HARD, "linkname": "d"})], "directory"),
    ([("h", b"", {**HARD, "linkname": "/"})], "'h'"),
    ([("f", b"x"), ("f/below", b"y")], "'f/below'"),
    ([("a", b"", {**LINK, "linkname": "b"}), ("b", b"", {**LINK, "linkname": "a"}), ("a/x", b"")], "'a/x'"),
    ([("n" * 256, b"")], "255 bytes"),
    ([("d/" + "n" * 300 + "/f", b"")], "255 bytes"),
    ([("l", b"", {**LINK, "linkname": "x" * 5000})], "4095 bytes"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_members_that_cannot_be(archive, refuse, members, text):
    assert text in refuse(archive(*members))


def test_links_out_stay_inside(archive, create):
    image = create(archive(("etc", b"", {**LINK, "linkname": "/../../real"}), ("etc/x", b"1"),
                           ("up", b"", {**LINK, "linkname": ".."}), ("up/y", b"2")))
    assert image["/y"].data == b"2" and image["/real/x"].data == b"1"


@pytest.mark.parametrize("size", [1, 511, 512, 700, 1024, 5000, 20000])
def test_truncated(archive, refuse, tmp_path, size):
    whole = archive(("first", b"1" * 2000), ("second-name", os.urandom(30000))).read_bytes()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole[:size])
    message = refuse(cut)
    assert size < 600 or "first" in message or "second-name" in message


@pytest.mark.parametrize("option", ["--gzip", "--bzip2", "--xz", "--zstd"])
def test_truncated_and_compressed(archive, refuse, tmp_path, option):
    (tmp_path / "data").write_bytes(os.urandom(3000000))
    path = tmp_path / "whole"
    subprocess.run(["tar", "-cf", path, option, "-C", tmp_path, "data"], check=True)
    cut = tmp_path / "cut"
    cut.write_bytes(path.read_bytes()[:1500000])
    assert "'data'" in refuse(cut)


def test_noise(refuse, tmp_path):
    for size in [0, 1, 512, 100000]:
        path = tmp_path / "noise"
        path.write_bytes(os.urandom(size))
        assert "no tar archive" in refuse(path)


def header(name, size, kind=b"0"):
    member = tarfile.TarInfo(name)
    member.type = kind
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


def test_huge_sizes(refuse, tmp_path):
    path = tmp_path / "huge.tar"
    for size in [1 << 40, (1 << 62) + 5, (1 << 34) - 4096]:
        path.write_bytes(header("huge", size) + b"x" * 1024)
        assert "'huge'" in refuse(path)


def test_huge_sparse_file(refuse, tmp_path):
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 42)
    path = tmp_path / "sparse.tar"
    subprocess.run(["tar", "--sparse", "-cf", path, "-C", tmp_path, "sparse"], check=True)
    message = refuse(path)
    assert "'sparse'" in message and "limit" in message


def test_bomb(refuse, tmp_path):
    """64 GiB of zeros in a few kilobytes, twice compressed by what the file says, is stopped by its declared size."""
    path = tmp_path / "bomb.tar.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(header("bomb", 64 << 30))
        file.write(bytes(1 << 20))
    assert "'bomb'" in refuse(path)


def test_bytes_are_limited(archive, refuse):
    message = refuse(archive(*[(f"f{i}", os.urandom(100000)) for i in range(20)]), "--size-limit", "1M")
    assert "limit of 1048576 bytes" in message and "'f" in message


def test_names_are_limited_too(archive, refuse):
    assert "limit of 1048576 bytes" in refuse(archive(*[(f"{i:0200}", b"") for i in range(9000)]), "--size-limit", "1M")


def test_files_are_limited(archive, refuse):
    message = refuse(archive(*[(f"f{i}",) for i in range(20)]), "--files-limit", "10")
    assert "'f9'" in message and "the limit is 10" in message


def test_depth_is_limited(archive, refuse, create):
    create(archive(("/".join("d" * 255) + "/f",)))
    message = refuse(archive(("/".join("d" * 300) + "/f",)))
    assert "more than 256 deep" in message


def test_deep_links_are_limited(archive, refuse):
    """A link that leads back to its directory makes no endless path."""
    members = [("x", b"", {**LINK, "linkname": "a/" * 500})]
    assert refuse(archive(*members, ("x/f", b"")))


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A gigabyte to unpack."""
    path = tmp_path_factory.mktemp("slow") / "slow.tar.xz"
    with tarfile.open(path, "w:xz", preset=0) as tar:
        member = tarfile.TarInfo("slow")
        member.size = 1 << 30
        tar.addfile(member, io.BufferedReader(Zeros(member.size)))
    return path


def test_time_is_limited(refuse, slow):
    assert "too long" in refuse(slow, "--timeout", "200ms")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_by_who_is_stopped(slow, tmp_path, number):
    """Neither beside the output nor in the cache; and the helper ends with its parent."""
    folder, cache = tmp_path / "folder", tmp_path / "cache"
    folder.mkdir()
    for arguments in [["image", "create", "-o", folder / "image", slow], ["run", "--root", slow, "/slow"]]:
        process = subprocess.Popen([BUILD / "bin" / "hyperlight", *arguments], env={**os.environ, "HL_CACHE_DIR": str(cache)})
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while process.poll() is None and not children.read_text():
            time.sleep(0.01)
        helper = pathlib.Path("/proc", children.read_text().strip())
        time.sleep(0.1)
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait() != 0
        while helper.exists():
            time.sleep(0.01)
    assert not list(folder.iterdir())
    assert {path.suffix for path in cache.iterdir()} <= {"", ".input"}  # the lock, and the archive's digest


class Zeros(io.RawIOBase):
    def __init__(self, size):
        super().__init__()
        self.left = size

    def readable(self):
        return True

    def readinto(self, buffer):
        size = min(len(buffer), self.left)
        buffer[:size] = bytes(size)
        self.left -= size
        return size


def test_names_are_escaped_in_messages(archive, refuse):
    message = refuse(archive(("a\x1b[31m\nb/../c", b"")))
    assert "\\x1b" in message and "\x1b" not in message


def test_not_a_file(refuse, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "neither a file nor a directory" in refuse(tmp_path / "pipe")
    assert "No such file" in refuse(tmp_path / "missing")


def test_prepared_images_are_not_prepared_again(archive, create, refuse, tmp_path):
    create(archive(("a", b"1")))
    assert "already" in refuse(tmp_path / "image")
