"""Where a program runs: a PostgreSQL, or pgweir in front of it. A program learns the place from libpq's environment variables,
prints what it got, and must print the same at both places."""

import difflib
import glob
import os
import re
import subprocess

from waiting import SLOW

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = "/usr/bin/python3"


class Place:
    def __init__(self, name, port, authority, pooler=None):
        self.name, self.port, self.pooler = name, port, pooler
        self.environment = {
            "PGHOST": "localhost", "PGPORT": str(port), "PGUSER": "alice", "PGPASSWORD": "alice-secret", "PGDATABASE": "app",
            "PGSSLMODE": "verify-full", "PGSSLROOTCERT": authority, "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "NODE_NO_WARNINGS": "1",
        }

    def run(self, *command, seconds=25, directory=HERE, **environment):
        """The finished process of a command, stdout and stderr in one."""
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL,
                              timeout=seconds * SLOW, cwd=directory, env={**os.environ, **self.environment, **environment})


def node():
    """Node in the pinned version."""
    found = glob.glob(os.path.join(HERE, "node_modules", "node-linux-*", "bin", "node"))
    assert found, "scripts/bootstrap installs the npm packages of tests/drivers"
    return found[0]


def cases(program):
    """The names of a program's cases: its functions case_NAME, in Python or JavaScript."""
    with open(os.path.join(HERE, "programs", program)) as file:
        return re.findall(r"^(?:async )?(?:def|function) case_(\w+)\(", file.read(), re.M)


def exceptions(group):
    """What is known to differ, and why: the lines "GROUP TEST REASON" of exceptions.txt."""
    with open(os.path.join(HERE, "exceptions.txt")) as file:
        lines = [line.split(None, 2) for line in file if line.strip() and not line.startswith("#")]
    return {test: reason.strip() for name, test, reason in lines if name == group}


def same_at_both(direct, pooled, command, **environment):
    """Runs a command at both places: it has to succeed at the first, and to print the same at the second."""
    expected = direct.run(*command, **environment)
    assert expected.returncode == 0, f"fails on PostgreSQL itself:\n{expected.stdout[-4000:]}"
    got = pooled.run(*command, **environment)
    difference = difflib.unified_diff(expected.stdout.splitlines(), got.stdout.splitlines(), direct.name, pooled.name, n=1, lineterm="")
    difference = "\n".join(line[:600] for line in difference)
    assert not difference, f"prints something else:\n{difference[-6000:]}"
    assert got.returncode == 0
