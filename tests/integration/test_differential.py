"""The same messages sent to PostgreSQL itself and through the pooler give the same answers.

What may differ is masked: process ids and keys, file and line of errors, the order of ParameterStatus messages that come
together. The scripts are in scripts.py; PostgreSQL's answers are asked once for each script."""

import hashlib
import struct

import pytest

from peer import Closed, Peer, Silence
from scripts import SCRIPTS

CONFIGURATIONS = [(mode, threads, 0) for mode in ("transaction", "session") for threads in (1, 4)] + [("transaction", 1, 1)]


def shown(message, compare):
    """A message as it is compared."""
    kind, body = message
    if kind == "K":
        return ("K",)
    if kind == "A":
        return ("A", body[4:])
    if kind in "EN":
        fields = message.fields
        if compare != "all" and compare != "names":
            return (kind, fields.get("S"), fields.get("C"))
        if compare == "names" and fields.get("C") == "08P01":
            return (kind, fields.get("S"), fields.get("C"))
        return (kind, tuple(sorted((name, value) for name, value in fields.items() if name not in "FL")))
    if kind == "R":
        (method,) = struct.unpack_from(">i", body)
        return ("R", "SCRAM-SHA-256") if method == 10 else ("R", method)
    if kind == "v":
        return ("v",)
    if len(body) > 300:
        return (kind, len(body), hashlib.sha256(body).hexdigest())
    return (kind, body)


def is_loss(message):
    """What session_state=reset says once a kind is meant to differ."""
    return message.type == "N" and message.fields["M"].startswith("session state ends with its transaction here")


def transcript(peer, script):
    """Runs the steps; the list of what was answered, ("closed",) and ("silence",) included."""
    answers = []

    def sort_statuses():
        """ParameterStatus messages that come together have no order."""
        start = len(answers)
        while start and answers[start - 1][0] == "S":
            start -= 1
        answers[start:] = sorted(answers[start:])

    def take(message):
        if is_loss(message):
            return
        if message.type != "S":
            sort_statuses()
        answers.append(shown(message, script.compare))

    try:
        for step in script.steps:
            if isinstance(step, bytes):
                peer.send(step)
            elif step.type == "byte":
                answers.append(("byte", peer.read_bytes(1)))
            elif step.type == "end":
                while True:
                    take(peer.read())
            else:
                count = step.count
                while count:
                    message = peer.read()
                    take(message)
                    count -= message.type == step.type
        while script.login and peer.buffer:
            if not is_loss(message := peer.read()):
                answers.append(("more", message))
    except Closed:
        answers.append(("closed",))
    except Silence:
        answers.append(("silence",))
    if script.compare == "types":
        return [answer[0] for answer in answers]
    if script.compare == "closes":
        return answers[-1:]
    if script.compare == "ends":
        return ends(answers)
    return answers


def ends(answers):
    """For what breaks the protocol: that it ends, and that an error, if one is told, is of the protocol's class. PostgreSQL
    is silent about some of these; the pooler says 08P01 where it can."""
    assert answers and answers[-1] == ("closed",), answers
    others = [answer for answer in answers[:-1] if answer[0] != "E"]
    errors = [answer for answer in answers[:-1] if answer[0] == "E"]
    assert len(errors) <= 1, answers
    allowed = ("08P01", "0A000", "28000", "28P01", "22000")
    assert all(code in allowed for _, _, code in errors), errors
    return [other for other in others if other[0] != "byte"] + ["closed"]


def prepare(cluster):
    cluster.run("truncate copied, written")


def run(make_peer, script):
    peer = make_peer()
    try:
        return transcript(peer, script)
    finally:
        peer.close()


@pytest.fixture(scope="module")
def reference(cluster):
    """PostgreSQL's own answers, by script."""
    known = {}

    def ask(script):
        if script.expected is not None:
            return script.expected
        if script.name not in known:
            prepare(cluster)

            def make_peer():
                peer = Peer(("127.0.0.1", cluster.port), 10)
                return peer.login("alice", "alice-secret", "app") if script.login else peer

            known[script.name] = run(make_peer, script)
            assert "silence" not in known[script.name] and ("silence",) not in known[script.name]
        return known[script.name]

    return ask


@pytest.fixture(scope="module")
def pooler_for(shared_pooler, certificates):
    """One pooler for each mode and number of threads."""
    poolers = {}

    def get(mode, threads, cache=0):
        if (mode, threads, cache) not in poolers:
            poolers[mode, threads, cache] = shared_pooler(
                pool_mode=mode, worker_threads=threads, default_pool_size=4, max_prepared_statements=100, cache_unnamed_statements=cache,
                track_extra_parameters="IntervalStyle", client_tls_sslmode="allow",
                client_tls_cert_file=certificates.certificate("server"), client_tls_key_file=certificates.key("server"))
        return poolers[mode, threads, cache]

    return get


@pytest.mark.parametrize("mode, threads, cache", CONFIGURATIONS,
                         ids=[f"{mode}-{threads}" + ("-shared texts" if cache else "") for mode, threads, cache in CONFIGURATIONS])
@pytest.mark.parametrize("script", SCRIPTS, ids=[script.name for script in SCRIPTS])
def test_answers_are_those_of_postgresql(script, mode, threads, cache, reference, pooler_for, cluster):
    if mode not in script.modes:
        pytest.skip(f"needs one session: {mode} mode has none")
    expected = reference(script)
    pooler = pooler_for(mode, threads, cache)
    prepare(cluster)
    answers = run(lambda: pooler.peer(timeout=5) if script.login else pooler.open(timeout=5), script)
    assert answers == expected


def test_login_tells_what_postgresql_tells(cluster, pooler_for):
    with Peer(("127.0.0.1", cluster.port)) as direct:
        direct.login("alice", "alice-secret", "app", application_name="it", TimeZone="Asia/Tokyo", DateStyle="German, DMY")
    with pooler_for("transaction", 4).peer(application_name="it", TimeZone="Asia/Tokyo", DateStyle="German, DMY") as pooled:
        assert pooled.parameters == direct.parameters


def test_there_are_enough_scripts():
    assert len(SCRIPTS) >= 60


