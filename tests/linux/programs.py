"""Programs that are compiled for the tests, by the compilers of this machine: those of guests/ are built by CMake, those of
sources/ here, once for each content."""
import hashlib
import os
import pathlib
import shutil
import subprocess

from tree import BUILD, CACHE, Unavailable

HERE = pathlib.Path(__file__).parent
GUESTS = BUILD / "tests" / "linux"
VARIANTS = ("static", "pie", "dynamic", "musl")

# {suffix of the source: {name of the variant: command without -o and source}}
COMPILERS = {
    ".cpp": {"dynamic": ["g++", "-O2", "-std=c++17", "-pthread"], "static": ["g++", "-O2", "-std=c++17", "-pthread", "-static"]},
    ".rs": {"dynamic": ["rustc", "-O", "--edition=2021"],
            "static": ["rustc", "-O", "--edition=2021", "-C", "target-feature=+crt-static", "-C", "panic=unwind"]},
    ".go": {"static": ["go", "build"]},
}


def compiled(source, variant):
    """The path of the program."""
    command = COMPILERS[source.suffix][variant]
    if not shutil.which(command[0]):
        raise Unavailable(f"{command[0]} is not installed")
    key = hashlib.sha256(source.read_bytes() + repr(command).encode()).hexdigest()[:16]
    path = CACHE / "programs" / f"{source.stem}.{variant}.{key}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
        result = subprocess.run([*command, "-o", path, source], capture_output=True, text=True, env=environment, cwd=path.parent)
        if result.returncode != 0:
            raise Unavailable(f"{source.name} cannot be compiled: {result.stderr[:2000]}")
    return path


def built_guests():
    """{path in the tree: path here}"""
    return {f"/programs/{source.stem}.{variant}": GUESTS / f"{source.stem}.{variant}"
            for source in sorted((HERE / "guests").glob("*.c")) for variant in VARIANTS}


def built_sources(suffix):
    """The same of the programs in sources/ in one language."""
    return {f"/programs/{source.stem}.{variant}": compiled(source, variant)
            for source in sorted((HERE / "sources").glob(f"*{suffix}")) for variant in COMPILERS[suffix]}
