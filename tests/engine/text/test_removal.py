"""What steps and rules are called for people."""

import re
from pathlib import Path

import engine.text.cleaning.quality as quality
from engine.text.removal import RULES, STEPS, rule_name


def test_every_rule_of_the_quality_step_has_a_name() -> None:
    written = set(re.findall(r'"((?:gopher|c4|fineweb)_[a-z_]+)"', Path(quality.__file__).read_text("utf-8"))) - {"gopher_repetition"}
    settings = {"quality_gopher", "quality_c4", "quality_fineweb"}
    assert len(written) >= 12 and written - settings <= set(RULES), written - set(RULES)


def test_rules_of_many_kinds_are_named() -> None:
    assert rule_name("gopher_top_3_gram") == "Gopher: 3 words over and over"
    assert rule_name("gopher_repeated_7_grams") == "Gopher: repeats of 7 words"
    assert rule_name("language_de") == "Language: de" and rule_name("some_rule") == "some rule"
    assert all(name and "_" not in name for name in (*RULES.values(), *STEPS.values()))
