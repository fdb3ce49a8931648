"""A raw speaker of the PostgreSQL protocol, to say what no driver says.

The functions build messages (bytes); a Peer is a connection, plain or TLS, that sends exactly the bytes it is given in one
write and reads answers message by message. Every read has a deadline: Silence is a failed test, Closed an answer like others.
PostgreSQL manual, chapter "Frontend/Backend Protocol"."""

import base64
import functools
import hashlib
import hmac
import os
import socket
import ssl
import struct
import time
from typing import NamedTuple

from waiting import SLOW

PROTOCOL_3_0 = 0x00030000
PROTOCOL_3_2 = 0x00030002
SSL_REQUEST = struct.pack(">ii", 8, 80877103)
GSSENC_REQUEST = struct.pack(">ii", 8, 80877104)


class Closed(Exception):
    """The other side ended the connection. `reset`: with RST instead of FIN."""

    def __init__(self, reset=False):
        super().__init__("connection reset" if reset else "connection closed")
        self.reset = reset


class Silence(AssertionError):
    """No answer within the deadline."""


class Refused(Exception):
    """The login was answered by an ErrorResponse."""

    def __init__(self, message):
        self.fields = message.fields
        self.code, self.text = self.fields.get("C"), self.fields.get("M")
        super().__init__(f"{self.fields.get('S')} {self.code} {self.text}")


class Message(NamedTuple):
    type: str
    body: bytes

    @property
    def fields(self):
        """Fields of an ErrorResponse or a NoticeResponse, by their letter."""
        return {part[:1].decode(): part[1:].decode(errors="replace") for part in self.body.split(b"\0") if part}

    @property
    def row(self):
        """The values of a DataRow, as bytes or None."""
        values, offset = [], 2
        for _ in range(struct.unpack_from(">h", self.body)[0]):
            (size,) = struct.unpack_from(">i", self.body, offset)
            offset += 4
            values.append(None if size < 0 else self.body[offset : offset + size])
            offset += max(size, 0)
        return values

    @property
    def columns(self):
        """(name, type OID, size) of each column of a RowDescription."""
        result, offset = [], 2
        for _ in range(struct.unpack_from(">h", self.body)[0]):
            end = self.body.index(b"\0", offset)
            name = self.body[offset:end].decode()
            _, _, oid, size, _, _ = struct.unpack_from(">ihihih", self.body, end + 1)
            result.append((name, oid, size))
            offset = end + 19
        return result

    @property
    def tag(self):
        return self.body.rstrip(b"\0").decode()

    def __repr__(self):
        if self.type in "EN":
            return f"{self.type}{self.fields}"
        return f"{self.type}{self.body[:60]!r}" + ("..." if len(self.body) > 60 else "")


# What a frontend says.


def text(value):
    return (value if isinstance(value, bytes) else value.encode()) + b"\0"


def message(kind, body=b""):
    return kind.encode("latin-1") + struct.pack(">i", len(body) + 4) + body


def packet(body):
    """A message without a type byte: startup, cancel."""
    return struct.pack(">i", len(body) + 4) + body


def startup(version=PROTOCOL_3_0, **parameters):
    pairs = b"".join(text(name) + text(value) for name, value in parameters.items() if value is not None)
    return packet(struct.pack(">i", version) + pairs + b"\0")


def cancel_request(process, key):
    return packet(struct.pack(">iI", 80877102, process) + key)


def query(sql):
    return message("Q", text(sql))


def parse(sql, name="", types=()):
    return message("P", text(name) + text(sql) + struct.pack(f">h{len(types)}I", len(types), *types))


def bind(*parameters, statement="", portal="", formats=(), results=()):
    body = text(portal) + text(statement) + struct.pack(f">h{len(formats)}h", len(formats), *formats)
    body += struct.pack(">h", len(parameters))
    for value in parameters:
        if value is None:
            body += struct.pack(">i", -1)
        else:
            value = value if isinstance(value, bytes) else str(value).encode()
            body += struct.pack(">i", len(value)) + value
    return message("B", body + struct.pack(f">h{len(results)}h", len(results), *results))


def describe_statement(name=""):
    return message("D", b"S" + text(name))


def describe_portal(name=""):
    return message("D", b"P" + text(name))


def execute(portal="", limit=0):
    return message("E", text(portal) + struct.pack(">i", limit))


def close_statement(name=""):
    return message("C", b"S" + text(name))


def close_portal(name=""):
    return message("C", b"P" + text(name))


def copy_data(data):
    return message("d", data if isinstance(data, bytes) else data.encode())


def copy_fail(reason):
    return message("f", text(reason))


def function_call(oid, *arguments, formats=(0,), result=0):
    body = struct.pack(f">Ih{len(formats)}h", oid, len(formats), *formats) + struct.pack(">h", len(arguments))
    for value in arguments:
        if value is None:
            body += struct.pack(">i", -1)
        else:
            value = value if isinstance(value, bytes) else str(value).encode()
            body += struct.pack(">i", len(value)) + value
    return message("F", body + struct.pack(">h", result))


def password(secret):
    return message("p", text(secret))


SYNC = message("S")
FLUSH = message("H")
COPY_DONE = message("c")
TERMINATE = message("X")


def extended(sql, *parameters, describe=True, **options):
    """Parse, Bind, Describe, Execute of the unnamed statement, without Sync."""
    return parse(sql) + bind(*parameters, **options) + (describe_portal() if describe else b"") + execute()


@functools.lru_cache(maxsize=64)
def salted_password(secret, salt, rounds):
    """PBKDF2 is slow on purpose; thousands of logins of a test share one derivation."""
    return hashlib.pbkdf2_hmac("sha256", secret, salt, rounds)


class Scram:
    """The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding."""

    def __init__(self, secret, header="n,,"):
        self.secret, self.header = secret.encode(), header
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        self.first_bare = f"n=*,r={self.nonce}"

    def first(self):
        body = (self.header + self.first_bare).encode()
        return message("p", text("SCRAM-SHA-256") + struct.pack(">i", len(body)) + body)

    def final(self, server_first):
        attributes = dict(part.split("=", 1) for part in server_first.decode().split(","))
        assert attributes["r"].startswith(self.nonce) and len(attributes["r"]) > len(self.nonce)
        salted = salted_password(self.secret, base64.b64decode(attributes["s"]), int(attributes["i"]))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        final = f"c={base64.b64encode(self.header.encode()).decode()},r={attributes['r']}"
        everything = f"{self.first_bare},{server_first.decode()},{final}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), everything, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.server_signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), everything, "sha256")
        return message("p", f"{final},p={base64.b64encode(proof).decode()}".encode())

    def check(self, server_final):
        assert server_final == b"v=" + base64.b64encode(self.server_signature), "the server's proof is wrong"


def tls_context(ca=None, certificate=None, key=None, alpn=None, version=None):
    """A client's TLS context: verified (with the host name) when `ca` is given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = ca is not None
    context.verify_mode = ssl.CERT_REQUIRED if ca else ssl.CERT_NONE
    if ca:
        context.load_verify_locations(ca)
    if certificate:
        context.load_cert_chain(certificate, key)
    if alpn:
        context.set_alpn_protocols(alpn)
    if version:
        context.minimum_version = context.maximum_version = version
    return context


class Peer:
    """One connection. `address` is (host, port), or the path of a Unix socket. `source`: (address, port) to come from."""

    def __init__(self, address, timeout=10.0, source=None):
        self.timeout = timeout * SLOW
        self.buffer = bytearray()
        self.parameters, self.process, self.key, self.authentication = {}, None, None, []
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(self.timeout)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, timeout=self.timeout, source_address=source)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Bytes.

    def send(self, *messages):
        """Everything in one write. A connection that the other side has ended shows at the next read, not here."""
        try:
            self.socket.settimeout(self.timeout)
            self.socket.sendall(b"".join(messages))
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            pass
        return self

    def receive(self, timeout=None):
        """Reads some bytes into the buffer."""
        self.socket.settimeout(self.timeout if timeout is None else timeout)
        try:
            data = self.socket.recv(262144)
        except (TimeoutError, ssl.SSLWantReadError):
            raise Silence(f"nothing within {self.socket.gettimeout():g} s, after {bytes(self.buffer)[:80]!r}") from None
        except (ConnectionResetError, BrokenPipeError):
            raise Closed(reset=True) from None
        except ssl.SSLError as error:
            raise Closed(reset=True) from error
        if not data:
            raise Closed()
        self.buffer += data

    def read_bytes(self, count, timeout=None):
        while len(self.buffer) < count:
            self.receive(timeout)
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def read(self, timeout=None):
        """The next message."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while len(self.buffer) < 5 or len(self.buffer) < 1 + struct.unpack_from(">I", self.buffer, 1)[0]:
            self.receive(max(0.001, deadline - time.monotonic()))
        size = 1 + struct.unpack_from(">I", self.buffer, 1)[0]
        result = Message(chr(self.buffer[0]), bytes(self.buffer[5:size]))
        del self.buffer[:size]
        return result

    def read_until(self, kind="Z", count=1, timeout=None):
        """All messages up to the `count`-th of type `kind`. What was read before a silence is in the failure's text."""
        messages = []
        while count:
            try:
                messages.append(self.read(timeout))
            except Silence as silence:
                raise Silence(f"waiting for {kind}: {silence}; got {messages[-10:]}") from None
            count -= messages[-1].type == kind
        return messages

    def read_to_end(self, timeout=None):
        """All messages until the other side closes."""
        messages = []
        try:
            while True:
                messages.append(self.read(timeout))
        except Closed:
            return messages

    def is_quiet(self, seconds=0.2):
        """True when nothing comes for a moment."""
        try:
            self.read(seconds)
            return False
        except Silence:
            return True

    def close(self):
        """FIN, without Terminate."""
        self.socket.close()

    def reset(self):
        """RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def finish(self):
        """FIN of the sending half: what a Worker's socket does."""
        self.socket.shutdown(socket.SHUT_WR)

    def leave(self):
        """Terminate, and wait until the other side has closed; nothing may come before that."""
        self.send(TERMINATE)
        rest = self.read_to_end()
        self.close()
        assert rest == [], rest

    # Opening.

    def start_tls(self, context, direct=False, host="localhost"):
        if not direct:
            self.send(SSL_REQUEST)
            answer = self.read_bytes(1)
            if answer == b"E":
                self.buffer[:0] = answer
                raise Refused(self.read())
            if answer != b"S":
                raise Closed()
        assert not self.buffer
        try:
            self.socket = context.wrap_socket(self.socket, server_hostname=host, suppress_ragged_eofs=True)
        except ConnectionResetError:
            raise Closed(reset=True) from None
        return self

    def login(self, user, secret=None, database=None, version=PROTOCOL_3_0, **parameters):
        """Startup and the password dialogue up to ReadyForQuery; Refused carries the error."""
        self.send(startup(version, user=user, database=database, **parameters))
        return self.authenticate(user, secret)

    def authenticate(self, user, secret):
        scram = None
        while True:
            answer = self.read()
            if answer.type == "E":
                raise Refused(answer)
            if answer.type == "R":
                (kind,) = struct.unpack_from(">i", answer.body)
                self.authentication.append(kind)
                if kind == 3:
                    self.send(password(secret))
                elif kind == 5:
                    inner = hashlib.md5(secret.encode() + user.encode()).hexdigest().encode()
                    self.send(password("md5" + hashlib.md5(inner + answer.body[4:8]).hexdigest()))
                elif kind == 10:
                    assert b"SCRAM-SHA-256\0" in answer.body
                    scram = Scram(secret)
                    self.send(scram.first())
                elif kind == 11:
                    self.send(scram.final(answer.body[4:]))
                elif kind == 12:
                    scram.check(answer.body[4:])
            elif answer.type == "S":
                name, value, _ = answer.body.split(b"\0")
                self.parameters[name.decode()] = value.decode()
            elif answer.type == "K":
                self.process, self.key = struct.unpack_from(">I", answer.body)[0], answer.body[4:]
            elif answer.type == "Z":
                return self

    # Asking.

    def ask(self, *messages):
        """Sends, and reads up to the next ReadyForQuery."""
        return self.send(*messages).read_until("Z")

    def rows(self, sql):
        """The rows of a simple query as text; fails on an error."""
        answers = self.ask(query(sql))
        errors = [answer for answer in answers if answer.type == "E"]
        assert not errors, errors
        return [tuple(None if value is None else value.decode() for value in answer.row)
                for answer in answers if answer.type == "D"]

    def value(self, sql):
        return self.rows(sql)[0][0]

    def error(self, sql):
        """The fields of the error that a simple query gets."""
        return next(answer.fields for answer in self.ask(query(sql)) if answer.type == "E")


def types(messages):
    """The types of messages, as one string."""
    return "".join(message.type for message in messages)
