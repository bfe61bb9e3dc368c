#!/usr/bin/env python3
"""Makes the list of CPython's test modules in docs/linux.md from tests/python: usage: python_modules.py [--write]

Without --write, fails if the document's list is another one.
"""
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/linux.md"
START, END = "<!-- list: tests/docs/python_modules.py --write -->\n", "<!-- end of list -->\n"


def lines(name):
    text = (ROOT / "tests/python" / name).read_text()
    return [line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#")]


def section():
    passing = [line[0] for line in lines("expected.txt")]
    failing = lines("failing.txt")
    for line in failing:
        if len(line) != 2:
            sys.exit(f"failing.txt: {line[0]} has no reason")
        if line[0] in passing:
            sys.exit(f"{line[0]} is in expected.txt and in failing.txt")
    head = (f"{len(passing)} modules pass in a VM (tests/python/expected.txt). These {len(failing)} pass natively and not in a VM:\n\n"
            "| module | reason |\n| --- | --- |\n")
    return head + "".join(f"| `{name}` | {reason} |\n" for name, reason in sorted(failing))


def main():
    before, rest = DOCUMENT.read_text().split(START)
    old, after = rest.split(END)
    if sys.argv[1:] == ["--write"]:
        DOCUMENT.write_text(before + START + section() + END + after)
    elif old != section():
        sys.exit("docs/linux.md: its list of Python's modules is another one; run tests/docs/python_modules.py --write")


if __name__ == "__main__":
    main()
