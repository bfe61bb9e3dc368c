"""execve: one program after the other in the same process."""
from harness import case
from programs import VARIANTS
from trees import GUESTS

for variant in VARIANTS:
    case(variant, f"/programs/exec_test.{variant}", GUESTS, status=3, quick=variant != "pie")
