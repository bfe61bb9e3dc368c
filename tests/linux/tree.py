"""Root trees for the comparison: folders made of this machine's Debian packages, and the images made of them.

A tree is made once and kept under build/linux; its key is a digest of what it was made of.
"""
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import threading

from data import make_data

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("HL_BUILD", REPOSITORY / "build")).resolve()
TOOL = os.environ.get("HL_TOOL", str(BUILD / "bin" / "hyperlight"))
CACHE = BUILD / "linux"

# All files get this time: what prints times must print the same on both sides.
TIMESTAMP = 1_700_000_000
LEFT_OUT = re.compile(r"/usr/share/(doc|man|locale|info|lintian|bash-completion|zsh|bug|icons|applications|pixmaps|menu)/"
                      r"|/__pycache__/|\.(a|o|pyc)$|/usr/share/perl/.*/pod/|\.pod$|/usr/include/")
LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}


class Unavailable(Exception):
    """What a case needs is not on this machine."""


def package_files(package):
    """The files of an installed package, without documentation."""
    result = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True)
    if result.returncode != 0:
        raise Unavailable(f"the package {package} is not installed")
    return [line for line in result.stdout.splitlines()
            if line.startswith("/") and not LEFT_OUT.search(line + ("/" if os.path.isdir(line) else ""))
            and (os.path.islink(line) or not os.path.isdir(line))]


def is_elf(path):
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def libraries(path):
    """What the dynamic linker loads for a program or library, itself included."""
    result = subprocess.run(["ldd", path], capture_output=True, text=True)
    return re.findall(r"(?:=> )?(/\S+) \(0x", result.stdout) if result.returncode == 0 else []


class Tree:
    """`packages` and `files` of this machine, `made` files ({path in the tree: bytes or path of a file}); /data, /tmp, /etc as needed."""

    def __init__(self, name, packages=(), files=(), made=None, data=True, compile_python=None):
        self.compile_python = compile_python  # its path: all .py get their .pyc
        self.name, self.packages, self.files, self.data = name, packages, files, data
        self.made = {} if made is None else made  # a function that returns the files, or the files
        self.folder = CACHE / "trees" / name
        self.image = CACHE / "images" / f"{name}.hli"
        self.ready = False
        self.problem = None
        self.lock = threading.Lock()

    def prepare(self):
        """Makes the folder unless it is there and up to date."""
        with self.lock:
            if self.problem:
                raise self.problem
            if not self.ready:
                try:
                    self._prepare()
                except Unavailable as problem:
                    self.problem = problem
                    raise

    def _prepare(self):
        CACHE.mkdir(parents=True, exist_ok=True)
        (CACHE / "trees").mkdir(exist_ok=True)
        (CACHE / "images").mkdir(exist_ok=True)
        with open(CACHE / f"{self.name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._prepare_locked()
        self.ready = True

    def _prepare_locked(self):
        made = self.made() if callable(self.made) else self.made
        sources = self._sources(made)
        key = self._key(sources, made)
        stamp = CACHE / "trees" / f"{self.name}.key"
        if not (stamp.exists() and stamp.read_text() == key):
            stamp.unlink(missing_ok=True)
            self.image.unlink(missing_ok=True)
            self._make_folder(sources, made)
            stamp.write_text(key)

    def _sources(self, made):
        """{path in the tree: path here}"""
        sources = {}
        for package in self.packages:
            sources.update((path, path) for path in package_files(package))
        sources.update((path, path) for path in self.files)
        for path in [*sources, *(content for content in made.values() if not isinstance(content, bytes))]:
            if is_elf(path):
                sources.update((library, library) for library in libraries(path))
        return sources

    def _key(self, sources, made):
        digest = hashlib.sha256()
        for path in sorted(sources):
            status = os.stat(path, follow_symlinks=False)
            digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
        for path in sorted(made):
            digest.update(path.encode())
            digest.update(made[path] if isinstance(made[path], bytes) else pathlib.Path(made[path]).read_bytes())
        for source in ("tree.py", "data.py"):
            digest.update(pathlib.Path(__file__).with_name(source).read_bytes())
        return digest.hexdigest()

    def _make_folder(self, sources, made):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        for name in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "tmp", "proc", "dev", "root", "home", "var/tmp", "run"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name, target in LINKS.items():
            (self.folder / name).symlink_to(target)
        for path, source in sorted(sources.items()):
            self._copy(source, self._place(path))
        etc = {"passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:User:/home:/bin/sh\nnobody:x:65534:65534:nobody:/tmp:/bin/sh\n",
               "group": "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n", "hosts": "127.0.0.1 localhost\n", "hostname": "hyperlight\n", "resolv.conf": "", "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n"}
        for name, text in etc.items():
            (self.folder / "etc" / name).write_text(text)
        for path, content in made.items():
            place = self._place(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content if isinstance(content, bytes) else pathlib.Path(content).read_bytes())
            place.chmod(0o755 if place.read_bytes()[:4] == b"\x7fELF" or place.read_bytes()[:2] == b"#!" else 0o644)
        if self.data:
            make_data(self.folder / "data")
        if self.compile_python:
            subprocess.run([self.compile_python, "-m", "compileall", "-q", "-j", "2", "--invalidation-mode", "unchecked-hash", "-s", self.folder, "-p", "/",
                            self.folder / "usr/lib/python3.11"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)  # some are wrong on purpose
        for folder, folders, files in os.walk(self.folder, topdown=False):
            for name in (*files, *folders):
                os.utime(os.path.join(folder, name), (TIMESTAMP, TIMESTAMP), follow_symlinks=False)
        for name, mode in (("tmp", 0o1777), ("var/tmp", 0o1777), ("root", 0o700)):
            (self.folder / name).chmod(mode)
        os.utime(self.folder, (TIMESTAMP, TIMESTAMP))

    def _place(self, path):
        """Where a file of the tree is in its folder: /lib/x is in usr/lib/x."""
        first, *rest = path.lstrip("/").split("/")
        return self.folder.joinpath(LINKS.get(first, first), *rest)

    def _copy(self, source, place):
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_symlink() or place.exists():
            return
        if not os.path.islink(source):
            shutil.copyfile(source, place)
            place.chmod(os.stat(source).st_mode & 0o777)
            return
        target = os.readlink(source)
        place.symlink_to(target)
        further = os.path.normpath(os.path.join(os.path.dirname(source), target))
        if os.path.islink(further) or os.path.isfile(further):
            self._copy(further, self._place(further))

    def _image_command(self, path):
        return [TOOL, "image", "create", "-o", path, self.folder]

    def make_image(self):
        """The image of the tree, for the tool's --root."""
        with open(CACHE / f"{self.name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            tool_time = os.stat(TOOL).st_mtime
            if self.image.exists() and self.image.stat().st_mtime >= tool_time:
                return self.image
            self.image.unlink(missing_ok=True)
            partial = self.image.with_suffix(".partial")
            command = self._image_command(partial)
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode != 0:
                raise Unavailable(f"{' '.join(map(str, command))}: {result.stderr.strip() or result.returncode}")
            partial.rename(self.image)
        return self.image
