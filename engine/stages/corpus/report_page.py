"""The report of a corpus as one HTML page that needs nothing else: for a browser, for printing, for sending to somebody.

What is said is put together here as sections of figures, bars, tables and examples; how it looks is report_page.html, one template for
light, dark and paper. Whatever comes from the person's text or files is escaped. Reads nothing and measures nothing.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from engine.contract.units import count, duration, number, percent, significant, size
from engine.contract.words import tr, trn
from engine.stages.corpus.spec import HARM_KINDS, PERSONAL_KINDS, CorpusSpec
from engine.text.cleaning.language import name as language_name
from engine.text.removal import CHANGES, STEPS

TEMPLATE = Path(__file__).with_name("report_page.html")
TOKENS_PER_PARAMETER = 11
"""As the size dial counts: so many tokens a parameter train a model well."""
KNOWN = (("Llama 4", 30e12), ("FineWeb", 15e12), ("The Pile", 0.3e12), ("GPT-2 WebText", 9e9), ("Wikipedia (en)", 5e9))
"""Corpora whose size is known, tokens by their makers or at 4 bytes a token."""
BYTES_PER_TOKEN = 4
LISTED, EXAMPLES = 200, 5
"""Rows of a table and examples of a step that are shown; what is left out is counted."""
Section = dict[str, Any]


def report_html(report: Mapping[str, Any], title: str, made: str, language: str = "en", *, settings: Mapping[str, Any] | None = None,
                training: Sequence[tuple[str, str]] = (), tokens: int = 0) -> str:
    """The whole page. `report` is the corpus's report (its facts; those of older versions have fewer sections), `made` the date for people,
    `language` the page's language for readers and hyphenation. `settings` is the artifact's spec, `training` rows of (model, time on this
    machine), `tokens` their true number once a tokenizer has counted them."""
    sections = [_funnel(report), _languages(report), _lengths(report), _changes(report), _duplicates(report), _boilerplate(report),
                _contamination(report), _kinds(report), _mix(report), _sources(report), _skipped(report), _scale(report, training, tokens),
                _phases(report), _settings(settings or {})]
    return _template().render(title=title, made=made, language=language, figures=_figures(report, tokens),
                              sections=[s for s in sections if s], summary=_summary(report),
                              words={"made": tr("Made"), "report": tr("Corpus report"), "examples": tr("Examples"),
                                     "foot": tr("Made by Fledge on one machine. Nothing in it left that machine.")})


@cache
def _template() -> jinja2.Template:
    surroundings = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    return surroundings.from_string(TEMPLATE.read_text("utf-8"))


def _documents(report: Mapping[str, Any]) -> int:
    return int(report.get("originals") or report.get("documents") or 0)


def _tokens(report: Mapping[str, Any], tokens: int) -> int:
    return tokens or int(report.get("tokens_estimate") or _of(report, "bytes") / BYTES_PER_TOKEN)


def _of(report: Mapping[str, Any], name: str) -> int:
    return int(report.get(name) or 0)


def _summary(report: Mapping[str, Any]) -> str:
    kept, read = _documents(report), _of(report, "read") or _documents(report)
    if read <= kept:
        return trn("{count} document was read and kept.", "{count} documents were read and kept.", kept)
    return tr("Of {read} documents, {kept} were kept.", read=number(read), kept=number(kept))


def _figures(report: Mapping[str, Any], tokens: int) -> list[dict[str, str]]:
    """The large numbers at the top."""
    kept, read, held = _documents(report), _of(report, "read"), report.get("splits", {}).get("validation", {})
    made = [{"value": number(kept), "name": tr("documents kept")}, {"value": size(_of(report, "bytes")), "name": tr("of text")},
            {"value": ("" if tokens else "≈ ") + count(_tokens(report, tokens)),
             "name": tr("tokens") if tokens else tr("tokens, at 4 bytes each")}]
    if read > kept:
        made.append({"value": percent((read - kept) / read, 1), "name": tr("of the documents removed")})
    if held.get("bytes"):
        made.append({"value": size(held["bytes"]), "name": tr("kept for validation")})
    return made


def _section(title: str, kind: str, note: str = "", **parts: Any) -> Section:
    return {"title": title, "kind": kind, "note": note, "table": None, **parts}


def _bars(rows: Iterable[tuple[str, float, str, str]]) -> list[dict[str, Any]]:
    """(name, amount, words, note) -> rows with a width in percent of the largest."""
    listed = list(rows)
    most = max((amount for _, amount, _, _ in listed), default=0) or 1
    return [{"name": name, "width": round(100 * amount / most, 2), "words": words, "note": note, "strong": None, "lost": ""}
            for name, amount, words, note in listed]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int] = ()) -> dict[str, Any]:
    """`numeric`: columns that stand to the right."""
    more = len(rows) - LISTED
    return {"heads": list(heads), "rows": [list(map(str, r)) for r in rows[:LISTED]], "numeric": list(numeric),
            "more": trn("and {count} more", "and {count} more", more) if more > 0 else ""}


def _funnel(report: Mapping[str, Any]) -> Section | None:
    rows = list(report.get("funnel") or ())
    if not rows:
        return None
    bars = _bars((str(r.get("title") or STEPS.get(r["step"], r["step"])), int(r["left"]), number(int(r["left"])), str(r.get("note") or ""))
                 for r in rows)
    for bar, row in zip(bars, rows, strict=True):
        removed = int(row.get("removed") or 0)
        bar["lost"] = f"−{number(removed)}" if removed else ""
        bar["lost_width"] = round(100 * removed / max(1, int(rows[0]["left"])), 2)
        bar["strong"] = row["step"] in ("read", "kept")
    note = tr("Documents left after each step. Every removed document is kept in the project, with its reason, and can be taken back.")
    return _section(tr("What each step removed"), "funnel", note, bars=bars)


def _languages(report: Mapping[str, Any]) -> Section | None:
    rows = [r for r in report.get("languages") or () if r.get("documents")]
    if not rows or (len(rows) == 1 and not rows[0]["code"]):
        return None
    total = sum(int(r["bytes"]) for r in rows) or 1
    shown = rows[:20]
    bars = _bars((language_name(r["code"]) if r["code"] else tr("Not recognised"), int(r["bytes"]), percent(int(r["bytes"]) / total, 1),
                  trn("{count} document", "{count} documents", int(r["documents"]))) for r in shown)
    more = len(rows) - len(shown)
    note = trn("By amount of text. {count} more is not shown.", "By amount of text. {count} more are not shown.", more) if more > 0 else \
        tr("By amount of text.")
    if int(report.get("parts") or 0) > int(report.get("documents") or 0):
        note += " " + tr("Long documents count once for each of their parts.")
    return _section(tr("Languages"), "bars", note, bars=bars)


def _lengths(report: Mapping[str, Any]) -> Section | None:
    found = report.get("lengths") or {}
    edges, counts = list(found.get("edges_bytes") or ()), [int(c) for c in found.get("counts") or ()]
    if not counts or not any(counts) or len(edges) < len(counts):
        return None
    while len(counts) > 2 and not counts[-1]:
        counts.pop()
    most = max(counts)
    width, high, gap = 600 / len(counts), 150, 6
    columns = []
    for at, amount in enumerate(counts):
        tall = round(high * amount / most, 1) if amount else 0
        name = f"< {size(edges[at + 1])}" if at < len(counts) - 1 else f"≥ {size(edges[at])}"
        columns.append({"x": round(at * width + gap / 2, 1), "y": round(20 + high - tall, 1), "width": round(width - gap, 1),
                        "height": tall, "middle": round((at + 0.5) * width, 1), "name": name, "words": count(amount)})
    return _section(tr("Length of documents"), "histogram", tr("Documents by the bytes of their text."), columns=columns)


def _changes(report: Mapping[str, Any]) -> Section | None:
    steps = [(step, made) for step, made in (report.get("touched") or {}).items() if made.get("documents")]
    if not steps:
        return None
    rows = []
    for step, made in steps:
        examples = [{"source": str(e.get("source", "")), "before": _visible(str(e.get("before", ""))),
                     "after": _visible(str(e.get("after", "")))} for e in list(made.get("examples") or ())[:EXAMPLES]]
        rows.append({"name": CHANGES.get(step) or STEPS.get(step, step),
                     "words": trn("{count} document", "{count} documents", int(made["documents"])),
                     "note": trn("{count} place", "{count} places", int(made.get("edits") or 0)), "examples": examples})
    return _section(tr("What was changed in documents that stayed"), "examples", rows=rows)


def _visible(text: str) -> str:
    """White space at the ends, tabs and control characters made visible: they may be all that was changed."""
    shown = "".join({"\t": "⇥", "\n": "⏎"}.get(c) or (c if c.isprintable() else f"‹{ord(c):04X}›") for c in text)
    ends = len(shown) - len(shown.rstrip(" "))
    return shown.rstrip(" ") + "·" * ends


def _duplicates(report: Mapping[str, Any]) -> Section | None:
    found = report.get("duplicates") or {}
    if not any(found.get(k) for k in ("exact", "near", "contained", "clusters")):
        return None
    pairs = [(tr("Exact duplicates"), number(_of(found, "exact"))), (tr("Near duplicates"), number(_of(found, "near"))),
             (tr("Excerpts of longer documents"), number(_of(found, "contained"))), (tr("Groups"), number(_of(found, "clusters")))]
    largest = [int(x["documents"] if isinstance(x, Mapping) else x) for x in found.get("largest") or ()][:6]
    if largest:
        pairs.append((tr("Largest groups"), ", ".join(map(number, largest))))
    if found.get("threshold"):
        pairs.append((tr("Similar from"), number(float(found["threshold"]), 2)))
    if found.get("shingle"):
        pairs.append((tr("Words in a sequence"), str(found["shingle"])))
    if found.get("bands") and found.get("rows"):
        pairs.append((tr("Bands, rows in each"), f"{found['bands']} × {found['rows']}"))
    if found.get("recall_at_threshold"):
        pairs.append((tr("Found of those at the threshold"), percent(float(found["recall_at_threshold"]), 1)))
    return _section(tr("Duplicates"), "pairs", pairs=pairs)


def _boilerplate(report: Mapping[str, Any]) -> Section | None:
    rows = [(_visible(str(r["line"])), number(int(r["documents"]))) for r in report.get("boilerplate") or ()]
    if not rows:
        return None
    return _section(tr("Most frequent boilerplate lines"), "table", table=_table((tr("Line"), tr("Documents")), rows, (1,)))


def _contamination(report: Mapping[str, Any]) -> Section | None:
    found = report.get("contamination") or {}
    if not found.get("sets") and not found.get("documents"):
        return None
    words = trn("{count} document holds text of", "{count} documents hold text of", _of(found, "documents")) + " " + \
        trn("{count} held-out item.", "{count} held-out items.", _of(found, "items"))
    rows = [(str(s.get("set") or s.get("name") or ""), number(int(s.get("items") or 0)), number(int(s.get("found") or s.get("hits") or 0)))
            if isinstance(s, Mapping) else (str(s), "", "") for s in found.get("sets") or ()]
    return _section(tr("Held-out text"), "table", words, table=_table((tr("Set"), tr("Items"), tr("Found")), rows, (1, 2)))


def _kinds(report: Mapping[str, Any]) -> Section | None:
    harm, personal = dict(report.get("harm") or {}), dict(report.get("personal") or {})
    names = dict(HARM_KINDS) | dict(PERSONAL_KINDS)
    pairs = [(names.get(kind, kind), trn("{count} document", "{count} documents", int(n))) for kind, n in harm.items() if n]
    if report.get("borderline"):
        pairs.append((tr("Borderline, to be looked at"), trn("{count} document", "{count} documents", _of(report, "borderline"))))
    pairs += [(names.get(kind, kind), trn("{count} place replaced", "{count} places replaced", int(n)))
              for kind, n in personal.items() if n]
    return _section(tr("Harmful content and personal data"), "pairs", pairs=pairs) if pairs else None


def _mix(report: Mapping[str, Any]) -> Section | None:
    rows = list(report.get("mix") or ())
    if len(rows) < 2 and not any(float(r.get("epochs", 1)) != 1 for r in rows):
        return None
    shown = [(Path(str(r.get("name", ""))).name, number(int(r["documents"])), size(int(r["bytes"])), number(float(r.get("epochs", 1)), 2),
              percent(float(r.get("share", 0)), 1)) for r in rows]
    return _section(tr("The mix"), "table", tr("How much of each source goes into training, and how often."),
                    table=_table((tr("Source"), tr("Documents"), tr("Text"), tr("Times"), tr("Share")), shown, (1, 2, 3, 4)))


def _sources(report: Mapping[str, Any]) -> Section | None:
    rows = [(str(s.get("name", "")), str(s.get("kind", "")), str(s.get("encoding") or ""), size(int(s.get("size") or 0)),
             number(int(s.get("documents") or 0)), size(int(s.get("bytes") or 0)))
            for s in report.get("sources") or () if isinstance(s, Mapping)]
    heads = tr("File"), tr("Kind"), tr("Encoding"), tr("Size"), tr("Documents kept"), tr("Text kept")
    return _section(tr("Files"), "table", table=_table(heads, rows, (3, 4, 5))) if rows else None


def _skipped(report: Mapping[str, Any]) -> Section | None:
    found = report.get("skipped")
    if not isinstance(found, Sequence):     # older corpora know only how many
        return None
    rows = [(str(s.get("name", "")), str(s.get("reason", ""))) for s in found if isinstance(s, Mapping)]
    return _section(tr("Files that were left out"), "table", table=_table((tr("File"), tr("Reason")), rows)) if rows else None


def _scale(report: Mapping[str, Any], training: Sequence[tuple[str, str]], tokens: int) -> Section | None:
    mine = _tokens(report, tokens)
    if not mine:
        return None
    low = math.log10(min(mine, KNOWN[-1][1])) - 1
    bars = []
    for name, amount in (*KNOWN, (tr("This corpus"), mine)):
        times = amount / mine
        words = "" if amount == mine else tr("{times} times this", times=count(times) if times >= 1e4 else significant(times))
        bars.append({"name": name, "width": round(100 * (math.log10(amount) - low) / (math.log10(KNOWN[0][1]) - low), 2),
                     "words": count(amount), "note": words, "strong": amount == mine, "lost": ""})
    note = tr("Tokens, on a scale of powers of ten. Llama 4's 30 trillion tokens are 120 TB (109 TiB) of text at 4 bytes a token. "
              "This corpus is enough for {parameters} parameters in one pass, {more} in four.",
              parameters=count(mine / TOKENS_PER_PARAMETER), more=count(4 * mine / TOKENS_PER_PARAMETER))
    return _section(tr("How big that is"), "bars", note, bars=bars,
                    table=_table((tr("Model"), tr("Training on this machine, about")), training, (1,)) if training else None)


def _phases(report: Mapping[str, Any]) -> Section | None:
    found = report.get("seconds")
    if not isinstance(found, Mapping) or not found:
        return None
    names = {"look": tr("Looking at the files"), "read": tr("Reading"), "lines": tr("Counting lines"), "clean": tr("Cleaning"),
             "signatures": tr("Signatures"), "duplicates": tr("Duplicates"), "passages": tr("Repeated passages"),
             "contamination": tr("Held-out text"), "write": tr("Writing"), "save": tr("Saving"), "index": tr("Preparing the browser")}
    pairs = [(names.get(str(phase), str(phase)), duration(float(seconds))) for phase, seconds in found.items()]
    return _section(tr("Time"), "pairs", pairs=[*pairs, (tr("In all"), duration(sum(map(float, found.values()))))])


def _settings(settings: Mapping[str, Any]) -> Section | None:
    """What the person set, by the names that the form shows."""
    pairs = []
    for name, value in settings.items():
        if name not in CorpusSpec.model_fields or name == "title" or (option := CorpusSpec.option_of(name)).hidden:
            continue
        labels = {str(choice[0]): str(choice[1]) for choice in option.choices}
        if isinstance(value, bool):
            words = tr("yes") if value else tr("no")
        elif isinstance(value, list | tuple):
            words = ", ".join(map(str, value)) or "–"
        else:
            words = labels.get(str(value)) or (number(value) if isinstance(value, int) else str(value)) or "–"
            words += f" {option.unit}" if option.unit and words != "–" else ""
        pairs.append((option.label, words))
    return _section(tr("Settings"), "pairs", pairs=pairs) if pairs else None
