"""Resource limits."""
from harness import case
from programs import VARIANTS
from trees import GUESTS

for variant in VARIANTS:
    case(variant, f"/programs/limits_test.{variant}", GUESTS, status=153, quick=variant != "pie")
