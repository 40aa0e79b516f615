"""Forms from spec metadata: every stage's spec loads and comes back unchanged, problems stand beside their fields, nothing is lost."""

from typing import Any

import pytest
from PySide6.QtCore import Qt

from desktop.widgets.fields import Choice, NumberField
from desktop.widgets.spec_form import SpecForm
from engine.contract.errors import SettingError
from engine.contract.spec import Problem
from engine.pipeline import STAGES
from engine.stages.pretrain.spec import PretrainSpec
from engine.stages.tokenizer.spec import TokenizerSpec

FULL = PretrainSpec(corpus="corpus-2", tokenizer="tokenizer-9", title="m", depth=6, tokens_per_step=4096, tie_embeddings=False,
                    learning_rate=3e-4,
                    sample_prompts=("The ferry", "Once "), decay="cosine", qk_norm=False, beta2=0.951234567, rope_theta=1e6, seed=7)


@pytest.fixture
def form(theme, qtbot) -> SpecForm:
    made = SpecForm(theme, PretrainSpec, artifacts=lambda kind: [("corpus-2", "Corpus 2")] if kind == "corpus" else [])
    qtbot.addWidget(made)
    made.show()
    return made


def shown(form: SpecForm) -> list[str]:
    return [name for name, line in form.rows.items() if not line.isHidden()]


@pytest.mark.parametrize("stage", list(STAGES.values()), ids=lambda s: s.id)
@pytest.mark.parametrize("advanced", [False, True])
def test_an_untouched_form_gives_the_defaults(theme, qtbot, stage, advanced) -> None:
    form = SpecForm(theme, stage.spec, advanced=advanced)
    qtbot.addWidget(form)
    assert form.spec() == stage.spec()
    assert form.changed_names() == []


def test_loading_is_not_editing_and_saving_gives_the_same_spec(form: SpecForm, qtbot) -> None:
    with qtbot.assertNotEmitted(form.changed):
        form.load(FULL)
    assert form.spec() == FULL
    form.set_advanced(True)
    for line in form.rows.values():
        line.control.setFocus()
    form.clearFocus()
    assert form.spec() == FULL


def test_fields_not_shown_keep_what_was_loaded(theme, qtbot) -> None:
    form = SpecForm(theme, PretrainSpec, groups=("design",))
    qtbot.addWidget(form)
    form.load(FULL)
    assert form.spec() == FULL
    assert "learning_rate" not in form.rows


def test_hidden_options_have_no_row(theme, qtbot) -> None:
    form = SpecForm(theme, STAGES["corpus"].spec, advanced=True)
    qtbot.addWidget(form)
    assert "sources" not in form.rows


def test_simple_hides_the_advanced_and_counts_them(form: SpecForm) -> None:
    assert "width" not in shown(form)
    form.set("width", 640)
    assert "1 of them changed" in form._foot.words()
    form.set_advanced(True)
    assert "width" in shown(form) and form._foot.isHidden()


def test_a_change_is_marked_and_undone(form: SpecForm, qtbot) -> None:
    line = form.rows["max_seq_len"]
    line.control.selectAll()
    qtbot.keyClicks(line.control, "1024")
    assert form.changed_names() == ["max_seq_len"]
    assert not line.undo.isHidden() and "512" in line._was.words()
    assert "1" in form._count.text() and not form._count.isHidden()
    qtbot.mouseClick(line.undo, Qt.MouseButton.LeftButton)
    assert form.changed_names() == [] and form.spec().max_seq_len == 512
    assert line.undo.isHidden() and form._count.isHidden()


def test_a_chosen_input_is_not_a_changed_setting(form: SpecForm) -> None:
    form.set("corpus", "corpus-2")
    assert form.changed_names() == [] and form.spec().corpus == "corpus-2"


def test_nothing_is_chosen_for_the_person(form: SpecForm) -> None:
    assert form.values()["corpus"] == ""


def test_visible_if_follows_the_other_field(form: SpecForm) -> None:
    form.set_advanced(True)
    assert "matrix_learning_rate" in shown(form)
    form.set("optimizer", "adamw")
    assert "matrix_learning_rate" not in shown(form)


def test_text_that_is_no_number_is_said_beside_its_field(form: SpecForm, qtbot) -> None:
    line = form.rows["depth"]
    line.control.selectAll()
    qtbot.keyClicks(line.control, "many")
    assert "many" in line._problem.words() and not line._problem_line.isHidden()
    assert line.control.property("wrong") is True
    with pytest.raises(SettingError) as wrong:
        form.spec()
    assert wrong.value.field == "depth"


def test_a_value_out_of_range_is_said_in_words_while_typing(form: SpecForm, qtbot) -> None:
    line = form.rows["depth"]
    line.control.selectAll()
    qtbot.keyClicks(line.control, "99")
    assert "48" in line._problem.words()
    line.control.selectAll()
    qtbot.keyClicks(line.control, "6")
    assert line._problem_line.isHidden()


def test_check_shows_every_problem_and_goes_to_the_first(form: SpecForm, qtbot) -> None:
    found = form.check()
    assert {p.field for p in found} == {"corpus", "tokenizer"}
    assert "corpus" in form.rows["corpus"]._problem.words()
    form.set("corpus", "corpus-2")
    assert form.rows["corpus"]._problem_line.isHidden()


def test_a_problem_of_an_advanced_field_opens_it(form: SpecForm) -> None:
    form.load({"width": 100, "num_heads": 7, "corpus": "corpus-2", "tokenizer": "t"})
    assert "num_heads" not in shown(form)
    form.check()
    assert "num_heads" in shown(form)


def test_problems_of_other_fields_are_handed_back(theme, qtbot) -> None:
    form = SpecForm(theme, PretrainSpec, groups=("design",))
    qtbot.addWidget(form)
    rest = form.show_problems([Problem("corpus", "No corpus."), Problem("depth", "Too deep.")])
    assert [p.field for p in rest] == ["corpus"]
    assert "Too deep" in form.rows["depth"]._problem.words()


def test_automatic_values_are_shown_and_not_saved(form: SpecForm) -> None:
    form.set_automatic({"tokens_per_step": 262_144, "tie_embeddings": True})
    control = form.rows["tokens_per_step"].control
    assert isinstance(control, NumberField) and "262,144" in control.placeholderText()
    tied = form.rows["tie_embeddings"].control
    assert isinstance(tied, Choice) and "on" in tied.currentText()
    assert form.spec() == PretrainSpec()


def test_artifacts_are_asked_for_again(theme, qtbot) -> None:
    known: list[tuple[str, str]] = []
    form = SpecForm(theme, TokenizerSpec, artifacts=lambda kind: list(known))
    qtbot.addWidget(form)
    assert not form.rows["corpus"].control.isEnabled()
    known.append(("corpus-1", "First"))
    form.refresh_artifacts()
    assert form.rows["corpus"].control.isEnabled() and form.values()["corpus"] == ""
    form.set("corpus", "corpus-1")
    known.insert(0, ("corpus-2", "Second"))
    form.refresh_artifacts()
    assert form.values()["corpus"] == "corpus-1"


def test_every_control_has_an_accessible_name_and_takes_the_focus(form: SpecForm) -> None:
    form.set_advanced(True)
    for name, line in form.rows.items():
        assert line.control.accessibleName() == PretrainSpec.option_of(name).label
        assert line.control.focusPolicy() & Qt.FocusPolicy.TabFocus


def test_set_tells_only_of_what_is_new(form: SpecForm, qtbot) -> None:
    seen: list[Any] = []
    form.changed.connect(lambda: seen.append(form.values()["depth"]))
    form.set("depth", 4)
    form.set("depth", 8)
    assert seen == [8]


def test_rows_nobody_sees_are_not_made_until_they_are_shown(form: SpecForm, qtbot) -> None:
    assert form.spec() == PretrainSpec() and "width" in form.rows and "width" not in form.rows.made
    form.load(FULL)
    form.set_help("qk_norm", "Now known.")
    form.set_automatic({"width": 128})
    assert "qk_norm" not in form.rows.made and form.spec() == FULL and "qk_norm" in form.changed_names()
    form.set_advanced(True)
    qtbot.waitUntil(lambda: set(form.rows.made) == set(form.names), timeout=4000)
    assert form.rows["qk_norm"].help.words() == "Now known." and form.rows["width"].control.placeholderText() and form.spec() == FULL


def test_the_keyboard_goes_through_rows_in_their_order_whenever_they_were_made(theme, qtbot) -> None:
    form = SpecForm(theme, PretrainSpec, fields=["depth", "width", "max_seq_len", "num_heads", "tokens"])
    qtbot.addWidget(form)
    form.show()
    form.set_advanced(True)
    qtbot.waitUntil(lambda: len(form.rows.made) == 5, timeout=4000)
    seen, at = [], form.rows["depth"].control
    for _ in range(400):
        name = next((n for n, line in form.rows.items() if line.control is at), "")
        seen += [name] if name else []
        at = at.nextInFocusChain()
    assert list(dict.fromkeys(seen)) == form.names
