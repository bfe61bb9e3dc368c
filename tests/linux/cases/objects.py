"""Pipes, sockets, events, epoll, and what moves bytes between them."""
from harness import case
from programs import VARIANTS
from trees import GUESTS

for variant in VARIANTS:
    case(variant, f"/programs/objects_test.{variant}", GUESTS, quick=variant != "pie")
