"""The trees that the cases run in."""
from programs import built_guests, built_sources
from tree import Tree

BASE = Tree("base", packages=[
    "coreutils", "findutils", "grep", "sed", "tar", "gzip", "bzip2", "bc", "dc", "lua5.4", "mawk", "gawk", "dash", "diffutils",
    "jq", "sqlite3", "perl-base", "perl-modules-5.36", "libperl5.36", "xz-utils", "zstd", "openssl", "file", "libmagic-mgc", "bsdextrautils", "xxd", "libc-bin",
], files=["/usr/bin/busybox"])

# glibc loads it where a thread ends early.
GCC = "/lib/x86_64-linux-gnu/libgcc_s.so.1"

PYTHON = Tree("python", packages=["coreutils", "dash", "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib"], files=[GCC],
              compile_python="/usr/bin/python3.11")

# What was compiled here: see programs.py.
GUESTS = Tree("guests", files=[GCC], made=built_guests, data=False)
# Programs that run others.
PROCESSES = Tree("processes", packages=["dash", "coreutils"], files=[GCC], made=built_guests, data=False)
CPP, RUST, GO = (Tree(suffix, made=lambda suffix=suffix: built_sources("." + suffix), data=False) for suffix in ("cpp", "rs", "go"))
