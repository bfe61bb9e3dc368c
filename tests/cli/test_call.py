"""`hyperlight call`: JSON in, JSON out."""
import base64
import json
import math
import signal
import subprocess
import time

import pytest
from conftest import PATIENCE_S, message
from guests import HELLO, PLUGIN

LATE_S = 5


@pytest.fixture
def plugin(compile_guest):
    return compile_guest(PLUGIN)


SAME = ["null", "true", "false", "0", "-1", "2147483647", "-2147483648", "2147483648", "-9223372036854775808",
        "9223372036854775807", "9223372036854775808", "18446744073709551615", "0.5", "-0.0", "1e+300", "2.0", "0.1",
        '""', '"text"', '"ünïcödé ✓ 😀"', '"a\\u0000b"', '"\\"\\\\\\n\\u0007"', "[]", "[1,[2,[3,[]]],null]", "{}",
        '{"b":1,"a":{"c":[true]}}', '{"$bytes":""}', '{"$bytes":"aGVsbG8="}', '{"$f64":"nan"}', '{"$f64":"inf"}',
        '{"$f32":"-inf"}', '{"$map":{"$x":1}}']


@pytest.mark.parametrize("text", SAME)
@pytest.mark.everywhere
def test_value_comes_back_as_it_was(tool, plugin, text):
    result = tool("call", plugin, "echo", text)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode() == text + "\n"


TYPES = [("null", "null"), ("true", "bool"), ("1", "i32"), ("-2147483648", "i32"), ("2147483648", "i64"),
         ("-2147483649", "i64"), ("9223372036854775807", "i64"), ("9223372036854775808", "u64"), ("1.0", "f64"),
         ('{"$i32": 5}', "i32"), ('{"$u32": 4294967295}', "u32"), ('{"$i64": 5}', "i64"), ('{"$u64": 5}', "u64"),
         ('{"$u64": "18446744073709551615"}', "u64"), ('{"$f32": 1}', "f32"), ('{"$f64": 1}', "f64"),
         ('"x"', "string"), ('{"$bytes": "eA=="}', "bytes"), ("[]", "list"), ('{"a": 1}', "map"),
         ('{"$map": {"$i32": 1}}', "map")]


@pytest.mark.parametrize("text,name", TYPES)
def test_type_of_an_argument(tool, plugin, text, name):
    assert json.loads(tool("call", plugin, "type", text).stdout) == name


def test_f32_is_printed_with_its_own_digits(tool, plugin):
    assert tool("call", plugin, "echo", '{"$f32": 0.1}').stdout == b"0.1\n"


def test_terminal_controls_in_results_are_escaped(tool, plugin):
    text = "\x1b[31m\x7f\x9b"
    output = tool("call", plugin, "echo", json.dumps(text)).stdout
    assert json.loads(output) == text
    assert not set(output) & {0x1b, 0x7f, 0x9b}


@pytest.mark.everywhere
def test_several_arguments(tool, plugin):
    assert tool("call", plugin, "add", "2", "40").stdout == b"42\n"
    assert tool("call", plugin, "list").stdout == b"[]\n"
    assert json.loads(tool("call", plugin, "list", *map(str, range(64))).stdout) == list(range(64))


def test_large_bytes(tool, plugin):
    data = bytes(range(256)) * 256
    text = json.dumps({"$bytes": base64.b64encode(data).decode()}, separators=(",", ":"))
    assert tool("call", plugin, "echo", text).stdout.decode() == text + "\n"


BAD = [("hello", "quotes"), ("", "quotes"), ("[1", "not valid JSON"), ('"a', "not valid JSON"),
       ('"\\ud800"', "not valid JSON"), ('"\\udc00\\ud800"', "not valid JSON"), ('{"a":1,"a":2}', "duplicate"),
       ("1 2", "not valid JSON"), ("NaN", "quotes"), ("1e999", "too large"), ("18446744073709551616", "too large"),
       ('{"$i32": 2147483648}', "range of i32"), ('{"$u32": -1}', "range of u32"), ('{"$u64": -1}', "range of u64"),
       ('{"$i64": "9223372036854775808"}', "range of i64"), ('{"$f64": "many"}', "$f64"), ('{"$bytes": "a"}', "base64"),
       ('{"$bytes": "a==="}', "base64"), ('{"$bytes": 5}', "base64"), ('{"$what": 5}', "not a type")]


@pytest.mark.parametrize("text,words", BAD)
def test_bad_argument_is_named(tool, plugin, text, words):
    result = tool("call", plugin, "list", "1", text)
    assert (result.returncode, result.stdout) == (125, b"")
    assert "argument 2" in message(result) and words in message(result)


def test_argument_that_is_not_utf8(tool, plugin):
    result = subprocess.run([tool.path, "call", plugin, "echo", b'"\xff"'], capture_output=True)
    assert result.returncode == 125
    assert "argument 1" in message(result)


@pytest.mark.everywhere
def test_too_deep_and_too_many_arguments(tool, plugin):
    deep = tool("call", plugin, "echo", "[" * 40 + "]" * 40)
    assert deep.returncode == 125 and message(deep)
    many = tool("call", plugin, "list", *["1"] * 65)
    assert many.returncode == 125 and "64" in message(many)


@pytest.mark.everywhere
def test_unknown_function(tool, plugin):
    result = tool("call", plugin, "nowhere")
    assert (result.returncode, result.stdout) == (125, b"")
    assert "nowhere" in message(result) and "echo" in message(result)


@pytest.mark.everywhere
def test_wrong_arguments_say_what_was_expected(tool, plugin):
    count = tool("call", plugin, "add", "1")
    kind = tool("call", plugin, "add", "1", '"2"')
    assert count.returncode == kind.returncode == 125
    assert "add" in message(count) and "add" in message(kind)
    assert "i32" in message(kind) and "string" in message(kind)


@pytest.mark.everywhere
def test_guest_error_is_1_and_escaped(tool, plugin):
    result = tool("call", plugin, "fail")
    assert (result.returncode, result.stdout) == (1, b"")
    assert "cannot do" in message(result)


@pytest.mark.everywhere
def test_guest_output_goes_to_stderr(tool, plugin):
    result = tool("call", plugin, "speak")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"true\n", b"on stdout\n")


@pytest.mark.parametrize("kind,status", [("0", 1), ("1", 134), ("2", 139)])
@pytest.mark.everywhere
def test_guest_that_dies_in_a_call(tool, plugin, kind, status):
    result = tool("call", plugin, "misbehave", kind)
    assert (result.returncode, result.stdout) == (status, b"")
    message(result)


@pytest.mark.everywhere
def test_deadline_is_124(tool, plugin):
    start = time.monotonic()
    result = tool("call", "--timeout", "300ms", plugin, "misbehave", "3")
    assert result.returncode == 124
    assert time.monotonic() - start < LATE_S


def test_ctrl_c_is_130(tool, plugin):
    process = tool.start("call", "--timeout", "none", plugin, "misbehave", "3")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.wait(LATE_S) == 130


@pytest.mark.everywhere
def test_list_prints_the_functions(tool, plugin):
    result = tool("call", "--list", plugin)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode().split() == ["echo", "list", "type", "fail", "speak", "misbehave", "add"]


@pytest.mark.everywhere
def test_program_that_serves_no_calls(tool, compile_guest):
    program = compile_guest(HELLO)
    listed, called = tool("call", "--list", program), tool("call", program, "f")
    assert listed.returncode == 125 and b"serves no calls" in listed.stderr
    assert called.returncode in (1, 125) and called.stdout == b""


@pytest.mark.everywhere
def test_stats(tool, plugin):
    result = tool("call", "--stats", plugin, "add", "1", "2")
    assert result.stdout == b"3\n"
    assert "1 to the guest" in message(result)


@pytest.mark.parametrize("arguments,words", [([], "no program"), (["p"], "no function"),
                                             (["--list", "p", "f"], "--list"), (["--bogus"], "unknown option")])
@pytest.mark.everywhere
def test_wrong_usage(tool, arguments, words):
    result = tool("call", *arguments)
    assert (result.returncode, result.stdout) == (125, b"")
    assert words in message(result)


@pytest.mark.everywhere
def test_missing_program(tool, tmp_path):
    result = tool("call", tmp_path / "nowhere", "f")
    assert result.returncode == 125 and "nowhere" in message(result)


@pytest.mark.everywhere
def test_floats_survive(tool, plugin):
    numbers = [math.pi, 1 / 3, 5e-324, 1.7976931348623157e308, 123456789.123456789]
    assert json.loads(tool("call", plugin, "echo", json.dumps(numbers)).stdout) == numbers


def test_full_disk_is_reported(tool, plugin):
    with open("/dev/full", "wb") as full:
        result = subprocess.run([tool.path, "call", plugin, "add", "1", "2"], stdout=full,
                                stderr=subprocess.PIPE, timeout=PATIENCE_S)
    assert result.returncode == 125
    assert "No space left" in message(result)
