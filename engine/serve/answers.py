"""One request under way, whatever its protocol: jobs go to the engine thread, pieces come back, a client that leaves frees its slots.

A protocol (openai_api.py, ollama_api.py, own_api.py) makes an Answer of a request and says how its bodies look; `Desk.respond` does the
rest. No torch.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from engine.contract.errors import SettingError
from engine.contract.words import tr
from engine.serve.catalogue import Catalogue, Listed
from engine.serve.engine import Engine
from engine.serve.guard import Refused
from engine.serve.jobs import Accepted, Broke, Embedded, Ended, Job, Piece, Rewarded, Scored, Wrote
from engine.serve.pieces import Token

MAX_BODY = 16 * 2**20
MAX_JOBS = 256


@dataclass(eq=False)
class Answer:
    """Its jobs, what was accepted, and the pieces that came back and wait to be sent."""

    id: str
    model: str
    jobs: list[Job] = field(default_factory=list)
    created: int = field(default_factory=lambda: int(time.time()))
    began: float = field(default_factory=time.monotonic)
    accepted: dict[Job, Accepted] = field(default_factory=dict)
    pieces: asyncio.Queue[tuple[Job, Piece]] = field(default_factory=asyncio.Queue)

    def cancel(self) -> None:
        for job in self.jobs:
            job.cancelled.set()

    async def batch(self) -> list[tuple[Job, Piece]]:
        """What there is, at least one: under load several tokens leave in one body. A failure is raised."""
        out = [await self.pieces.get()]
        with suppress(asyncio.QueueEmpty):
            while True:
                out.append(self.pieces.get_nowait())
        for _, piece in out:
            if isinstance(piece, Broke):
                raise piece.error
        return out

    async def steps(self) -> AsyncIterator[tuple[dict[Job, list[Token]], dict[Job, Ended]]]:
        """(tokens by job, jobs that ended) as they come, until all have ended."""
        left = len(self.jobs)
        while left:
            written: dict[Job, list[Token]] = {}
            ends: dict[Job, Ended] = {}
            for job, piece in await self.batch():
                if isinstance(piece, Wrote):
                    written.setdefault(job, []).extend(piece.tokens)
                elif isinstance(piece, Ended):
                    ends[job] = piece
            left -= len(ends)
            yield written, ends


@dataclass
class Outcome:
    """All that came of a job."""

    tokens: list[Token] = field(default_factory=list)
    vector: np.ndarray | None = None
    reward: Rewarded | None = None
    end: Ended = field(default_factory=lambda: Ended("stop", 0, 0))

    @property
    def text(self) -> str:
        return "".join(t.text for t in self.tokens)


Outcomes = dict[Job, Outcome]


class Desk:
    """Takes requests in and hands answers out; `answers` are those under way."""

    def __init__(self, catalogue: Catalogue, engine: Engine) -> None:
        self.catalogue, self.engine = catalogue, engine
        self.answers: dict[str, Answer] = {}

    async def find(self, model: str) -> Listed:
        """The model of an id; NotFound names those there are."""
        return await run_in_threadpool(self.catalogue.get, model)

    async def find_reward(self, model: str) -> Listed:
        """The reward model of an id; NotFound names those there are."""
        return await run_in_threadpool(self.catalogue.get_reward, model)

    async def models(self) -> list[Listed]:
        """Every one, as it is now."""
        return await run_in_threadpool(self.catalogue.list)

    async def body(self, http: Request) -> bytes:
        """The body of a request; one that is too long is Refused before it is in memory."""
        data = bytearray()
        async for chunk in http.stream():
            data += chunk
            if len(data) > MAX_BODY:
                raise Refused(413, "too_large", tr("The request is longer than {most} MB.", most=MAX_BODY // 2**20),
                              tr("Send less text at once."))
        return bytes(data)

    def deliver(self, batch: list[tuple[Job, Piece]]) -> None:
        """Called on the event loop by the engine thread, once a step."""
        for job, piece in batch:
            answer = self.answers.get(job.answer)
            if answer is not None:
                answer.pieces.put_nowait((job, piece))

    def drop(self, answer: Answer) -> None:
        """Nobody waits for it any more."""
        self.answers.pop(answer.id, None)
        answer.cancel()
        self.engine.wake()

    async def respond(self, http: Request, answer: Answer, whole: Callable[[Outcomes], dict[str, Any]],
                      stream: Callable[[], AsyncIterator[bytes]] | None = None, media_type: str = "") -> Response:
        """The HTTP response: `whole` makes the body once everything is there; with `stream`, its parts are sent as they are made. An error
        that shows before the first token becomes the status."""
        self.answers[answer.id] = answer
        self.engine.submit(answer.jobs)
        kept = False
        try:
            left = _Left(http)
            try:
                await left.unless_gone(self._accepted(answer))
                if stream is None:
                    return JSONResponse(whole(await left.unless_gone(self._all(answer))))
            except ClientDisconnect:
                return Response(status_code=499)
            finally:
                left.close()
            kept = True
            return StreamingResponse(self._guarded(answer, stream()), media_type=media_type,
                                     headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        finally:
            if not kept:
                self.drop(answer)

    async def _guarded(self, answer: Answer, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """When the client goes, the iterator is closed and the slots are freed."""
        try:
            async for part in parts:
                yield part
        finally:
            self.drop(answer)

    async def _accepted(self, answer: Answer) -> None:
        """Until all jobs are accepted; the first failure is raised (and becomes the HTTP status)."""
        early: list[tuple[Job, Piece]] = []
        while len(answer.accepted) < len(answer.jobs):
            job, piece = await answer.pieces.get()
            if isinstance(piece, Broke):
                raise piece.error
            if isinstance(piece, Accepted):
                answer.accepted[job] = piece
            else:
                early.append((job, piece))
        if early:
            rest = [answer.pieces.get_nowait() for _ in range(answer.pieces.qsize())]
            for item in (*early, *rest):
                answer.pieces.put_nowait(item)

    async def _all(self, answer: Answer) -> Outcomes:
        made: Outcomes = {job: Outcome() for job in answer.jobs}
        left = len(answer.jobs)
        while left:
            for job, piece in await answer.batch():
                if isinstance(piece, (Wrote, Scored)):
                    made[job].tokens.extend(piece.tokens)
                elif isinstance(piece, Embedded):
                    made[job].vector = piece.vector
                elif isinstance(piece, Rewarded):
                    made[job].reward = piece
                elif isinstance(piece, Ended):
                    made[job].end = piece
                    left -= 1
        return made


def check_count(count: int, field: str, most: int = MAX_JOBS) -> None:
    """A SettingError for more jobs than one request may have, and for none."""
    if count > most:
        raise SettingError(tr("{count} are too many for one request.", count=f"{count:,}"), tr("Ask for at most {most}.", most=f"{most:,}"),
                           code="bad_parameter", field=field)
    if count < 1:
        raise SettingError(tr("{name} is empty.", name=field), tr("Give at least one text."), code="bad_parameter", field=field)


class _Left:
    """Notices a client that goes away while its answer is still being made."""

    def __init__(self, http: Request) -> None:
        self._gone = asyncio.ensure_future(self._watch(http))

    @staticmethod
    async def _watch(http: Request) -> None:
        while (await http.receive())["type"] != "http.disconnect":
            pass

    async def unless_gone(self, work: Any) -> Any:
        working = asyncio.ensure_future(work)
        try:
            await asyncio.wait([working, self._gone], return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise ClientDisconnect
            return working.result()
        finally:
            working.cancel()

    def close(self) -> None:
        self._gone.cancel()

