"""The own test suites of lib/pq, pgconn and pgx, from Debian's source packages: a test that passes on PostgreSQL passes through
transaction mode. Each test is a process of its own, so that one that hangs or panics takes no other with it."""

import os
import subprocess

import pytest

from places import exceptions

SOURCES = "/usr/share/gocode/src"
SUITES = {"pq": "github.com/lib/pq", "pgconn": "github.com/jackc/pgconn", "pgx": "github.com/jackc/pgx/v4", "pgxpool": "github.com/jackc/pgx/v4/pgxpool"}
GO = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "-vet=off", "GOPROXY": "off"}


def build(directory, suite):
    """The suite's tests as a program."""
    program = os.path.join(directory, suite + ".test")
    if not os.path.exists(program):
        subprocess.run(["go", "test", "-c", "-o", program, SUITES[suite]], check=True,
                       env={**os.environ, **GO, "GOCACHE": os.path.join(directory, "go-cache")})
    return program


def passes(place, program, test, directory):
    """Whether a test passes at a place, and what it said. A skipped test does not."""
    try:
        done = place.run(program, "-test.v", "-test.run", f"^{test}$", seconds=8, directory=directory, PGX_TEST_DATABASE="dbname=app",
                         PGX_TEST_CONN_STRING="dbname=app")
    except subprocess.TimeoutExpired:
        return False, "hangs"
    return done.returncode == 0 and f"--- PASS: {test}" in done.stdout, done.stdout[-1500:]


def compare(direct, new_pooled, directory, suite):
    """Names of all tests, of those that pass at both places, and what those said that pass on PostgreSQL alone."""
    program, sources = build(directory, suite), os.path.join(SOURCES, SUITES[suite])
    listed = direct.run(program, "-test.list", "^Test", directory=sources).stdout
    tests, passed, failed = [line for line in listed.split() if line.startswith("Test")], [], {}
    for test in tests:
        if not passes(direct, program, test, sources)[0]:
            continue
        pooled = new_pooled(ignore_startup_parameters="extra_float_digits")  # lib/pq always sends it
        good, said = passes(pooled, program, test, sources)
        pooled.pooler.stop()
        if good:
            passed.append(test)
        else:
            failed[test] = said
    return tests, passed, failed


@pytest.mark.parametrize("suite", list(SUITES))
def test_what_passes_on_postgresql_passes_through_the_pool(direct, new_pooled, directory, suite):
    known = exceptions(suite)
    tests, passed, failed = compare(direct, new_pooled, directory, suite)
    print(f"{suite}: {len(tests)} tests, {len(passed)} pass at both, fail through the pool: {sorted(failed)}; "
          f"listed and pass: {sorted(set(known) & set(passed))}")
    assert len(passed) >= len(tests) // 2
    unknown = {test: said for test, said in failed.items() if test not in known}
    assert not unknown, "\n".join(f"{test}:\n{said}" for test, said in unknown.items())


test_what_passes_on_postgresql_passes_through_the_pool.seconds = 900
