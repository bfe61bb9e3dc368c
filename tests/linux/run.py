#!/usr/bin/env python3
"""Runs the cases of cases/: see runner.py."""
import sys

import runner

if __name__ == "__main__":
    sys.exit(runner.main())
