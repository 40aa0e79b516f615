"""What passes between the program and its sandbox processes: frames of a fixed head and bytes. Nothing is unpickled on either side.

A call: whether an instance may be used again and by which calls (its key), fuel, the request as JSON. A reply: how it ended, seconds, fuel
used, the answer as JSON or what was wrong as text.
"""

import struct
from typing import IO, NamedTuple

CALL = struct.Struct("<BQII")
REPLY = struct.Struct("<BdQI")
ENDS = ("answered", "timeout", "stack", "crash", "memory", "too_large", "ready", "refused")
LONGEST = 64 << 20


class Reply(NamedTuple):
    """`end`: one of ENDS. `said`: JSON of the sandbox where it answered; a claim, checked by whoever reads it."""

    end: str
    seconds: float
    fuel: int
    said: str


class Cut(Exception):
    """The other side is gone, or what came is no frame."""


def pack_call(reuse: bool, fuel: int, key: bytes, request: bytes) -> bytes:
    return CALL.pack(reuse, fuel, len(key), len(request)) + key + request


def read_call(source: IO[bytes]) -> tuple[bool, int, bytes, bytes] | None:
    """The next call; None at the end of the input."""
    head = source.read(CALL.size)
    if len(head) < CALL.size:
        return None
    reuse, fuel, keyed, asked = CALL.unpack(head)
    return bool(reuse), fuel, source.read(keyed), source.read(asked)


def pack_reply(reply: Reply) -> bytes:
    said = reply.said.encode("utf-8", "replace")
    return REPLY.pack(ENDS.index(reply.end), reply.seconds, reply.fuel, len(said)) + said


def read_reply(source: IO[bytes]) -> Reply:
    """The next reply. Cut where the process is gone or speaks something else."""
    head = source.read(REPLY.size)
    if len(head) < REPLY.size:
        raise Cut("gone")
    end, seconds, fuel, length = REPLY.unpack(head)
    if end >= len(ENDS) or length > LONGEST:
        raise Cut("no frame")
    said = source.read(length)
    if len(said) < length:
        raise Cut("gone")
    return Reply(ENDS[end], seconds, fuel, said.decode("utf-8", "replace"))
