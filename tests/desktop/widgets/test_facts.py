"""Facts keep their rows together however much height there is, and live values change in place."""

from desktop.widgets.facts import Facts, Stat
from desktop.widgets.layout import col


def test_spare_height_does_not_part_the_rows(theme, qtbot) -> None:
    facts = Facts([("Documents", "318,204"), ("Sources", "26")])
    host = col(facts)
    qtbot.addWidget(host)
    host.resize(300, 900)
    host.show()
    assert facts.height() < 80


def test_live_values_change_in_place(theme, qtbot) -> None:
    facts = Facts([("Steps", "1"), ("Loss", "9.1")])
    qtbot.addWidget(facts)
    before = list(facts._values)
    facts.set([("Steps", "2"), ("Loss", "8.7")])
    assert facts._values == before and before[1].words() == "8.7"
    facts.set([("Steps", "3")])
    assert [v.words() for v in facts._values] == ["3"]


def test_a_stat_is_read_as_one_sentence(theme, qtbot) -> None:
    stat = Stat("Speed", "171,204", "tokens/s")
    qtbot.addWidget(stat)
    assert stat.accessibleName() == "Speed: 171,204 tokens/s"
