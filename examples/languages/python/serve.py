#!/usr/bin/python3
"""Serves calls through /dev/hyperlight: one line of JSON for a call, one for its reply."""
import json

requests = open("/dev/hyperlight", "rb")
replies = open("/dev/hyperlight", "wb")
calls_served = 0


def say(message):
    replies.write(json.dumps(message).encode() + b"\n")
    replies.flush()


def host(name, *args):
    """Calls a function of the host application."""
    say({"host": name, "args": args})
    answer = json.loads(requests.readline())
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer["result"]


def add(a, b):
    return a + b


def greet(name):
    return f"hello, {name}"


def shout(text):
    return host("upper", text)


def count():
    global calls_served
    calls_served += 1
    return calls_served


functions = {f.__name__: f for f in (add, greet, shout, count)}
say({"functions": list(functions)})
for line in iter(requests.readline, b""):
    call = json.loads(line)
    try:
        say({"result": functions[call["call"]](*call["args"])})
    except Exception as error:
        say({"error": str(error)})
