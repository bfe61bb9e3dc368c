"""Files: positions, holes, names, links, folders, locks, devices."""
from harness import case
from programs import VARIANTS
from trees import GUESTS

for variant in VARIANTS:
    case(variant, f"/programs/files_test.{variant}", GUESTS, quick=variant != "pie")
