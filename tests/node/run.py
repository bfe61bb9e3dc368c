#!/usr/bin/env python3
"""Runs `node -e` of this machine's nodejs package natively and in a micro VM: output and exit status must be equal.

usage: run.py [OPTION]... [node[.CASE-PATTERN]]...  (the options of tests/linux/run.py)
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "linux"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import node  # noqa: E402, F401
import runner  # noqa: E402

if __name__ == "__main__":
    sys.exit(runner.main(load=False))
