"""The files under /data of the trees: the same bytes wherever they are made."""
import gzip
import hashlib
import io
import os
import random
import tarfile

WORDS = ("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon phi chi psi omega "
         "Apple banana Cherry date Elderberry fig Grape honeydew quick brown fox jumps over the lazy dog").split()


def random_bytes(seed, size):
    return b"".join(hashlib.sha256(f"{seed}:{i}".encode()).digest() for i in range((size + 31) // 32))[:size]


def make_text(seed, lines):
    source = random.Random(seed)
    return "".join(" ".join(source.choice(WORDS) for _ in range(source.randrange(1, 12))) + "\n" for _ in range(lines))


def make_table(seed, lines):
    source = random.Random(seed)
    rows = (f"{source.choice(WORDS)}\t{source.randrange(-10**6, 10**6)}\t{source.random() * 1000:.3f}\t{source.choice('KMG')}"
            for _ in range(lines))
    return "\n".join(rows) + "\n"


def make_archive():
    """A tar archive with files, a folder, links, a long name and a large one."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        def add(name, content=b"", kind=tarfile.REGTYPE, target="", mode=0o644):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mode, entry.size, entry.mtime = kind, target, mode, len(content), 1_600_000_000
            archive.addfile(entry, io.BytesIO(content))
        add("pack", kind=tarfile.DIRTYPE, mode=0o755)
        add("pack/one.txt", b"one\n" * 100)
        add("pack/empty")
        add("pack/script.sh", b"#!/bin/sh\necho hello\n", mode=0o755)
        add("pack/link", kind=tarfile.SYMTYPE, target="one.txt")
        add("pack/hard", kind=tarfile.LNKTYPE, target="pack/one.txt")
        add("pack/" + "long" * 50, b"long name\n")
        add("pack/large.bin", random_bytes("archive", 300_000))
    return stream.getvalue()


def make_data(folder):
    """Writes the files."""
    tree = {
        "words.txt": make_text(1, 2000), "big.txt": make_text(2, 120_000), "table.tsv": make_table(3, 5000),
        "left.txt": "".join(f"{i} left{i % 7}\n" for i in range(1000, 1100)),
        "right.txt": "".join(f"{i} right{i % 5}\n" for i in range(1050, 1150)),
        "old.txt": make_text(4, 300), "empty": "", "no-newline": "last line has no end",
        "numbers": "".join(f"{n}\n" for n in random.Random(5).sample(range(10**6), 3000)),
        "sizes": "1K\n20M\n3G\n512\n1.5K\n7T\n", "months": "Mar\nJan\nDec\nFeb\nOct\n", "versions": "1.10\n1.9\n1.2.3\n2.0~rc1\n2.0\n",
        "dos.txt": "one\r\ntwo\r\n", "utf8.txt": "äöü ß € 日本語 🙂\nZürich\nÅngström\n", "tabs.txt": "a\tb\tc\n\tindent\n",
        "tree/a/one": "1\n", "tree/a/two.c": "int two;\n", "tree/b/three.txt": "needle here\n", "tree/b/c/four.txt": "no\nneedle\nneedle\n",
        "tree/b/c/d/five": "", "tree/.hidden": "hidden needle\n", "tree/space name": "s\n",
        "data.json": '{"name":"x","list":[1,2,3,{"deep":[true,null,1.5e3]}],"text":"\\u00e4\\n","big":12345678901234567890}\n',
        "script.sed": "s/alpha/ALPHA/g\n/beta/d\n$!N\nP\nD\n",
        "program.awk": "{ count[$1]++; sum += NF } END { for (w in count) print w, count[w] | \"sort\"; print sum }\n",
    }
    edited = tree["old.txt"].splitlines(keepends=True)
    edited[10:12] = ["replaced line\n"]
    edited.insert(100, "new line\n")
    del edited[200:205]
    tree["new.txt"] = "".join(edited)
    for name, text in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    binary = {"random.bin": random_bytes("random", 1_500_000), "small.bin": random_bytes("small", 777), "zeros": bytes(70_000),
              "archive.tar": make_archive()}
    binary["archive.tar.gz"] = gzip.compress(binary["archive.tar"], mtime=0)
    for name, content in binary.items():
        (folder / name).write_bytes(content)
    (folder / "tree/link").symlink_to("a/one")
    (folder / "tree/broken").symlink_to("nowhere")
    (folder / "tree/folder-link").symlink_to("b")
    os.link(folder / "tree/a/one", folder / "tree/a/hard")
    (folder / "tree/empty-folder").mkdir()
    (folder / "tree/a/two.c").chmod(0o600)
    (folder / "tree/b/c/d/five").chmod(0o4755)
    many = folder / "many"
    many.mkdir()
    for number in range(500):
        (many / f"file-{number:04}-{'x' * (number % 40)}").write_text(f"{number}\n" * (number % 9))
