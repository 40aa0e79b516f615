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
        roots have "title" (the path's last part) besides, rules "step"; sources are the 200 with the most documents, "source_files" counts all.
    numbers(corpus, search="", filters={}, library="", limit=100_000)
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
        {"cluster": 3, "total": 12, "start": 0, "members": [row + {"pieces": [..], "cut": false, "text": "..", "places": [[piece, offset], ..]}]}
        Members: the kept one first, the rest by similarity. pieces: from the kept one's text ("removed": only in the kept one, "added": only in
        this one); places: where each difference begins (index of the piece, character in `text`).
    index(corpus, build=False)
        {"state": "ready"|"missing"|"building", "documents": n, "done": bytes, "total": bytes, "bytes": size on disk}
"""
