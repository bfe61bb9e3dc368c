"""Threads: 1000 of them, locks, futexes, ends, signals, time."""
from harness import case
from programs import VARIANTS
from trees import GUESTS

for variant in VARIANTS:
    case(variant, f"/programs/thread_test.{variant}", GUESTS, status=6, timeout=120, quick=variant != "pie")
