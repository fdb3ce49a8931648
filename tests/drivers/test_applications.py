"""Programs of ORMs and migration tools: what they print is the same on PostgreSQL and through transaction mode."""

import glob
import os
import re

import pytest

from places import HERE, PYTHON, exceptions, node, same_at_both

APPLICATIONS = os.path.join(HERE, "applications")
PROGRAMS = sorted(name for name in os.listdir(APPLICATIONS) if name.endswith((".py", ".mjs")) and name not in ("run.mjs", "prisma.config.mjs"))
# Prisma's engines are not in npm: a driver adapter and the WebAssembly builds do their work, so none is fetched.
PRISMA = {"PRISMA_SCHEMA_ENGINE_BINARY": "/bin/true", "PRISMA_QUERY_ENGINE_LIBRARY": "/bin/true", "PRISMA_QUERY_ENGINE_BINARY": "/bin/true",
          "CHECKPOINT_DISABLE": "1", "DATABASE_URL": "postgresql://localhost/prisma", "PGDATABASE": "prisma"}


def cases(program):
    """The names of a program's cases: functions case_NAME in Python, members of the object that JavaScript runs."""
    with open(os.path.join(APPLICATIONS, program)) as file:
        text = file.read()
    return re.findall(r"^(?:async )?def case_(\w+)\(", text, re.M) if program.endswith(".py") else re.findall(r"^  (\w+): \(\) =>", text, re.M)


def listed():
    """Every case of every program; those of exceptions.txt may fail."""
    for name in PROGRAMS:
        known = exceptions(name)
        for case in cases(name):
            marks = [pytest.mark.xfail(reason=known[case], strict=False)] if case in known else []
            yield pytest.param(name, case, marks=marks, id=f"{name.split('.')[0]}-{case}")


def prisma(place, *arguments):
    """Prisma's command line at a place."""
    return place.run(node(), "node_modules/prisma/build/index.js", *arguments, seconds=60, directory=APPLICATIONS, **PRISMA)


@pytest.fixture(scope="module", autouse=True)
def schemas_may_be_made(cluster):
    cluster.run("grant create on database app to alice")


@pytest.fixture
def prisma_database(cluster):
    """An empty database of its own, which Prisma wants for its first migration."""
    cluster.run("drop database if exists prisma with (force)")
    cluster.run("create database prisma owner alice")


@pytest.fixture(scope="module")
def prisma_generated(direct):
    made = prisma(direct, "generate")
    assert made.returncode == 0, made.stdout


@pytest.fixture
def prisma_client(direct, prisma_generated, prisma_database):
    """The generated client, and its tables."""
    made = prisma(direct, "migrate", "deploy")
    assert made.returncode == 0, made.stdout


@pytest.mark.parametrize("program, case", listed())
def test_application(direct, pooled, request, program, case):
    environment = {}
    if program == "prisma.mjs":
        request.getfixturevalue("prisma_client")
        environment = PRISMA
    runner = PYTHON if program.endswith(".py") else node()
    same_at_both(direct, pooled, [runner, os.path.join(APPLICATIONS, program), case], **environment)


def test_each_program_has_cases():
    assert {name: len(cases(name)) for name in PROGRAMS if not cases(name)} == {}
    assert glob.glob(os.path.join(APPLICATIONS, "node_modules", "prisma")), "scripts/bootstrap --full installs the applications' packages"


@pytest.mark.parametrize("place", ["direct", "pooled"])
def test_prisma_migrates(request, prisma_database, place):
    """`migrate deploy` takes a session advisory lock, so the same connection has to hold it all along."""
    first, again = (prisma(request.getfixturevalue(place), "migrate", order) for order in ("deploy", "status"))
    assert first.returncode == 0 and "successfully applied" in first.stdout, first.stdout
    assert again.returncode == 0 and "up to date" in again.stdout, again.stdout
