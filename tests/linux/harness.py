"""Cases, how one runs natively and in the VM, and what makes the two runs equal."""
import ctypes
import dataclasses
import difflib
import inspect
import os
import pathlib
import re
import resource
import shlex
import shutil
import subprocess
import tempfile
import time

from tree import CACHE, TOOL, Tree, Unavailable

__all__ = ["CASES", "Tree", "Unavailable", "case", "compare", "show"]

CASES = []
DEFAULT_TREE = "base"
TREES = {}


@dataclasses.dataclass
class Case:
    name: str
    command: list
    tree: Tree
    stdin: bytes = b""
    environment: dict = dataclasses.field(default_factory=dict)
    status: int = 0  # what it must be natively; None: whatever it is
    silent: bool = False  # prints nothing
    unordered: bool = False  # the only normalisation: lines are compared sorted, because file systems list folders in their own order
    memory: str = "256M"
    timeout: float = 60
    quick: bool = True

    @property
    def group(self):
        return self.name.split(".")[0]


def case(name, command, tree, **options):
    """Adds a case to the group that is the name of the file that calls this."""
    group = pathlib.Path(inspect.stack()[1].filename).stem
    if isinstance(command, str):
        command = shlex.split(command)
    if not command[0].startswith("/"):
        command[0] = f"/usr/bin/{command[0]}"
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": "/root", **options.pop("environment", {})}
    stdin = options.pop("stdin", b"")
    stdin = stdin.encode() if isinstance(stdin, str) else stdin
    full = f"{group}.{name}"
    assert all(other.name != full for other in CASES), f"two cases with the name {full}"
    CASES.append(Case(full, list(command), tree, stdin=stdin, environment=environment, **options))


@dataclasses.dataclass
class Outcome:
    status: object
    stdout: bytes
    stderr: bytes


LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x40000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE, MS_NOSUID = 1, 32, 4096, 16384, 1 << 18, 2
DEVICES = ("null", "zero", "full", "random", "urandom")


def system(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source, target, kind=None, flags=0):
    encoded = [None if text is None else os.fspath(text).encode() for text in (source, target, kind)]
    system(LIBC.mount(*encoded, ctypes.c_ulong(flags), None), f"mount {target}")


def enter_root(folder, scratch, user=None):
    """In the child: the tree as its root, read-only, with a fresh /tmp, /proc and a few devices; one processor as in the VM."""
    spaces = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
    uid, gid = os.getuid(), os.getgid()
    if uid != 0:
        spaces |= CLONE_NEWUSER
    system(LIBC.unshare(spaces), "unshare")
    if uid != 0:
        pathlib.Path("/proc/self/setgroups").write_text("deny")
        pathlib.Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        pathlib.Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount(folder, folder, None, MS_BIND)
    mount(None, folder, None, MS_BIND | MS_REMOUNT | MS_RDONLY)
    mount(scratch / "tmp", folder / "tmp", None, MS_BIND)
    mount(scratch / "dev", folder / "dev", None, MS_BIND)
    for name in DEVICES:
        mount(f"/dev/{name}", folder / "dev" / name, None, MS_BIND)
    mount("/proc", folder / "proc", None, MS_BIND | MS_REC)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.setpriority(os.PRIO_PROCESS, 0, 0)
    for limit, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, 1024), (resource.RLIMIT_STACK, 8 << 20)):
        resource.setrlimit(limit, (value, resource.getrlimit(limit)[1]))
    os.chroot(folder)
    os.chdir("/")
    os.umask(0o022)
    if user is not None and uid == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def make_scratch():
    base = CACHE / "scratch"
    base.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(dir=base))
    (scratch / "tmp").mkdir()
    (scratch / "tmp").chmod(0o1777)
    dev = scratch / "dev"
    dev.mkdir()
    (dev / "shm").mkdir(mode=0o1777)
    for name in DEVICES:
        (dev / name).touch()
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        (dev / name).symlink_to(f"/proc/self/fd{target}")
    return scratch


def run_natively(case, user=None):
    """`user`: the user to become, if this one is root."""
    scratch = make_scratch()
    try:
        # PATH is the child's: looked up inside of the root.
        return run(case, case.command, env=case.environment, preexec_fn=lambda: enter_root(case.tree.folder, scratch, user),
                   executable=case.command[0])
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def run_in_vm(case):
    image = case.tree.make_image()
    command = [TOOL, "run", "--root", image, "--memory", case.memory]
    for name, value in case.environment.items():
        command += ["--env", f"{name}={value}"]
    outcome = run(case, [*command, *case.command])
    # The tool says on stderr which signal a program died of, as a shell would: its own line, not the program's.
    outcome.stderr = re.sub(rb"(?m)^hyperlight: '[^\n]*' was killed by signal [^\n]*\n\Z", b"", outcome.stderr)
    return outcome


def run(case, command, **options):
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               start_new_session=True, **options)
    try:
        stdout, stderr = process.communicate(case.stdin, timeout=case.timeout)
        return Outcome(process.returncode if process.returncode >= 0 else 128 - process.returncode, stdout, stderr)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        stdout, stderr = process.communicate()
        return Outcome(f"still running after {case.timeout} s", stdout, stderr)


def normalised(case, text):
    return b"\n".join(sorted(text.split(b"\n"))) if case.unordered else text


def printable(text):
    """Text without control characters, for a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text.decode(errors="backslashreplace"))


def difference(name, native, vm, limit=14):
    """The first lines that differ."""
    lines = [printable(text).splitlines(keepends=False) for text in (native, vm)]
    if lines[0] == lines[1]:
        return f"  {name}: differs in line ends: {len(native)} and {len(vm)} bytes"
    changed = [line for line in difflib.unified_diff(lines[0][:3000], lines[1][:3000], "native", "VM", lineterm="", n=1)]
    if not changed:
        return f"  {name}: differs behind the first 3000 lines: {len(native)} and {len(vm)} bytes"
    shown = "\n".join("    " + line[:300] for line in changed[:limit])
    return f"  {name}:\n{shown}" + ("\n    ..." if len(changed) > limit else "")


def case_is_void(case, native):
    """What is wrong with the case itself, natively."""
    if case.status is not None and native.status != case.status:
        return f"  natively it ends with {native.status}, not {case.status}: {native.stderr.decode(errors='replace').strip()[-600:]}"
    if not case.silent and not native.stdout and not native.stderr:
        return "  natively it prints nothing, so there is nothing to compare"
    return None


def compare(case, native_only):
    """(case, None or what is wrong, seconds in the VM)"""
    try:
        case.tree.prepare()
        native = run_natively(case)
        problem = case_is_void(case, native)
        if problem:
            return case, problem, 0
        started = time.monotonic()
        other = run_natively(case) if native_only else run_in_vm(case)
        seconds = time.monotonic() - started
    except Unavailable as reason:
        return case, reason, 0
    except (OSError, subprocess.SubprocessError) as error:
        return case, f"  cannot be run: {error}", 0
    problems = []
    if native.status != other.status:
        problems.append(f"  exit status: {native.status} natively, {other.status} in the VM")
    for name in ("stdout", "stderr"):
        texts = [normalised(case, getattr(outcome, name)) for outcome in (native, other)]
        if texts[0] != texts[1]:
            problems.append(difference(name, *texts))
    if problems:
        problems.insert(0, f"  command: {shlex.join(case.command)[:500]}")
    return case, "\n".join(problems) or None, seconds


def show(case):
    case.tree.prepare()
    outcome = run_natively(case)
    return (f"status {outcome.status}\n{outcome.stdout.decode(errors='backslashreplace')[:3000]}"
            + (f"stderr: {outcome.stderr.decode(errors='backslashreplace')[:2000]}" if outcome.stderr else ""))
