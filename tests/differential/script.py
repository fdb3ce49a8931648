"""Scripts of the differential fuzzer: what they are, how they are kept in a file, and the bytes that they stand for.

A script is a list of steps; a step is a client's number and the messages that it sends in one write. A message is a list that
begins with the type byte of the protocol ("Q", "P", "B", "D", "E", "C", "S", "H", "F", "d", "c", "f", "X"); besides:

    ["cancel"]           cancels what this client runs, again and again until it is answered (the last message of a step)
    ["leave", how]       the client is gone ("terminate", "fin", "rst") and its connection closed
"""

import json
from dataclasses import dataclass, field

import peer as wire

LEAVING = ("terminate", "fin", "rst")


@dataclass
class Script:
    """`width`: how many clients may hold a server at a time. `racing`: steps that wait for a server are sent while they wait
    (else they are sent when it is their turn). `startup`: parameters of the clients' startup packets, by their number."""

    steps: list
    width: int = 1
    racing: bool = False
    startup: dict = field(default_factory=dict)
    note: str = ""

    def clients(self):
        return sorted({client for client, _ in self.steps})

    def features(self):
        return {message[0] for _, messages in self.steps for message in messages}


def encode(message):
    """The bytes of one message; nothing for what is no message."""
    kind, *rest = message
    if kind == "Q":
        return wire.query(unescape(rest[0]))
    if kind == "P":
        name, sql, *types = rest
        return wire.parse(unescape(sql), name, types[0] if types else ())
    if kind == "B":
        portal, statement, values, *results = rest
        return wire.bind(*values, statement=statement, portal=portal, results=results[0] if results else ())
    if kind == "D":
        return wire.describe_statement(rest[1]) if rest[0] == "S" else wire.describe_portal(rest[1])
    if kind == "C":
        return wire.close_statement(rest[1]) if rest[0] == "S" else wire.close_portal(rest[1])
    if kind == "E":
        return wire.execute(*rest)
    if kind == "F":
        return wire.function_call(rest[0], *rest[1])
    if kind == "d":
        return wire.copy_data(rest[0])
    if kind == "f":
        return wire.copy_fail(rest[0])
    return {"S": wire.SYNC, "H": wire.FLUSH, "c": wire.COPY_DONE}.get(kind, b"")


def unescape(sql):
    """Bytes that are no UTF-8 stand in the file as \\udc80 to \\udcff."""
    return sql.encode("utf-8", "surrogateescape")


def dump(script):
    head = {"width": script.width, "racing": script.racing, "startup": script.startup, "note": script.note}
    lines = ["{" + json.dumps(head)[1:-1] + ',\n"steps": [']
    for number, (client, messages) in enumerate(script.steps):
        inner = ",\n     ".join(json.dumps(message) for message in messages)
        lines.append(f" [{client},\n    [{inner}]]" + ("," if number + 1 < len(script.steps) else ""))
    return "\n".join(lines) + "\n]}\n"


def load(text):
    """The scripts of a file: one, or a list (those before the last prepare what the last shows)."""
    content = json.loads(text)
    return [of_dict(one) for one in (content if isinstance(content, list) else [content])]


def of_dict(content):
    return Script([(client, messages) for client, messages in content["steps"]], content["width"], content["racing"],
                  {int(number): values for number, values in content["startup"].items()}, content.get("note", ""))


def dump_all(scripts):
    if len(scripts) == 1:
        return dump(scripts[0])
    return "[" + ",".join(dump(script) for script in scripts) + "]\n"
