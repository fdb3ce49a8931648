"""What may differ between PostgreSQL's answers and the pool's, and nothing else (README.md lists it)."""

import re

# A client's own statement names that begin as pgweir's do: pgweir never sends them to a server.
OUR_PREFIX = re.compile(r'(prepared statement )"PGBOUNCER(_1)?"')
STATEMENT = re.compile(r'prepared statement "[^"]*"')

MISSED = ("E", (("C", "25P02"), ("M", "current transaction is aborted, commands ignored until end of transaction block"),
                ("R", "exec_parse_message"), ("S", "ERROR"), ("V", "ERROR")))


LOST = "session state ends with its transaction here"  # session_state=reset tells so


def is_of_pool(message):
    """A notice of pgweir's own."""
    return message.type == "N" and message.fields["M"].startswith(LOST)


def shown(message):
    """A message as it is compared."""
    if message.type in "EN":
        fields = {name: value for name, value in message.fields.items() if name not in "FL"}
        fields["M"] = OUR_PREFIX.sub(r'\1"(one of our prefix)"', fields["M"])
        return (message.type, tuple(sorted(fields.items())))
    if message.type == "T":
        return (message.type, without_tables(message.body))
    return (message.type, message.body)


def without_tables(body):
    """A RowDescription without the tables' object identifiers: they differ between databases."""
    at, kept = 2, [body[:2]]
    while at < len(body):
        end = body.index(0, at) + 1
        kept.append(body[at:end] + body[end + 4 : end + 18])
        at = end + 18
    return b"".join(kept)


def is_known(wanted, got):
    """Two different messages of which README.md says that they differ."""
    if wanted[0] != "E" or got[0] != "E":
        return False
    wanted, got = dict(wanted[1]), dict(got[1])
    if got["C"] == "08P01":
        got["M"], wanted["M"] = STATEMENT.sub("", got["M"]), STATEMENT.sub("", wanted["M"])
        return got == wanted
    return False


def is_stale(message):
    """A cached plan must not change its result's type: in a session of its own a statement errs so until it is parsed again."""
    return message.type == "E" and message.fields["C"] == "0A000" and message.fields["R"] == "RevalidateCachedQuery"


def stale_difference(reference, pooled):
    """Where PostgreSQL lets a stale statement err, a pool may parse it again, and all that follows may be otherwise. What ran
    behind something else in its batch cannot be run again: its client is told, once for each change and server."""
    texts = [text for _, messages in reference.script.steps for message in messages for text in message[1:3] if isinstance(text, str)]
    changes = sum("alter table" in text or "drop table" in text for text in texts) + 1  # the tables are made anew between scripts
    errors = [sum(is_stale(one) for seat in run.seats.values() for one in seat.answers.messages) for run in (reference, pooled)]
    if errors[1] > errors[0] + changes * pooled.size:
        return f"stale statements err {errors[1]} times in the pool, {errors[0]} times on PostgreSQL"
    return None


def difference(reference, pooled, strict=False):
    """None, or a text that says where a client's answers are not PostgreSQL's. `strict`: what is known to differ counts."""
    if any(is_stale(message) for run in (reference, pooled) for seat in run.seats.values() for message in seat.answers.messages):
        return stale_difference(reference, pooled)
    for number, seat in reference.seats.items():
        wanted, got = seat.answers, pooled.seats[number].answers
        if wanted.messages != got.messages:
            left, right = compared(seat, wanted.messages, got.messages)
            if not strict:
                left, right = without_misses(left, right)
            at = first_difference(left, right, strict)
            if at is not None:
                return (f"client {number}, message {at}:\n  PostgreSQL: {excerpt(left, at)}\n  the pool:   {excerpt(right, at)}")
        if wanted.notifications != got.notifications:
            return f"client {number}: notifications\n  PostgreSQL: {wanted.notifications}\n  the pool:   {got.notifications}"
    return None


def compared(seat, wanted, got):
    """The answers that have to be equal. Those at the end that nothing pushed out may be fewer or more."""
    left, right = (without_start_of_cancelled([shown(message) for message in side if not is_of_pool(message)]) for side in (wanted, got))
    if seat.ends_unflushed:
        both = min(len(left), len(right))
        if both >= seat.sure:
            return left[:both], right[:both]
    return left, right


def first_difference(left, right, strict):
    for at, (wanted, got) in enumerate(zip(left, right)):
        if wanted != got and (strict or not is_known(wanted, got)):
            return at
    return None if len(left) == len(right) else min(len(left), len(right))


def without_start_of_cancelled(messages):
    """A cancel may come before a query has said anything, or behind its 1, 2 and T."""
    kept = []
    for message in messages:
        if message[0] == "E" and ("C", "57014") in message[1]:
            while kept and kept[-1][0] in "12T":
                kept.pop()
        kept.append(message)
    return kept


def without_misses(left, right):
    """A statement that a server does not hold yet cannot be parsed in an aborted transaction: the rest of the batch is left
    out on both sides. (PostgreSQL would Describe it, or err at Bind.)"""
    at = 0
    while at < min(len(left), len(right)):
        if left[at] != right[at] and right[at] == MISSED:
            ends = [next((i for i in range(at, len(side)) if side[i][0] == "Z"), len(side)) for side in (left, right)]
            left, right = left[:at] + left[ends[0] :], right[:at] + right[ends[1] :]
        at += 1
    return left, right


def kind_of(found):
    """What a difference is about: the first messages that differ. While a script is made smaller it has to stay the same."""
    return found and re.findall(r"then \('(\w+)'(?:, \(\('C', '(\w+)')?|(notifications|stale|ended)", found)


def excerpt(messages, at):
    before = "".join(kind for kind, _ in messages[max(0, at - 12) : at] if len(kind) == 1)
    return f"...{before} then " + ", ".join(str(message)[:400] for message in messages[at : at + 3])
