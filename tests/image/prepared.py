"""Reads prepared images by what hyperlight/abi/image.h says, and holds them against it. Shares nothing with the writer."""
import dataclasses
import stat
import struct

PAGE = 4096
HEAD = struct.Struct("<QIIQ14Q")
INODE = struct.Struct("<IIIIqIIQQII")
ENTRY = struct.Struct("<IHHI")
REWRITE = struct.Struct("<QIIQQQQQ")
MAGIC = 0x31474d494c48


@dataclasses.dataclass
class Node:
    number: int
    mode: int
    uid: int
    gid: int
    links: int
    modified: tuple
    parent: int
    size: int
    offset: int
    rewrite: int
    data: bytes = b""
    target: str = ""

    @property
    def kind(self):
        return stat.S_IFMT(self.mode)


class Image:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = file.read()
        magic, version, flags, size, *ranges = HEAD.unpack_from(self.bytes)
        assert (magic, version, flags) == (MAGIC, 1, 0)
        assert size == len(self.bytes) and size % PAGE == 0
        assert not any(self.bytes[HEAD.size:PAGE])
        pairs = list(zip(ranges[::2], ranges[1::2]))
        self.inodes, self.entries, self.names, self.rewrites = pairs[:4]
        self.arguments, self.environment, self.directory = (self._strings(*pair) for pair in pairs[4:])
        for (offset, count), width in zip(pairs, [INODE.size, ENTRY.size, 1, REWRITE.size, 1, 1, 1]):
            assert offset % 8 == 0 and offset + count * width <= size
        self.nodes = {}
        self.links = {}
        self._walk(1, 1, "/")
        assert len({node.number for node in self.nodes.values()}) == self.inodes[1] - 1
        for node in self.nodes.values():
            if node.kind != stat.S_IFDIR:
                assert node.links == self.links[node.number]

    def _strings(self, offset, size):
        text = self.bytes[offset:offset + size]
        assert not text or text.endswith(b"\0")
        return [part.decode() for part in text.split(b"\0")[:-1]]

    def _name(self, offset, size):
        assert offset + size <= self.names[1]
        start = self.names[0] + offset
        return self.bytes[start:start + size].decode(errors="surrogateescape")

    def _node(self, number):
        assert 0 < number < self.inodes[1]
        mode, uid, gid, links, seconds, fraction, parent, size, data, rewrite, reserved = \
            INODE.unpack_from(self.bytes, self.inodes[0] + INODE.size * number)
        assert reserved == 0 and fraction < 1000000000 and rewrite <= self.rewrites[1]
        node = Node(number, mode, uid, gid, links, (seconds, fraction), parent, size, data, rewrite)
        if node.kind == stat.S_IFREG and size:
            self._check_contents(data, size)
            node.data = self.bytes[data:data + size]
        elif node.kind == stat.S_IFLNK:
            node.target = self._name(data, size)
        return node

    def _check_contents(self, offset, size):
        assert PAGE <= offset and offset + size <= len(self.bytes)
        if size < 2048:
            assert offset % 16 == 0 and offset // PAGE == (offset + size - 1) // PAGE
        else:
            assert offset % PAGE == 0
            end = offset + size
            assert not any(self.bytes[end:-(-end // PAGE) * PAGE])

    def _walk(self, number, parent, path):
        node = self._node(number)
        self.nodes[path] = node
        self.links[number] = self.links.get(number, 0) + 1
        if node.kind != stat.S_IFDIR:
            return
        assert node.parent == parent and self.links[number] == 1
        assert node.offset + node.size <= self.entries[1]
        before, folders = None, 0
        for index in range(node.offset, node.offset + node.size):
            name, name_size, reserved, child = ENTRY.unpack_from(self.bytes, self.entries[0] + ENTRY.size * index)
            raw = self.bytes[self.names[0] + name:self.names[0] + name + name_size]
            assert reserved == 0 and 0 < name_size <= 255 and b"/" not in raw and raw not in (b".", b"..")
            assert before is None or before < raw
            before = raw
            inner = path.rstrip("/") + "/" + self._name(name, name_size)
            self._walk(child, number, inner)
            folders += self.nodes[inner].kind == stat.S_IFDIR
        assert node.links == 2 + folders

    def paths(self):
        return sorted(self.nodes)

    def __getitem__(self, path):
        return self.nodes[path]
