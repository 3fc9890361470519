"""What a program prints, where nobody can read it, and in encodings that lack something."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import user_environment

PROGRAM = """
import os, sys, warnings
from trackml.cli import run_program
from trackml.console import console, print_table, table_of_texts

def program():
    for number in range(20_000):
        print("line", number)
    warnings.warn("to stderr")
    print_table(console(), table_of_texts("é", ["score", "name"], [["0.5 ± 0.1", "a…中"]]))
    print("a file name: \\udcff")
    handle = os.open("done", os.O_CREAT | os.O_WRONLY)
    os.write(handle, b"%d" % handle)

run_program(program, [])
"""


def said(
    shell: str, folder: Path, program: str = PROGRAM, **variables: str
) -> "subprocess.CompletedProcess[bytes]":
    (folder / "program.py").write_text(program, encoding="utf-8")
    return subprocess.run(
        ["bash", "-c", shell, "bash", sys.executable, "program.py"],
        cwd=folder,
        env=user_environment() | variables,
        capture_output=True,
        check=False,
    )


def test_an_answer_that_is_lost_is_an_error_but_a_reader_may_leave(tmp_path: Path) -> None:
    program = "from trackml.process.streams import accept_all_output, write_output\n"
    program += "accept_all_output()\nwrite_output('answer\\n' * 100_000)\n"
    for shell, code in {
        '"$@" >/dev/full': 1,
        '"$@" | head -1; exit ${PIPESTATUS[0]}': 0,
        '"$@"': 0,
    }.items():
        assert said(shell, tmp_path, program).returncode == code


@pytest.mark.parametrize(
    "shell",
    [
        '"$@" | head -1; exit ${PIPESTATUS[0]}',
        '"$@" 2>&1 | true; exit ${PIPESTATUS[0]}',
        '"$@" >/dev/full',
        '"$@" 2>/dev/full',
        '"$@" >/dev/full 2>&1',
        '"$@" >&-',
        '"$@" 2>&-',
        '"$@" <&-',
        '"$@" <&- >&- 2>&-',
    ],
)
def test_a_program_goes_on_where_nobody_reads_its_output(shell: str, tmp_path: Path) -> None:
    assert said(shell, tmp_path).returncode == 0
    assert int((tmp_path / "done").read_text()) > 2  # not what stdout or stderr would write into


@pytest.mark.parametrize(
    ("variables", "table"),
    [
        ({"PYTHONIOENCODING": "ascii"}, b"| 0.5 +/- 0.1 | a...? |"),
        ({"PYTHONIOENCODING": "latin-1"}, b"| 0.5 \xb1 0.1 | a...? |"),
        (
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            b"| 0.5 +/- 0.1 | a...? |",
        ),
        ({"PYTHONIOENCODING": "utf-8"}, "│ 0.5 ± 0.1 │ a…中 │".encode()),
        ({"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}, "│ 0.5 ± 0.1 │ a…中 │".encode()),
    ],
)
def test_what_an_encoding_lacks_is_readable(
    variables: dict[str, str], table: bytes, tmp_path: Path
) -> None:
    result = said('"$@"', tmp_path, **variables)
    assert result.returncode == 0
    assert table in result.stdout
    assert b"a file name: ?\n" in result.stdout
    assert result.stdout.count(b"\n") > 20_000
    assert b"UserWarning: to stderr" in result.stderr


def test_output_that_does_not_block_is_complete(tmp_path: Path) -> None:
    """As a terminal is after another program has set it so."""
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    process = subprocess.Popen(
        [sys.executable, "program.py"], cwd=tmp_path, env=user_environment(), stdout=theirs
    )
    os.close(theirs)
    with os.fdopen(ours) as output:
        lines = output.read().splitlines()
    assert process.wait() == 0
    assert lines[:20_000] == [f"line {number}" for number in range(20_000)]
