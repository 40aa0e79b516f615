"""A server by its address, and a model for Ollama to fetch. An address outside this machine has to be confirmed by typing its host
again."""

import json
from typing import Any
from urllib.parse import urlsplit

from PySide6.QtCore import QProcess, QTimer, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QDialog, QWidget

from desktop.jobs.engine_process import engine_process
from desktop.jobs.inquiry import Inquiry
from desktop.models.local_models import is_local
from desktop.theme.theme import Theme
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button
from desktop.widgets.fields import TextField
from desktop.widgets.layout import col, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel
from desktop.widgets.question import fit
from desktop.widgets.text import Text, small
from engine.contract.errors import FledgeError
from engine.contract.units import size
from engine.contract.words import tr
from engine.project import launch

MODULE = "engine.generators.server_models"
PULL_MODULE = "engine.generators.pull"
EXAMPLE_ADDRESS, EXAMPLE_MODEL = "http://127.0.0.1:1234/v1", "llama3.2"


def tidy(address: str) -> str:
    """An address as it is asked: with a protocol, without a slash at its end."""
    made = address.strip().rstrip("/")
    return made if not made or "://" in made else f"http://{made}"


class ServerDialog(QDialog):
    """`found(address, host, models)`: the server answered; `host` is the confirmed one, "" for this machine."""

    found = Signal(str, str, list)

    def __init__(self, theme: Theme, parent: QWidget | None = None, address: str = "") -> None:
        super().__init__(parent)
        self.theme, self._inquiry = theme, Inquiry(self, limit=20.0)
        self.setWindowTitle(tr("Add a server"))
        self.setFixedWidth(theme.px(520))
        self.address = TextField(address, placeholder=EXAMPLE_ADDRESS, name=tr("Address"))
        self.address.changed.connect(self._changed)
        self.address.returnPressed.connect(self._ask)
        self.confirmation = TextField(placeholder="", name=tr("Type the host again to confirm it"))
        self.confirmation.changed.connect(self._changed)
        self.confirmation.returnPressed.connect(self._ask)
        self._warning = Text("", wrap=True)
        self._confirm_part = Panel(Text(tr("This is another machine"), "strong"), self._warning, self.confirmation, kind="note-warn",
                                   pad=(16, 12, 16, 14), gap=6)
        self.notes = NoteSlot(theme)
        self.cancel = Button(theme, tr("Cancel"), on_click=self.reject)
        self.add = Button(theme, tr("Look at it"), "primary", on_click=self._ask)
        self.add.setDefault(True)
        col(Text(tr("Add a server"), "title"),
            small(tr("Any server that speaks OpenAI's protocol: LM Studio, llama.cpp, vLLM and others."), wrap=True), 6,
            Text(tr("Address"), "medium"), self.address, self._confirm_part, self.notes, 8, row("+", self.cancel, self.add), gap=6,
            pad=(24, 20, 24, 20), host=self)
        self._changed()

    @property
    def host(self) -> str:
        try:
            return urlsplit(tidy(self.address.value())).hostname or ""
        except ValueError:
            return ""

    @property
    def outside(self) -> bool:
        return bool(self.host) and not is_local(self.host)

    def _changed(self) -> None:
        show_if(self._confirm_part, self.outside)
        if self.outside:
            self._warning.set(tr("Passages, questions and answers would leave this machine for {host}. Type {host} here if that is what "
                                 "you want.", host=self.host))
            self.confirmation.setPlaceholderText(self.host)
        confirmed = not self.outside or self.confirmation.value().strip().lower() == self.host.lower()
        self.add.setEnabled(bool(self.host) and confirmed and not self._inquiry.busy)
        fit(self)

    def _ask(self) -> None:
        if not self.add.isEnabled():
            return
        self.notes.clear()
        host = self.host if self.outside else ""
        self._inquiry.ask(MODULE, "look", {"address": tidy(self.address.value()), "host": host}, self._answered, self._failed)
        self.add.set_words(tr("Looking…"))
        self._changed()

    def _answered(self, answer: dict[str, Any]) -> None:
        self.add.set_words(tr("Look at it"))
        models = list(answer.get("models") or [])
        if not models:
            self._failed(FledgeError(tr("This server answers, and has no model."), tr("Load one there, then look again.")))
            return
        self.found.emit(tidy(self.address.value()), self.host if self.outside else "", models)
        self.accept()

    def _failed(self, wrong: FledgeError) -> None:
        self.add.set_words(tr("Look at it"))
        if wrong.code in ("reader_died", "too_long"):
            wrong = FledgeError(tr("{address} could not be looked at.", address=tidy(self.address.value())),
                                tr("Check that the server runs there, and try again."), code=wrong.code)
        self.notes.show_error(wrong)
        self._changed()
        QTimer.singleShot(0, self, lambda: fit(self))  # the note knows its height once it is laid out

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        fit(self)

    def done(self, result: int) -> None:
        self._inquiry.stop()
        super().done(result)


class PullDialog(QDialog):
    """Ollama fetches a model: its name, a bar while it comes, stop at any time (it goes on from there later). `fetched(name)`."""

    fetched = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self._process: QProcess | None = None
        self._said: dict[str, Any] = {}
        self.setWindowTitle(tr("Get a model"))
        self.setFixedWidth(theme.px(480))
        self.name = TextField("", placeholder=EXAMPLE_MODEL, name=tr("Name of the model"))
        self.name.changed.connect(self._changed)
        self.name.returnPressed.connect(self._start)
        self.bar, self._words = Bar(theme, name=tr("Fetched")), small()
        self._progress = col(self.bar, self._words, gap=6)
        self.notes = NoteSlot(theme)
        self.cancel = Button(theme, tr("Close"), on_click=self.reject)
        self.get = Button(theme, tr("Fetch it"), "primary", on_click=self._start)
        self.get.setDefault(True)
        col(Text(tr("Get a model"), "title"),
            small(tr("Ollama loads it from its own library on the internet: this is the one step here that needs the network. Names are at "
                     "ollama.com/library."), wrap=True), 6, Text(tr("Name of the model"), "medium"), self.name, 2, self._progress,
            self.notes, 8, row("+", self.cancel, self.get), gap=6, pad=(24, 20, 24, 20), host=self)
        show_if(self._progress, False)
        self._changed()

    def _changed(self) -> None:
        self.get.setEnabled(bool(self.name.value().strip()) and self._process is None)
        self.name.setEnabled(self._process is None)
        self.cancel.set_words(tr("Stop") if self._process is not None else tr("Close"))
        fit(self)

    def _start(self) -> None:
        if not self.get.isEnabled():
            return
        self.notes.clear()
        self._said = {}
        process = engine_process(self)
        process.readyReadStandardOutput.connect(self._read)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._broken)
        self._process = process
        process.start(launch.interpreter(), ["-m", PULL_MODULE, self.name.value().strip()])
        self.bar.set(0)
        self._words.set(tr("Asking Ollama…"))
        show_if(self._progress, True)
        self._changed()

    def _read(self) -> None:
        assert self._process is not None
        while self._process.canReadLine():
            try:
                line = json.loads(bytes(self._process.readLine().data()))
            except ValueError:
                continue
            if isinstance(line, dict):
                self._said = line
        done, total = int(self._said.get("done") or 0), int(self._said.get("total") or 0)
        if total:
            self.bar.set(done / total)
            self._words.set(tr("{done} of {total}, {status}", done=size(done), total=size(total), status=self._said.get("status", "")))
        elif self._said.get("status"):
            self._words.set(str(self._said["status"]))

    def _finished(self) -> None:
        if self._process is None:
            return
        self._read()
        said = bytes(self._process.readAllStandardError().data()).decode("utf-8", "replace").strip().splitlines()[-1:]
        self._end()
        if self._said.get("ok"):
            self.fetched.emit(self.name.value().strip())
            self.accept()
        elif "error" in self._said:
            self._fail(FledgeError(str(self._said["sentence"]), str(self._said["remedy"]), code=str(self._said["error"])))
        else:
            self._fail(FledgeError(tr("The model was not fetched."), said[0] if said else tr("Try again: it goes on where it was."),
                                   code="pull"))

    def _broken(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            words = self._process.errorString()
            self._end()
            self._fail(FledgeError(tr("The engine could not be started: {why}.", why=words),
                                   tr("Check the engine's interpreter in the settings."), code="engine"))

    def _fail(self, wrong: FledgeError) -> None:
        self.notes.show_error(wrong)
        QTimer.singleShot(0, self, lambda: fit(self))

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        fit(self)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.deleteLater()
        show_if(self._progress, False)
        self._changed()

    def done(self, result: int) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            process.finished.disconnect(self._finished)
            process.kill()
            process.waitForFinished(1000)
            process.deleteLater()
        super().done(result)

    def reject(self) -> None:
        """Stop while it fetches; close otherwise."""
        if self._process is not None:
            process, self._process = self._process, None
            process.finished.disconnect(self._finished)
            process.kill()
            process.waitForFinished(1000)
            process.deleteLater()
            show_if(self._progress, False)
            self._changed()
        else:
            super().reject()
