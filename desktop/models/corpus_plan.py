"""The corpus wizard without widgets: its steps, the settings and sources so far, what was found in them, and what the run will take.

Everything that was chosen can be written down as a draft and taken up again. What is in the files is asked elsewhere and told here.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contract.spec import Problem
from engine.contract.units import count, duration, number, percent, size
from engine.contract.words import tr, trn
from engine.project.artifacts import Artifact
from engine.stages.corpus.spec import HARM_KINDS, PERSONAL_KINDS, CorpusSpec, SourceOptions

STEPS = ("sources", "clean", "duplicates", "split", "start")
GROUPS: dict[str, tuple[str, ...]] = {"sources": ("sources",), "clean": ("clean", "remove"), "duplicates": ("duplicates",),
                                      "split": ("split",)}
BYTES_PER_TOKEN = 4.0
DISK_SHARE = 3.0
"""Room a run takes at most, in texts: the parts as read and as cleaned, and the corpus itself."""
SIGNATURE_BYTES = 640
"""A document's signature on the disk while duplicates are looked for."""
MIX_FIELDS = ("weight", "epochs", "cap_mb")
NAMES = ("unicode", "quality_gopher", "quality_c4", "quality_fineweb")
"""Settings whose label begins with a name."""
MENDING = ("unicode", "mojibake", "whitespace", "repeated_lines")
READ_FIELDS = ("encoding", "text_column", "split_by")
NOT_CHOSEN = ("sources", "source_options", "base", "pipeline")
"""Settings that no field of the wizard shows: kept apart, or told by how the run was begun."""
OPTION_DEFAULTS: dict[str, Any] = {name: field.get_default() for name, field in SourceOptions.model_fields.items()}


def step_title(step: str) -> str:
    return {"sources": tr("Sources"), "clean": tr("Clean"), "duplicates": tr("Duplicates"), "split": tr("Split"),
            "start": tr("Start")}[step]


@dataclass(frozen=True)
class Rate:
    """Bytes of text a second through a whole run of this kind, measured in an earlier one."""

    bytes_per_second: float
    where: str

    def seconds(self, bytes: float) -> float:
        return bytes / self.bytes_per_second


def measured_rate(corpora: Sequence[Artifact], kept: Any = None) -> Rate | None:
    """From the newest corpus whose phases were timed, else from what was kept of another project ([bytes a second, name])."""
    for made in corpora:
        seconds = made.facts.get("seconds")
        took = sum(float(s) for s in seconds.values()) if isinstance(seconds, dict) else 0.0
        read = sum(float(s.get("size", 0) or s.get("bytes", 0)) for s in made.facts.get("sources", []) if isinstance(s, dict))
        read = max(read, float(made.facts.get("bytes", 0)))
        if took > 0 and read > 0:
            return Rate(read / took, made.title)
    if isinstance(kept, (list, tuple)) and len(kept) == 2 and isinstance(kept[0], (int, float)) and kept[0] > 0:
        return Rate(float(kept[0]), str(kept[1]))
    return None


class CorpusPlan:
    """`values` are all settings of a CorpusSpec, sources and their options included; `step` is one of STEPS. `found` is what a look into
    the files gave (engine.text.probe "preview"), None until then."""

    def __init__(self) -> None:
        self.step = STEPS[0]
        self.values: dict[str, Any] = defaults()
        self.found: dict[str, Any] | None = None
        self._by_root: tuple[Any, Any, dict[int, tuple[list[dict[str, Any]], list[dict[str, Any]]]]] | None = None

    # sources ----------------------------------------------------------------------------------------------------------

    @property
    def sources(self) -> list[str]:
        return list(self.values["sources"])

    def add(self, names: Sequence[str]) -> bool:
        """Files and folders that are not there yet; whether there were any."""
        new = [str(Path(n)) for n in names if str(Path(n)) not in self.values["sources"]]
        self.values["sources"] = (*self.values["sources"], *dict.fromkeys(new))
        return bool(new)

    def drop(self, source: str) -> None:
        self.values["sources"] = tuple(s for s in self.values["sources"] if s != source)
        self.values["source_options"] = {s: o for s, o in self.values["source_options"].items() if s != source}

    def option(self, source: str, name: str) -> Any:
        return self.values["source_options"].get(source, {}).get(name, OPTION_DEFAULTS[name])

    def set_option(self, source: str, name: str, value: Any) -> None:
        """What one source does differently; what is as for all is not kept."""
        options = {s: dict(o) for s, o in self.values["source_options"].items()}
        mine = options.setdefault(source, {})
        mine[name] = value
        options[source] = {k: v for k, v in mine.items() if v != OPTION_DEFAULTS[k]}
        self.values["source_options"] = {s: o for s, o in options.items() if o}

    @property
    def mixed(self) -> bool:
        """Whether any source has a weight, epochs or a cap."""
        return any(name in o for o in self.values["source_options"].values() for name in MIX_FIELDS)

    def unmix(self) -> None:
        kept = {s: {k: v for k, v in o.items() if k not in MIX_FIELDS} for s, o in self.values["source_options"].items()}
        self.values["source_options"] = {s: o for s, o in kept.items() if o}

    def of_source(self, place: int) -> list[dict[str, Any]]:
        """What was found of a source: the rows of its files."""
        return self._sorted().get(place, ([], []))[0]

    def skipped_of(self, place: int) -> list[dict[str, Any]]:
        return self._sorted().get(place, ([], []))[1]

    def size_of(self, place: int) -> tuple[int, int]:
        """(files, bytes) of a source, those that were too many to look into included."""
        files = self.of_source(place)
        counted = list((self.found or {}).get("by_root") or ())
        if place < len(counted) and int(counted[place][0]) >= len(files):
            return int(counted[place][0]), int(counted[place][1])
        return len(files), sum(int(f.get("size", 0)) for f in files)

    def _sorted(self) -> dict[int, tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
        """What was found by the number of its source: (files, left out). Sorted once for each look."""
        if self._by_root is None or self._by_root[0] is not self.found or self._by_root[1] != self.values["sources"]:
            names = {Path(s).name: i for i, s in reversed(list(enumerate(self.values["sources"])))}
            made: dict[int, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {}
            for kind, key in enumerate(("files", "skipped")):
                for each in (self.found or {}).get(key, []):
                    root = each.get("root")
                    place = root if isinstance(root, int) and root >= 0 else names.get(str(each.get("name", "")).partition("/")[0], -1)
                    made.setdefault(place, ([], []))[kind].append(each)
            self._by_root = (self.found, self.values["sources"], made)
        return self._by_root[2]

    @property
    def ready(self) -> bool:
        """Whether there is something to import."""
        return bool(self.found and any(not f.get("problem") for f in self.found.get("files", [])))

    # settings ---------------------------------------------------------------------------------------------------------

    def set_values(self, values: Mapping[str, Any]) -> None:
        self.values.update(values)

    def changed(self) -> dict[str, Any]:
        """Settings that differ from their defaults, sources aside."""
        plain = defaults()
        return {k: v for k, v in self.values.items() if k not in NOT_CHOSEN and v != plain[k]}

    def problems(self, step: str = "") -> list[Problem]:
        """What is in the way of going on from a step (of all, without one)."""
        found = CorpusSpec.field_problems(self.values)
        if self.mixed:
            weighted = [s for s in self.values["sources"] if self.option(s, "weight") is not None]
            if weighted and len(weighted) < len(self.values["sources"]):
                found.append(Problem("source_options", tr("Some sources have a weight and some have none."),
                                     tr("Give every source a weight, or none.")))
        if not step or step == "start":
            return found
        return [p for p in found if not p.field or p.field not in CorpusSpec.model_fields
                or _step_of(p.field) == step]

    def spec(self) -> CorpusSpec:
        """The frozen spec; a SettingError names the first field that cannot be."""
        return CorpusSpec.check(self.values)

    # steps ------------------------------------------------------------------------------------------------------------

    def can_go(self, step: str) -> bool:
        """Whether a step can be entered: there is text, and everything before it is in order."""
        if step == STEPS[0]:
            return True
        return bool(self.values["sources"]) and (self.found is None or self.ready) \
            and not any(self.problems(each) for each in STEPS[:STEPS.index(step)])

    def reachable(self) -> list[str]:
        return [s for s in STEPS if STEPS.index(s) <= STEPS.index(self.step) or self.can_go(s)]

    def go(self, step: str) -> bool:
        if step in STEPS and (STEPS.index(step) <= STEPS.index(self.step) or self.can_go(step)):
            self.step = step
            return True
        return False

    def next(self) -> bool:
        return bool(self.following) and self.go(self.following)

    def back(self) -> bool:
        place = STEPS.index(self.step)
        return place > 0 and self.go(STEPS[place - 1])

    @property
    def following(self) -> str:
        place = STEPS.index(self.step)
        return STEPS[place + 1] if place + 1 < len(STEPS) else ""

    # the draft --------------------------------------------------------------------------------------------------------

    @property
    def begun(self) -> bool:
        """Whether there is anything to keep."""
        return bool(self.sources or self.changed())

    def draft(self) -> dict[str, Any]:
        return {"sources": self.sources, "settings": {k: list(v) if isinstance(v, tuple) else v for k, v in self.changed().items()},
                "options": self.values["source_options"], "step": self.step}

    def recall(self, kept: Any) -> None:
        """Take up a draft; what cannot be read of it is left out."""
        self.step, self.values, self.found = STEPS[0], defaults(), None
        if not isinstance(kept, dict):
            return
        plain = self.values
        settings = {k: tuple(v) if isinstance(plain[k], tuple) and isinstance(v, list) else v
                    for k, v in dict(kept.get("settings") or {}).items() if k in plain and k not in NOT_CHOSEN}
        wrong = {p.field for p in CorpusSpec.field_problems({**plain, **settings, "sources": ("x",)})}
        self.values.update({k: v for k, v in settings.items() if k not in wrong})
        self.values["sources"] = tuple(str(s) for s in kept.get("sources", []))
        for source, options in dict(kept.get("options") or {}).items():
            try:
                SourceOptions(**options)
            except (ValueError, TypeError):
                continue
            self.values["source_options"][str(source)] = dict(options)
        step = kept.get("step")
        self.step = step if step in STEPS and self.values["sources"] else STEPS[0]

    def take_spec(self, spec: Mapping[str, Any]) -> None:
        """Begin with the settings of an earlier run."""
        known = {k: v for k, v in spec.items() if k in CorpusSpec.model_fields and k not in ("seed", "base", "pipeline")}
        self.recall({"sources": known.pop("sources", []), "options": known.pop("source_options", {}), "settings": known})

    # what it takes ----------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        return int((self.found or {}).get("size", 0))

    @property
    def tokens(self) -> int:
        return int((self.found or {}).get("tokens", 0))

    @property
    def text_bytes(self) -> float:
        """Of the text in the files, by the look into them: packed formats hold more text than they take room."""
        return max(self.size, self.tokens * BYTES_PER_TOKEN)

    @property
    def documents(self) -> int:
        return int((self.found or {}).get("documents", 0))

    def room(self) -> int:
        """Bytes on the disk that the run takes at most."""
        compared = self.values["exact_duplicates"] or self.values["near_duplicates"]
        return round(self.text_bytes * DISK_SHARE + (self.documents * SIGNATURE_BYTES if compared else 0))

    def free(self, place: Path) -> int:
        return shutil.disk_usage(place).free

    def validation_bytes(self) -> float:
        return self.text_bytes * float(self.values["validation_percent"]) / 100

    # words ------------------------------------------------------------------------------------------------------------

    def goes_in(self) -> tuple[str, str]:
        if not self.values["sources"]:
            return tr("Nothing yet"), tr("add files or folders")
        if self.found is None:
            return trn("{count} source", "{count} sources", len(self.values["sources"])), tr("looking at it")
        files = len(self.found["files"]) + int(self.found.get("unread", 0))
        return (trn("{count} source, {files}", "{count} sources, {files}", len(self.values["sources"]),
                    files=trn("{count} file", "{count} files", files)),
                tr("{size}, about {tokens} tokens", size=size(self.size), tokens=count(self.tokens)))

    def happens(self, rate: Rate | None) -> tuple[str, str]:
        doing = [tr("Clean")] if any(self.values[n] for n in (*MENDING, "personal_data")) else []
        if self.values["exact_duplicates"] or self.values["near_duplicates"]:
            doing.append(tr("deduplicate") if doing else tr("Deduplicate"))
        doing.append(tr("split") if doing else tr("Split"))
        words = tr("your files stay as they are")
        if rate is not None and self.size:
            words = tr("about {time}, {room} on the disk", time=duration(rate.seconds(self.text_bytes)), room=size(self.room()))
        return ", ".join(doing), words

    def comes_out(self) -> tuple[str, str]:
        return tr("Nothing yet"), tr("{share} kept for validation", share=_share(self.values["validation_percent"]))

    def steps_in_words(self) -> list[tuple[str, str]]:
        """What will happen, in its order: (what, how)."""
        v, found = self.values, self.found or {}
        files = len(found.get("files", [])) + int(found.get("unread", 0))
        reading = tr("{files}, about {documents}", files=trn("{count} file", "{count} files", files),
                     documents=trn("{count} document", "{count} documents", self.documents)) if found else ""
        lines: list[tuple[str, str]] = [(tr("Read the files"), reading)]
        mending = [_label(n) for n in MENDING if v[n]]
        if v["personal_data"]:
            mending.append(tr("personal data ({kinds})", kinds=_kinds(PERSONAL_KINDS, v["personal_kinds"])))
        lines.append((tr("Mend the text"), ", ".join(mending) if mending else tr("nothing is changed")))
        removing = []
        if v["minimum_length"]:
            removing.append(tr("under {count} characters", count=number(v["minimum_length"])))
        if v["languages"]:
            removing.append(tr("not in {languages}", languages=", ".join(v["languages"])))
        removing += [_label(n) for n in ("quality_gopher", "quality_c4", "quality_fineweb") if v[n]]
        if v["harmful"] == "remove":
            removing.append(tr("harmful ({kinds})", kinds=_kinds(HARM_KINDS, v["harm_kinds"])))
        lines.append((tr("Remove documents"), ", ".join(removing) if removing else tr("none")))
        if v["harmful"] == "list":
            lines.append((tr("List harmful texts"), _kinds(HARM_KINDS, v["harm_kinds"])))
        alike = [_label("exact_duplicates")] if v["exact_duplicates"] else []
        if v["near_duplicates"]:
            alike.append(tr("near duplicates from {alike}", alike=number(v["near_threshold"], 2)))
            alike += [tr("excerpts")] if v["contained"] else []
        if alike:
            alike.append(tr("{rule} stays", rule=dict(CorpusSpec.option_of("keep_rule").choices)[v["keep_rule"]]))
        lines.append((tr("Remove duplicates"), ", ".join(alike) if alike else tr("none")))
        if v["repeated_paragraphs"] or v["repeated_passages"]:
            lines.append((tr("Cut repetitions"), ", ".join(_label(n) for n in ("repeated_paragraphs", "repeated_passages") if v[n])))
        if v["held_out"]:
            what = dict(CorpusSpec.option_of("contamination").choices)[v["contamination"]]
            lines.append((tr("Compare with held-out sets"), trn("{count} file, {what}", "{count} files, {what}", len(v["held_out"]),
                                                                what=what.lower())))
        if self.mixed:
            lines.append((tr("Mix the sources"), trn("{count} source with its own amount", "{count} sources with their own amounts",
                          sum(any(n in o for n in MIX_FIELDS) for o in v["source_options"].values()))))
        share = _share(v["validation_percent"])
        lines.append((tr("Keep for validation"), tr("{share}, about {size}", share=share, size=size(self.validation_bytes()))
                      if found else share))
        return lines


def defaults() -> dict[str, Any]:
    """The settings of a corpus before anybody chose."""
    return {n: f.get_default(call_default_factory=True) for n, f in CorpusSpec.model_fields.items()} | {"source_options": {}}


def _step_of(field: str) -> str:
    if field in ("sources", "source_options"):
        return "sources"
    group = CorpusSpec.option_of(field).group
    return next((step for step, groups in GROUPS.items() if group in groups), "start")


def _label(name: str) -> str:
    label = CorpusSpec.option_of(name).label
    return label if label[:2].isupper() or name in NAMES else label[:1].lower() + label[1:]


def _share(value: float) -> str:
    """10.0 -> "10 %", 0.5 -> "0.5 %"."""
    return percent(value / 100, 0 if float(value).is_integer() else 1)


def _kinds(known: Sequence[tuple[str, str]], chosen: Sequence[str]) -> str:
    if len(chosen) == len(known):
        return tr("all kinds")
    return ", ".join(words for kind, words in known if kind in chosen).lower() or tr("no kind")
