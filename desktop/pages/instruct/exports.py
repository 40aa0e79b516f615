"""A set's rows into a file that other programs train from: which form, which rows, where to; a process of the engine writes."""

from pathlib import Path
from typing import Any

from desktop.widgets.buttons import Segments
from desktop.widgets.fields import Choice
from desktop.widgets.layout import col
from desktop.widgets.question import Question
from desktop.widgets.rows_export import RowsExport, file_name
from desktop.widgets.text import Text, small
from engine.contract.units import number
from engine.contract.words import tr, trn

MODULE = "engine.stages.instruct.examples_process"
FORMS = (("messages", tr("Messages (OpenAI)")), ("sharegpt", tr("Conversations (ShareGPT)")), ("alpaca", tr("Instructions (Alpaca)")),
         ("trl", tr("Prompts and completions (TRL)")), ("preferences", tr("Chosen and rejected answers (TRL)")), ("csv", tr("Table (CSV)")),
         ("fledge", tr("Everything (Fledge)")))
ABOUT = {"messages": tr("A list of messages with role and content: what most programs read."),
         "sharegpt": tr("The turns of each conversation as “from” and “value”."),
         "alpaca": tr("Instruction, input, output; earlier turns as history."),
         "trl": tr("A prompt and a completion, each a list of messages."),
         "preferences": tr("Only rows that keep a losing answer: for preference training."),
         "csv": tr("One question and one answer a row; longer conversations are left out and counted."),
         "fledge": tr("Everything that is known of a row, to be imported again.")}


class Exports(RowsExport):
    """`menu(set)` asks; progress and trouble stand in `notes`."""

    def menu(self, chosen: Any) -> None:
        """Ask for the form, and which rows."""
        if chosen is None or self.exporting.running:
            return
        theme = self.context.theme
        kept = self.context.settings.get("instruct.form", "messages")
        form = Choice(theme, FORMS, kept if kept in ABOUT else "messages", name=tr("Form"))
        about = small(ABOUT[str(form.value())], wrap=True)
        form.changed.connect(lambda: about.set(ABOUT[str(form.value())]))
        usable = chosen.accepted + chosen.new
        which = Segments(theme, [("usable", tr("All but those set aside ({count})", count=number(usable))),
                                 ("accepted", tr("Only accepted ({count})",
                                                 count=number(chosen.accepted)))], "usable", name=tr("Which rows"))
        which.set_enabled("accepted", chosen.accepted > 0, tr("Nothing is accepted yet"))
        dialog = Question(theme, tr("Export “{title}”", title=chosen.title), "", tr("Choose a file"),
                          lambda: self.ask(chosen, str(form.value()), str(which.value())),
                          col(Text(tr("Form"), "medium"), form, about, gap=4), 4, col(Text(tr("Which rows"), "medium"), which, gap=4),
                          parent=self.parent, width=480)
        dialog.open()

    def ask(self, chosen: Any, form: str, which: str) -> None:
        """Ask where to, and write."""
        self.context.remember("instruct.form", form)
        target = self._ask_target(file_name(chosen.title, chosen.id), form)
        if target is not None:
            self.write(chosen.id, form, target, which)

    def write(self, set_id: str, form: str, target: Path, which: str = "usable") -> None:
        assert self.context.project is not None
        to = self._begin(target, form)
        self.exporting.start(MODULE, str(self.context.project.dir), "export", set_id, form, str(to), which)

    def written_words(self, result: dict[str, Any], name: str) -> str:
        rows = int(result.get("rows") or 0)
        return trn("{shown} row is in {name}", "{shown} rows are in {name}", rows, shown=number(rows), name=name)

    def left_words(self, left: int) -> str:
        return trn("{shown} row was left out", "{shown} rows were left out", left, shown=number(left))
