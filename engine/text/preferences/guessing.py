"""What the columns of a file of pairs mean, told by their names and their first values. A guess that a person can change."""

import re
from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from engine.text.conversations.guessing import SYSTEMS
from engine.text.preferences.argilla import is_record
from engine.text.preferences.making import NoPair, implicit, is_transcript, said
from engine.text.preferences.mapping import Mapping

PROMPTS = ("prompt", "instruction", "question", "query", "context", "messages", "conversation", "history", "post", "input", "problem",
           "user", "request")
CHOSEN = (("chosen", "rejected"), ("preferred", "dispreferred"), ("winner_response", "loser_response"), ("better", "worse"),
          ("accepted", "rejected"), ("response_j", "response_k"), ("chosen_response", "rejected_response"), ("win", "lose"))
TWO = (("first", "second"), ("answer_a", "answer_b"), ("answer a", "answer b"), ("response_a", "response_b"), ("response a", "response b"),
       ("completion_a", "completion_b"), ("output_a", "output_b"), ("conversation_a", "conversation_b"), ("a", "b"),
       ("answer_1", "answer_2"), ("answer1", "answer2"), ("response_1", "response_2"), ("response1", "response2"),
       ("output_1", "output_2"), ("completion_1", "completion_2"), ("generation_1", "generation_2"), ("answer_0", "answer_1"),
       ("response_0", "response_1"), ("output_0", "output_1"), ("completion_0", "completion_1"), ("human_ref_a", "human_ref_b"))
LABELS = ("label", "labels", "winner", "preference", "preferred", "choice", "better", "better_response_id", "overall_preference", "best",
          "verdict")
SCORES = (("score_chosen", "score_rejected"), ("chosen_score", "rejected_score"), ("chosen-rating", "rejected-rating"),
          ("chosen_rating", "rejected_rating"), ("score_a", "score_b"), ("score_1", "score_2"), ("score_0", "score_1"))
MODELS = (("chosen-model", "rejected-model"), ("chosen_model", "rejected_model"), ("model_a", "model_b"), ("model_1", "model_2"),
          ("chosen_by", "rejected_by"))
TIES = ("tie", "is_tie", "tied")
STRENGTHS = ("strength", "preference_strength")
PEOPLE = ("annotator", "annotator_id", "by", "worker", "worker_id", "judge", "labeler", "rater")


def guess(rows: Sequence[Any]) -> Mapping:
    """A mapping for rows that begin like these; one that is not `complete` where nothing can be told."""
    table = [row for row in rows if isinstance(row, dict)]
    folded: dict[str, str] = {}
    values: dict[str, list[Any]] = {}
    for row in table:
        for name, value in row.items():
            folded.setdefault(str(name).strip().casefold(), str(name))
            if value is not None and value != "":
                values.setdefault(str(name), []).append(value)
    if {"id", "prompt", "first", "second", "facts"} <= folded.keys():
        return Mapping("fledge")
    if any(is_record(row) for row in table):
        return Mapping("argilla")

    def column(names: Sequence[str], but: Sequence[str] = ()) -> str:
        return next((folded[n] for n in names if n in folded and folded[n] not in but and folded[n] in values), "")

    def two(names: Sequence[tuple[str, str]]) -> tuple[str, str]:
        return next(((folded[a], folded[b]) for a, b in names if a in folded and b in folded), ("", ""))

    chosen, rejected = two(CHOSEN)
    first, second = ("", "") if chosen else two(TWO)
    scores, models = two(SCORES), two(MODELS)
    made = Mapping(prompt=column(PROMPTS, (chosen, rejected, first, second)), chosen=chosen, rejected=rejected, first=first, second=second,
                   tie=column(TIES), strength=column(STRENGTHS), score_first=scores[0], score_second=scores[1], model_first=models[0],
                   model_second=models[1], system=column(SYSTEMS), by=column(PEOPLE))
    if chosen:
        return _of_chosen(made, table, values)
    if not first:
        return made
    label = column(LABELS, made.columns)
    named = replace(made, label=label, labels=_labels(values.get(label, ()), label, made) if label else ())
    if not made.prompt and all(isinstance(v, list) for v in values.get(first, ())):
        return replace(named, kind="columns", prompt=first)  # whole conversations on both sides
    return named


def _of_chosen(made: Mapping, table: Sequence[dict[str, Any]], values: Table[str, Sequence[Any]]) -> Mapping:
    texts = [v for v in values.get(made.chosen, ()) if isinstance(v, str)]
    if texts and sum(is_transcript(v) for v in texts) >= 0.9 * len(texts):
        return replace(made, kind="transcripts")
    if made.prompt or any(isinstance(v, (list, dict)) for v in values.get(made.chosen, ())) or \
            any(v.lstrip().startswith('[{"') for v in texts):
        return replace(made, kind="chosen")
    # Two texts without a prompt are TRL's "implicit prompt" only where they do begin alike: not every pair of answers is a sentence with
    # two ends.
    alike = 0
    for row in table:
        try:
            implicit(said(row.get(made.chosen)), said(row.get(made.rejected)))
            alike += 1
        except NoPair:
            pass
    if alike and alike >= 0.9 * len(table):
        return replace(made, kind="implicit")
    return replace(made, kind="columns")


def _labels(values: Sequence[Any], column: str, made: Mapping) -> tuple[tuple[str, str], ...]:
    """What numbers say. 0 and 1, or 1 and 2, count the answers; with negative ones they lean to a side, more or less."""
    seen = {said(v).casefold() for v in values}
    if not all(re.fullmatch(r"-?\d", v) for v in seen):
        return ()
    if any(v.startswith("-") for v in seen):
        return tuple((str(n), "tie" if not n else f"{'first' if n < 0 else 'second'}:{abs(n)}") for n in range(-3, 4))
    if made.first.casefold() == "human_ref_a":  # of SHP: 1 says that A is the better one
        return (("1", "first"), ("0", "second"))
    ends = (made.first[-1:], made.second[-1:])
    if "2" in seen or ends == ("1", "2") and "0" not in seen:
        return (("1", "first"), ("2", "second"), ("0", "tie"))
    if "0" in seen or ends == ("0", "1"):
        return (("0", "first"), ("1", "second"))
    return ()
