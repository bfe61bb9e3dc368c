#!/usr/bin/python3
"""Serves calls through /dev/hyperlight in frames: binary messages instead of lines of JSON."""
import os
import struct

RESULT, ERROR, HOST, CALL = 1, 2, 3, 4
WIRE_CALL, WIRE_VALUE = 1, 2
INTEGERS = {2: "<i4x", 3: "<I4x", 4: "<q", 5: "<Q"}  # i32 u32 i64 u64
STRING, BYTES = 8, 9

device = os.open("/dev/hyperlight", os.O_RDWR)
calls_served = 0


def read(size):
    data = bytearray()
    while len(data) < size:
        data += os.read(device, size - len(data))
    return bytes(data)


def write(data):
    while data:
        data = data[os.write(device, data):]


def value(data):
    """A value of this program's few types, as the wire has it."""
    if isinstance(data, int):
        return struct.pack("<B7xQ", 2, data & 0xFFFFFFFF)
    kind, payload = (STRING, data.encode()) if isinstance(data, str) else (BYTES, data)
    padding = bytes(8 - len(payload) % 8)
    return struct.pack("<B7xQ", kind, len(payload)) + payload + padding


def frame(kind, wire_kind, count, items):
    head = struct.pack("<IIQ", wire_kind, count, 16 + len(items))
    return struct.pack("<IIQ", kind, 0, 16 + len(items)) + head + items


def parse(message, at):
    """The value at an offset, and where the next one starts."""
    kind, data = struct.unpack_from("<B7xQ", message, at)
    at += 16
    if kind in INTEGERS:
        return struct.unpack_from(INTEGERS[kind], message, at - 8)[0], at
    if kind not in (STRING, BYTES):
        raise ValueError(f"a value of type {kind}")
    payload = message[at:at + data]
    return payload.decode() if kind == STRING else payload, at + (data + 8) // 8 * 8


def read_frame():
    kind, flags, size = struct.unpack("<IIQ", read(16))
    message = read(size)
    _, count, _ = struct.unpack_from("<IIQ", message)
    values, at = [], 16
    for _ in range(count + (kind == CALL)):
        item, at = parse(message, at)
        values.append(item)
    return kind, values


def host(name, *args):
    write(frame(HOST, WIRE_CALL, len(args), b"".join(map(value, (name, *args)))))
    kind, (answer,) = read_frame()
    if kind == ERROR:
        raise RuntimeError(answer)
    return answer


def count():
    global calls_served
    calls_served += 1
    return calls_served


functions = {
    "add": lambda a, b: a + b,
    "greet": lambda name: "hello, " + name,
    "shout": lambda text: host("upper", text),
    "count": count,
}
write(b'{"functions":["add","greet","shout","count"]}\n\0HLWIRE1')
while True:
    kind, (name, *args) = read_frame()
    try:
        reply = frame(RESULT, WIRE_VALUE, 1, value(functions[name](*args)))
    except Exception as error:
        reply = frame(ERROR, WIRE_VALUE, 1, value(str(error)))
    write(reply)
