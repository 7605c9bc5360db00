"""What all commands of ``python -m fq`` share: help with an example, the version, a pipe that is read no further."""

import re
import subprocess
import sys

import pytest

import fq
from fq import __main__ as main

COMMANDS = [["--help"], ["info"], ["demo", "--help"], ["gradcheck", "--type", "float32"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_reader_that_goes_away_is_no_error_message(command):
    process = subprocess.Popen(
        [sys.executable, "-m", "fq", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    process.stdout.close()
    _, told = process.communicate(timeout=60)
    assert told == b""
    assert process.returncode == 1 or "--help" in command  # argparse passes over it where output is not buffered


def test_a_closed_output_is_no_error_message():
    code = "import sys; sys.stdout = None; from fq.__main__ import main; sys.exit(main(['info']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def helped(capsys, *command):
    with pytest.raises(SystemExit) as ended:
        main.main([*command, "--help"])
    assert ended.value.code == 0
    return " ".join(capsys.readouterr().out.split())


def test_every_help_says_what_the_command_does_and_gives_an_example(capsys):
    names = [one.__name__.removeprefix("_add_") for one in main._COMMANDS]
    assert len(names) >= 5
    listed = helped(capsys)
    for name in names:
        found = helped(capsys, name)
        (told, example) = re.search(r"\] ?(?:\S+ )*?([A-Z][^\[\]]*\.) .*example: python -m fq (.*)$", found).groups()
        assert len(told) > 30
        assert example.split()[0] == name
        assert f" {name} " in listed


def test_the_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"fq {fq.__version__}\n"
