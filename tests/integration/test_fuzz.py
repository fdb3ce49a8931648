"""The differential fuzzer's kept scripts, and some new ones (tests/differential/README.md)."""

import glob
import os
import subprocess
import sys

import pytest

import waiting
from waiting import SLOW

DIFFERENTIAL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "differential")
FOUND = sorted(os.path.basename(path)[: -len(".json")] for path in glob.glob(os.path.join(DIFFERENTIAL, "found", "*.json")))
SEEDS = (101, 102, 103)
# What answers as PostgreSQL does today; the rest of issue 4 joins when it is built.
STATEMENTS = "basic,errors,transactions,strings"


def expected():
    with open(os.path.join(DIFFERENTIAL, "found", "expected.txt")) as file:
        return dict(line.strip().split(": ", 1) for line in file if line.strip() and not line.startswith("#"))


def run(*arguments, seconds):
    command = [sys.executable, os.path.join(DIFFERENTIAL, "run"), "--binary", waiting.BINARY, *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds)


def replay(names):
    paths = [os.path.join(DIFFERENTIAL, "found", name + ".json") for name in names]
    return run("--replay", *paths, seconds=170 * SLOW).stdout


def test_every_expected_difference_has_its_script():
    assert set(expected()) <= set(FOUND)


def test_kept_scripts_differ_only_where_it_is_expected():
    output = replay(FOUND)
    same = {name for name in FOUND if f"{name}.json: no difference" in output}
    assert {name for name in FOUND if f"{name}.json: " in output} == set(FOUND), output
    assert set(FOUND) - same == set(expected()), output


test_kept_scripts_differ_only_where_it_is_expected.seconds = 180


@pytest.mark.parametrize("seed", SEEDS)
def test_random_scripts_are_answered_as_by_postgresql(seed):
    seconds = 300 if waiting.FULL else 12
    result = run("--seed", str(seed), "--seconds", str(seconds), "--only", STATEMENTS, "--without", "startup", "--shrink", "20",
                 seconds=seconds + 150 * SLOW)
    assert result.returncode == 0, result.stdout


test_random_scripts_are_answered_as_by_postgresql.seconds = 480
