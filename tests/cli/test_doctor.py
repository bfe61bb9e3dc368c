"""`hyperlight doctor`: what this machine can do."""
import json
import os
import platform

import pytest
from conftest import message

DRIVER = {"name": str, "usable": bool, "status": str, "detail": str, "virtualization": str,
          "syscall_stays_in_user_mode": bool, "api_version": int, "tsc_khz": int, "vcpus_max": int,
          "memory_slots_max": int, "capabilities": list}
MACHINE = {"system": str, "kernel": str, "architecture": str, "processor": dict, "memory_total": int,
           "memory_available": int, "descriptors_max": int, "devices": dict}
PROCESSOR = {"model": str, "vmx": bool, "svm": bool, "smep": bool, "smap": bool, "umip": bool,
             "fsgsbase": bool, "virtual": bool}


def has_shape(value, shape):
    return {name: type(member) for name, member in value.items()} == shape


@pytest.mark.everywhere
def test_json_has_its_schema(tool):
    result = tool("doctor", "--json")
    findings = json.loads(result.stdout)
    assert set(findings) == {"version", "usable", "machine", "drivers"}
    assert has_shape(findings["machine"], MACHINE)
    assert has_shape(findings["machine"]["processor"], PROCESSOR)
    assert findings["drivers"] and all(has_shape(driver, DRIVER) for driver in findings["drivers"])
    assert findings["usable"] == any(driver["usable"] for driver in findings["drivers"])
    assert result.returncode == (0 if findings["usable"] else 1)


def test_json_is_about_this_machine(tool):
    machine = json.loads(tool("doctor", "--json").stdout)["machine"]
    assert machine["kernel"] == platform.release()
    assert machine["architecture"] == platform.machine()
    assert 0 < machine["memory_available"] <= machine["memory_total"]
    for path in ("/dev/kvm", "/dev/mshv"):
        assert machine["devices"][path] == "missing" or os.path.exists(path)


@pytest.mark.everywhere
def test_usable_driver_says_what_it_is(tool):
    drivers = [driver for driver in json.loads(tool("doctor", "--json").stdout)["drivers"] if driver["usable"]]
    assert drivers, "no hypervisor ran these tests"
    for driver in drivers:
        assert driver["status"] == "HL_OK"
        assert driver["virtualization"] in ("hardware", "page-table")
        assert driver["detail"]


def test_text_names_each_subject(tool):
    result = tool("doctor")
    text = result.stdout.decode()
    assert result.returncode == 0 and result.stderr == b""
    for word in ("Machine", "Hypervisors", "/dev/kvm", "processor", "kernel", "memory", "descriptors", "kvm"):
        assert word in text
    assert "Programs run here" in text


@pytest.mark.everywhere
def test_wrong_usage_is_2(tool):
    assert tool("doctor", "--bogus").returncode == 2
    assert tool("doctor", "me").returncode == 2


def test_user_without_permission_is_told_what_to_do(tool):
    if os.geteuid() != 0 or os.stat("/dev/kvm").st_mode & 0o006 == 0o006:
        pytest.skip("needs root, to be somebody else, and a device that not everybody may use")
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    try:
        doctor, run = tool("doctor", **nobody), tool("run", "/bin/true", **nobody)
    except PermissionError:
        pytest.skip("the build is in a folder that is private to root")
    assert doctor.returncode == 1
    assert b"usermod" in doctor.stdout and b"cannot run here" in doctor.stdout
    assert run.returncode == 125
    assert "/dev/kvm" in message(run)
