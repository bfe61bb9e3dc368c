#!/usr/bin/env python3
"""Keeps the documents true as far as a program can: usage: check.py CC TOOL

The listings of the README are the files of examples/hello; every other C listing compiles; every symbol, file, link,
option, task of ./dev, and fuzz target that a document names exists; the README's limits are those of the headers;
docs/drivers.md has every entry of a driver's table, every capability and every driver.
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRELUDE = "#include <hyperlight/hyperlight.h>\n#include <stdio.h>\n#include <string.h>\n"
SOURCE_FOLDERS = ["include", "src", "guest", "tests/fuzz", "tests/doubles", "tests/conformance"]
BUILD_FILES = ["dev", "CMakeLists.txt", "tests/CMakeLists.txt"]
problems = []


def complain(document, what):
    problems.append(f"{document.relative_to(ROOT)}: {what}")


def documents():
    names = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
    return [ROOT / name for name in names] + sorted((ROOT / "docs").glob("*.md"))


def listings(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def check_readme(document, text):
    blocks = listings(text, "c")
    for name in ["guest.c", "host.c"]:
        if (ROOT / "examples/hello" / name).read_text() not in blocks:
            complain(document, f"has no listing that equals examples/hello/{name}")
    if len(blocks) != 2:
        complain(document, f"has {len(blocks)} C listings instead of the guest and the host")


def check_listings(document, text, compiler):
    """Blocks of a document compile, each alone."""
    for number, block in enumerate(listings(text, "c"), 1):
        with tempfile.NamedTemporaryFile("w", suffix=".c") as source:
            source.write(block if "#include <hyperlight" in block else PRELUDE + block)
            source.flush()
            command = [compiler, "-std=c11", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function",
                       "-Wno-unused-variable", f"-I{ROOT}/include", source.name]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            complain(document, f"listing {number} does not compile:\n{result.stderr}")


def known_words():
    words = set()
    for folder in SOURCE_FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".c", ".h", ".S"}:
                words |= set(re.findall(r"\w+", path.read_text(errors="replace")))
    # The list of statuses has their names without the prefix.
    header = (ROOT / "include/hyperlight/error.h").read_text()
    return words | {f"HL_{name}" for name in re.findall(r"X\((\w+), \d+", header)}


def check_symbols(document, text, words, macros):
    for symbol in sorted(set(re.findall(r"\b(?:hl_\w+|HL_\w+)", text))):
        placeholder = symbol.endswith("_") or "noun" in symbol
        if symbol not in words and symbol not in macros and not placeholder:
            complain(document, f"names {symbol}, which does not exist")


def check_files(document, text):
    """Files in backticks, from the root of the project."""
    pattern = r"`((?:include|src|guest|cli|tests|examples|docs|cmake|packaging)/[\w./*-]+)`"
    for path in sorted(set(re.findall(pattern, text))):
        if not path.endswith("/NAME") and "NAME" not in path and not list(ROOT.glob(path.rstrip("/"))):
            complain(document, f"names the file {path}, which does not exist")


def anchors(path):
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def check_links(document, text):
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in link:
            continue
        file, _, anchor = re.sub(r"\s+", " ", link).partition("#")
        target = (document.parent / file).resolve() if file else document
        if not target.exists():
            complain(document, f"links to {file}, which does not exist")
        elif anchor and anchor not in anchors(target):
            complain(document, f"links to {link}, where no such heading is")


def check_dev(document, text):
    front_door = (ROOT / "dev").read_text()
    for task in sorted(set(re.findall(r"\./dev ([a-z]+)", text))):
        if f"task_{task}()" not in front_door:
            complain(document, f"names ./dev {task}, which does not exist")


def tool_help(tool, *verb):
    return subprocess.run([tool, *verb, "--help"], capture_output=True, text=True, check=False).stdout


def check_tool(document, text, tool):
    lines = re.findall(r"(?:^|`)(?:build/bin/)?hyperlight ([a-z]+)([^`#\n]*)", text, re.M)
    for verb, arguments in lines:
        if not re.search(rf"^  {verb} ", tool_help(tool), re.M):
            complain(document, f"names hyperlight {verb}, which does not exist")
            continue
        for option in re.findall(r"(?<!\S)--[a-z-]+", arguments):
            if option not in tool_help(tool, verb):
                complain(document, f"names hyperlight {verb} {option}, which does not exist")


def check_fuzz_targets(document, text):
    for target in sorted(set(re.findall(r"\bfuzz_[a-z]+", text))):
        if not (ROOT / f"tests/fuzz/{target}.c").exists():
            complain(document, f"names the fuzz target {target}, which does not exist")


def check_limits(document, text):
    """Defaults in the README's table of limits, against the headers."""
    header = (ROOT / "include/hyperlight/sandbox.h").read_text()
    expected = {"memory_size": ("64 MiB", r"HL_MEMORY_SIZE_DEFAULT \(UINT64_C\(64\) << 20\)"),
                "timeout_ns": ("10 s", r"HL_TIMEOUT_NS_DEFAULT UINT64_C\(10000000000\)"),
                "start_timeout_ns": ("10 s", r"HL_TIMEOUT_NS_DEFAULT UINT64_C\(10000000000\)"),
                "request_size_max": ("64 MiB", r"HL_TRANSFER_SIZE_DEFAULT \(UINT64_C\(64\) << 20\)"),
                "reply_size_max": ("64 MiB", r"HL_TRANSFER_SIZE_DEFAULT \(UINT64_C\(64\) << 20\)"),
                "output_size_max": ("64 MiB", r"HL_OUTPUT_SIZE_DEFAULT \(UINT64_C\(64\) << 20\)"),
                "capacity": ("1 MiB", r"HL_CAPTURE_SIZE_DEFAULT 1048576"),
                "host_calls_max": ("1,000,000", r"HL_HOST_CALLS_DEFAULT UINT64_C\(1000000\)")}
    for option, (default, definition) in expected.items():
        if not re.search(rf"^\| `{option}`[^|]*\| {default} \|", text, re.M):
            complain(document, f"does not say that the default of {option} is {default}")
        if not re.search(definition, header):
            complain(document, f"says that the default of {option} is {default}; sandbox.h has another")


def check_drivers(document, text):
    """The page about drivers, against the contract, the registry and the public header."""
    table = (ROOT / "src/driver/driver.h").read_text().partition("typedef struct hl__driver {")[2].partition("} hl__driver;")[0]
    entries = re.findall(r"\(\*(\w+)\)\(", table) + re.findall(r"^    (?:bool|size_t|const char \*) ?(\w+)", table, re.M)
    registry = re.findall(r"hl__(\w+)_driver\b", (ROOT / "src/driver/registry.c").read_text())
    capabilities = re.findall(r"#define (HL_CAPABILITY_\w+)", (ROOT / "include/hyperlight/driver.h").read_text())
    for name in sorted(set(entries) | set(registry) | set(capabilities)):
        if f"`{name}`" not in text:
            complain(document, f"does not have `{name}`")


def check_tests(document, text):
    """Self-tests that the table of what is not shown names, in its last column."""
    known = set()
    for path in (ROOT / "src/driver").glob("selftest_*.c"):
        known |= set(re.findall(r'^    \{"([\w-]+)", test_', path.read_text(), re.M))
    section = text.partition("| Not shown |")[2].partition("\n\n")[0]
    for row in re.findall(r"^\|.*", section, re.M):
        for name in re.findall(r"`([\w-]+)`", row.split("|")[3]):
            if name not in known:
                complain(document, f"names the self-test {name}, which does not exist")


def main():
    compiler, tool = sys.argv[1:]
    words = known_words()
    macros = set()
    for name in BUILD_FILES:
        macros |= set(re.findall(r"\b(?:HL_|hl_)\w+", (ROOT / name).read_text()))
    for document in documents():
        text = document.read_text()
        check_symbols(document, text, words, macros)
        check_files(document, text)
        check_links(document, text)
        check_dev(document, text)
        check_tool(document, text, tool)
        check_fuzz_targets(document, text)
        if document.name == "README.md":
            check_readme(document, text)
            check_limits(document, text)
        if document.name == "drivers.md":
            check_drivers(document, text)
        if document.name == "platforms.md":
            check_tests(document, text)
        check_listings(document, text, compiler)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
