"""The command line: runs programs natively and in a micro VM over the same root tree and compares: output, errors and exit status must be equal.

usage: run.py [OPTION]... [GROUP[.CASE-PATTERN]]...
"""
import argparse
import concurrent.futures
import fnmatch
import importlib
import os
import pathlib
import sys
import time

import harness

HERE = pathlib.Path(__file__).parent


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("selection", nargs="*", help="GROUP or GROUP.PATTERN; all if there is none")
    parser.add_argument("--quick", action="store_true", help="only the quick cases")
    parser.add_argument("--native", action="store_true", help="no VM: run natively twice, which checks the cases themselves")
    parser.add_argument("--show", action="store_true", help="print what the native run gives")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--jobs", "-j", type=int, default=1)
    parser.add_argument("--keep-known", action="store_true", help="known failures count as failures")
    parser.add_argument("--verbose", "-v", action="store_true", help="print each case's time")
    return parser.parse_args()


def known_failures():
    """{case: reason}; see known.txt."""
    known = {}
    for line in (HERE / "known.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, reason = line.partition(" ")
            known[name] = reason.strip()
    return known


def selected(cases, selection):
    def matches(case):
        return not selection or any(case.group == word or fnmatch.fnmatchcase(case.name, word) for word in selection)
    return [case for case in cases if matches(case)]


def main(load=True):
    """`load`: the cases are those of cases/; otherwise the caller has added them."""
    arguments = parse_arguments()
    for file in sorted((HERE / "cases").glob("*.py")) if load else ():
        importlib.import_module(f"cases.{file.stem}")
    cases = selected(harness.CASES, arguments.selection)
    if arguments.quick:
        cases = [case for case in cases if case.quick]
    if arguments.list:
        print("\n".join(case.name for case in cases))
        return 0
    if not cases:
        print("run.py: no case is selected", file=sys.stderr)
        return 2
    if arguments.show:
        for case in cases:
            print(f"--- {case.name}\n{harness.show(case)}")
        return 0
    if not arguments.native and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("run.py: skipped: there is no /dev/kvm")
        return 77
    known = {} if arguments.keep_known else known_failures()
    counts = {"passed": 0, "failed": 0, "known": 0, "unavailable": 0}
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for case, problem, seconds in pool.map(lambda case: harness.compare(case, arguments.native), cases):
            if isinstance(problem, harness.Unavailable):
                counts["unavailable"] += 1
                print(f"UNAVAILABLE {case.name}: {problem}", flush=True)
            elif problem and case.name in known:
                counts["known"] += 1
                print(f"known {case.name}: {known[case.name]}", flush=True)
            elif problem:
                counts["failed"] += 1
                print(f"FAILED {case.name} ({seconds:.1f} s)\n{problem}".encode(errors="replace").decode(), flush=True)
            elif case.name in known and not arguments.native:
                counts["failed"] += 1
                print(f"FAILED {case.name}: passes, but known.txt says that it fails: remove the line", flush=True)
            else:
                counts["passed"] += 1
                if arguments.verbose:
                    print(f"ok {case.name} ({seconds:.2f} s)", flush=True)
    print(", ".join(f"{count} {name}" for name, count in counts.items()), f"in {time.monotonic() - started:.0f} s")
    return 1 if counts["failed"] or counts["unavailable"] or counts["passed"] == 0 else 0
