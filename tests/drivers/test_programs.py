"""Programs of our own through real drivers: what they print is the same on PostgreSQL and through transaction mode."""

import os

import pytest

from places import HERE, PYTHON, cases, exceptions, node, same_at_both


def listed(program):
    """The cases of a program; those of exceptions.txt may fail."""
    known = exceptions(program)
    marks = lambda case: [pytest.mark.xfail(reason=known[case], strict=False)] if case in known else []
    return [pytest.param(case, marks=marks(case)) for case in cases(program)]


def program(name):
    return os.path.join(HERE, "programs", name)


@pytest.mark.parametrize("case", listed("psycopg3.py"))
def test_psycopg(direct, pooled, case):
    same_at_both(direct, pooled, [PYTHON, program("psycopg3.py"), case])


@pytest.mark.parametrize("case", listed("pg.mjs"))
def test_pg(direct, pooled, case):
    same_at_both(direct, pooled, [node(), program("pg.mjs"), case])


@pytest.mark.parametrize("case", listed("postgres_js.mjs"))
def test_postgres_js(direct, pooled, case):
    same_at_both(direct, pooled, [node(), program("postgres_js.mjs"), case])
