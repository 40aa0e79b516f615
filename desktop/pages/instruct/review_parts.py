"""Parts of the review's frame: how far one is, what is done with many rows, the decisions of the card, and what stands where no row is."""

from collections.abc import Callable

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QWidget

from desktop.models.example_keys import Keys
from desktop.theme.theme import Theme
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button
from desktop.widgets.key_list import cap
from desktop.widgets.layout import clear, col, fill, row, show_if
from desktop.widgets.panel import Panel
from desktop.widgets.text import Icon, Text, small
from engine.contract.units import duration, number
from engine.contract.words import tr, trn


class Shown(QStackedWidget):
    """One of several parts; it asks for the room that this one needs, not for what the largest would."""

    def __init__(self) -> None:
        super().__init__()
        self.currentChanged.connect(lambda _: self.updateGeometry())

    def minimumSizeHint(self) -> QSize:
        shown = self.currentWidget()
        return shown.minimumSizeHint() if shown is not None else super().minimumSizeHint()

    def sizeHint(self) -> QSize:
        shown = self.currentWidget()
        return shown.sizeHint() if shown is not None else super().sizeHint()


class Progress(QWidget):
    """How many rows were looked through, how fast, how long the rest takes."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._words, self._bar = Text("", "strong"), Bar(theme, 0.0, name=tr("Looked through"))
        self._pace, self._left, self._kept, self._skipped = small(), small(), small(), small()
        row(self._words, (self._bar, 1), self._pace, self._left, self._kept, self._skipped, gap=12, host=self)

    def set(self, new: int, accepted: int, rejected: int, per_minute: float | None, skipped: int) -> None:
        total, done = new + accepted + rejected, accepted + rejected
        self._words.set(tr("{done} of {total} looked through", done=number(done), total=number(total)))
        self._bar.set(done / total if total else 0.0)
        self._pace.set(tr("{rate} a minute", rate=f"{per_minute:.1f}") if per_minute else "")
        self._left.set(tr("{time} left", time=duration(60 * new / per_minute)) if per_minute and new else "")
        show_if(self._pace, bool(per_minute))
        show_if(self._left, bool(per_minute and new))
        self._kept.set(tr("{accepted} accepted, {rejected} set aside", accepted=number(accepted), rejected=number(rejected)))
        self._skipped.set(trn("{shown} skipped", "{shown} skipped", skipped, shown=number(skipped)))
        show_if(self._skipped, skipped > 0)
        self.setAccessibleName(self._words.words())


class Many(QWidget):
    """The line over the table: how many rows there are, or are chosen, and what can be done with those."""

    wanted = Signal(str)  # accepted, rejected, new, delete
    all_wanted, one_wanted = Signal(), Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._count = small("", elide=True)
        self.choose_all = Button(theme, "", "quiet", name=tr("Choose all"), on_click=self.all_wanted.emit)
        self.buttons = {what: Button(theme, "", "quiet", name=what, on_click=lambda what=what: self.wanted.emit(what))
                        for what in ("accepted", "rejected", "new", "delete")}
        self._stop = Button(theme, tr("Choose none"), "quiet", on_click=self.one_wanted.emit)
        row((self._count, 1), self.choose_all, *self.buttons.values(), self._stop, gap=14, host=self)
        self.set(0, 0, True)

    def set(self, total: int, chosen: int, exact: bool, busy: str = "") -> None:
        many, shown = chosen > 1, number(chosen)
        self._count.set(busy or (tr("{shown} of {total} chosen", shown=shown, total=number(total)) if many else
                                 trn("{shown} example", "{shown} examples", total, shown=number(total)) if exact else
                                 tr("{shown} and more, counting …", shown=number(total))))
        words = {"accepted": tr("Accept {shown}", shown=shown), "rejected": tr("Reject {shown}", shown=shown),
                 "new": tr("Back to review"), "delete": tr("Delete {shown}", shown=shown)}
        for what, button in self.buttons.items():
            button.set_words(words[what])
            show_if(button, many and not busy)
        show_if(self._stop, many and not busy)
        self.choose_all.set_words(tr("Choose all {shown}", shown=number(total)))
        show_if(self.choose_all, not many and total > 1 and exact and not busy)


class Decide(Panel):
    """The decisions below the card, each with its key. `wanted(action)`."""

    wanted = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__(pad=(16, 10, 16, 10), flat=True, gap=8)
        self.theme = theme
        self.accept = Button(theme, tr("Accept"), "primary", icon="check", tip=tr("A model may be trained on it"),
                             on_click=lambda: self.wanted.emit("accept"))
        self.reject = Button(theme, tr("Reject"), icon="close", tip=tr("Sets it aside: nothing is trained on it"),
                             on_click=lambda: self.wanted.emit("reject"))
        self.skip = Button(theme, tr("Skip"), on_click=lambda: self.wanted.emit("skip"))
        self.edit = Button(theme, tr("Edit"), icon="edit", on_click=lambda: self.wanted.emit("edit"))
        self.previous = Button(theme, "", "icon", icon="left", name=tr("The one before"), on_click=lambda: self.wanted.emit("previous"))
        self.next = Button(theme, "", "icon", icon="right", name=tr("The next one"), on_click=lambda: self.wanted.emit("next"))
        self._caps = {id: QWidget() for id in ("accept", "reject", "skip", "edit")}
        for holder in self._caps.values():
            fill(QHBoxLayout(holder), (), 0)
        fill(self.box, (self.accept, self._caps["accept"], 8, self.reject, self._caps["reject"], 8, self.skip, self._caps["skip"], "+",
                        self.edit, self._caps["edit"], 8, self.previous, self.next), 6, (16, 10, 16, 10))

    def set_keys(self, keys: Keys) -> None:
        for id, holder in self._caps.items():
            clear(holder.layout())
            if keys.key(id):
                holder.layout().addWidget(cap(self.theme, keys.key(id)))


class Blank(QWidget):
    """In the place of rows: an icon, what is so, and what can be done about it."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        centre = Qt.AlignmentFlag.AlignHCenter
        self._icon = Icon(theme, "search", "text3", 24)
        self._title, self._words = Text("", "section", align=centre), small("", wrap=True, align=centre)
        self._title.setWordWrap(True)
        self._buttons = QWidget()
        fill(QHBoxLayout(self._buttons), (), 8)
        inside = Panel("+", row("+", self._icon, "+"), 4, self._title, self._words, 6, row("+", self._buttons, "+"), "+", "+", gap=4,
                       pad=(24, 24, 24, 24))
        col((inside, 1), gap=0, host=self)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    def set(self, icon: str, tone: str, title: str, words: str = "", *buttons: QWidget) -> None:
        self._icon.set(icon, tone)
        self._title.set(title)
        self._words.set(words)
        show_if(self._words, bool(words))
        clear(self._buttons.layout())
        fill(self._buttons.layout(), buttons, 8)  # type: ignore[arg-type]
        self.setAccessibleName(f"{title}. {words}")

    @property
    def title(self) -> str:
        return self._title.words()


def button_row(theme: Theme, *named: tuple[str, str, Callable[[], object]]) -> list[Button]:
    """Buttons of a blank: (words, kind, what it does)."""
    return [Button(theme, words, kind, on_click=act) for words, kind, act in named]
