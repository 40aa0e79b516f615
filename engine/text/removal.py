"""The steps that remove documents, in the order of the funnel, and what each is called. Names only; the steps live where they work."""

import re

from engine.contract.words import tr

STEPS: dict[str, str] = {
    "minimum_length": tr("Too short"),
    "language": tr("Other languages"),
    "quality": tr("Quality rules"),
    "harmful": tr("Harmful content"),
    "exact_duplicates": tr("Exact duplicates"),
    "near_duplicates": tr("Near duplicates"),
    "contamination": tr("Held-out text"),
    "hand": tr("Excluded by hand"),
    "repeated_passages": tr("Nothing but repeated passages"),
    "mix": tr("Left out of the mix"),
}
"""A document that a later step would remove too is counted at the first. Rules of near_duplicates: "near", "contained"."""

CHANGES: dict[str, str] = {
    "unicode": tr("Unicode form"),
    "mojibake": tr("Garbled letters"),
    "whitespace": tr("White space"),
    "repeated_lines": tr("Boilerplate lines"),
    "personal_data": tr("Personal data"),
    "repeated_paragraphs": tr("Repeated paragraphs"),
    "repeated_passages": tr("Long repeated passages"),
}
"""The steps that change documents, in order."""

CODES = {step: number for number, step in enumerate(STEPS, 1)}
"""Small numbers for arrays over all documents; 0 is kept."""

RULES: dict[str, str] = {
    "empty": tr("Nothing is left"),
    "too_short": tr("Too short"),
    "exact": tr("The same text"),
    "near": tr("Nearly the same text"),
    "contained": tr("Excerpt of a longer document"),
    "overlap": tr("Holds held-out text"),
    "hand": tr("Excluded by hand"),
    "mix": tr("More than its share of the mix"),
    "repeated_passages": tr("Nothing but repeated passages"),
    "adult": tr("Adult"),
    "hate": tr("Hateful"),
    "violence": tr("Violent"),
    "self_harm": tr("Self-harm"),
    "gopher_word_count": tr("Gopher: number of words"),
    "gopher_word_length": tr("Gopher: length of words"),
    "gopher_symbols": tr("Gopher: many symbols"),
    "gopher_bullets": tr("Gopher: mostly list items"),
    "gopher_ellipses": tr("Gopher: lines that break off"),
    "gopher_lettered": tr("Gopher: words without letters"),
    "gopher_stop_words": tr("Gopher: few common words"),
    "gopher_repeated_paragraphs": tr("Gopher: repeated paragraphs"),
    "gopher_repeated_paragraph_letters": tr("Gopher: text in repeated paragraphs"),
    "gopher_repeated_lines": tr("Gopher: repeated lines"),
    "gopher_repeated_line_letters": tr("Gopher: text in repeated lines"),
    "c4_lorem_ipsum": tr("C4: placeholder text"),
    "c4_curly_bracket": tr("C4: curly brackets"),
    "c4_lines": tr("C4: lines that are no sentences"),
    "c4_sentences": tr("C4: too few whole sentences"),
    "fineweb_line_ends": tr("FineWeb: ends of lines"),
    "fineweb_short_lines": tr("FineWeb: many short lines"),
    "fineweb_repeated_lines": tr("FineWeb: repeated lines"),
    "fineweb_line_breaks": tr("FineWeb: many line breaks"),
}
"""The rules by which steps remove, for people. Rules that are many of a kind (word sequences, languages) are named by `rule_name`."""


def rule_name(rule: str) -> str:
    """A rule in plain words; of a language its code; one that is not known as it is, without underscores."""
    if rule in RULES:
        return RULES[rule]
    if found := re.fullmatch(r"gopher_top_(\d+)_gram", rule):
        return tr("Gopher: {count} words over and over", count=found[1])
    if found := re.fullmatch(r"gopher_repeated_(\d+)_grams", rule):
        return tr("Gopher: repeats of {count} words", count=found[1])
    if rule.startswith("language_"):
        return tr("Language: {code}", code=rule.removeprefix("language_"))
    return rule.replace("_", " ").replace(":", ": ")
