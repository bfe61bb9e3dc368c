#!/usr/bin/env python3
"""Makes the table of system calls in docs/linux.md from the code: usage: linux_table.py [--write]

The lists stand in guest/shim/*/syscalls.h, the names of all system calls in guest/shim/entry/syscall_names.h. Without
--write, fails if the document's table is another one.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/linux.md"
START, END = "<!-- table: tests/docs/linux_table.py --write -->\n", "<!-- end of table -->\n"


def literals(text, macros):
    """The value of string literals and macros that stand side by side."""
    parts = re.findall(r'"((?:[^"\\]|\\.)*)"|(\w+)', text)
    return "".join(string or macros[name] for string, name in parts)


def listed_calls():
    """number -> (name, status, remark)"""
    calls = {}
    for path in sorted((ROOT / "guest/shim").glob("*/syscalls.h")):
        text = re.sub(r"/\*.*?\*/", " ", path.read_text(), flags=re.S).replace("\\\n", "")
        macros = dict(re.findall(r'#define (\w+) "((?:[^"\\]|\\.)*)"', text))
        entry = r'\b(DONE|PARTIAL|REFUSED)\((\d+), (\w+)((?:[^()"]|"(?:[^"\\]|\\.)*")*)\)'
        for kind, number, name, rest in re.findall(entry, text):
            rest = rest.removeprefix(",").strip()
            error = ""
            if kind == "REFUSED":
                error, rest = (part.strip() for part in rest.split(",", 1))
            if int(number) in calls:
                sys.exit(f"{path}: {name} ({number}) is listed twice")
            calls[int(number)] = (name, kind, error, literals(rest, macros) if rest else "")
    return calls


def all_names():
    text = (ROOT / "guest/shim/entry/syscall_names.h").read_text()
    return {int(number): name for number, name in re.findall(r"NAME\((\d+), (\w+)\)", text)}


def row(number, name, call):
    if call is None:
        return f"| {number} | `{name}` | refused | `ENOSYS` |\n"
    _, kind, error, remark = call
    if kind == "DONE":
        return f"| {number} | `{name}` | done | |\n"
    if kind == "PARTIAL":
        return f"| {number} | `{name}` | partial | {remark} |\n"
    return f"| {number} | `{name}` | refused | `{error}`: {remark} |\n"


def table():
    calls, names = listed_calls(), all_names()
    wrong = [f"{number} is {call[0]} in its list and {names.get(number)} among the names"
             for number, call in calls.items() if names.get(number) != call[0]]
    if wrong:
        sys.exit("\n".join(wrong))
    head = "| | system call | | |\n| ---: | --- | --- | --- |\n"
    return head + "".join(row(number, name, calls.get(number)) for number, name in sorted(names.items()))


def main():
    text = DOCUMENT.read_text()
    before, rest = text.split(START)
    old, after = rest.split(END)
    if sys.argv[1:] == ["--write"]:
        DOCUMENT.write_text(before + START + table() + END + after)
    elif old != table():
        sys.exit("docs/linux.md: its table is not what the code says; run tests/docs/linux_table.py --write")


if __name__ == "__main__":
    main()
