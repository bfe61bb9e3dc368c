"""A warmed CPython that serves calls, for the benchmark."""
import collections, hashlib, json, re  # what a plugin would have loaded

with open("/dev/hyperlight", "r+b", buffering=0) as host:
    lines = open(host.fileno(), "rb", closefd=False)
    for line in iter(lines.readline, b""):
        arguments = json.loads(line)["args"]
        words = collections.Counter(re.findall(r"\w+", arguments[0]))
        result = hashlib.sha256(json.dumps(words).encode()).hexdigest()
        host.write(json.dumps({"result": result}).encode() + b"\n")
