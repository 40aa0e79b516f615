"""Parsers that hang, crash and eat memory: a reading process that finds this module's name in FLEDGE_READ_TRIAL calls `install`. What
a text file does is said by its first word."""

import ctypes
import os
import signal
import socket
import subprocess

from engine.text.readers import tables


def install():
    real = tables.pieces

    def pieces(reader):
        with reader.opened() as stream:
            word = stream.read(20).split(b" ")[0].decode("ascii", "replace") if reader.stream is None and not reader.file.packing else ""
        DEEDS.get(word, lambda: None)()
        for text, ends in real(reader):
            DEEDS.get(text.split(" ")[0] if reader.stream is not None else "", lambda: None)()
            yield text, ends
    tables.pieces = pieces


def spin():
    while True:
        pass


def deaf():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # A foreign function that keeps the interpreter's lock: no thread of this process runs any more.
    ctypes.PyDLL(None).usleep(2_000_000_000)


def eat():
    held = []
    while True:
        held.append(bytearray(20_000_000))


def call_out():
    socket.create_connection(("127.0.0.1", 9), timeout=1)


DEEDS = {"spin": spin, "deaf": deaf, "eat": eat, "gulp": lambda: bytearray(40_000_000_000), "abort": os.abort, "leave": lambda: os._exit(0),
         "crash": lambda: ctypes.string_at(0), "raise": lambda: (_ for _ in ()).throw(KeyError("odd")), "call": call_out,
         "start": lambda: subprocess.run(["true"], check=True)}
