"""The server's process: `serve()` for `fledge serve DIR`, and `python -m engine.serve.main DIR --owner-pid N` for the window.

It listens on the loopback interface unless another address is given, writes its address and token into the project, and lives as long as
its owner (a process), or until Ctrl-C. Without a token it answers only on the loopback interface. HTTP answers from the first
moment; torch loads meanwhile, in the engine's own thread. The process is polite: low priority for the processor from the start, few
threads (engine.py).
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

import psutil
import uvicorn

from engine import __version__
from engine.contract.errors import FledgeError, MachineError, SettingError
from engine.contract.words import tr
from engine.project import layout
from engine.project.project import Project
from engine.serve import address
from engine.serve.address import Address
from engine.serve.app import Server
from engine.serve.catalogue import Catalogue
from engine.serve.engine import IDLE_SECONDS, Engine
from engine.serve.guard import Names, check_settings
from engine.serve.jobs import Job, Piece
from engine.serve.ollama_requests import duration

log = logging.getLogger("fledge.serve")

BACKLOG = 512  # connections that wait to be taken: 32 clients at once broke servers that had 5
TOKEN_VARIABLE = "FLEDGE_SERVE_TOKEN"
MIN_TOKEN = 16
OWNER_SECONDS = 1.0
NICENESS = 5


def serve(project_dir: Path | str, host: str = "127.0.0.1", port: int = 0, token: str | None = None, owner_pid: int | None = None,
          device: str = "auto", as_json: bool | None = None, keep_alive: float = IDLE_SECONDS, allow_hosts: Sequence[str] = ()) -> int:
    """Serve the models of a project until Ctrl-C, SIGTERM, or the end of process `owner_pid`.

    port         0: any free one
    token        None: that of FLEDGE_SERVE_TOKEN, else a fresh random one; "": none is asked for (loopback only)
    keep_alive   seconds that an idle model stays in memory; below 0: for good
    allow_hosts  names besides this machine's own that clients may call it by (behind a proxy, say)
    as_json      once it listens, it says where on stdout: a sentence for people, or one JSON object; None: nothing
    A second server for the same project is Locked; a port in use is a MachineError. The exit code, 0.
    """
    project = Project.open(project_dir)
    secret = _token() if token is None else token
    check_settings(host, secret)
    owner = _owner(owner_pid)
    post = address.Post(project.dir)
    post.take()
    try:
        listening = _listen(host, port)
        bound = listening.getsockname()[1]
        near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        where = Address(url=f"http://{f'[{near}]' if ':' in near else near}:{bound}", token=secret, pid=os.getpid(), host=host, port=bound,
                        version=__version__)
        _be_polite()
        with listening:
            asyncio.run(_run(project, listening, where, post, owner, Engine(device, keep_alive), Names(host, allow_hosts), as_json))
    except KeyboardInterrupt:
        pass
    finally:
        post.withdraw()
    return 0


async def _run(project: Project, listening: socket.socket, where: Address, post: address.Post, owner: psutil.Process | None, engine: Engine,
               names: Names, as_json: bool | None) -> None:
    loop = asyncio.get_running_loop()
    server = Server(Catalogue(project), engine, where.token, lambda: where.port, names)
    engine.start(lambda batch: _post_to(loop, server, batch))
    config = uvicorn.Config(server.build(), backlog=BACKLOG, log_level="warning", access_log=False, lifespan="off", ws="none", http="h11",
                            loop="asyncio", timeout_graceful_shutdown=2, timeout_keep_alive=30, server_header=False)
    web = uvicorn.Server(config)
    if hasattr(signal, "SIGHUP"):  # the terminal was closed
        loop.add_signal_handler(signal.SIGHUP, lambda: setattr(web, "should_exit", True))
    watch = loop.create_task(_end_with(owner, web)) if owner else None
    told = loop.create_task(_tell(web, where, post, as_json))
    try:
        await web.serve(sockets=[listening])
    finally:
        told.cancel()
        if watch:
            watch.cancel()
        engine.stop()  # no await here: after Ctrl-C this coroutine is being cancelled


def _post_to(loop: asyncio.AbstractEventLoop, server: Server, batch: list[tuple[Job, Piece]]) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody listens any more
        loop.call_soon_threadsafe(server.deliver, batch)


async def _tell(web: uvicorn.Server, where: Address, post: address.Post, as_json: bool | None) -> None:
    while not web.started:
        await asyncio.sleep(0.01)
    post.publish(where)
    log.info("listening at %s", where.url)
    file = str(layout.server_file(post.project))
    if as_json:
        print(json.dumps({"url": where.url, "pid": where.pid, "token_file": file}), flush=True)
    elif as_json is not None:
        print(tr("Serving the models of this project at {url}/v1, until Ctrl-C.", url=where.url), flush=True)
        print(tr("Programs made for Ollama find it at {url}.", url=where.url), flush=True)
        print(tr("The token is in {file}.", file=file) if where.token else
              tr("No token is asked for: every program of this machine may ask."), flush=True)


async def _end_with(owner: psutil.Process, web: uvicorn.Server) -> None:
    """Leave when the owner is gone. psutil compares the start time as well: a reused process number is not the owner."""
    while owner.is_running() and owner.status() != psutil.STATUS_ZOMBIE:
        await asyncio.sleep(OWNER_SECONDS)
    log.info("the owner has ended")
    web.should_exit = web.force_exit = True


def _token() -> str:
    """The one in the environment, so that other programs can keep it; else a fresh one."""
    given = os.environ.get(TOKEN_VARIABLE, "")
    if given and (len(given) < MIN_TOKEN or not given.isascii() or not given.isprintable() or " " in given):
        raise SettingError(tr("The token in {name} is too short, or has blanks or odd characters.", name=TOKEN_VARIABLE),
                           tr("Use {least} letters and digits or more.", least=MIN_TOKEN), field="token")
    return given or address.new_token()


def _owner(pid: int | None) -> psutil.Process | None:
    if pid is None:
        return None
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        raise SettingError(tr("The owner, process {pid}, is not there.", pid=pid), tr("Start the server from a process that lives."),
                           field="owner_pid") from None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    if sys.platform != "win32":  # there it would let a second process take the port
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as wrong:
        made.close()
        raise MachineError(tr("Port {port} cannot be used: {why}.", port=port, why=wrong.strerror or str(wrong)),
                           tr("Choose another port, or 0 for any free one."), code="port_in_use") from wrong
    made.set_inheritable(False)
    return made


def _be_polite() -> None:
    """A chat yields to training and to the window: with nothing else to run, a low priority costs nothing. And threads that wait for work
    sleep instead of spinning (read when torch is loaded, which is later)."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if sys.platform == "win32":
        with suppress(psutil.Error):
            psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        with suppress(OSError):
            os.nice(NICENESS)


def main(arguments: list[str] | None = None) -> int:
    """The window's way in; a token comes and goes in files that only their owner may read, never on a command line. The exit code is the
    error's."""
    parser = argparse.ArgumentParser(prog="engine.serve.main")
    parser.add_argument("project", type=Path)
    parser.add_argument("--owner-pid", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--keep-alive", default=str(IDLE_SECONDS))
    parser.add_argument("--allow-host", action="append", default=[])
    parser.add_argument("--no-token", action="store_true")
    parser.add_argument("--token-file", type=Path)
    asked = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(0)
    signal.signal(signal.SIGTERM, leave)  # until uvicorn takes over
    try:
        token = "" if asked.no_token else asked.token_file.read_text("utf-8").strip() if asked.token_file else None
        serve(asked.project, asked.host, asked.port, token, asked.owner_pid, asked.device, keep_alive=duration(asked.keep_alive),
              allow_hosts=asked.allow_host)
    except FledgeError as wrong:
        print(f"{wrong.code}: {wrong}", file=sys.stderr)
        return wrong.exit_code
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
