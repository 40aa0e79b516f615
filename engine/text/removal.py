"""The steps that remove documents, in the order of the funnel, and what each is called. Names only; the steps live where they work."""

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
