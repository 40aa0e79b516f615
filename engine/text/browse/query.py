"""What the browser asks about a corpus artifact, and the shape of every answer. Nothing here writes, but for `index(build=True)`.

All are questions of engine/text/probe.py under the same names; `corpus` is the artifact's folder, `library` the project's library.sqlite
("" shows no decisions). Answers are plain JSON. A corpus larger than SMALL_BYTES whose index is missing is a NotFound with the code
"no_index": ask `index` with build=True (in a process of its own: `python -m engine.text.probe index`), and its state meanwhile.

A **row** is one document:

    {"number": 7, "id": "9f..", "source": "letters/1912.txt", "root": 0, "language": "en", "bytes": 1234, "split": "train",
     "step": null, "rule": null, "detail": null,    # step, rule and words of why it was removed; null when kept
     "touched": ["whitespace"],                      # steps that changed its text
     "quality": 0.5, "harm": 0.0, "harm_kind": "", "borderline": null, "overlap": null,      # numbers may be null (not measured)
     "cluster": null, "duplicate_of": null, "similarity": null,  # a group of duplicates, the number that stayed, Jaccard 0..1 to it
     "copies": 1,                                    # times in training
     "decision": null}                               # "keep", "exclude" or null, from the library
    split: "train", "validation", "both" (small corpora: the beginning trains, the end validates) or "removed"

**Filters** (all optional; a list means any of its values; several filters must all hold):

    split       "train" | "validation" | "removed" | "kept"
    root        number of the source as imported (see facets)
    source      a file's name, a folder (all below it), or a pattern with * and ?
    language    "en"; "" for unknown
    step, rule  why it was removed; step "" for documents that were kept
    touched     a step that changed it; true: any
    borderline  a step that wants a person to look; true: any
    harm_kind   "adult"; true: any
    overlap     a held-out item ("math.jsonl:12"); true: any
    cluster     number of a group of duplicates; true: in any
    decided     "keep" | "exclude" | true (either) | false (none)

**Search**: words that must all stand in the document, in any order; "exact phrase"; begin*; -without (also -"phrase", -begin*). Letter
case and accents do not matter. No text is an error: what means nothing is left out.

**Orders**: "number" (as imported), "longest", "shortest", "quality", "-quality", "harm", "similarity", "source"; a leading "-" turns round.

    browse(corpus, search="", filters={}, order="number", start=0, count=50, library="")
        {"documents": [row + {"snippet": "..the first line, or the place found..", "marks": [[3, 8], ..]}, ..],   # marks: characters
         "total": 1234, "exact": true,   # false: about so many (phrases of common words are checked up to a limit)
         "start": 0}
    facets(corpus, search="", filters={}, library="")
        {"documents": n, "bytes": n, "exact": true,  # of the search and all filters
         "splits"|"roots"|"sources"|"languages"|"steps"|"rules"|"touched"|"borderline"|"harm_kinds"|"decided":
             [{"value": .., "documents": n, "bytes": n, ..}, ..],   # most frequent first; each list as if its own filter were not set
         "overlap": n, "clusters": n}    # documents with held-out text; documents in groups
        roots have "title" besides (the path's last part), rules "step"; sources are the 200 with the most documents.
    numbers(corpus, search="", filters={}, library="", start=0, limit=100_000)
        {"numbers": [..], "ids": [..], "sources": [..], "total": n, "exact": true}      # to decide on everything found
    document(corpus, number, library="", characters=2_000_000, original=False)
        {"row": row, "pieces": [["same"|"removed"|"added", "text"], ..],   # same + removed = as read, same + added = as it is now
         "characters": n, "cut": false, "marks": []}
        original=True: {"row": row, "text": "exactly as read"}
        search="..." adds "marks": [[piece, from, to], ..] (the first 1,000).
    clusters(corpus, start=0, count=50, order="size", library="")        # order: "size", "similarity", "number"; "-" turns round
        {"clusters": [{"cluster": 3, "documents": 12, "kept": 7, "source": "..", "snippet": "..", "steps": {"near": 11},
                       "least": 0.71, "most": 0.98, "bytes": n}, ..], "total": n, "start": 0}
    cluster(corpus, cluster, start=0, count=20, characters=20_000, library="")
        {"cluster": 3, "total": 12, "start": 0,
         "members": [row + {"text": "..", "cut": false, "pieces": [..], "places": [[piece, offset], ..]}, ..]}
        Members: the kept one first, the rest by similarity; texts as read. pieces: from the kept one's text ("removed": only in the kept
        one, "added": only in this one); places: where each difference begins (index of the piece, character in `text`).
    forget()
        {}      closes every corpus: before one is deleted, since Windows deletes no file that is open
    index(corpus, build=False)
        {"state": "ready"|"missing"|"building", "documents": n, "done": bytes, "total": bytes, "bytes": size on disk}
"""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.contract.errors import InputError, NotFound
from engine.contract.words import tr
from engine.text.browse.diff import pieces, stretch_of
from engine.text.browse.opened import EXCLUDE, KEEP, Opened
from engine.text.browse.prepare import build as make
from engine.text.browse.prepare import building, place, ready
from engine.text.browse.search import SCANNED, marker, parse, snippet
from engine.text.browse.table import GONE, TRAIN, VALIDATION
from engine.text.browse.words import places
from engine.text.corpus import REMOVED, SPLITS, Corpus

SMALL_BYTES = 20_000_000
"""A corpus up to this size is indexed when it is first asked about: a second at most."""
SCANNED_PAGE, MARKS = 3_000_000, 1_000
"""Characters of all documents on a page that are looked through for the place to show; places that are marked in one document."""
TOP_SOURCES = 200


def opened(corpus: str) -> Opened:
    """The artifact in a folder; a small one is indexed on the spot."""
    artifact = Path(corpus)
    if not ready(artifact):
        if _text_bytes(artifact) > SMALL_BYTES:
            raise NotFound(tr("The documents of this corpus are not prepared for browsing yet."), tr("Prepare them."), code="no_index")
        make(artifact)
        _opened.cache_clear()
    return _opened(str(artifact.resolve()))


@lru_cache(maxsize=4)
def _opened(artifact: str) -> Opened:
    return Opened(Path(artifact))


def _text_bytes(artifact: Path) -> int:
    corpus = Corpus.open(artifact)
    return sum(corpus.counts(split).bytes for split in (*SPLITS, REMOVED))


def forget() -> dict[str, Any]:
    """Close every corpus."""
    _opened.cache_clear()
    return {}


def index(corpus: str, build: bool = False) -> dict[str, Any]:
    """Whether the corpus can be browsed; `build` makes it so."""
    artifact = Path(corpus)
    if build and not ready(artifact):
        make(artifact)
    if ready(artifact):
        size = sum(p.stat().st_size for p in place(artifact).iterdir())
        return {"state": "ready", "documents": opened(corpus).table.documents, "done": 0, "total": 0, "bytes": size}
    under_way = building(artifact)
    done, total = under_way or (0, _text_bytes(artifact))
    return {"state": "building" if under_way else "missing", "documents": 0, "done": done, "total": total, "bytes": 0}


def browse(corpus: str, search: str = "", filters: dict[str, Any] | None = None, order: str = "number", start: int = 0, count: int = 50,
           library: str = "") -> dict[str, Any]:
    """One page of what is found."""
    open_ = opened(corpus)
    found = open_.find(search, filters or {}, order, library)
    start = max(0, min(start, len(found.numbers)))
    page = found.numbers[start:start + max(0, count)].astype(np.int64)
    pattern = marker(search)
    order_back = np.argsort(page, kind="stable")
    texts: list[str] = [""] * len(page)
    left = SCANNED_PAGE
    for at, text in zip(order_back, _pages(open_, page[order_back]), strict=True):
        texts[at] = text
    rows = []
    for number, text in zip(page, texts, strict=True):
        shown, marks = snippet(text, pattern, min(SCANNED, left))
        left -= min(len(text), SCANNED)
        rows.append({**open_.row(int(number), library), "snippet": shown, "marks": marks})
    return {"documents": rows, "total": len(found.numbers), "exact": found.exact, "start": start}


def _pages(open_: Opened, numbers: np.ndarray) -> list[str]:
    """Texts of a page's documents, each only as far as it is looked through."""
    texts = open_.texts.now(numbers)
    return pc.utf8_slice_codeunits(texts, 0, SCANNED).to_pylist() if len(numbers) else []


def numbers(corpus: str, search: str = "", filters: dict[str, Any] | None = None, library: str = "",
            start: int = 0, limit: int = 100_000) -> dict[str, Any]:
    """Ids of everything found, for a decision about all of it; some at a time where they are very many."""
    open_ = opened(corpus)
    found = open_.find(search, filters or {}, "number", library)
    chosen = found.numbers[max(0, start):max(0, start) + limit].astype(np.int64)
    names = open_.table.sources.take(pa.array(open_.table["source"][chosen])).to_pylist() if len(chosen) else []
    return {"numbers": chosen.tolist(), "ids": open_.table.ids(chosen), "sources": names, "total": len(found.numbers), "exact": found.exact}


def facets(corpus: str, search: str = "", filters: dict[str, Any] | None = None, library: str = "") -> dict[str, Any]:
    """What the documents found are, by every filter."""
    open_, filters = opened(corpus), {k: v for k, v in (filters or {}).items() if v is not None and v != []}
    table = open_.table
    key = json.dumps([search, filters, library, str(open_.decided(library).version)], sort_keys=True)
    if open_.answers.get("key") == key:
        return dict(open_.answers["answer"])
    atoms = parse(search)
    base = open_.searched(atoms)
    all_filters = open_.filtered(filters, library)
    whole = np.flatnonzero(base & all_filters).astype(np.uint32)
    keep, exact = open_.sure(whole, atoms)
    base[whole[~keep]] = False

    cached: dict[str, tuple[Any, np.ndarray]] = {}

    def chosen(name: str) -> tuple[Any, np.ndarray]:
        """(which documents, their bytes) with every filter but this one."""
        slot = name if name in filters else ""
        if slot not in cached:
            mask = base & (open_.filtered(filters, library, slot) if slot else all_filters)
            which: Any = slice(None) if mask.all() else np.flatnonzero(mask)
            cached[slot] = which, table["bytes"][which]
        return cached[slot]

    def counted(name: str, codes: np.ndarray, title: Callable[[int], dict[str, Any]], least: int = 0) -> list[dict[str, Any]]:
        which, sizes = chosen(name)
        mine = codes[which]
        documents = np.bincount(mine)
        weights = np.bincount(mine, weights=sizes)
        order = np.argsort(-documents, kind="stable")
        return [{**title(int(code)), "documents": int(documents[code]), "bytes": int(weights[code])}
                for code in order if documents[code] and code >= least]

    def named(name: str, least: int = 0) -> list[dict[str, Any]]:
        return counted(name, table[name], lambda code: {"value": table.names[name][code]}, least)

    which, sizes = chosen("")
    answer: dict[str, Any] = {"documents": len(sizes), "bytes": int(sizes.sum()), "exact": exact,
                              "languages": named("language"), "steps": named("step"), "borderline": named("borderline", 1),
                              "harm_kinds": named("harm_kind", 1)}
    step_of = _steps_of_rules(open_)
    answer["rules"] = counted("rule", table["rule"], lambda code: {"value": table.names["rule"][code], "step": step_of.get(code, "")}, 1)
    titles = _root_titles(open_.artifact)
    answer["roots"] = counted("root", np.maximum(table["root"], 0), lambda code: {"value": code, "title": titles.get(code, "")})
    which, sizes = chosen("split")
    bits = table["split"][which]
    answer["splits"] = [{"value": value, "documents": int((bits & bit != 0).sum()), "bytes": int(sizes[bits & bit != 0].sum())}
                        for value, bit in (("kept", TRAIN | VALIDATION), ("train", TRAIN), ("validation", VALIDATION), ("removed", GONE))]
    which, sizes = chosen("touched")
    flags = table["touched"][which]
    rows = [{"value": name, "documents": int(m.sum()), "bytes": int(sizes[m].sum())} for code, name in enumerate(table.names["touched"])
            if code and (m := flags & np.uint64(1 << code) != 0).any()]
    answer["touched"] = sorted(rows, key=lambda row: -row["documents"])
    which, sizes = chosen("decided")
    decided = open_.decided(library).column[which]
    answer["decided"] = [{"value": name, "documents": int((decided == code).sum()), "bytes": int(sizes[decided == code].sum())}
                         for name, code in (("keep", KEEP), ("exclude", EXCLUDE))]
    answer["sources"], answer["source_files"] = _sources(open_, *chosen("source"))
    which, _ = chosen("overlap")
    answer["overlap"] = int(table["overlap"][which].sum())
    which, _ = chosen("cluster")
    answer["clusters"] = int((table["cluster"][which] >= 0).sum())
    open_.answers |= {"key": key, "answer": answer}
    return dict(answer)


def _sources(open_: Opened, which: Any, sizes: np.ndarray) -> tuple[list[dict[str, Any]], int]:
    """The files with the most documents, and how many files there are in all."""
    codes = open_.table["source"][which]
    documents = np.bincount(codes, minlength=len(open_.table.sources))
    weights = np.bincount(codes, weights=sizes, minlength=len(open_.table.sources))
    present = int((documents > 0).sum())
    top = np.argpartition(-documents, TOP_SOURCES)[:TOP_SOURCES] if len(documents) > TOP_SOURCES else np.arange(len(documents))
    rows: dict[str, dict[str, Any]] = {}
    for code in top:
        if documents[code]:
            name = open_.table.sources[int(code)].as_py()
            row = rows.setdefault(name, {"value": name, "documents": 0, "bytes": 0})
            row["documents"] += int(documents[code])
            row["bytes"] += int(weights[code])
    return sorted(rows.values(), key=lambda row: (-row["documents"], row["value"])), present


def _steps_of_rules(open_: Opened) -> dict[int, str]:
    """Which step each rule belongs to."""
    if "steps of rules" not in open_.answers:
        table = open_.table
        both = np.unique(table["rule"].astype(np.int64) << 32 | table["step"])
        open_.answers["steps of rules"] = {int(pair >> 32): table.names["step"][int(pair & 0xFFFFFFFF)] for pair in both}
    return dict(open_.answers["steps of rules"])


def _root_titles(artifact: Path) -> dict[int, str]:
    """What the sources are called: of the settings the artifact was made with."""
    try:
        spec = json.loads((artifact / "manifest.json").read_text("utf-8")).get("spec", {})
        return {number: Path(str(path)).name or str(path) for number, path in enumerate(spec.get("sources", ()))}
    except (OSError, ValueError, AttributeError):
        return {}


def document(corpus: str, number: int, library: str = "", characters: int = 2_000_000, original: bool = False,
             search: str = "") -> dict[str, Any]:
    """One document with what was done to it."""
    open_ = opened(corpus)
    row = open_.row(_within(open_, number), library)
    before = open_.as_read(number)
    if original:
        return {"row": row, "text": before}
    gone = row["split"] == "removed"
    after = "" if gone else open_.texts.text(number)
    cut = max(len(before), len(after)) > characters
    made = [("removed", before[:characters])] if gone else pieces(before[:characters], after[:characters])
    marks: list[list[int]] = []
    if pattern := marker(search):
        for at, (_, text) in enumerate(made):
            marks += [[at, a, b] for a, b in places(pattern, text, MARKS - len(marks))]
            if len(marks) >= MARKS:
                break
    return {"row": row, "pieces": [list(piece) for piece in made], "characters": len(before if gone else after), "cut": cut, "marks": marks}


def _within(open_: Opened, number: int) -> int:
    if not 0 <= number < open_.table.documents:
        raise NotFound(tr("This corpus has no document {number}.", number=number), tr("Choose one of the list."))
    return number


def clusters(corpus: str, start: int = 0, count: int = 50, order: str = "size", library: str = "") -> dict[str, Any]:
    """Groups of duplicates: their size, how alike, and the one that stayed."""
    open_, groups = opened(corpus), opened(corpus).groups()
    name = order.removeprefix("-")
    keys = {"size": -groups.sizes, "similarity": -groups.most, "number": groups.kept}
    if name not in keys:
        raise InputError(tr("Documents cannot be ordered by {name}.", name=name), tr("Known: {known}.", known=", ".join(keys)))
    sorted_ = np.lexsort((groups.kept, -keys[name] if order.startswith("-") else keys[name]))
    rows = []
    for at in sorted_[max(0, start):max(0, start) + count]:
        kept = int(groups.kept[at])
        members = groups.of(int(groups.names[at]))
        steps, of = np.unique(open_.table["step"][members], return_counts=True)
        rows.append({"cluster": int(groups.names[at]), "documents": int(groups.sizes[at]), "kept": kept, "source": open_.table.source(kept),
                     "snippet": snippet(open_.texts.text(kept)[:SCANNED], None)[0],
                     "steps": {open_.table.names["step"][int(s)]: int(n) for s, n in zip(steps, of, strict=True) if s},
                     "least": round(float(groups.least[at]), 4), "most": round(float(groups.most[at]), 4), "bytes": int(groups.bytes[at])})
    return {"clusters": rows, "total": len(groups.names), "start": max(0, start)}


def cluster(corpus: str, cluster: int, start: int = 0, count: int = 20, characters: int = 20_000, library: str = "") -> dict[str, Any]:
    """The documents of one group beside the one that stayed."""
    open_ = opened(corpus)
    groups = open_.groups()
    members = groups.of(cluster)
    if not len(members):
        raise NotFound(tr("This corpus has no group {number}.", number=cluster), tr("Choose one of the list."))
    kept = int(groups.kept[int(np.searchsorted(groups.names, cluster))])
    similarity = np.nan_to_num(open_.table["similarity"][members])
    sorted_ = members[np.lexsort((members, -similarity, members != kept))]
    first = open_.as_read(kept)
    rows: list[dict[str, Any]] = []
    for number in sorted_[max(0, start):max(0, start) + count]:
        row, text = open_.row(int(number), library), open_.as_read(int(number))
        low, high = (0, len(first)) if number == kept else stretch_of(first, text)
        # Of an excerpt only its place in the long text is compared; what stands around that place is no difference.
        made = pieces(first[low:min(high, low + characters)], text[:characters])
        rows.append({**row, "text": text[:characters], "cut": max(len(text), high - low) > characters, "begins": low,
                     "pieces": [list(piece) for piece in made], "places": _places(made)})
    if len(rows) > 1 and start <= 0 and rows[1]["begins"]:  # the one that stayed is shown from where the first excerpt stands
        low = int(rows[1]["begins"])
        shown = first[low:low + characters]
        rows[0] |= {"text": shown, "cut": True, "begins": low, "pieces": [["same", shown]], "places": []}
    return {"cluster": cluster, "total": len(members), "start": max(0, start), "members": rows}


def _places(made: Sequence[tuple[str, str]]) -> list[list[int]]:
    """Where each difference begins: (index of its first piece, character of the second text)."""
    found, offset, before = [], 0, "same"
    for number, (kind, text) in enumerate(made):
        if kind != "same" and before == "same":
            found.append([number, offset])
        before = kind
        offset += 0 if kind == "removed" else len(text)
    return found
