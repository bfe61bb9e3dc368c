#!/usr/bin/env python3
"""Runs the listings in `sh` of the documents, each document's in a folder of its own: usage: commands.py TOOL

Each command must succeed; one with a comment "prints: TEXT" must print that.
"""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ["README.md", "docs/languages.md", "docs/linux.md"]


def run(document, listing, folder, environment):
    """The problem, or None."""
    result = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", listing], cwd=folder, env=environment, capture_output=True, text=True, timeout=100)
    if result.returncode != 0:
        return f"{document}: exit status {result.returncode}:\n{listing}{result.stderr}"
    printed = result.stdout.splitlines()
    missing = [text for text in re.findall(r"# prints: (.*)", listing) if text not in printed]
    return f"{document}: does not print {missing}, but:\n{result.stdout}{result.stderr}" if missing else None


def main():
    tool = Path(sys.argv[1]).resolve()
    environment = {**os.environ, "PATH": f"{tool.parent}:/usr/local/bin:/usr/bin:/bin"}
    problems = []
    for document in DOCUMENTS:
        listings = re.findall(r"^```sh\n(.*?)^```$", (ROOT / document).read_text(), re.M | re.S)
        if not listings:
            problems.append(f"{document}: has no listing in sh")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "examples").symlink_to(ROOT / "examples")
            problems += filter(None, (run(document, listing, folder, environment) for listing in listings))
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
