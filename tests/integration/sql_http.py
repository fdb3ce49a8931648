"""A client for SQL over HTTP, by hand: a connection that says exactly the bytes it is given, and reads answers one by one."""

import json
import socket
from typing import NamedTuple

from waiting import SLOW


class Answer(NamedTuple):
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def rows(self):
        assert self.status == 200, self
        return self.json["rows"]


def connection_string(database="app", user="alice", password="alice-secret", parameters=""):
    return f"postgresql://{user}:{password}@db.example.com/{database}{parameters}"


def request(body, headers=None, string=None, method="POST", path="/sql", host="localhost", chunks=None):
    """The bytes of one request. `body`: bytes, or what is to be JSON; chunks: sizes of the pieces of a chunked body; a header
    that is None is left out."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    fields = {"Host": host, "Neon-Connection-String": string or connection_string(), "Neon-Raw-Text-Output": "true",
              "Neon-Array-Mode": "true", "Content-Type": "text/plain;charset=UTF-8"}
    fields["Transfer-Encoding" if chunks else "Content-Length"] = "chunked" if chunks else len(body)
    fields.update(headers or {})
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
    if chunks:
        pieces, at = [], 0
        for size in chunks:
            pieces.append(body[at:at + size])
            at += size
        pieces.append(body[at:])
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\n\r\n"
    return head.encode() + b"\r\n" + body


class Ended(Exception):
    """The connection was closed where an answer, or the rest of one, was due."""


class Http:
    """A connection, over TLS if there is a context."""

    def __init__(self, port, context=None, timeout=20, source=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout * SLOW)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def more(self):
        try:
            part = self.socket.recv(65536)
        except ConnectionError:
            part = b""
        if not part:
            raise Ended(self.buffer[:200])
        self.buffer += part

    def until(self, end):
        while end not in self.buffer:
            self.more()
        taken, self.buffer = self.buffer.split(end, 1)
        return taken

    def exactly(self, size):
        while len(self.buffer) < size:
            self.more()
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def chunks(self):
        parts = []
        while size := int(self.until(b"\r\n"), 16):
            parts.append(self.exactly(size))
            assert self.exactly(2) == b"\r\n"
        assert self.exactly(2) == b"\r\n"
        return b"".join(parts)

    def answer(self, has_body=True):
        lines = self.until(b"\r\n\r\n").decode().split("\r\n")
        status = int(lines[0].split()[1])
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines[1:])}
        if headers.get("transfer-encoding") == "chunked":
            return Answer(status, headers, self.chunks())
        return Answer(status, headers, self.exactly(int(headers.get("content-length", 0))) if has_body else b"")

    def ask(self, body, headers=None, **more):
        self.send(request(body, headers, **more))
        return self.answer()

    def query(self, query, *params, **more):
        return self.ask({"query": query, "params": list(params)}, **more)

    def is_closed(self):
        """The other side has closed, and said nothing more."""
        try:
            return not self.buffer and self.socket.recv(1) == b""
        except ConnectionError:
            return True
