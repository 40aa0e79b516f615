"""The switch that lets other programs talk to the project's models: on which address, with which token, and lines to copy for them.

It steers the one local server that the Chat page uses too; it makes none of its own.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QWidget

from desktop.jobs import serving
from desktop.models import serve_examples
from desktop.models.serve_examples import HIDDEN, Served
from desktop.widgets.badge import Badge
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.fields import Switch, TextField, set_wrong
from desktop.widgets.layout import col, fixed, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel, rule
from desktop.widgets.snippet import Snippet
from desktop.widgets.text import Text, small
from engine.contract.errors import FledgeError
from engine.contract.words import tr

if TYPE_CHECKING:
    from desktop.context import AppContext
    from desktop.jobs.answer import ChatError
    from desktop.jobs.chat_client import ChatClient

EXAMPLES: tuple[tuple[str, str, Callable[[Served], str]], ...] = (
    ("curl", "curl", serve_examples.curl), ("openai", "openai", serve_examples.openai), ("ollama", "Ollama", serve_examples.ollama),
    ("form", tr("Other programs"), serve_examples.settings))
LOW, HIGH = 1024, 65535
FIXED = tr("Fixed, so that a program set up once finds it again.")


class ServePanel(Panel):
    def __init__(self, context: "AppContext") -> None:
        self.context, theme = context, context.theme
        self._client: ChatClient | None = None
        self.switch = Switch(theme, bool(context.settings.get("serve.on")), name=tr("Serve my models to other programs"))
        self._badge = Badge()
        self._words = small(wrap=True)
        self._notes = NoteSlot(theme)
        self._address = Snippet(theme, name=tr("Address"), said=context.toast)
        self._token = Snippet(theme, name=tr("Token"), said=context.toast)
        self._another = Button(theme, tr("New token"), on_click=self._new_token,
                               tip=tr("Programs that have the old one are locked out."))
        self.port = TextField(str(serving.port(context.settings)), name=tr("Port"))  # a port has no thousands separator
        self.port.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.port.editingFinished.connect(self._port_edited)
        self.asks = Switch(theme, serving.asks_token(context.settings), name=tr("Ask for a token"))
        self._kind = Segments(theme, [(id, words) for id, words, _ in EXAMPLES], "curl", name=tr("For which program"),
                              on_change=lambda _: self._show_example())
        self._example = Snippet(theme, name=tr("Example"), said=context.toast)
        self._example_words = small(wrap=True)
        label = theme.px(72)

        def line(words: str, *controls: object) -> QWidget:
            return row(fixed(Text(words, tone="text2"), label), *controls, gap=8)  # type: ignore[arg-type]
        self._token_line = line(tr("Token"), (self._token, 1), self._another)
        self._where = col(line(tr("Address"), (self._address, 1)), self._token_line, 6, row(self._kind, "+"), self._example,
                          self._example_words, gap=8)
        self._port_words = small(FIXED, wrap=True)
        self._options = col(rule(), row((col(Text(tr("Port"), "medium"), self._port_words, gap=1), 1),
                                        fixed(self.port, theme.px(104)), gap=16, pad=(0, 8, 0, 8)), rule(),
                            row((col(Text(tr("Ask for a token"), "medium"),
                                     small(tr("Without one, any program of this machine may ask. Other machines never can."), wrap=True),
                                     gap=1), 1), self.asks, gap=16, pad=(0, 8, 0, 0)), gap=0)
        super().__init__(row(Text(tr("Serve my models to other programs"), "section"), self._badge, "+", self.switch, gap=10), self._words,
                         self._notes, self._where, self._options, pad=(16, 10, 16, 14), gap=10)
        self.switch.changed.connect(self._switched)
        self.asks.changed.connect(self._asks_changed)
        context.project_changed.connect(self.refresh)
        self.refresh()

    # following --------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """What is so now."""
        project, on = self.context.project, bool(self.context.settings.get("serve.on"))
        if project is None:
            self._client = None
        elif on and self._client is not self.context.server:
            self._follow(self.context.server)
        self.switch.set(on)
        client = self._client if on and project is not None else None
        ready = client is not None and client.address is not None and client.can_ask
        starting = client is not None and not ready and client.state != "failed"
        show_if(self._where, ready)
        show_if(self._options, on)
        if ready:
            self._badge.set(tr("listening"), "ok")
        elif starting:
            self._badge.set(tr("starting"), "accent")
        else:
            self._badge.set(tr("not listening") if client is not None else "", "danger")
        if on and project is None:
            self._words.set(tr("It listens while a project is open: that project's models are what it serves."))
        else:
            self._words.set(tr("Programs that speak to OpenAI or Ollama can use every model of the open project. Only programs on this "
                               "machine, and only while this window is open."))
        if ready:
            self._notes.clear()
            self._show_where()

    def _follow(self, client: "ChatClient") -> None:
        self._client = client
        client.state_changed.connect(self.refresh)
        client.models_changed.connect(self.refresh)
        client.failed.connect(self._failed)

    def _failed(self, error: "ChatError") -> None:
        again = Button(self.context.theme, tr("Try again"), on_click=self._restart)
        self._notes.show_error(FledgeError(error.sentence, error.remedy, code=error.code), again,
                               title=tr("Other programs cannot reach the models"))
        self.refresh()

    def _served(self, token: str) -> Served:
        assert self._client is not None and self._client.address is not None
        models = self._client.models
        chosen = next((m for m in models if m.chat), models[0] if models else None)
        return Served(self._client.address.url, token, chosen.id if chosen else "MODEL", bool(chosen and chosen.chat))

    def _show_where(self) -> None:
        assert self._client is not None and self._client.address is not None
        where = self._client.address
        self._address.set(where.url)
        self._token.set(HIDDEN, where.token)
        show_if(self._token_line, bool(where.token))
        show_if(self._another, self._client.own)
        self._show_example()

    def _show_example(self) -> None:
        if self._client is None or self._client.address is None:
            return
        make = next(make for id, _, make in EXAMPLES if id == self._kind.value())
        token = self._client.address.token
        self._example.set(make(self._served(HIDDEN if token else "")), make(self._served(token)))
        known = self._client.models
        self._example_words.set(tr("The base address first, then the key. What is copied holds the token itself.")
                                if self._kind.value() == "form" else
                                tr("What is copied holds the token itself.") if token and known else
                                tr("This project has no model yet; the name stands for one.") if not known else "")
        show_if(self._example_words, bool(self._example_words.words()))

    # acting -----------------------------------------------------------------------------------------------------------

    def _switched(self) -> None:
        self.context.remember("serve.on", True if self.switch.value() else None)
        self._notes.clear()
        if self.context.project is not None:
            if self.switch.value():
                self._restart()
            else:
                self.context.server.stop_server()
        self.refresh()

    def _restart(self) -> None:
        self._notes.clear()
        if self.context.project is None:
            return
        QTimer.singleShot(0, self.context.server.restart)

    def _new_token(self) -> None:
        serving.new_token()
        self._restart()

    def _asks_changed(self) -> None:
        self.context.remember("serve.token", None if self.asks.value() else False)
        self._restart()

    def _port_edited(self) -> None:
        text = self.port.value().strip()
        value = int(text) if text.isascii() and text.isdigit() else 0
        wrong = not LOW <= value <= HIGH
        set_wrong(self.port, wrong)
        self._port_words.set(tr("A port is a number from 1024 to 65535.") if wrong else FIXED)
        self._port_words.set_tone("danger" if wrong else "text2")
        if not wrong and value != serving.port(self.context.settings):
            self.context.remember("serve.port", value)
            self._restart()
