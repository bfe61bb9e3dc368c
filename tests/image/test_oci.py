"""Images of OCI layouts, as directories and tars, and of what docker save writes; made here."""
import gzip
import hashlib
import io
import json
import os
import stat
import subprocess
import tarfile

import pytest

from test_archives import add


def layer(*members):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for member in members:
            add(tar, member[0], member[1] if len(member) > 1 else b"", **(member[2] if len(member) > 2 else {}))
    return data.getvalue()


FOLDER = {"type": tarfile.DIRTYPE, "mode": 0o755}
PROGRAM = {"mode": 0o755}


class Layout:
    """An OCI layout in a directory."""

    def __init__(self, path):
        self.path = path
        (path / "blobs/sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        (self.path / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def json(self, value, media_type):
        return self.blob(json.dumps(value).encode(), media_type)

    def manifest(self, layers, config=None, machine="amd64"):
        config = self.json({"architecture": machine, "os": "linux", "config": config or {}},
                           "application/vnd.oci.image.config.v1+json")
        layers = [self.blob(data, "application/vnd.oci.image.layer.v1.tar") for data in layers]
        return {**self.json({"schemaVersion": 2, "config": config, "layers": layers},
                            "application/vnd.oci.image.manifest.v1+json"),
                "platform": {"architecture": machine, "os": "linux"}}

    def index(self, *manifests):
        (self.path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))
        return self.path

    def tar(self, target, *options):
        subprocess.run(["tar", "-cf", target, "-C", self.path, *options, "."], check=True)
        return target


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "layout")


def test_layers_and_whiteouts(layout, create):
    lower = layer(("etc/a", b"1"), ("etc/b", b"1"), ("opt", b"", FOLDER), ("opt/old", b"1"), ("opt/sub/x", b"1"),
                  ("gone/deep/f", b"1"), ("kept/f", b"1"), ("file", b"1"), ("swap/f", b"1"))
    upper = layer(("etc/.wh.a",), ("etc/b", b"22"), ("opt/sub/new", b"2"), ("opt/.wh..wh..opq",), ("opt/late", b"2"),
                  (".wh.gone",), ("gone2", b"2"), ("file", b"", FOLDER), ("file/in", b"2"), ("swap", b"2"))
    image = create(layout.index(layout.manifest([lower, gzip.compress(upper)])))
    files = {path: node.data for path, node in image.nodes.items() if node.kind == stat.S_IFREG}
    assert files == {"/etc/b": b"22", "/opt/sub/new": b"2", "/opt/late": b"2", "/kept/f": b"1", "/gone2": b"2",
                     "/file/in": b"2", "/swap": b"2"}


def test_whiteout_hides_lower_layers_only(layout, create):
    image = create(layout.index(layout.manifest([layer(("a", b"1"), ("d/x", b"1")),
                                                 layer(("a", b"2"), (".wh.a",), (".wh.d",), ("d/y", b"2"))])))
    assert image["/a"].data == b"2" and "/d/x" not in image.nodes and image["/d/y"].data == b"2"


def test_hidden_contents_are_gone(layout, create):
    secret = os.urandom(100000)
    image = create(layout.index(layout.manifest([layer(("secret", secret), ("other", b"o" * 9000)), layer((".wh.secret",))])))
    assert secret[:32] not in image.bytes and image["/other"].data == b"o" * 9000


def test_configuration(layout, create):
    files = layer(("usr/bin/tool", b"#!", PROGRAM), ("bin", b"", {"type": tarfile.SYMTYPE, "linkname": "usr/bin"}))
    config = {"Entrypoint": ["tool", "-x"], "Cmd": ["a b", ""], "Env": ["PATH=/nowhere:/bin", "A=é"], "WorkingDir": "/srv"}
    image = create(layout.index(layout.manifest([files], config)))
    assert image.arguments == ["/bin/tool", "-x", "a b", ""]
    assert image.environment == ["PATH=/nowhere:/bin", "A=é"]
    assert image.directory == ["/srv"]


@pytest.mark.parametrize("options", [[], ["--gzip"], ["--transform=s,^\\./,,"]], ids=["tar", "gzip", "plain names"])
def test_layout_in_a_tar(layout, create, tmp_path, options):
    layout.index(layout.manifest([layer(("a", b"1")), gzip.compress(layer(("b", b"2")))], {"Cmd": ["/a"]}))
    image = create(layout.tar(tmp_path / "tar", *options))
    assert image.paths() == ["/", "/a", "/b"] and image.arguments == ["/a"]


def test_docker_save(create, tmp_path):
    path = tmp_path / "saved.tar"
    name = "0123456789abcdef" * 4
    manifest = [{"Config": f"{name}.json", "RepoTags": ["x:latest"], "Layers": [f"{name}/layer.tar"]}]
    with tarfile.open(path, "w") as tar:
        add(tar, name, b"", **FOLDER)
        add(tar, f"{name}/VERSION", b"1.0")
        add(tar, f"{name}/json", b"{}")
        add(tar, f"{name}/layer.tar", layer(("hello", b"hi")))
        add(tar, f"{name}.json", json.dumps({"architecture": "amd64", "config": {"Cmd": ["/hello"]}}).encode())
        add(tar, "manifest.json", json.dumps(manifest).encode())
        add(tar, "repositories", b"{}")
    image = create(path)
    assert image.paths() == ["/", "/hello"] and image.arguments == ["/hello"]


def test_the_right_machine_is_chosen(layout, create):
    arm = layout.manifest([layer(("arm", b""))], machine="arm64")
    amd = layout.manifest([layer(("amd", b""))])
    unknown = {**layout.json({}, "application/vnd.oci.image.manifest.v1+json"),
               "platform": {"architecture": "unknown", "os": "unknown"}}
    nested = layout.json({"schemaVersion": 2, "manifests": [arm, amd, unknown]}, "application/vnd.oci.image.index.v1+json")
    assert create(layout.index(nested)).paths() == ["/", "/amd"]


def test_other_machines_are_refused(layout, refuse):
    assert "amd64" in refuse(layout.index(layout.manifest([], machine="arm64")))


def test_several_images_are_refused(layout, refuse):
    one, two = layout.manifest([layer(("1",))]), layout.manifest([layer(("2",))])
    assert "holds 2 images" in refuse(layout.index(one, two))


@pytest.mark.parametrize("which", ["layer", "config", "manifest"])
def test_damaged_blobs(layout, refuse, tmp_path, which):
    manifest = layout.manifest([layer(("a", b"data"))])
    body = json.loads((layout.path / "blobs/sha256" / manifest["digest"][7:]).read_text())
    digest = {"layer": body["layers"][0], "config": body["config"], "manifest": manifest}[which]["digest"][7:]
    blob = layout.path / "blobs/sha256" / digest
    data = blob.read_bytes()
    blob.write_bytes(data.replace(b"data", b"dada") if which == "layer" else data + b" ")
    layout.index(manifest)
    assert f"'blobs/sha256/{digest}'" in refuse(layout.path)
    assert f"'blobs/sha256/{digest}'" in refuse(layout.tar(tmp_path / "tar"))


def test_missing_blob(layout, refuse, tmp_path):
    manifest = layout.manifest([layer(("a", b"1"))])
    body = json.loads((layout.path / "blobs/sha256" / manifest["digest"][7:]).read_text())
    (layout.path / "blobs/sha256" / body["layers"][0]["digest"][7:]).unlink()
    layout.index(manifest)
    assert body["layers"][0]["digest"][7:] in refuse(layout.path)
    assert body["layers"][0]["digest"][7:] in refuse(layout.tar(tmp_path / "tar"))


@pytest.mark.parametrize("digest", ["sha256:../../../../etc/passwd", "sha512:" + "0" * 128, "sha256:" + "A" * 64, "", None, 5])
def test_strange_digests(layout, refuse, digest):
    assert "no SHA-256 digest" in refuse(layout.index({"digest": digest, "size": 1}))


def test_blobs_are_no_links(layout, refuse, tmp_path):
    manifest = layout.manifest([])
    blob = layout.path / "blobs/sha256" / manifest["digest"][7:]
    blob.rename(tmp_path / "elsewhere")
    blob.symlink_to(tmp_path / "elsewhere")
    assert "symbolic links" in refuse(layout.index(manifest))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"manifests": {}}', '{"manifests": [1]}', '{"manifests": [{}]}',
                                  '{"a": 1, "a": 2}', "[" * 100000, '{"manifests": [' + "{}," * 100000 + "{}]}"],
                         ids=lambda text: text[:20] or "empty")
def test_strange_indexes(layout, refuse, text):
    (layout.path / "index.json").write_text(text)
    assert refuse(layout.path)


def test_indexes_in_indexes_end(layout, refuse):
    descriptor = layout.manifest([])
    for _ in range(10):
        descriptor = layout.json({"manifests": [descriptor]}, "application/vnd.oci.image.index.v1+json")
    assert "indexes in indexes" in refuse(layout.index(descriptor))


def test_artifacts_are_refused(layout, refuse):
    config = layout.json({}, "application/vnd.oci.empty.v1+json")
    data = layout.blob(b"x", "application/wasm")
    manifest = layout.json({"config": config, "layers": [data]}, "application/vnd.oci.image.manifest.v1+json")
    assert "application/wasm" in refuse(layout.index(manifest))
