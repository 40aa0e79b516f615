"""The wizard's second step: what mends the text, and, apart from it and off, what removes documents. Each with its sentence and with what
it does to a sample."""


from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.models.corpus_plan import CorpusPlan
from desktop.models.languages import language_name
from desktop.pages.corpus.clean_sample import SamplePanel
from desktop.pages.corpus.wizard_parts import Body, section
from desktop.widgets.buttons import Button
from desktop.widgets.fields import TextField
from desktop.widgets.flexible import Beside, scrolled
from desktop.widgets.layout import col, fixed, row, show_if
from desktop.widgets.text import small
from desktop.widgets.toggles import Toggles
from engine.contract.units import number
from engine.contract.words import tr, trn
from engine.stages.corpus.spec import HARM_KINDS, PERSONAL_KINDS

SIDE = 348
OFFERED = 12
RULES = {"quality_gopher": "gopher", "quality_c4": "c4", "quality_fineweb": "fineweb"}
MENDS = ("unicode", "mojibake", "whitespace", "personal_data")


class CleanBody(Body):
    def __init__(self, context: AppContext, plan: CorpusPlan) -> None:
        super().__init__(context, plan)
        theme = self.theme
        self.sample = SamplePanel(theme)
        self.sample.answered.connect(self._show_sample)
        self.personal = self.bind("personal_kinds", Toggles(theme, [(k, w, "") for k, w in PERSONAL_KINDS],
                                                            name=tr("Kinds of personal data")))
        mends = section(tr("What is mended"), tr("changes texts, removes none"),
                        self.switch("unicode"), self.switch("mojibake"), self.switch("whitespace"),
                        self.switch("repeated_lines", self.form("repeated_lines_documents"),
                                    note=tr("Counted over all documents, so that a sample cannot show it.")),
                        self.switch("personal_data", self.personal, self.form("phone_region")))
        self._removes = col(gap=0)
        self._connect()
        row((Beside(theme, scrolled(mends, self._removes), self.sample, side_width=SIDE, least=340), 1), gap=0, host=self)
        QTimer.singleShot(0, self, self._build_rest)  # what lies below the first screen: all at once would hold the window

    def _build_rest(self) -> None:
        theme = self.theme
        self.harm = self.bind("harm_kinds", Toggles(theme, [(k, w, "") for k, w in HARM_KINDS], name=tr("Kinds of harm")))
        self.languages = self.bind("languages", Toggles(theme, name=tr("Languages to keep")))
        self._language_words = small("", "text3", wrap=True)
        self._other = TextField(placeholder=tr("other: en, pt"), name=tr("Other languages, by their codes"))
        self._other.editingFinished.connect(self._add_language)
        languages = col(self.languages, row((self._language_words, 1), fixed(self._other, theme.px(132)), gap=12), gap=8)
        removes = section(tr("What removes documents"), tr("off unless you choose it; all of it can be read and restored"),
                          self._length_card(), self.switch("identify_languages", languages), self.switch("quality_gopher"),
                          self.switch("quality_c4"), self.switch("quality_fineweb"),
                          self.choice("harmful", self.harm, self.form("harm_threshold", "harm_learned", "harm_judge")))
        self._removes.layout().addWidget(removes)
        self._connect()
        self.load()

    def _connect(self) -> None:
        for name, card in self.cards.items():
            if not card.property("connected"):
                card.setProperty("connected", True)
                card.touched.clicked.connect(lambda _=False, name=name: self._show_examples(name))

    @property
    def whole(self) -> bool:
        """Whether all of it is built."""
        return "harmful" in self.cards

    def _length_card(self) -> QWidget:
        self._short = Button(self.theme, "…", "quiet", on_click=lambda: self.sample.show_step("minimum_length"))
        self._short.hide()
        return col(self.form("minimum_length"), row("+", self._short, gap=0), gap=0)

    # showing ----------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        values = self.plan.values
        for name, on in (("repeated_lines", values["repeated_lines"]), ("personal_data", values["personal_data"]),
                         ("identify_languages", values["identify_languages"]), ("harmful", values["harmful"] != "off")):
            if name in self.cards:
                self.cards[name].set_more(bool(on))
        self._show_sample()

    def question(self, sources_question: dict[str, Any]) -> dict[str, Any]:
        """What is tried on the sample: the settings as they are, but everything that only mends switched on, so that each switch can say
        what it would do."""
        names = ("unicode", "mojibake", "whitespace", "personal_data", "personal_kinds", "phone_region", "minimum_length",
                 "identify_languages", "languages", *RULES, "harmful", "harm_kinds", "harm_threshold", "keep_rule")
        settings = {n: list(v) if isinstance(v := self.plan.values[n], tuple) else v for n in names}
        return {**sources_question, "settings": {**settings, **dict.fromkeys(MENDS, True)}}

    def try_out(self, sources_question: dict[str, Any]) -> None:
        if not self.problems():
            self.sample.ask(self.question(sources_question))

    def rest(self) -> None:
        self.sample.rest()

    def _show_examples(self, name: str) -> None:
        step = {"identify_languages": "language", "harmful": "harmful", **dict.fromkeys(RULES, "quality")}.get(name, name)
        self.sample.show_step(step, *([RULES[name]] if name in RULES else []))

    def _show_sample(self) -> None:
        made, values = self.sample.sample, self.plan.values
        if made is None or not made.documents or not self.whole:
            return

        def words(count: int, on: bool) -> str:
            of = number(made.documents)
            return tr("touches {count} of {of}", count=number(count), of=of) if on else \
                tr("would touch {count} of {of}", count=number(count), of=of)

        def removes(count: int) -> str:
            return tr("removes {count} of {of}", count=number(count), of=number(made.documents))
        for name in MENDS:
            count = made.touched(name)
            self.cards[name].set_touched(words(count, bool(values[name])), count > 0)
        for name, rule in RULES.items():
            count = made.removed("quality", rule)
            self.cards[name].set_touched(removes(count) if values[name] else "", count > 0)
        count = made.removed("language")
        self.cards["identify_languages"].set_touched(removes(count) if values["languages"] else "", count > 0)
        count = made.touched("harmful")
        lists = tr("lists {count} of {of}", count=number(count), of=number(made.documents))
        self.cards["harmful"].set_touched({"off": "", "remove": removes(count)}.get(values["harmful"], lists), count > 0)
        short = made.removed("minimum_length")
        show_if(self._short, bool(values["minimum_length"]))
        self._short.set_words(removes(short))
        known = sorted(((c, n) for c, n in made.languages.items() if c), key=lambda item: -item[1])[:OFFERED]
        self.languages.set_choices([(code, language_name(code), number(n)) for code, n in known])
        self._language_words.set(tr("None chosen: all languages are kept.") if not values["languages"] else
                                 trn("Documents in other languages are removed.", "Documents in other languages are removed.",
                                     len(values["languages"])))

    def _add_language(self) -> None:
        codes = [c for c in self._other.value().lower().replace(",", " ").split() if c.isalpha() and 2 <= len(c) <= 3]
        if codes:
            self._other.set("")
            chosen = tuple(dict.fromkeys([*self.languages.value(), *codes]))
            self.languages.set(chosen)
            self._edited({"languages": chosen})


