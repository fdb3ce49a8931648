"""Plays a script, on PostgreSQL itself or through a pool, and keeps what every client was answered.

The run on PostgreSQL comes first and decides the order of the steps: who holds a server (a transaction, a batch without its
Sync, a COPY, state that pins) goes on until it is free; steps of clients that would have to wait are put off. When a step is
over is known from PostgreSQL's process: it has read everything, sleeps, and has written nothing more. The runs through pools
take the steps in the same order and read as many messages as PostgreSQL gave."""

import fcntl
import os
import re
import select
import socket
import struct
import termios
import time

from peer import Closed, Message, Peer, Refused, Silence, cancel_request
from script import encode
from waiting import SLOW

PATIENCE = 5.0
# What keeps a client on its server after its transaction (pgweir's session_state=follow): nobody else may have to wait for it.
PINNING = re.compile(r"\btemp\b|with hold|pg_advisory_lock|nextval|currval|lastval|setseed|\bdo\b|\bload\b", re.I)


class Answers:
    """What one client was told: a list of messages in order, and its notifications by themselves (their time is free)."""

    def __init__(self):
        self.messages, self.notifications = [], []

    def add(self, message):
        if message.type == "A":
            self.notifications.append(message.body[4:])
        elif message.type == "S":
            self.status(message)
        else:
            self.messages.append(message)

    def status(self, message):
        """ParameterStatus messages that come together have no order."""
        start = len(self.messages)
        while start and self.messages[start - 1].type == "S":
            start -= 1
        self.messages[start:] = sorted(self.messages[start:] + [message])

    def count(self):
        return sum(message.type != "S" for message in self.messages)


class Seat:
    """A client's place in a run: its connection and what it was told."""

    def __init__(self):
        self.peer, self.answers = None, Answers()
        self.status, self.is_unsynced, self.is_copying, self.is_pinned, self.is_gone = "I", False, False, False, False
        self.ends_unsynced = False  # the last step ends with extended messages behind its last Sync or Query
        self.ends_unflushed = False  # and nothing makes the server send their answers now
        self.sure = 0  # how many answers a server must have sent by now

    def holds(self):
        return not self.is_gone and (self.status != "I" or self.is_unsynced or self.is_copying or self.is_pinned)

    def hear(self, message):
        self.answers.add(message)
        if message.type == "Z":
            self.status, self.is_unsynced, self.is_copying = message.body.decode(), self.ends_unsynced, False
        elif message.type == "G":
            self.is_copying = True

    def end(self):
        if not self.is_gone:
            self.answers.messages.append(Message("closed", b""))
            self.is_gone = True

    def note(self, messages):
        """Before a step is sent: what it leaves behind, as far as it shows in the text."""
        self.ends_unsynced = False
        for kind, *rest in messages:
            if kind in "PBDEC":
                self.is_unsynced = self.ends_unsynced = self.ends_unflushed = True
            elif kind in "QSF":
                self.ends_unsynced = self.ends_unflushed = False
            elif kind == "H":
                self.ends_unflushed = False
            text = rest[0] if kind == "Q" else rest[1] if kind == "P" else ""
            if PINNING.search(text):
                self.is_pinned = True


    def rest(self):
        """After a step: which answers are sure. What no Sync, Flush or error has pushed out comes when the server likes."""
        kinds = [message.type for message in self.answers.messages if message.type != "S"]
        if not self.ends_unflushed or kinds and kinds[-1] in "EG":
            self.sure = len(kinds)
        else:
            self.sure = max([self.sure] + [at + 1 for at, kind in enumerate(kinds) if kind in "ZE"])


    def due(self):
        """What a pool must have answered by now: so many ReadyForQuery, and so many messages behind the last of them."""
        kinds = [message.type for message in self.answers.messages if message.type != "S"]
        ready = [at for at, kind in enumerate(kinds) if kind == "Z"]
        return len(ready), max(0, self.sure - (ready[-1] + 1 if ready else 0))

    def has_heard(self, due):
        kinds = [message.type for message in self.answers.messages if message.type != "S"]
        ready = [at for at, kind in enumerate(kinds) if kind == "Z"]
        return (len(ready), len(kinds) - (ready[-1] + 1 if ready else 0)) >= due


def is_waiting_for_input(peer):
    """PostgreSQL's process has read all we sent and sleeps."""
    (unread,) = struct.unpack("i", fcntl.ioctl(peer.socket, termios.TIOCOUTQ, b"\0\0\0\0"))
    if unread:
        return False
    try:
        with open(f"/proc/{peer.process}/stat", "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[0] == b"S"
    except (FileNotFoundError, ProcessLookupError):
        return True


def has_bytes(peer, milliseconds):
    poll = select.poll()
    poll.register(peer.socket, select.POLLIN)
    return bool(poll.poll(milliseconds))


def read_buffered(seat):
    """Every whole message of the buffer."""
    buffer, offset = seat.peer.buffer, 0
    while len(buffer) - offset >= 5:
        (size,) = struct.unpack_from(">I", buffer, offset + 1)
        if len(buffer) - offset <= size:
            break
        seat.hear(Message(chr(buffer[offset]), bytes(buffer[offset + 5 : offset + 1 + size])))
        offset += size + 1
    del buffer[:offset]


def hear_until_silent(seat, ready):
    """PostgreSQL's answers to a step of at most `ready` ReadyForQuery. Behind the last of them only a batch without its Sync
    is answered."""
    before = sum(message.type == "Z" for message in seat.answers.messages)
    asleep, deadline = 0, time.monotonic() + 30
    while time.monotonic() < deadline:
        if has_bytes(seat.peer, 0 if ready == 0 or seat.ends_unsynced else 2):
            asleep = 0
            seat.peer.receive()
            read_buffered(seat)
            if ready and not seat.ends_unsynced and sum(message.type == "Z" for message in seat.answers.messages) - before >= ready:
                return
        elif is_waiting_for_input(seat.peer):
            asleep += 1
            if asleep > 2 and not has_bytes(seat.peer, 0):
                return
            time.sleep(0.0003)
        else:
            asleep = 0
    raise AssertionError("PostgreSQL did not come to rest")


class Run:
    """One run of one script. `open(number, parameters)` gives a connection that has logged in or raises Refused."""

    def __init__(self, script, open_connection, cancel_address):
        self.script, self.open, self.cancel_address = script, open_connection, cancel_address
        self.seats = {number: Seat() for number in script.clients()}

    def seat(self, number):
        """The client's seat, connected at its first step."""
        seat = self.seats[number]
        if seat.peer is None and not seat.is_gone:
            try:
                seat.peer = self.open(number, self.script.startup.get(number, {}))
                seat.answers.messages.append(Message("login", repr(sorted(seat.peer.parameters.items())).encode()))
            except Refused as refused:
                fields = {name: value for name, value in refused.fields.items() if name in "SCM"}
                seat.answers.messages.append(Message("refused", repr(sorted(fields.items())).encode()))
                seat.is_gone = True
        return seat

    def number_of(self, seat):
        return next(number for number, other in self.seats.items() if other is seat)

    def say(self, seat, messages):
        seat.note(messages)
        data = b"".join(encode(message) for message in messages)
        if data:
            seat.peer.send(data)

    def cancel(self, seat):
        with Peer(self.cancel_address) as other:
            other.send(cancel_request(seat.peer.process, seat.peer.key))
            try:
                other.read_to_end(PATIENCE * SLOW)
            except Silence:
                pass

    def cancel_last(self, seat, messages, deadline):
        """Cancels the last query of a step until it is answered; those before it come to their end first."""
        def ready():
            return sum(message.type == "Z" for message in seat.answers.messages)

        last = ready() + sum(message[0] in "QSF" for message in messages)
        while ready() < last and time.monotonic() < deadline:
            if has_bytes(seat.peer, 5):
                seat.peer.receive()
                read_buffered(seat)
            elif ready() == last - 1:
                self.cancel(seat)

    def close(self):
        for seat in self.seats.values():
            if seat.peer is not None and not seat.is_gone:
                seat.peer.close()


class Reference(Run):
    """The run on PostgreSQL. `order`: for each step in the order taken: (client, messages, answers that the client had after
    it, or None where it leaves, and its notifications). `holding`: the steps of `order` after which their client holds.
    `releases`: how often its server became free in each step."""

    def __init__(self, script, park, *arguments):
        super().__init__(script, *arguments)
        self.park, self.order, self.holding, self.releases = park, [], set(), []

    def may_go(self, number):
        seat = self.seats[number]
        return seat.holds() or sum(other.holds() for other in self.seats.values()) < self.script.width

    def play(self):
        waiting = list(self.script.steps) + [(number, [["leave", "terminate"]]) for number in self.script.clients()]
        while waiting:
            index = next((i for i, (number, _) in enumerate(waiting)
                          if self.may_go(number) and all(number != earlier for earlier, _ in waiting[:i])), None)
            assert index is not None, "nobody may go on"
            self.step(*waiting.pop(index))
        return self

    def step(self, number, messages):
        is_new = self.seats[number].peer is None and not self.seats[number].is_gone
        seat = self.seat(number)
        if seat.is_gone:
            if is_new:  # refused, and so it has to be through the pool
                self.order.append((number, [], (0, 0), 0))
                self.releases.append(0)
            return
        before = len(seat.answers.messages)
        how = messages[-1][1] if messages[-1][0] == "leave" else None
        try:
            self.say(seat, messages)
            if how is None:
                self.hear(seat, messages)
        except Closed:
            seat.end()
        if how is not None:
            self.leave(seat, how)
            seat.ends_unflushed = seat.ends_unflushed or len(messages) > 1  # nobody reads the answers to its last words
        seat.rest()
        self.order.append((number, messages, seat.due() if how is None else None, len(seat.answers.notifications)))
        self.releases.append(sum(message.type == "Z" and message.body == b"I" for message in seat.answers.messages[before:]))
        if seat.holds():
            self.holding.add(len(self.order) - 1)

    def hear(self, seat, messages):
        if messages[-1][0] == "cancel":
            self.cancel_last(seat, messages, time.monotonic() + 30)
        ends_copy = any(message[0] in "cf" for message in messages)  # then a Query of an earlier step is answered, too
        hear_until_silent(seat, sum(message[0] in "QSF" for message in messages) + ends_copy)

    def leave(self, seat, how):
        """A client at rest is kept for a later script instead: a new process costs more than all of the script."""
        is_at_rest = seat.status == "I" and not seat.is_unsynced and not seat.is_copying
        if is_at_rest:
            hear_until_silent(seat, 0)
        if how == "terminate" and is_at_rest and not self.script.startup.get(self.number_of(seat)) and not seat.is_gone:
            seat.end()
            self.park(seat.peer)
            return
        leave(seat, how)
        process, deadline = seat.peer.process, time.monotonic() + 30
        while os.path.exists(f"/proc/{process}") and time.monotonic() < deadline:
            time.sleep(0.0005)


def leave(seat, how):
    if how == "rst":
        seat.peer.reset()
    elif how == "fin":
        seat.peer.close()
    else:
        seat.peer.send(b"X\0\0\0\4")
        seat.peer.close()
    seat.is_gone = True


class Pooled(Run):
    """The run through a pool, in the reference's order."""

    def __init__(self, script, reference, size, *arguments):
        super().__init__(script, *arguments)
        self.reference, self.size, self.sent_early = reference, size, set()

    def play(self):
        order = self.reference.order
        for index, (number, messages, count, heard) in enumerate(order):
            self.step(index, number, messages, count, heard)
            if self.script.racing and self.size == 1:
                self.send_next_waiter(index)
        return self

    def send_next_waiter(self, index):
        """The next step of somebody else, when this client goes on holding the pool's only server: it waits in the queue."""
        order = self.reference.order
        holder = order[index][0]
        if not self.seats[holder].holds():
            return
        for later in range(index + 1, len(order)):
            number, messages = order[later][:2]
            if number == holder:
                if self.is_free_before_end(later, holder):
                    return
                continue
            if later not in self.sent_early and not self.seats[number].holds() and messages[-1][0] not in ("leave", "cancel"):
                seat = self.seat(number)
                if not seat.is_gone:
                    self.sent_early.add(later)
                    seat.peer.send(b"".join(encode(message) for message in messages))
            return

    def is_free_before_end(self, index, holder):
        """A server that becomes free in the midst of its holder's steps would be the waiter's, who may not let it go."""
        reference = self.reference
        is_last = not reference.order[index + 1 :] or reference.order[index + 1][0] != holder
        return reference.releases[index] > (1 if is_last and index not in reference.holding else 0)

    def step(self, index, number, messages, count, heard):
        seat = self.seat(number)
        if seat.is_gone:
            return
        try:
            if index in self.sent_early:
                seat.note(messages)
            else:
                self.say(seat, messages)
            if count is None:
                self.leave(seat, messages[-1][1])
                return
            if messages and messages[-1][0] == "cancel":
                self.cancel_last(seat, messages, time.monotonic() + PATIENCE * SLOW)
            self.hear(seat, count, heard)
        except Closed:
            seat.end()

    def hear(self, seat, count, heard):
        read_buffered(seat)
        deadline = time.monotonic() + PATIENCE * SLOW
        while not seat.has_heard(count) or len(seat.answers.notifications) < heard:
            try:
                seat.peer.receive(max(0.001, deadline - time.monotonic()))
            except Silence:
                seat.answers.messages.append(Message("silence", b""))
                leave(seat, "rst")
                return
            read_buffered(seat)

    def leave(self, seat, how):
        """A clean Terminate shows what came too much."""
        reference = self.reference.seats[self.number_of(seat)]
        is_at_rest = reference.answers.messages and reference.answers.messages[-1].type == "closed"
        if how == "terminate" and is_at_rest:
            self.hear(seat, (0, 0), len(reference.answers.notifications))
            if seat.is_gone:
                return
            seat.peer.send(b"X\0\0\0\4")
            try:
                while True:
                    seat.peer.receive(PATIENCE * SLOW)
            except Closed:
                pass
            read_buffered(seat)
            seat.end()
            seat.peer.close()
        else:
            leave(seat, how)
