"""Rewards that a reward model of the project gives to answers, asked of the local server. No widgets; nothing waits."""

import json

from PySide6.QtCore import QObject, Signal
from PySide6.QtNetwork import QNetworkReply

from desktop.jobs.answer import ChatError, error_of, server_gone
from engine.contract.words import tr


class Rewards(QObject):
    """One question to a reward model: then exactly one of `came` (a number an answer, in their order, over the spread of the answers it
    was trained on) and `failed`. Deleted at its end."""

    came = Signal(list)
    failed = Signal(object)

    def __init__(self, reply: QNetworkReply, parent: QObject) -> None:
        super().__init__(parent)
        self._reply: QNetworkReply | None = reply
        reply.finished.connect(self._finished)

    def cancel(self) -> None:
        """Nobody waits for it any more; nothing is told."""
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.abort()
            reply.deleteLater()
            self.deleteLater()

    def _finished(self) -> None:
        reply, self._reply = self._reply, None
        if reply is None:
            return
        try:
            raw = json.loads(bytes(reply.readAll().data()))
        except ValueError:
            raw = None
        if isinstance(raw, dict) and isinstance(raw.get("data"), list):
            self.came.emit([float(entry["normalised"]) for entry in raw["data"]])
        elif isinstance(raw, dict) and "error" in raw:
            self.failed.emit(error_of(raw))
        elif reply.error() == QNetworkReply.NetworkError.NoError:
            self.failed.emit(ChatError("no_rewards", tr("The local server gave no rewards."), tr("Look at its log, then try again.")))
        else:
            self.failed.emit(server_gone())
        reply.deleteLater()
        self.deleteLater()
