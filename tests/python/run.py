#!/usr/bin/env python3
"""Runs CPython's own tests, module by module, natively and in a micro VM over the same root tree.

usage: run.py [OPTION]... [MODULE]...

Natively they run as an unprivileged user without network. Without MODULEs, those of expected.txt run, with --all all there are;
it fails if fewer than 120 modules pass both natively and in the VM, or if one of expected.txt does not. Results are kept in
build/python/results.json: what was done is not done again, unless the tool changed since (then only the runs in the VM are).
"""
import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "linux"))

import harness  # noqa: E402
from tree import BUILD, TOOL, Tree, Unavailable  # noqa: E402

REQUIRED = 120
UNPRIVILEGED = 65534
PYTHON = "/usr/bin/python3.11"
RESULTS = BUILD / "python" / "results.json"
TREE = Tree("python-tests", packages=["python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libpython3.11-testsuite",
                                      "tzdata", "libc-bin", "media-types"], compile_python=PYTHON, data=False)
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LC_ALL": "C.UTF-8", "TERM": "dumb"}
# They test the machine, not the interpreter, or take all of it.
LEFT_OUT = {"test_bigmem", "test_tools", "test_gdb", "test_idle", "test_tkinter", "test_tcl", "test_ttk_guionly", "test_ttk_textonly"}


def make_case(module, timeout):
    return harness.Case(f"python.{module}", [PYTHON, "-u", "-m", "test", "-W", module], TREE, environment=ENVIRONMENT, memory="2G", timeout=timeout)


def verdict(outcome):
    """passed, skipped, empty (no test ran), failed, crashed or timeout"""
    if isinstance(outcome.status, str):
        return "timeout"
    text = outcome.stdout.decode(errors="replace")
    if outcome.status == 0 and re.search(r"^(1 test OK|All 1 tests? OK)", text, re.M):
        return "passed"
    if outcome.status == 0 and re.search(r"^1 test skipped", text, re.M):
        return "skipped"
    if outcome.status == 0:
        return "empty"
    return "failed" if outcome.status in (1, 2, 3, 4) else f"crashed ({outcome.status})"


@dataclasses.dataclass
class Results:
    """{module: {"native": verdict, "vm": verdict, "seconds": in the VM}}; the VM's are of one build of the tool."""

    modules: dict
    tool: float
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    @classmethod
    def load(cls, fresh):
        tool = os.stat(TOOL).st_mtime
        if fresh or not RESULTS.exists():
            return cls({}, tool)
        stored = json.loads(RESULTS.read_text())
        if stored["tool"] != tool:
            for entry in stored["modules"].values():
                entry.pop("vm", None)
        return cls(stored["modules"], tool)

    def save(self):
        with self.lock:
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            partial = RESULTS.with_suffix(".partial")
            partial.write_text(json.dumps({"tool": self.tool, "modules": self.modules}, indent=1, sort_keys=True))
            partial.rename(RESULTS)


def list_modules():
    outcome = harness.run_natively(harness.Case("python.list", [PYTHON, "-m", "test", "--list-tests"], TREE, environment=ENVIRONMENT), UNPRIVILEGED)
    if outcome.status != 0:
        raise Unavailable(f"the tests cannot be listed: {outcome.stderr.decode()}")
    return [name for name in outcome.stdout.decode().split() if name not in LEFT_OUT]


def keep_log(module, side, outcome):
    folder = RESULTS.parent / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.{side}.txt").write_bytes(
        f"exit status: {outcome.status}\n".encode() + outcome.stdout[-200_000:] + b"\n--- stderr\n" + outcome.stderr[-50_000:])


def run_module(module, results, timeout, native_only):
    entry = results.modules.setdefault(module, {})
    if "native" not in entry:
        outcome = harness.run_natively(make_case(module, timeout), UNPRIVILEGED)
        entry["native"] = verdict(outcome)
        keep_log(module, "native", outcome)
    if entry["native"] == "passed" and "vm" not in entry and not native_only:
        started = time.monotonic()
        outcome = harness.run_in_vm(make_case(module, timeout))
        entry["vm"], entry["seconds"] = verdict(outcome), round(time.monotonic() - started, 1)
        keep_log(module, "vm", outcome)
    results.save()
    return module, entry


def listed_modules(name):
    """{module: the rest of its line} of a list beside this file"""
    lines = (HERE / name).read_text().splitlines()
    return {line.split()[0]: line.partition(" ")[2].strip() for line in lines if line.strip() and not line.startswith("#")}


def print_news(results):
    """What a full run found that the lists do not say."""
    expected, failing = listed_modules("expected.txt"), listed_modules("failing.txt")
    passed = {name for name, entry in results.items() if entry["native"] == entry.get("vm") == "passed"}
    failed = {name for name, entry in results.items() if entry["native"] == "passed"} - passed
    for what, names in (("pass, but are not in expected.txt", passed - set(expected)),
                        ("do not pass, but are not in failing.txt", failed - set(failing)),
                        ("pass, but are in failing.txt", passed & set(failing))):
        if names:
            print(f"{what}: {' '.join(sorted(names))}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*")
    parser.add_argument("--jobs", "-j", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=120, help="seconds for each module and side (default 120)")
    parser.add_argument("--fresh", action="store_true", help="forget what was found before")
    parser.add_argument("--all", action="store_true", help="all modules, not only those of expected.txt")
    parser.add_argument("--native", action="store_true", help="only natively")
    arguments = parser.parse_args()
    if not arguments.native and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("run.py: there is no /dev/kvm")
        return 77
    TREE.prepare()
    results = Results.load(arguments.fresh)
    modules = arguments.modules or (list_modules() if arguments.all else sorted(listed_modules("expected.txt")))
    for module in arguments.modules:
        results.modules.pop(module, None)
    if not arguments.native:
        TREE.make_image()
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for module, entry in pool.map(lambda name: run_module(name, results, arguments.timeout, arguments.native), modules):
            print(f"{module:32} native {entry['native']:10} VM {entry.get('vm', '-'):12} {entry.get('seconds', '')}", flush=True)
    chosen = {name: results.modules[name] for name in modules}
    natively = {name for name, entry in chosen.items() if entry["native"] == "passed"}
    passed = {name for name in natively if chosen[name].get("vm") == "passed"}
    missing = sorted(natively - passed)
    print(f"\n{len(modules)} modules, {len(natively)} pass natively, {len(passed)} of these in the VM")
    if arguments.native:
        return 0 if natively else 1
    if missing:
        print("not in the VM: " + " ".join(f"{name} ({chosen[name].get('vm')})" for name in missing))
        print(f"logs: {RESULTS.parent}/logs")
    if arguments.modules:
        return 1 if missing or not natively else 0
    if arguments.all:
        print_news(chosen)
    broken = sorted(set(listed_modules("expected.txt")) - passed)
    if broken:
        print("expected.txt says that these pass: " + " ".join(broken))
    return 1 if broken or len(passed) < REQUIRED else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Unavailable, subprocess.SubprocessError) as problem:
        print(f"run.py: {problem}", file=sys.stderr)
        sys.exit(1)
