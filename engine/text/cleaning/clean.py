"""Runs the cleaning steps over the documents of a corpus, part by part, and counts what they did.

Garbled letters are mended first, since the control characters that the Unicode step drops are what they are mended from. Then, in this
order and only those that are switched on: Unicode form, white space, boilerplate lines, personal data, shortest document, languages,
quality rules, harmful content. A step that removes a document is the last that sees it; its row stays, with step, rule and detail.

A step may have `suspects(texts)`: one fast look at all documents of a part that tells which of them it could change. The others are
never touched by Python, and a document that no step wants is not even decoded. That is where the speed on clean text comes from.

Duplicates, held-out sets and mixing come later and elsewhere, as does counting lines over all documents (lines.py).
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.text.cleaning import lines, quality
from engine.text.cleaning.draft import Draft, Step
from engine.text.cleaning.excerpt import shown
from engine.text.cleaning.language import Languages
from engine.text.cleaning.length import MinimumLength
from engine.text.cleaning.mojibake import Mojibake
from engine.text.cleaning.stepping import changes, run, whole
from engine.text.cleaning.unicode import Unicode
from engine.text.cleaning.whitespace import WhiteSpace
from engine.text.parts import CLEAN, read_part, write_part

STEPS = ("mojibake", "unicode", "whitespace", "repeated_lines", "personal_data", "minimum_length", "language", "quality", "harmful")
"""Ids in the order in which they run."""
EXAMPLES = 20
HARM = "harm:"


@dataclass(frozen=True)
class CleanPlan:
    """Which steps run and how; the names are those of the corpus settings."""

    unicode: bool = True
    mojibake: bool = True
    whitespace: bool = True
    repeated_lines: bool = False
    repeated_lines_documents: int = 10
    personal_data: bool = False
    personal_kinds: tuple[str, ...] = ("email", "phone", "iban", "card", "ip", "key")
    phone_region: str = ""
    minimum_length: int = 0
    identify_languages: bool = True
    languages: tuple[str, ...] = ()
    quality_gopher: bool = False
    quality_c4: bool = False
    quality_fineweb: bool = False
    harmful: str = "off"
    harm_kinds: tuple[str, ...] = ("adult", "hate", "violence", "self_harm")
    harm_threshold: float = 0.5
    harm_judge: str = ""
    learned: dict[str, Any] | None = None
    """What was learned from the person's decisions about harm (learned.py), or None."""
    judge_cache: str = ""
    """The file that remembers what the judge said, so that a resume does not ask twice."""

    @classmethod
    def of(cls, settings: Mapping[str, Any], learned: dict[str, Any] | None = None) -> "CleanPlan":
        """From the plain values of a corpus spec; other settings are left out."""
        given = {f.name: settings[f.name] for f in fields(cls) if f.name in settings and f.name != "learned"}
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        return cls(**given, learned=learned)


@dataclass(frozen=True)
class CleanJob:
    """One part. `first` is the number of its first document in the corpus; `boilerplate` is what lines.merge_lines wrote, where
    boilerplate lines are cut out."""

    source: Path
    target: Path
    plan: CleanPlan
    boilerplate: Path | None = None
    first: int = 0


@dataclass
class CleanCounts:
    """What the steps did to some documents; `+` joins those of several parts, in any order.

    documents, kept     documents seen, and left after cleaning
    steps               step -> {"documents": changed, "edits": places, "examples": [{"number", "source", "before", "after", "rule"}]}
    removed             step -> rule -> documents
    languages           code -> [documents, bytes] of what is left; `languages_read` counts what was read
    personal            kind -> places replaced
    harm                kind -> documents from the threshold on, removed or not
    mixed               documents in more than one language
    borderline          documents that a person should look at
    seconds             step -> processor time; no part of the result
    """

    documents: int = 0
    kept: int = 0
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    removed: dict[str, dict[str, int]] = field(default_factory=dict)
    languages: dict[str, list[int]] = field(default_factory=dict)
    languages_read: dict[str, list[int]] = field(default_factory=dict)
    personal: dict[str, int] = field(default_factory=dict)
    harm: dict[str, int] = field(default_factory=dict)
    mixed: int = 0
    borderline: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def __add__(self, other: "CleanCounts") -> "CleanCounts":
        steps = {}
        for id in _in_order({**self.steps, **other.steps}):
            mine, theirs = self.steps.get(id, _NONE), other.steps.get(id, _NONE)
            examples = sorted([*mine["examples"], *theirs["examples"]], key=lambda e: e["number"])[:EXAMPLES]
            steps[id] = {name: mine[name] + theirs[name] for name in ("documents", "edits")} | {"examples": examples}
        removed = {id: _sum(self.removed.get(id, {}), other.removed.get(id, {})) for id in _in_order({**self.removed, **other.removed})}
        return CleanCounts(self.documents + other.documents, self.kept + other.kept, steps, removed,
                           _sum_pairs(self.languages, other.languages), _sum_pairs(self.languages_read, other.languages_read),
                           _sum(self.personal, other.personal), _sum(self.harm, other.harm), self.mixed + other.mixed,
                           self.borderline + other.borderline, _sum(self.seconds, other.seconds))

    def plain(self) -> dict[str, Any]:
        """For JSON; `CleanCounts(**plain)` is the way back."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


_NONE: dict[str, Any] = {"documents": 0, "edits": 0, "examples": []}


def _in_order(ids: Mapping[str, Any]) -> list[str]:
    return sorted(ids, key=STEPS.index)


def _sum(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({**one, **other})}


def _sum_pairs(one: Mapping[str, list[int]], other: Mapping[str, list[int]]) -> dict[str, list[int]]:
    none = [0, 0]
    return {key: [a + b for a, b in zip(one.get(key, none), other.get(key, none), strict=True)] for key in sorted({**one, **other})}


# ---- one part


def clean_part(job: CleanJob) -> CleanCounts:
    """Read a part of schema READ, write one of schema CLEAN with the same rows. A part that is there already is left, and its counts are
    read back. Same job, same result, in whatever process."""
    counted = job.target.with_suffix(".json")
    if job.target.exists():
        return CleanCounts(**json.loads(counted.read_text("utf-8")))
    table = read_part(job.source)
    cleaned, counts = clean_table(table, job.plan, job.boilerplate, job.first)
    _write_counts(counted, counts)
    write_part(job.target, cleaned)
    return counts


def clean_table(table: pa.Table, plan: CleanPlan, boilerplate: Path | None = None, first: int = 0) -> tuple[pa.Table, CleanCounts]:
    """The same for a table in memory."""
    texts, sources, ids = whole(table["text"]), table["source"].to_pylist(), table["id"].to_pylist()
    seconds: dict[str, float] = {}
    drafts = run(_steps(plan, boilerplate), texts, ids, sources, seconds)
    after, changed = changes(texts, drafts)
    started = time.process_time()
    scores = quality.scores(after)
    seconds["score"] = time.process_time() - started
    gone = [d.verdict if d is not None else None for d in drafts]
    harm = [_worst(d) if d is not None else (0.0, "") for d in drafts]
    columns = {
        **{name: table[name] for name in ("id", "root", "file", "document", "source")},
        "text": after,
        "original": pc.if_else(changed, texts, pa.scalar(None, pa.large_string())),
        "language": pa.array([d.language if d is not None else "" for d in drafts], pa.string()),
        "language_score": pa.array([d.language_score if d is not None else 0.0 for d in drafts], pa.float32()),
        "step": pa.array([v.step if v else None for v in gone], pa.string()),
        "rule": pa.array([v.rule if v else None for v in gone], pa.string()),
        "detail": pa.array([v.detail if v else None for v in gone], pa.string()),
        "touched": pa.array([_touched(d) if d is not None else [] for d in drafts], pa.list_(pa.string())),
        "quality": pa.array(scores, pa.float32()),
        "harm": pa.array([score for score, _ in harm], pa.float32()),
        "harm_kind": pa.array([kind for _, kind in harm], pa.string()),
        "borderline": pa.array([d.borderline or None if d is not None else None for d in drafts], pa.string()),
    }
    counts = _count(drafts, after, sources, plan, first)
    counts.seconds = {id: round(took, 6) for id, took in seconds.items()}
    return pa.table(columns, schema=CLEAN), counts


def check(plan: CleanPlan) -> None:
    """Raise what making the steps would raise: a country or a judge that nobody knows. Nothing is loaded that takes time."""
    if plan.personal_data:
        from engine.text.cleaning.personal import PersonalData

        PersonalData(plan.personal_kinds, plan.phone_region)
    if plan.harmful != "off" and plan.harm_judge:
        from engine.text.cleaning.judge import Judge

        Judge.of(plan.harm_judge)


def _steps(plan: CleanPlan, boilerplate: Path | None) -> list[Step]:
    """The steps that are switched on. Those of one plan are made once a process: models and word lists take time to load."""
    global _made
    if _made is None or _made[0] != (plan, boilerplate):
        _made = ((plan, boilerplate), list(_make(plan, boilerplate)))
    return _made[1]


_made: tuple[Any, list[Step]] | None = None


def _make(plan: CleanPlan, boilerplate: Path | None) -> list[Step]:
    steps: list[Step] = []
    if plan.mojibake:
        steps.append(Mojibake())
    if plan.unicode:
        steps.append(Unicode())
    if plan.whitespace:
        steps.append(WhiteSpace())
    if plan.repeated_lines and boilerplate is not None:
        steps.append(lines.RepeatedLines.load(boilerplate))
    if plan.personal_data:
        from engine.text.cleaning.personal import PersonalData

        steps.append(PersonalData(plan.personal_kinds, plan.phone_region))
    # Also where no length is asked for: a document of which nothing is left goes.
    steps.append(MinimumLength(plan.minimum_length))
    if plan.identify_languages:
        steps.append(Languages(plan.languages))
    if plan.quality_gopher or plan.quality_c4 or plan.quality_fineweb:
        steps.append(quality.Quality(plan.quality_gopher, plan.quality_c4, plan.quality_fineweb, plan.identify_languages))
    if plan.harmful != "off":
        from engine.text.cleaning.harm import Harm

        steps.append(Harm(plan.harm_kinds, plan.harm_threshold, plan.harmful, plan.learned, plan.harm_judge,
                          plan.judge_cache))
    return steps


def _worst(draft: Draft) -> tuple[float, str]:
    """The highest of a document's harm scores, and its kind."""
    found = [(score, name.removeprefix(HARM)) for name, score in draft.scores.items() if name.startswith(HARM)]
    return max(found, key=lambda f: f[0], default=(0.0, ""))


def _touched(draft: Draft) -> list[str]:
    return list(dict.fromkeys(t.step for t in draft.touches))


def _count(drafts: Sequence[Draft | None], after: pa.Array, sources: Sequence[str], plan: CleanPlan, first: int) -> CleanCounts:
    counts = CleanCounts(documents=len(drafts))
    sizes = pc.binary_length(after).to_pylist()
    for row, draft in enumerate(drafts):
        if draft is None:
            counts.kept += 1
            _add_language(counts.languages, "", sizes[row])
            _add_language(counts.languages_read, "", sizes[row])
            continue
        _add_language(counts.languages_read, draft.language, sizes[row])
        if draft.verdict is None:
            counts.kept += 1
            _add_language(counts.languages, draft.language, sizes[row])
        else:
            rules = counts.removed.setdefault(draft.verdict.step, {})
            rules[draft.verdict.rule] = rules.get(draft.verdict.rule, 0) + 1
        counts.borderline += draft.borderline != ""
        counts.mixed += "mixed" in draft.scores
        for id in _touched(draft):
            counts.steps.setdefault(id, {"documents": 0, "edits": 0, "examples": []})["documents"] += 1
        for touch in draft.touches:
            step = counts.steps[touch.step]
            step["edits"] += touch.count
            if len(step["examples"]) < EXAMPLES:
                step["examples"].append({"number": first + row, "source": sources[row], "before": touch.before, "after": touch.after,
                                         "rule": touch.rule})
            if touch.step == "personal_data":
                counts.personal[touch.rule] = counts.personal.get(touch.rule, 0) + touch.count
        for name, score in draft.scores.items():
            if name.startswith(HARM) and score >= plan.harm_threshold:
                kind = name.removeprefix(HARM)
                counts.harm[kind] = counts.harm.get(kind, 0) + 1
    return CleanCounts() + counts    # in the order of steps and names, as every sum is


def _add_language(languages: dict[str, list[int]], code: str, size: int) -> None:
    pair = languages.setdefault(code, [0, 0])
    pair[0] += 1
    pair[1] += size


def _write_counts(path: Path, counts: CleanCounts) -> None:
    aside = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    with open(aside, "w", encoding="utf-8") as file:
        json.dump(counts.plain(), file, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


# ---- looking before running


def sample(texts: Sequence[tuple[str, str]], plan: CleanPlan) -> dict[str, Any]:
    """What the plan would do to some documents [(source, text)], for a preview:

    {"documents", "kept", "languages": {code: documents},
     "steps": [{"step", "touched", "edits", "removed", "rules": {rule: documents},
                "examples": [{"source", "before", "after", "rule"}]}]}     three a step; of removed ones `after` says why
    """
    array = pa.array([text for _, text in texts], pa.large_string())
    steps, sources = list(_steps(plan, None)), [source for source, _ in texts]
    if plan.repeated_lines:
        # Boilerplate of the sample itself; the corpus will know more.
        counted = lines.count(lines.prepared(array, tuple(id for id in lines.BEFORE if getattr(plan, id))), sources)
        often = counted["line"][counted["documents"] >= min(plan.repeated_lines_documents, max(2, len(texts) // 4))]
        place = sum(step.id in lines.BEFORE for step in steps)
        steps.insert(place, lines.RepeatedLines(np.ascontiguousarray(often)))
    drafts = run(steps, array, [""] * len(texts), sources, {})
    rows: dict[str, dict[str, Any]] = {s.id: {"step": s.id, "touched": 0, "edits": 0, "removed": 0, "rules": {}, "examples": []}
                                       for s in steps}
    languages: dict[str, int] = {}
    kept = 0
    for number, draft in enumerate(drafts):
        draft = draft or Draft(texts[number][1], source=texts[number][0])
        languages[draft.language] = languages.get(draft.language, 0) + 1
        kept += draft.verdict is None
        for id in _touched(draft):
            rows[id]["touched"] += 1
        for touch in draft.touches:
            row = rows[touch.step]
            row["edits"] += touch.count
            if len(row["examples"]) < 3:
                row["examples"].append({"source": draft.source, "before": touch.before, "after": touch.after, "rule": touch.rule})
        if draft.verdict is not None:
            row = rows[draft.verdict.step]
            row["removed"] += 1
            row["rules"][draft.verdict.rule] = row["rules"].get(draft.verdict.rule, 0) + 1
            if len(row["examples"]) < 3:
                row["examples"].append({"source": draft.source, "before": shown(draft.text[:160]), "after": draft.verdict.detail,
                                        "rule": draft.verdict.rule})
    return {"documents": len(texts), "kept": kept, "languages": languages, "steps": list(rows.values())}


def time_steps(texts: Sequence[str], plan: CleanPlan, boilerplate: Path | None = None) -> dict[str, float]:
    """Processor seconds of each step over some documents, "score" (the quality score) included; models are loaded before."""
    array = pa.array(texts, pa.large_string())
    steps, none = _steps(plan, boilerplate), [""] * len(texts)
    run(steps, array[:1], none, none, {})
    seconds: dict[str, float] = {}
    run(steps, array, none, none, seconds)
    started = time.process_time()
    quality.scores(array)
    seconds["score"] = time.process_time() - started
    return seconds
