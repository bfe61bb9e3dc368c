"""Signals: handlers, masks, faults, stacks, timers, interrupted calls."""
from harness import case
from programs import VARIANTS
from trees import GUESTS

for variant in VARIANTS:
    case(variant, f"/programs/signals_test.{variant}", GUESTS, status=138, quick=variant != "pie")
    case(f"astray.{variant}", f"/programs/astray_test.{variant}", GUESTS, status=139, quick=variant != "pie")
