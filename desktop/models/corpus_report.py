"""What a corpus's facts say, ready to be shown: the funnel, what is left, lengths, languages, how big that is. No widgets, nothing is read.

Corpora of earlier versions have fewer facts: what they do not know is left out, never guessed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from desktop.models.languages import language_name
from desktop.widgets.funnel import FunnelRow
from engine.contract.machine import DeviceFacts
from engine.contract.units import count, duration, number, percent, significant, size
from engine.contract.words import tr, trn
from engine.project.artifacts import Artifact
from engine.text.removal import CHANGES, STEPS, rule_name

BYTES_PER_TOKEN = 4.0
TOKENS_PER_PARAMETER = 11
FRONTIER_TOKENS = 30e12
"""Llama 4, by its makers: about 30 trillion tokens, 120 TB (109 TiB) at 4 bytes a token."""
LENGTHS = 7
KINDS = {"text": tr("text"), "jsonl": "JSON Lines", "json": "JSON", "csv": "CSV", "tsv": "TSV", "parquet": "Parquet", "arrow": "Arrow",
         "html": "HTML", "pdf": "PDF", "docx": "Word", "epub": "EPUB", "rtf": "RTF", "odt": "OpenDocument", "hf": tr("dataset"),
         "warc": "WARC", "zip": "ZIP", "tar": "TAR", "code": tr("source code")}
Pair = tuple[str, str]


@dataclass(frozen=True)
class TrueTokens:
    """Counted with a tokenizer."""

    tokens: int
    tokenizer: str


def true_tokens(made: Artifact, tokens: Sequence[Artifact], tokenizers: Sequence[Artifact]) -> TrueTokens | None:
    """From the newest token shards of this corpus, None while it was not tokenized."""
    for shards in tokens:
        if made.id in shards.parents:
            total = int(shards.facts.get("train_tokens", 0)) + int(shards.facts.get("validation_tokens", 0))
            with_ = next((t.title for t in tokenizers if t.id in shards.parents), "")
            if total:
                return TrueTokens(total, with_)
    return None


@dataclass(frozen=True)
class Report:
    """One corpus. `facts` as in its manifest."""

    made: Artifact
    tokens: TrueTokens | None = None

    @property
    def facts(self) -> dict[str, Any]:
        return self.made.facts

    @property
    def whole(self) -> bool:
        """Whether it was made with a report (corpora of the first version were not)."""
        return bool(self.facts.get("funnel"))

    @property
    def documents(self) -> int:
        """As the person gave them; long ones are kept in several parts."""
        return int(self.facts.get("originals") or self.facts.get("documents", 0))

    @property
    def has_parts(self) -> bool:
        """Whether long documents were cut, so that counts by language and length are of parts."""
        return int(self.facts.get("parts") or 0) > self.documents

    @property
    def read(self) -> int:
        return int(self.facts.get("read") or self.documents)

    @property
    def bytes(self) -> int:
        return int(self.facts.get("bytes", 0))

    @property
    def token_count(self) -> int:
        return self.tokens.tokens if self.tokens else int(self.facts.get("tokens_estimate") or self.bytes / BYTES_PER_TOKEN)

    @property
    def token_words(self) -> str:
        return tr("{count} tokens", count=count(self.token_count)) if self.tokens else \
            tr("≈ {count} tokens", count=count(self.token_count))

    @property
    def seconds(self) -> float:
        found = self.facts.get("seconds")
        return sum(float(s) for s in found.values()) if isinstance(found, dict) else 0.0

    @property
    def files(self) -> int:
        found = self.facts.get("files", 0)
        return len(found) if isinstance(found, list) else int(found or 0)

    @property
    def skipped(self) -> list[dict[str, Any]]:
        found = self.facts.get("skipped", [])
        return [dict(s) for s in found] if isinstance(found, list) else []

    @property
    def skipped_count(self) -> int:
        found = self.facts.get("skipped", 0)
        return int(self.facts.get("skipped_count") or (len(found) if isinstance(found, list) else found) or 0)

    @property
    def sources(self) -> list[dict[str, Any]]:
        return [dict(s) for s in self.facts.get("sources", []) if isinstance(s, dict)]

    # the flow strip ---------------------------------------------------------------------------------------------------

    def goes_in(self) -> Pair:
        given = len(self.made.spec.get("sources", ())) or self.files
        fact = trn("{count} source, {documents}", "{count} sources, {documents}", given,
                   documents=trn("{count} document", "{count} documents", self.read))
        held = int(self.facts.get("size") or 0) or sum(int(s.get("size", 0) or 0) for s in self.sources) or self.bytes
        kinds = list(dict.fromkeys(str(s.get("kind", "")) for s in self.sources if s.get("kind")))
        return fact, tr("{size} of {kinds}", size=size(held), kinds=", ".join(kind_words(k) for k in kinds[:3])) if kinds else size(held)

    def happened(self) -> Pair:
        spec = self.made.spec
        doing = [tr("Clean")] if any(spec.get(n) for n in CHANGES) else [tr("Read")]
        doing += [tr("deduplicate")] if spec.get("exact_duplicates") or spec.get("near_duplicates") else []
        return ", ".join([*doing, tr("split")]), tr("done in {time}", time=duration(self.seconds)) if self.seconds else \
            tr("{size} kept for validation", size=size(self._split("validation", "bytes")))

    def came_out(self) -> Pair:
        return self.made.title, tr("{documents}, {tokens}", documents=trn("{count} document", "{count} documents", self.documents),
                                   tokens=self.token_words)

    # the funnel -------------------------------------------------------------------------------------------------------

    def funnel(self) -> list[FunnelRow]:
        """Read, each step that removed something, kept."""
        rows: list[FunnelRow] = []
        given = list(self.facts.get("funnel") or ())
        sources = len(self.made.spec.get("sources", ())) or self.files
        for raw in given:
            step = str(raw.get("step", ""))
            removed = int(raw.get("removed", 0) or 0)
            ends = step in ("read", "kept") and not removed
            if not ends and not removed:
                continue
            rows.append(FunnelRow(step, self._title(step, str(raw.get("title") or "")), int(raw.get("left", 0)), removed,
                                  self._note(step) or str(raw.get("note") or ""), strong=ends, opens=bool(removed) or step == "kept",
                                  tip=self._rules_tip(step)))
        if rows and rows[0].removed:
            rows.insert(0, FunnelRow("read", tr("Read"), self.read, note="", strong=True))
        if rows and rows[0].id == "read" and not rows[0].note:
            first = rows[0]
            words = trn("{count} source", "{count} sources", sources)
            if self.skipped_count:
                words += ", " + trn("{count} file left out", "{count} files left out", self.skipped_count)
            rows[0] = FunnelRow(first.id, first.title, first.left, 0, words, strong=True)
        if rows and rows[-1].id != "kept":
            rows.append(FunnelRow("kept", tr("Kept"), self.documents, strong=True, opens=True))
        if rows:
            last = rows[-1]
            rows[-1] = FunnelRow(last.id, last.title, last.left, 0, f"{size(self.bytes)}, {self.token_words}", strong=True, opens=True)
        return rows

    def _title(self, step: str, given: str = "") -> str:
        least = self.made.spec.get("minimum_length")
        if step == "minimum_length" and least:
            return tr("Shorter than {count} characters", count=number(int(least)))
        return given or {"read": tr("Read"), "kept": tr("Kept"), "exact": tr("Exact duplicates"), "near": tr("Near duplicates"),
                "contained": tr("Excerpts")}.get(step) or STEPS.get(step, step)

    def _rules(self, *starts: str) -> list[tuple[str, int]]:
        found = [(str(r), int(n)) for r, n in dict(self.facts.get("rules") or {}).items() if str(r).startswith(starts)]
        return sorted(found, key=lambda item: -item[1])

    def _note(self, step: str) -> str:
        if step == "quality":
            found = self._rules("gopher", "c4", "fineweb")
            return "" if not found else rule_name(found[0][0]) if len(found) == 1 else tr("mostly {rule}", rule=rule_name(found[0][0]))
        if step == "language":
            codes = [(c.removeprefix("language_"), n) for c, n in self._rules("language_")]
            return ", ".join(f"{language_name(c)} {number(n)}" for c, n in codes[:2])
        if step == "harmful":
            waiting = int(self.facts.get("borderline", 0) or 0)
            return trn("{count} borderline, to be looked at", "{count} borderline, to be looked at", waiting) if waiting else ""
        if step in ("near", "near_duplicates"):
            found = dict(self.facts.get("duplicates") or {})
            contained = int(dict(self.facts.get("rules") or {}).get("contained", 0))  # removed as one; restored ones are not
            words = [tr("threshold {alike}", alike=number(float(found["threshold"]), 2))] if found.get("threshold") else []
            return ", ".join(words + ([trn("{count} excerpt", "{count} excerpts", contained)] if contained else []))
        if step in ("exact", "exact_duplicates"):
            return tr("the same but for case and spaces")
        if step == "contamination":
            items = int(dict(self.facts.get("contamination") or {}).get("items", 0))
            return trn("{count} held-out item", "{count} held-out items", items) if items else ""
        return ""

    def _rules_tip(self, step: str) -> str:
        if step != "quality":
            return ""
        return "\n".join(f"{rule_name(r)}: {number(n)}" for r, n in self._rules("gopher", "c4", "fineweb"))

    # the side ---------------------------------------------------------------------------------------------------------

    def _split(self, name: str, what: str) -> int:
        return int(dict(self.facts.get("splits") or {}).get(name, {}).get(what, 0))

    def left(self) -> list[Pair]:
        """What is left, in numbers."""
        shown = [(tr("Documents"), number(self.documents)), (tr("Files"), number(self.files))]
        languages = self.languages()
        if languages and languages[0][0]:
            shown.append((language_name(languages[0][0]), percent(languages[0][2] / max(1, sum(x[2] for x in languages)), 1)))
        shown.append((tr("Text"), size(self.bytes)))
        if self.tokens:
            name = tr("Tokens ({tokenizer})", tokenizer=self.tokens.tokenizer) if len(self.tokens.tokenizer) <= 14 else tr("Tokens")
            shown += [(name, count(self.tokens.tokens)), (tr("Bytes a token"), number(self.bytes / max(1, self.tokens.tokens), 2))]
        else:
            shown.append((tr("Tokens, about"), count(self.token_count)))
        held, all_ = self._split("validation", "bytes"), self._split("validation", "bytes") + self._split("train", "bytes")
        if all_:
            whole = self.facts.get("split_by") != "tail"
            shown.append((tr("For validation"), tr("{share}, {amount}", share=percent(held / all_, 1), amount=number(
                self._split("validation", "documents")) if whole else size(held))))
        contamination = self.facts.get("contamination")
        if isinstance(contamination, dict):
            sets, hits = contamination.get("sets") or [], int(contamination.get("documents", 0))
            removed = contamination.get("action") == "remove"
            shown.append((tr("Held-out overlap"), tr("not looked for") if not sets else tr("none found") if not hits else
                          tr("{count}, removed", count=number(hits)) if removed else tr("{count}, listed", count=number(hits))))
        shown.append((tr("On the disk"), size(self.made.size)))
        return shown

    def languages(self) -> list[tuple[str, int, int]]:
        """(code, documents, bytes), most text first."""
        return [(str(x["code"]), int(x["documents"]), int(x["bytes"])) for x in self.facts.get("languages") or ()]

    def lengths(self) -> tuple[str, list[tuple[str, float, str]]]:
        """The histogram of lengths in tokens at 4 bytes: (unit of the amounts, [(name, amount, words)])."""
        found = dict(self.facts.get("lengths") or {})
        edges, counts = list(found.get("edges_bytes") or ()), [int(c) for c in found.get("counts") or ()]
        if not counts or len(edges) < len(counts):
            return "", []
        each = self.bytes / self.tokens.tokens if self.tokens and self.tokens.tokens else BYTES_PER_TOKEN
        bars = [[float(e) / each, c] for e, c in zip(edges, counts, strict=False)]
        while len(bars) > 2 and not bars[-1][1]:
            bars.pop()
        begins = True
        while len(bars) > 1 and not bars[0][1]:
            bars.pop(0)
            begins = False
        while len(bars) > LENGTHS:  # the shortest two become one
            bars[0:2] = [[bars[0][0], bars[0][1] + bars[1][1]]]
        thousands = max(c for _, c in bars) >= 10_000
        made: list[tuple[str, float, str]] = []
        for i, (edge, amount) in enumerate(bars):
            if i == 0 and len(bars) > 1 and begins:
                name = f"<{_short(bars[1][0])}"
            else:
                name = f"{_short(edge)}+" if i == len(bars) - 1 else _short(edge)
            made.append((name, float(amount), number(amount / 1000) if thousands and amount >= 500 else
                         significant(amount / 1000, 1) if thousands and amount else number(amount)))
        return tr("thousands, by tokens") if thousands else tr("documents, by tokens"), made

    def big(self) -> tuple[str, str]:
        """How big that is: a sentence on what it is enough for, and one beside the largest there are."""
        tokens = max(1, self.token_count)
        one = tokens / TOKENS_PER_PARAMETER
        first = tr("Enough for {parameters} parameters in one pass, {more} in 4 passes.", parameters=count(one), more=count(one * 4))
        times = float(f"{FRONTIER_TOKENS / tokens:.2g}")
        share = tokens * BYTES_PER_TOKEN
        second = tr("Llama 4 was trained on about 30 trillion tokens, {times} times this: 120 TB (109 TiB) of text at 4 bytes a token, "
                    "beside {size} here. A small model knows what its text knows, and little else.", times=count(times), size=size(share))
        return first, second

    def changes(self) -> list[dict[str, Any]]:
        """Steps that changed documents: step, title, documents, edits, examples."""
        return [{"step": step, "title": CHANGES.get(step) or STEPS.get(step, step), "documents": int(made.get("documents", 0)),
                 "edits": int(made.get("edits", 0)), "examples": list(made.get("examples") or ())}
                for step, made in dict(self.facts.get("touched") or {}).items() if int(made.get("documents", 0))]

    def duplicates(self) -> list[Pair]:
        found = self.facts.get("duplicates")
        if not isinstance(found, Mapping):
            return []
        shown = [(tr("Exact"), number(int(found.get("exact", 0)))), (tr("Near"), number(int(found.get("near", 0)))),
                 (tr("Excerpts"), number(int(found.get("contained", 0)))), (tr("Groups"), number(int(found.get("clusters", 0))))]
        largest = [x.get("documents", 0) if isinstance(x, Mapping) else x for x in found.get("largest") or ()]
        if largest:
            shown.append((tr("Largest groups"), ", ".join(number(int(x)) for x in largest[:4])))
        if found.get("threshold"):
            shown.append((tr("Threshold"), number(float(found["threshold"]), 2)))
        if found.get("bands") and found.get("rows"):
            shown.append((tr("Bands, rows in each"), f"{found['bands']} × {found['rows']}"))
        if found.get("recall_at_threshold"):
            shown.append((tr("Found at the threshold"), percent(float(found["recall_at_threshold"]), 1)))
        return shown

    def mix(self) -> list[dict[str, Any]]:
        """Rows of the mix, if anything of it was chosen or there are several sources."""
        rows = [dict(r) for r in self.facts.get("mix") or ()]
        return rows if len(rows) > 1 or any(float(r.get("epochs", 1)) != 1 for r in rows) else []


def training_time(tokens: int, device: DeviceFacts | None) -> list[Pair]:
    """Models that this much text is enough for, and how long each takes on this device (by the formula of the size dial, corrected by what
    was measured). [] before the machine was measured. Some milliseconds: not for a slot."""
    if device is None or not device.peak(device.dtype) or tokens < 100_000:
        return []
    from engine.stages.pretrain import dial
    from engine.stages.pretrain.spec import PretrainSpec
    made: list[Pair] = []
    for stop in dial.stops(PretrainSpec(), 8192, tokens, device=device, depths=(2, 4, 6, 8, 12, 16, 20)):
        passes = stop.tokens / tokens
        if stop.fits and (passes <= 4.5 or not made):
            once = 0.95 < passes <= 1.05
            often = tr("one pass") if once else tr("{count} passes", count=significant(passes, 2))
            made.append((tr("{parameters}, {passes}", parameters=count(stop.parameters), passes=often), duration(stop.seconds)))
    return made[-3:]


def kind_words(kind: str) -> str:
    """"jsonl" -> "JSON Lines"."""
    return KINDS.get(kind, kind)


def _short(tokens: float) -> str:
    """250 -> "250", 1024 -> "1k", 1536 -> "1.5k"."""
    if tokens < 950:
        return f"{round(tokens):d}"
    thousands = tokens / 1000
    whole = abs(thousands - round(thousands)) < 0.05 * thousands or thousands >= 10
    return f"{round(thousands):d}k" if whole else f"{thousands:.1f}k"
