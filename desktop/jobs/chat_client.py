"""The window's side of the local server: starts one for the project if none runs, lists models, asks for texts (answer.py). No widgets.

Nothing ever waits: QtNetwork tells when bytes are there. The server is told to live as long as this process.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from PySide6.QtCore import QByteArray, QObject, QTimer, QUrl, Signal
from PySide6.QtNetwork import QNetworkAccessManager, QNetworkProxy, QNetworkReply, QNetworkRequest

from desktop.jobs.answer import Answer, AnswerEnd, ChatError, ModelInfo, SamplingSettings, StreamedToken, TokenChoice, error_of, server_gone
from desktop.jobs.rewards import Rewards
from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.project import launch, layout
from engine.serve import address
from engine.serve.address import Address

POLL_MS = 60
WATCH_MS = 2000
START_SECONDS = 60.0
END_SECONDS = 8.0
TOP_CHOICES = 5


class ChatClient(QObject):
    """One project's server. `state`: off, starting, loading (it answers; torch is on its way), ready, failed.

    `models` is filled by `refresh`; `models_changed` tells. `failed` carries a ChatError about the server itself; an answer's own failures
    come by the answer.
    """

    state_changed = Signal(str)
    models_changed = Signal(list)
    health_changed = Signal(dict)
    failed = Signal(object)

    def __init__(self, project_dir: Path, parent: QObject | None = None, device: str = "auto",
                 options: Callable[[], list[str]] = list) -> None:
        """`options`: more words for the command of a server that is started (engine/serve/main.py)."""
        super().__init__(parent)
        self.project_dir, self._device, self._options = project_dir, device, options
        self.state = "off"
        self.models: list[ModelInfo] = []
        self.health: dict[str, Any] = {}
        self._known = False
        self._address: Address | None = None
        self._pid = 0
        self._deadline = 0.0
        self._asking = False
        self._again = 0.0  # until when an old server may take its time to end; 0 when none does
        self._net: QNetworkAccessManager | None = None
        self._poll = QTimer(self)
        self._poll.setInterval(POLL_MS)
        self._poll.timeout.connect(self._look)
        self._watch = QTimer(self)
        self._watch.setInterval(WATCH_MS)
        self._watch.timeout.connect(self._still_there)

    @property
    def listed(self) -> bool:
        """Whether the server has told its models yet (an empty list is an answer, too)."""
        return self._known

    @property
    def own(self) -> bool:
        """Whether this client started the server."""
        return self._pid != 0

    @property
    def address(self) -> Address | None:
        """Where it listens, once that is known."""
        return self._address

    @property
    def can_ask(self) -> bool:
        return self._address is not None and self.state in ("loading", "ready")

    def start(self) -> None:
        """Find the server of the project or start one. Returns at once; `state_changed` tells the rest. Nothing happens if it is there."""
        if self.state not in ("off", "failed"):
            return
        self._deadline = time.monotonic() + START_SECONDS
        if self._leaving():  # one that was told to end may still hold the project or the port
            self._begin_anew()
            return
        self._address = address.read(self.project_dir)
        if self._address is not None or self._spawn():
            self._set_state("starting")
            self._poll.start()

    def restart(self) -> None:
        """End a server that this client started, and start one with the options of now. One that was started elsewhere stays."""
        if not self.own:
            self.start()
            return
        self._watch.stop()
        self._end_process()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._address, self._known, self._asking, self._again = None, False, False, time.monotonic() + END_SECONDS
        self._set_state("starting")
        self._poll.start()

    def _spawn(self) -> bool:
        command = [launch.interpreter(), "-m", "engine.serve.main", str(self.project_dir), "--owner-pid", str(os.getpid()),
                   "--device", self._device]
        try:
            self._pid = launch.detach([*command, *self._options()], layout.server_log(self.project_dir))
        except OSError as wrong:
            self._fail(ChatError("no_start", tr("The local server cannot be started: {why}.", why=wrong.strerror or str(wrong)),
                                 tr("Check the engine's Python in the settings.")))
            return False
        except FledgeError as wrong:
            self._fail(ChatError(wrong.code, wrong.sentence, wrong.remedy))
            return False
        return True

    def _end_and_spawn(self) -> None:
        """While an old server ends: wait for that, then start the new one."""
        for pid in self._leaving():
            if time.monotonic() > self._again:
                launch.kill(pid, wait=0.0)
            return
        self._again, self._deadline = 0.0, time.monotonic() + START_SECONDS
        self._address = address.read(self.project_dir)
        if self._address is None:
            self._spawn()

    def _leaving(self) -> list[int]:
        """Servers that were told to end, have not yet, and are in the way: of the same project, or any where the port is a fixed one."""
        for pid in [pid for pid in _ended if not launch.running(pid)]:
            del _ended[pid]
        fixed = bool(_ended) and "--port" in self._options()
        return [pid for pid, project in _ended.items() if fixed or project == self.project_dir]

    def refresh(self) -> None:
        """Ask for the models again; `models_changed` when they differ."""
        if self._address is None:
            return
        reply = self._access().get(self._request("/v1/models"))
        reply.finished.connect(lambda: self._models_came(reply))

    def complete(self, model: str, prompt: str, settings: SamplingSettings) -> Answer:
        """Continue a text."""
        return self._post("/v1/completions", {"model": model, "prompt": prompt, "stream": True, "logprobs": TOP_CHOICES, **settings.body()})

    def chat(self, model: str, messages: Sequence[tuple[str, str]], settings: SamplingSettings) -> Answer:
        """Answer a conversation of (role, content)."""
        turns = [{"role": role, "content": content} for role, content in messages]
        return self._post("/v1/chat/completions", {"model": model, "messages": turns, "stream": True, "logprobs": True,
                                                   "top_logprobs": TOP_CHOICES, **settings.body()})

    def rewards(self, model: str, messages: Sequence[tuple[str, str]], answers: Sequence[str]) -> Rewards:
        """How much a reward model likes each of several answers to a conversation."""
        turns = [{"role": role, "content": content} for role, content in messages]
        request = self._request("/v1/score")
        request.setHeader(QNetworkRequest.KnownHeaders.ContentTypeHeader, "application/json")
        body = {"model": model, "kind": "reward", "input": [{"messages": turns, "completion": answer} for answer in answers]}
        made = Rewards(self._access().post(request, QByteArray(json.dumps(body).encode())), self)
        made.failed.connect(self._answer_failed)
        return made

    def stop_server(self) -> None:
        """End a server that this client started (it would end with this process anyway)."""
        self._poll.stop()
        self._watch.stop()
        self._end_process()
        self._address, self._known, self._again = None, False, 0.0
        self._set_state("off")

    # -- inside ------------------------------------------------------------------------------------------------------

    def _access(self) -> QNetworkAccessManager:
        if self._net is None:
            self._net = QNetworkAccessManager(self)
            self._net.setProxy(QNetworkProxy(QNetworkProxy.ProxyType.NoProxy))
        return self._net

    def _request(self, path: str) -> QNetworkRequest:
        assert self._address is not None
        made = QNetworkRequest(QUrl(self._address.url + path))
        for name, value in self._address.headers.items():
            made.setRawHeader(name.encode(), value.encode())
        made.setAttribute(QNetworkRequest.Attribute.Http2AllowedAttribute, False)
        made.setAttribute(QNetworkRequest.Attribute.CacheLoadControlAttribute, QNetworkRequest.CacheLoadControl.AlwaysNetwork)
        made.setAttribute(QNetworkRequest.Attribute.RedirectPolicyAttribute, QNetworkRequest.RedirectPolicy.ManualRedirectPolicy)
        return made

    def _post(self, path: str, body: dict[str, Any]) -> Answer:
        assert self._address is not None, "ask can_ask first"
        request = self._request(path)
        request.setHeader(QNetworkRequest.KnownHeaders.ContentTypeHeader, "application/json")
        made = Answer(self._access().post(request, QByteArray(json.dumps(body).encode())), self)
        made.failed.connect(self._answer_failed)
        return made

    def _look(self) -> None:
        """While starting or loading: is the address there, does it answer, is it ready."""
        if self._again:
            self._end_and_spawn()
            return
        if self._address is None:
            self._address = address.read(self.project_dir)
            if self._address is None:
                if self._pid and not launch.running(self._pid):
                    self._fail(ChatError("server_died", tr("The local server ended while starting."), self._log_tail()))
                elif time.monotonic() > self._deadline:
                    self._fail(ChatError("server_slow", tr("The local server does not answer."), tr("Try again, or restart Fledge.")))
                return
        if not self._asking:
            self._asking = True
            reply = self._access().get(self._request("/health"))
            reply.finished.connect(lambda: self._health_came(reply))

    def _health_came(self, reply: QNetworkReply) -> None:
        self._asking = False
        raw, failed = _body(reply), reply.error() != QNetworkReply.NetworkError.NoError
        reply.deleteLater()
        if self.state in ("off", "failed") or self._address is None:  # what a server said that has been ended since
            return
        if not isinstance(raw, dict) or "state" not in raw:
            if failed and address.read(self.project_dir) is None:
                self._lost()
            return
        if raw != self.health:
            self.health = raw
            self.health_changed.emit(raw)
        if raw["state"] == "failed":
            self._fail(error_of(raw))
            return
        if not self._known:
            self.refresh()
        if not self._watch.isActive():
            self._watch.start()
        if raw["state"] == "ready":
            self._poll.stop()
        self._set_state(str(raw["state"]))

    def _models_came(self, reply: QNetworkReply) -> None:
        raw = _body(reply)
        reply.deleteLater()
        if not isinstance(raw, dict) or not isinstance(raw.get("data"), list):
            return
        models = [ModelInfo.of(entry) for entry in raw["data"]]
        if models != self.models or not self._known:
            self.models, self._known = models, True
            self.models_changed.emit(models)

    def _still_there(self) -> None:
        """The lock tells at once whether the server lives; its load is asked for beside."""
        if address.read(self.project_dir) is None:
            self._lost()
        elif not self._asking:
            self._asking = True
            reply = self._access().get(self._request("/health"))
            reply.finished.connect(lambda: self._health_came(reply))

    def _answer_failed(self, error: ChatError) -> None:
        if error.code == "server_gone" and self.can_ask and address.read(self.project_dir) is None:
            self._lost()

    def _lost(self) -> None:
        self._fail(server_gone())

    def _fail(self, error: ChatError) -> None:
        self._poll.stop()
        self._watch.stop()
        self._end_process()  # one whose engine could not start still listens
        self._address, self._known = None, False
        self._set_state("failed")
        self.failed.emit(error)

    def _end_process(self) -> None:
        if self._pid:
            with suppress(psutil.Error):
                psutil.Process(self._pid).terminate()
            _ended[self._pid] = self.project_dir
            self._pid = 0

    def _set_state(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self.state_changed.emit(state)

    def _log_tail(self) -> str:
        """The last line of the server's log: the error's own sentence, where it was one."""
        try:
            lines = layout.server_log(self.project_dir).read_bytes()[-4000:].decode("utf-8", "replace").splitlines()
        except OSError:
            lines = []
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return tr("It said: {line}", line=said) if said else tr("It left no message.")


_ended: dict[int, Path] = {}
"""Servers that clients of this process told to end, and their projects."""


def _body(reply: QNetworkReply) -> Any:
    try:
        return json.loads(bytes(reply.readAll().data()))
    except ValueError:
        return None


__all__ = ["Answer", "AnswerEnd", "ChatClient", "ChatError", "ModelInfo", "SamplingSettings", "StreamedToken", "TokenChoice", "error_of",
           "server_gone"]
