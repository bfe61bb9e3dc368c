"""`hyperlight selftest`: TAP that a harness can read."""
import json
import re

import pytest
from conftest import message

# Some tests do as much as fits into their time.
SELFTEST_S = 240


def test_prints_tap_and_passes(tool):
    result = tool("selftest", timeout=SELFTEST_S)
    version, plan, *lines = result.stdout.decode().splitlines()
    assert (result.returncode, result.stderr, version) == (0, b"", "TAP version 13")
    numbers = [int(re.fullmatch(r"ok (\d+) - \S.*", line).group(1)) for line in lines]
    assert numbers == list(range(1, int(plan.removeprefix("1..")) + 1)) and len(numbers) > 5


@pytest.mark.parametrize("driver", [["--driver", "kvm"], ["--driver=kvm"]])
def test_json_has_its_schema(tool, driver):
    result = tool("selftest", "--json", *driver, timeout=SELFTEST_S)
    report = json.loads(result.stdout)
    assert result.returncode == 0
    assert set(report) == {"version", "passed", "tests"} and report["passed"] is True
    for test in report["tests"]:
        assert test["name"] and test["passed"] is True and isinstance(test["detail"], str)


@pytest.mark.everywhere
def test_unknown_driver_is_2(tool):
    result = tool("selftest", "--driver", "abacus")
    assert result.returncode == 2
    assert "abacus" in message(result)


@pytest.mark.parametrize("arguments", [["--bogus"], ["--driver"], ["now"]])
@pytest.mark.everywhere
def test_wrong_usage_is_2(tool, arguments):
    result = tool("selftest", *arguments)
    assert (result.returncode, result.stdout) == (2, b"")
    assert "hyperlight selftest --help" in message(result)
