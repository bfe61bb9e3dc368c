"""Programs in C, C++, Rust and Go."""
from harness import case
from programs import COMPILERS, VARIANTS
from trees import CPP, GO, GUESTS, RUST

for variant in VARIANTS:
    case(f"c.{variant}", ["/programs/hello." + variant, "one", "two words"], GUESTS, stdin="x\ny\n", status=2)
for suffix, tree, status in ((".cpp", CPP, 9), (".rs", RUST, 5), (".go", GO, 4)):
    for variant in COMPILERS[suffix]:
        case(f"{tree.name}.{variant}", [f"/programs/standard.{variant}"], tree, stdin="one\ntwo\nthree\n" * 100, status=status)
