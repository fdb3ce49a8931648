"""All interleavings of two clients' writes on a pool of one server: each is answered as by PostgreSQL, on a connection of its own.

Each pair of shapes is played three times: with texts that the pool has never seen, with texts that its server holds, and with the
other client's write sent while it has to wait. It uses what the differential fuzzer plays its scripts with."""

import itertools
import os
import sys

import pytest

import waiting

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "differential"))

from script import Script, dump  # noqa: E402
from stage import Postgres, Stage  # noqa: E402

RUN = [["B", "", "s", []], ["E", "", 0]]
COPY = "copy written{c} from stdin"
EXTENDED_COPY = [["P", "", COPY], ["B", "", "", []], ["E", "", 0]]
ROW = ["d", "1\tof {c}\n"]
QUERY = ["Q", "select 'query {u} of {c}'"]
SYNC = ["S"]
# Name: the writes of a client, each a list of messages. {c}: its number; {u}: what makes a text one that nobody has seen.
SHAPES = {
    "queries": [[QUERY, QUERY], [QUERY]],
    "a transaction": [[["Q", "begin"]], [QUERY], [["Q", "commit"]]],
    "a failed transaction": [[["Q", "begin"], ["Q", "selec"]], [QUERY, ["Q", "rollback"]]],
    "several statements": [[["Q", "select 1; begin; select 2"]], [["Q", "select 3; commit; select 4"]]],
    "a named statement": [[["P", "s", "select {u}"], SYNC], [*RUN, SYNC], [*RUN, SYNC]],
    "a named statement in pieces": [[["P", "s", "select {u}"]], RUN, [SYNC, *RUN, SYNC]],
    "a pipeline": [[["P", "s", "select {u}"], SYNC, *RUN, SYNC, *RUN, SYNC], [*RUN, SYNC, QUERY]],
    "an unnamed statement": [[["P", "", "select {u}"], SYNC], [["D", "S", ""], ["B", "", "", []], ["E", "", 0], SYNC]],
    "Flush": [[["P", "", "select {u}"], ["B", "", "", []], ["E", "", 0], ["H"]], [SYNC, QUERY]],
    "Describe and Close": [[["P", "s", "select {u}"], ["D", "S", "s"], SYNC], [["C", "S", "s"], ["P", "s", "select {u}, 2"], *RUN, SYNC]],
    "a name in use": [[["P", "s", "select {u}"], SYNC], [["P", "s", "select {u}, 2"], SYNC, *RUN, SYNC]],
    "a name that was skipped": [[["P", "", "selec"], ["P", "s", "select {u}"], SYNC], [*RUN, SYNC, ["P", "s", "select {u}"], *RUN, SYNC]],
    "an error before its Sync": [[["P", "s", "select 1/0 + {u}"], *RUN], [*RUN, SYNC, QUERY]],
    "portals": [[["Q", "begin"], ["P", "s", "select n from numbers where n < 5 -- {u}"], ["B", "p", "s", []], ["E", "p", 2], SYNC],
                [["E", "p", 0], SYNC, ["Q", "commit"], ["E", "p", 0], SYNC]],
    "COPY that ends": [[["Q", COPY]], [ROW, ["c"], QUERY]],
    "COPY in one write": [[["Q", COPY], ROW, ["c"], QUERY], [QUERY]],
    "COPY that its client fails": [[["Q", COPY], ROW], [["f", "no"], QUERY]],
    "COPY with a bad row": [[["Q", COPY], ["d", "no number\n"]], [ROW, ["c"], QUERY]],
    "extended COPY": [[*EXTENDED_COPY, SYNC], [ROW, ["c"], SYNC, QUERY]],
    "extended COPY that fails": [[*EXTENDED_COPY], [["d", "no number\n"], ["c"], SYNC], [QUERY]],
    "COPY that does not begin": [[["Q", "copy nowhere from stdin"], ROW, ["c"]], [QUERY]],
    "COPY OUT": [[["Q", "copy numbers to stdout"]], [["P", "", "copy numbers to stdout"], ["B", "", "", []], ["E", "", 0], SYNC, QUERY]],
}
PAIRS = list(itertools.combinations_with_replacement(SHAPES, 2))
VARIANTS = ("unknown", "known", "with a waiter")


@pytest.fixture(scope="module")
def stage():
    postgres = Postgres()
    try:
        stage = Stage(postgres.cluster, postgres.directory, 0, sizes=(1,), options={"max_prepared_statements": 200})
        try:
            yield stage
        finally:
            stage.destroy()
    finally:
        postgres.destroy()


def written(writes, client, unique):
    """The shape's writes as this client's steps."""
    def filled(value):
        if isinstance(value, str):
            return value.replace("{c}", str(client)).replace("{u}", str(unique))
        return [filled(one) for one in value] if isinstance(value, list) else value

    return [(client, filled(messages)) for messages in writes]


def interleavings(first, second):
    for places in itertools.combinations(range(len(first) + len(second)), len(first)):
        left, right = iter(first), iter(second)
        yield [next(left) if place in places else next(right) for place in range(len(first) + len(second))]


def scripts_of(first, variant):
    """Those of this shape with each that stands behind it. Without --full every fourth of them, the same ones each time."""
    number = 0
    for pair in PAIRS:
        if pair[0] != first:
            continue
        for order in interleavings(*(written(SHAPES[shape], client, "{u}") for client, shape in zip((1, 2), pair))):
            number += 1
            if waiting.FULL or (number + VARIANTS.index(variant)) % 4 == 0:
                unique = number * 100 + list(SHAPES).index(first) if variant == "unknown" else 7
                steps = [step for client, messages in order for step in written([messages], client, unique)]
                yield Script(steps, racing=variant == "with a waiter", note=" and ".join(pair))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("first", list(SHAPES))
def test_every_interleaving_is_answered_as_by_postgresql(stage, first, variant):
    for script in scripts_of(first, variant):
        found = stage.differs(script, strict=True)
        if found:
            stage.restart()
        assert not found, f"{script.note}: {found}\n{dump(script)}"


test_every_interleaving_is_answered_as_by_postgresql.seconds = 240
