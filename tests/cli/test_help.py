"""Help, version, completion and man pages."""
import re
import subprocess

import pytest
from conftest import message

VERBS = ["run", "call", "doctor", "selftest"]
LINUX_VERBS = ["image", "pack"]  # the others are everywhere


@pytest.mark.everywhere
def test_version(tool, repository):
    header = (repository / "include/hyperlight/base.h").read_text()
    version = re.search(r'HL_VERSION_STRING "(.*)"', header).group(1)
    result = tool("--version")
    assert (result.returncode, result.stdout.decode()) == (0, f"hyperlight {version}\n")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"]])
@pytest.mark.everywhere
def test_help_lists_the_verbs(tool, arguments):
    result = tool(*arguments)
    assert (result.returncode, result.stderr) == (0, b"")
    for verb in VERBS:
        assert f"\n  {verb} " in result.stdout.decode()


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.everywhere
def test_help_of_a_verb(tool, verb):
    results = [tool(verb, "--help"), tool(verb, "-h"), tool("help", verb)]
    for result in results:
        assert (result.returncode, result.stderr) == (0, b"")
        assert result.stdout == results[0].stdout
    text = results[0].stdout.decode()
    assert text.startswith(f"Usage: hyperlight {verb} ") and "Exit status" in text
    assert max(map(len, text.splitlines())) <= 90


@pytest.mark.parametrize("arguments", [[], ["walk"], ["--bogus"], ["help", "walk"]])
@pytest.mark.everywhere
def test_unknown_verb_gets_a_hint(tool, arguments):
    result = tool(*arguments)
    assert (result.returncode, result.stdout) == (2, b"")
    assert "hyperlight --help" in message(result)


def test_program_in_place_of_a_verb_gets_a_hint(tool):
    assert "hyperlight run /bin/sh" in message(tool("/bin/sh"))


@pytest.mark.parametrize("verb", VERBS + LINUX_VERBS)
def test_man_page_has_every_option(tool, repository, verb):
    options = set(re.findall(r"--[a-z-]+", tool(verb, "--help").stdout.decode()))
    page = (repository / f"docs/man/hyperlight-{verb}.1").read_text()
    documented = {"-" + option.replace("\\", "") for option in re.findall(r"(?:Fl |, )\\(-[a-z\\-]+)", page)}
    assert options <= documented, options - documented


@pytest.mark.parametrize("page", ["hyperlight", *(f"hyperlight-{verb}" for verb in VERBS + LINUX_VERBS)])
def test_man_page_is_well_formed(repository, page):
    path = repository / f"docs/man/{page}.1"
    result = subprocess.run(["mandoc", "-Tlint", "-Wwarning", path], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.fixture
def complete(tool, repository):
    """complete("run", "--m"): what the shell offers for the last word."""
    script = repository / "cli/completion/hyperlight.bash"

    def ask(*words):
        program = ('source "$1"; COMP_WORDS=("${@:2}"); COMP_CWORD=$(($# - 2)); _hyperlight;'
                   ' printf "%s\\n" "${COMPREPLY[@]}"')
        result = subprocess.run(["bash", "-c", program, "bash", script, tool.path, *words], capture_output=True,
                                text=True, cwd=repository, timeout=30)
        assert result.stderr == ""
        return result.stdout.split()

    return ask


def test_completion_is_valid_bash(repository):
    script = repository / "cli/completion/hyperlight.bash"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    loaded = subprocess.run(["bash", "-c", f"source {script} && complete -p hyperlight"], capture_output=True, text=True)
    assert "-F _hyperlight hyperlight" in loaded.stdout


def test_completion_offers_verbs_options_values_and_files(complete):
    assert set(VERBS) <= set(complete(""))
    assert complete("ru") == ["run"]
    assert complete("run", "--mem") == ["--memory"]
    assert complete("run", "--log", "de") == ["debug"]
    assert complete("run", "--log", "=", "de") == ["debug"]
    assert complete("run", "--stats", "CMakeL") == ["CMakeLists.txt"]
    assert complete("run", "prog", "CMakeL") == ["CMakeLists.txt"]
    assert complete("run", "prog", "--mem") == []
    assert complete("call", "--li") == ["--list"]
    assert complete("selftest", "--driver", "kv") == ["kvm"]


@pytest.mark.parametrize("verb", VERBS)
def test_completion_has_every_option(tool, complete, verb):
    options = set(re.findall(r"^ +(?:-h, )?(--[a-z-]+)", tool(verb, "--help").stdout.decode(), re.MULTILINE))
    assert options == set(complete(verb, "--"))
