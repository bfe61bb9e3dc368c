"""Memory: guards, protections, remaps, reservations, file mappings, code."""
from harness import case
from programs import VARIANTS
from trees import GUESTS

for variant in VARIANTS:
    case(variant, f"/programs/memory_test.{variant}", GUESTS, memory="512M", timeout=120, quick=variant != "pie")
