"""The tokens: every ink on every ground it is used on is readable, in both themes, and the stylesheet uses no colour of its own."""

import re

import pytest

from desktop.theme import palette, style
from desktop.theme.palette import DARK, LIGHT, SHAPE_PAIRS, TEXT_PAIRS, TYPE, contrast


@pytest.mark.parametrize("tokens", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("pairs", "floor"), [(TEXT_PAIRS, 4.5), (SHAPE_PAIRS, 3.0)], ids=["text", "shapes"])
def test_contrast_is_wcag_aa(tokens, pairs, floor) -> None:
    below = [f"{ink} on {ground}: {contrast(tokens[ink], tokens[ground]):.2f}" for ink, ground in pairs
             if contrast(tokens[ink], tokens[ground]) < floor]
    assert not below


def test_contrast_of_known_pairs() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21.0)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)


def test_both_themes_have_the_same_tokens() -> None:
    assert LIGHT.keys() == DARK.keys()


def test_no_text_is_smaller_than_twelve_pixels() -> None:
    assert min(size for size, _ in TYPE.values()) == 12
    sizes = [int(n) for n in re.findall(r"font-size: (\d+)px", style.sheet(LIGHT))]
    assert min(sizes) == 12


@pytest.mark.parametrize("tokens", [LIGHT, DARK], ids=["light", "dark"])
def test_the_stylesheet_has_only_colours_of_the_theme(tokens) -> None:
    made = style.sheet(tokens)
    assert "$" not in made
    assert set(re.findall(r"#[0-9A-Fa-f]{6}", made)) <= set(tokens.values())


def test_text_size_scales_type_and_leaves_hairlines() -> None:
    big = style.sheet(LIGHT, 1.5)
    assert "border: 1px solid" in big and "border: 2px solid" in big
    assert min(int(n) for n in re.findall(r"font-size: (\d+)px", big)) == 18


def test_mix_lays_a_share_over_a_ground() -> None:
    assert palette.mix("#FFFFFF", "#000000", 0.5) == "#808080"
