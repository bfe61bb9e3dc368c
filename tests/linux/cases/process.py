"""Child processes, as vfork and posix_spawn make them."""
from harness import case
from trees import PROCESSES

PARTS = ("ends", "failures", "shared", "pipes", "large", "signals", "handed", "many", "nest", "threads", "shells", "memory")

# Those that move: a child cannot lie where its parent does.
for variant in ("pie", "dynamic"):
    for part in PARTS:
        case(f"{variant}.{part}", f"/programs/process_test.{variant}", PROCESSES, environment={"ONLY": part},
             quick=variant == "dynamic")
