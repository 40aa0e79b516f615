"""Where a model to import comes from: a folder or file from the disk, dropped or chosen, or the hub where the network is allowed."""

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent
from PySide6.QtWidgets import QFileDialog, QWidget

from desktop.models.import_plan import kind_of_drop
from desktop.widgets.buttons import Button
from desktop.widgets.columns import Columns
from desktop.widgets.fields import TextField
from desktop.widgets.layout import col, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel, rule
from desktop.widgets.text import Icon, Text, small
from engine.contract.words import tr

if TYPE_CHECKING:
    from desktop.context import AppContext

FAMILIES = ("Llama 2, 3", "Mistral", "Qwen 2, 2.5, 3", "SmolLM", "Phi 3", "GPT-2")


class StartView(QWidget):
    """`chosen(path)`: a folder or a .gguf file. `named(text)`: OWNER/NAME of the hub, to be looked up."""

    chosen = Signal(str)
    named = Signal(str)

    def __init__(self, context: "AppContext") -> None:
        super().__init__()
        self.context, theme = context, context.theme
        self.setAcceptDrops(True)
        centre = Qt.AlignmentFlag.AlignHCenter
        self._looking = Text(role="medium", align=centre)
        self._stop = Button(theme, tr("Cancel"))
        self.stop_clicked = self._stop.clicked
        self._busy = col("+", self._looking, small(tr("Config, tokenizer and headers are read, by a process of its own."), align=centre), 8,
                         row("+", self._stop, "+"), "+", gap=4)
        self._buttons = row("+", Button(theme, tr("Choose a folder"), "primary", icon="folder", on_click=self.choose_folder),
                            Button(theme, tr("Choose a GGUF file"), icon="file", on_click=self.choose_file), "+", gap=8)
        self._idle = col("+", row("+", Icon(theme, "in", "accent", 28), "+", gap=0), 6,
                         Text(tr("Drop a model here"), "title", align=centre),
                         Text(tr("A folder with config.json, safetensors and tokenizer.json, or one .gguf file"), tone="text2",
                              align=centre), 12, self._buttons, "+", gap=2)
        self._drop = Panel(self._idle, self._busy, pad=(24, 24, 24, 24), gap=0)
        self._drop.setMinimumHeight(theme.px(300))
        self.hub_name = TextField(placeholder=tr("such as {name}", name="HuggingFaceTB/SmolLM2-135M"), name=tr("Name on the hub"))
        self.hub_name.returnPressed.connect(self._ask_hub)
        self._hub_button = Button(theme, tr("Look it up"), icon="search", on_click=self._ask_hub)
        self._allow = Button(theme, tr("Settings"), on_click=lambda: context.navigate("settings", section="network"))
        self._hub_on = col(row((self.hub_name, 1), self._hub_button),
                           small(tr("Its size is shown before anything is fetched."), wrap=True), gap=6)
        self._hub_off = row((small(tr("The network is off: nothing is fetched, and nobody is asked. It can be allowed in the settings."),
                                   wrap=True), 1), self._allow, gap=12)
        self.hub_notes = NoteSlot(theme)
        hub = Panel(row(Icon(theme, "globe"), Text(tr("From the Hugging Face hub"), "section"), "+", gap=8), self._hub_on, self._hub_off,
                    self.hub_notes, pad=(16, 12, 16, 14), gap=8)
        lines = [row(Icon(theme, "check", "ok"), Text(name), "+", gap=8) for name in FAMILIES]
        kinds = Panel(Text(tr("What can be taken over"), "section"), *lines, rule(),
                      small(tr("And others that share their shape. What is not computed exactly here, such as sliding windows or "
                               "experts, is refused by name; nothing is half loaded."), wrap=True), pad=(16, 10, 16, 14), gap=8)
        safe = Panel(Text(tr("Safe by design"), "section"),
                     small(tr("No code of the folder is run, and no pickle is opened. A file made to do harm can end only the process "
                              "that reads it."), wrap=True), pad=(16, 10, 16, 14), gap=6)
        main = col((self._drop, 1), hub, gap=12)
        col((Columns(theme, main, col(kinds, safe, "+", gap=12), side_width=300, gap=12), 1), gap=0, host=self)
        self.set_busy("")
        self.refresh()

    def refresh(self) -> None:
        on = self.context.settings.get("network") is True
        show_if(self._hub_on, on)
        show_if(self._hub_off, not on)

    def set_busy(self, words: str) -> None:
        """What is being looked at; "" when nothing is."""
        self._looking.set(words)
        show_if(self._busy, bool(words))
        show_if(self._idle, not words)
        self._hub_button.setEnabled(not words)

    def choose_folder(self) -> None:
        found = QFileDialog.getExistingDirectory(self, tr("The folder of a model"), self._near())
        if found:
            self.chosen.emit(found)

    def choose_file(self) -> None:
        found, _ = QFileDialog.getOpenFileName(self, tr("A GGUF file"), self._near(), tr("GGUF (*.gguf)"))
        if found:
            self.chosen.emit(found)

    def _near(self) -> str:
        kept = self.context.settings.get("import.folder", "")
        return kept if isinstance(kept, str) and kept and Path(kept).is_dir() else str(Path.home())

    def _ask_hub(self) -> None:
        name = self.hub_name.value().strip().removeprefix("https://huggingface.co/").strip("/")
        if name and self._hub_button.isEnabled():
            self.named.emit(name)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if kind_of_drop([url.toLocalFile() for url in event.mimeData().urls()]):
            self._drop.set_chosen(True)
            event.acceptProposedAction()

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._drop.set_chosen(False)

    def dropEvent(self, event: QDropEvent) -> None:
        self._drop.set_chosen(False)
        if path := kind_of_drop([url.toLocalFile() for url in event.mimeData().urls()]):
            event.acceptProposedAction()
            self.chosen.emit(path)
