"""What the Lineage page shows, in words and columns: the boxes of the graph, the facts of one, ways along the lines. No Qt.

`look` reads the project in a thread; nothing here is changed afterwards. What is stale, and what replaces what, is decided by
engine/project/lineage.py.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from desktop.models.lineage_layout import Box, Placed, place
from engine.contract.units import count, duration, number, percent, size
from engine.contract.words import tr, trn
from engine.pipeline import STAGES
from engine.project import layout, taken_sets
from engine.project.lineage import CHECKPOINT, RUN, DiskUsage, Lineage, Node, Row, Standing, changed_settings, describe, read, reason_words
from engine.project.project import Project
from engine.project.run_state import RunState
from engine.project.runs import RESUMABLE
from engine.stages.grpo.spec import PRESETS

BOX_HEIGHT, BOX_GAP = 56.0, 22.0
BESIDE = {"tokens": "pretrain", "import_model": "pretrain"}
"""Kinds and stages that stand in another's column."""
SPECS = {id: stage.spec for id, stage in STAGES.items()}


@dataclass(frozen=True)
class Card:
    """A box: its mark (as in the rail: nothing, ready, running, done, stale, failed), two lines, the tone of the second. `dashed` is what
    is not there (yet, or any more)."""

    id: str
    title: str
    line: str
    mark: str = "done"
    tone: str = "text2"
    share: float = 0.0
    dashed: bool = False
    spoken: str = ""


@dataclass(frozen=True)
class Picture:
    """The graph as it is drawn. `hidden` is how many checkpoints are not shown."""

    graph: Lineage
    cards: dict[str, Card]
    placed: Placed
    edges: tuple[tuple[str, str], ...]
    hidden: int = 0
    writable: bool = True

    def parents(self, id: str) -> list[str]:
        return [p for p in dict.fromkeys(self.graph.nodes[id].parents) if p in self.cards]

    def children(self, id: str) -> list[str]:
        return [c for c in self.graph.children(id) if c in self.cards]

    def step(self, id: str, way: str) -> str:
        """Where an arrow key leads from a box: left and right along the lines (to the nearest in height), up and down within the column."""
        if id not in self.cards:
            return next(iter(self.cards), "")
        if way in ("left", "right"):
            near = self.parents(id) if way == "left" else self.children(id)
            here = self.placed.y[id]
            return min(near, key=lambda o: (abs(self.placed.y[o] - here), o), default=id)
        column = self.placed.order[self.placed.columns[id]]
        at = column.index(id) + (1 if way == "down" else -1)
        return column[at] if 0 <= at < len(column) else id


@dataclass(frozen=True)
class Found:
    """What one look at the project found."""

    graph: Lineage
    writable: bool


def look(project: Project, standings: Mapping[str, Standing]) -> Found:
    """Read the project; for a thread."""
    folder = layout.artifacts(project.dir)
    return Found(read(project, standings), os.access(folder if folder.is_dir() else project.dir, os.W_OK))


def picture(found: Found, checkpoints: bool, keep: str = "") -> Picture:
    """Lay out what was found: all artifacts and unfinished runs, of checkpoints those that something was made from, the one to `keep`, or
    all."""
    graph = found.graph
    shown = [n for n in graph.nodes.values() if checkpoints or n.kind != CHECKPOINT or graph.children(n.id) or n.id == keep]
    columns = _columns(shown)
    ids = {n.id for n in shown}
    boxes = [Box(n.id, columns[n.id], tuple(p for p in dict.fromkeys(n.parents) if p in ids)) for n in shown]
    titles: dict[tuple[str, str], int] = {}
    for n in shown:
        titles[n.kind, n.title] = titles.get((n.kind, n.title), 0) + 1
    cards = {n.id: card(n, graph, named=titles[n.kind, n.title] > 1) for n in shown}
    edges = tuple((parent, box.id) for box in boxes for parent in box.parents)
    return Picture(graph, cards, place(boxes, BOX_HEIGHT, BOX_GAP), edges, sum(n.kind == CHECKPOINT for n in graph.nodes.values()
                   if n.id not in ids), found.writable)


def _columns(nodes: Sequence[Node]) -> dict[str, int]:
    """Columns by stage, those that nothing stands in left out. What is known only by its children stands before them."""
    known = {stage: i for i, stage in enumerate(STAGES)}
    makes = {stage.makes: id for id, stage in reversed(STAGES.items())}
    place: dict[str, float] = {}
    for node in nodes:
        stage = BESIDE.get(node.kind, BESIDE.get(node.stage, node.stage)) or BESIDE.get(node.kind, makes.get(node.kind, ""))
        place[node.id] = float(known.get(stage, len(known)))
    for node in nodes:
        if node.stage not in known and node.kind not in makes and node.kind != "tokens":
            below = [place[o.id] for o in nodes if node.id in o.parents]
            place[node.id] = min(below, default=float(len(known)) + 0.5) - 0.5
    present = {value: i for i, value in enumerate(sorted(set(place.values())))}
    return {id: present[value] for id, value in place.items()}


def card(node: Node, graph: Lineage, named: bool = False) -> Card:
    """The box of a node; `named` adds the id, where titles are the same."""
    line, mark, tone, dashed = _line(node), "done", "text2", False
    if named and node.kind not in (CHECKPOINT, "tokens") and not node.deleted:
        line = f"{node.id}, {line}" if line else node.id
    if node.deleted:
        line, mark, dashed = deleted_words(node), "nothing", True
    elif node.kind == RUN:
        mark = "running" if node.status in ("running", "waiting", "starting") else "ready" if node.status == "queued" else "failed"
        dashed = True
    elif node.stale:
        by = node.stale[0].by
        line, mark, tone = tr("{newer} is newer", newer=by) if by else changed_words(node), "stale", "warn"
    elif node.missing:
        line, tone = trn("{count} parent is missing", "{count} parents are missing", len(node.missing)), "warn"
    elif node.replaced_by:
        line = tr("replaced by {id}", id=node.replaced_by)
    spoken = ", ".join([node.title, kind_words(node), line, *(reason_words(r, graph) for r in node.stale)])
    title = tr("Tokens {number}", number=node.id.rpartition("-")[2]) if node.kind == "tokens" and not node.deleted else node.title
    return Card(node.id, title, line, mark, tone, node.share, dashed, spoken)


def changed_words(node: Node) -> str:
    """What of the library is not what it was when this was made from it, or which parent is out of date by that."""
    change, through = node.stale[0].changed, node.stale[0].through
    if through:
        return tr("{id} is stale", id=through)
    if change is not None and change.problems:
        return tr("its problems have changed")
    return tr("its labels have changed") if change is not None and change.pairs else tr("its examples have changed")


def _line(node: Node) -> str:
    facts = node.facts
    if node.kind == RUN:
        return tr("{status}, {share}", status=status_words(node.status), share=percent(node.share)) if node.share else \
            status_words(node.status)
    if node.kind == CHECKPOINT:
        return tr("checkpoint, {size}", size=size(node.bytes))
    if node.kind == "corpus" and "documents" in facts:
        return tr("{count} documents", count=number(int(facts["documents"])))
    if node.kind == "tokenizer" and "vocab_size" in facts:
        return tr("{count} tokens", count=number(int(facts["vocab_size"])))
    if node.kind == "tokens" and "train_tokens" in facts:
        return tr("{count} tokens in shards", count=count(int(facts["train_tokens"]) + int(facts.get("validation_tokens", 0))))
    if node.kind == "model" and node.stage == "pretrain" and node.step > 0:
        return tr("base, step {step}", step=number(node.step))
    if node.kind == "model" and node.stage == "import_model":
        return tr("imported, {size}", size=size(node.bytes))
    if node.kind == "model" and node.stage == "dpo":
        loss = str(facts.get("loss") or node.spec.get("loss") or "")
        return ", ".join(filter(None, (LOSSES.get(loss, loss), pairs_words(facts.get("pairs")))))
    if node.kind == "model" and node.stage == "ppo":
        rounds = int(facts.get("rounds") or 0)
        return ", ".join(filter(None, ("PPO", trn("{count} round", "{count} rounds", rounds) if rounds else "")))
    if node.kind == "model" and node.stage == "grpo":
        preset = PRESETS.get(str(facts.get("preset") or node.spec.get("preset") or ""))
        solved = facts.get("pass_at_1_after")
        return ", ".join(filter(None, (preset.title if preset is not None else "GRPO",
                                       tr("{share} solved", share=percent(solved)) if solved is not None else "")))
    if node.kind == "reward_model":
        right = facts.get("accuracy")
        return ", ".join(filter(None, (pairs_words(facts.get("pairs")),
                                       tr("{share} right", share=percent(right)) if right is not None else "")))
    if node.kind == "pairs":
        return pairs_words(facts.get("pairs"))
    if node.kind == "model" and node.stage in ("sft", "adapt"):
        examples = int(facts.get("examples") or 0)
        return ", ".join(filter(None, (method_words(str(facts.get("method") or node.spec.get("method") or "")),
                                       trn("{count} example", "{count} examples", examples) if examples else
                                       tr("domain text") if node.stage == "adapt" else "")))
    if node.kind == "examples" and "kept" in facts:
        return trn("{count} example", "{count} examples", int(facts["kept"]))
    if node.kind == "evaluation" and facts.get("models"):
        return ", ".join((trn("{count} model", "{count} models", len(facts["models"])),
                          trn("{count} suite", "{count} suites", len(facts.get("suites") or ()))))
    if node.kind == "export":
        told = str(facts.get("precision") or facts.get("to") or node.spec.get("to") or "")
        kept = int(facts.get("bytes") or facts.get("size") or 0)
        return ", ".join(filter(None, (told, size(kept) if kept else "")))
    return STAGES[node.stage].title if node.stage in STAGES else kind_words(node)


LOSSES = {"sigmoid": "DPO", "ipo": "IPO", "hinge": tr("hinge"), "simpo": "SimPO", "kto": "KTO"}
"""Losses of preference tuning, in a word."""


def pairs_words(found: Any) -> str:
    """How many pairs; "" where nothing says it."""
    return trn("{count} pair", "{count} pairs", int(found)) if isinstance(found, (int, float)) else ""


def method_words(method: str) -> str:
    """How a model was tuned, in a word or two."""
    return {"full": tr("full training"), "lora": "LoRA", "qlora": "QLoRA"}.get(method, method)


def status_words(status: str) -> str:
    return {"running": tr("running"), "waiting": tr("waiting"), "starting": tr("starting"), "queued": tr("queued"),
            "interrupted": tr("interrupted"), "paused": tr("paused"), "stopped": tr("stopped"), "failed": tr("failed"),
            "crashed": tr("crashed"), "done": tr("done"), "deleted": tr("deleted")}.get(status, status)


def kind_words(node: Node) -> str:
    """What sort of thing it is."""
    if node.kind == "model":
        return {"pretrain": tr("base model"), "import_model": tr("imported model"), "sft": tr("model tuned on conversations"),
                "adapt": tr("model tuned on a domain"), "dpo": tr("model tuned on labelled pairs"),
                "ppo": tr("model tuned by a reward model"),
                "grpo": tr("reasoning model")}.get(node.stage) or \
            (tr("model, {stage}", stage=STAGES[node.stage].title) if node.stage in STAGES else tr("model"))
    return {"corpus": tr("corpus"), "tokenizer": tr("tokenizer"), "tokens": tr("corpus in tokens"), CHECKPOINT: tr("checkpoint"),
            RUN: tr("run without a result"), "export": tr("export"), "examples": tr("generated examples"),
            "evaluation": tr("evaluation"), "pairs": tr("pairs of answers"), "reward_model": tr("reward model")}.get(node.kind, node.kind)


def deleted_words(node: Node) -> str:
    return tr("deleted {day}", day=day_words(node.created)) if node.created else tr("not in this project")


def day_words(when: float) -> str:
    """"12 Nov", with the year where it is another one."""
    then = time.localtime(when)
    months = (tr("Jan"), tr("Feb"), tr("Mar"), tr("Apr"), tr("May"), tr("Jun"), tr("Jul"), tr("Aug"), tr("Sep"), tr("Oct"), tr("Nov"),
              tr("Dec"))
    day = tr("{day} {month}", day=then.tm_mday, month=months[then.tm_mon - 1])
    return day if then.tm_year == time.localtime().tm_year else f"{day} {then.tm_year}"


def when_words(when: float) -> str:
    return tr("{day}, {time}", day=day_words(when), time=time.strftime("%H:%M", time.localtime(when)))


# the chosen one ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class About:
    """What the side panel says of one node, read in a thread: `took` seconds of its run, `changed` its settings beside the defaults."""

    id: str
    took: float = 0.0
    run_there: bool = False
    changed: tuple[Row, ...] = field(default_factory=tuple)
    machine: str = ""


def about(project: Project, node: Node, glance: Any) -> About:
    """`glance(run)` gives a RunState that knows when the run began and ended."""
    if node.deleted:
        return About(node.id)
    run = next((r for r in project.runs.list() if r.id == node.run), None) if node.run else None
    took, machine = 0.0, ""
    if run is not None:
        state: RunState = glance(run)
        end = state.ended or state.updated
        took = state.metrics.last("elapsed") or (max(0.0, end - state.attempt_started) if state.attempt_started else 0.0)
        machine = state.device_title or state.device
    if node.spec or node.run:
        described = describe(project, node.id if node.kind != RUN else node.run) if run is not None or node.spec else None
        rows = changed_settings(described, SPECS) if described is not None else []
    else:
        rows = []
    return About(node.id, took, run is not None, tuple(r for r in rows if r.name not in ("sources", "source_options")), machine)


def facts(node: Node, graph: Lineage, told: About | None, bytes_: int | None) -> list[tuple[str, str]]:
    """Names and values for the side panel."""
    found = [(tr("Kind"), kind_words(node))]
    if node.deleted:
        return [*found, (tr("Deleted"), when_words(node.created) if node.created else tr("unknown"))]
    if node.kind == RUN:
        found.append((tr("State"), _line(node)))
    run = node.run.partition("-")[0]
    found.append((tr("Made") if node.kind != RUN else tr("Begun"), tr("{when}, run {run}", when=when_words(node.created), run=run) if run
                  else when_words(node.created)))
    if told is not None and told.took and node.kind not in (CHECKPOINT, "tokens"):
        found.append((tr("Took"), duration(told.took)))
    if node.kind == "export":
        found.append((tr("For"), str(node.facts.get("to") or node.spec.get("to") or "")))
        if kept := int(node.facts.get("bytes") or 0):
            found.append((tr("Exported"), size(kept)))
    found.append((tr("Receipt on disk") if node.kind == "export" else tr("On disk"), size(bytes_ if bytes_ is not None else node.bytes)))
    if node.base:
        found.append((tr("Adapter of"), node.base))
    verifier = node.facts.get("verifier")
    if isinstance(verifier, dict) and verifier.get("sha256"):
        name = str(verifier.get("title") or verifier.get("ref") or tr("several parts"))
        found.append((tr("Verifier"), tr("{name}, {hash}", name=name, hash=short_hash(str(verifier["sha256"])))))
    if node.engine_version:
        found.append((tr("Engine"), node.engine_version))
    return found


def learned_from(node: Node) -> tuple[str, list[str]]:
    """(a heading, a line for each set of the library that went into it): as its run says, or itself where the run is gone."""
    heading = {"evaluate": tr("Asked"), "instruct": tr("Started from"), "preference": tr("Asked"),
               "ppo": tr("Asked")}.get(node.stage, tr("Learned from"))
    said = [one for one in taken_sets.told(node.sets, node.stage) or node.facts.get("sets") or () if isinstance(one, dict)]
    return heading, [tr("{set}, {count}", set=str(one.get("title") or one.get("id")),
                        count=pairs_words(one["pairs"]) if "pairs" in one else
                        trn("{count} problem", "{count} problems", int(one["problems"])) if "problems" in one else
                        trn("{count} example", "{count} examples", int(one.get("examples") or 0))) for one in said]


def short_hash(digest: str) -> str:
    """The first twelve letters in groups of four: enough to tell two things apart by eye."""
    return " ".join(digest[i:i + 4] for i in (0, 4, 8))


def link_words(node: Node) -> tuple[str, str]:
    """(words, tone) at the right of a parent or child in the side panel."""
    if node.deleted:
        return tr("deleted"), "danger"
    if node.kind == RUN:
        return status_words(node.status), "accent" if node.busy else "warn" if node.status in RESUMABLE else "text2"
    if node.stale:
        return tr("stale"), "warn"
    if node.replaced_by:
        return tr("{id} is newer", id=node.replaced_by), "warn"
    return tr("current"), "text2"


def page_of(node: Node) -> tuple[str, dict[str, str]]:
    """(page, arguments) that Enter opens; "" for what has no page."""
    if node.deleted:
        return "", {}
    if node.kind == "export":
        return "export", {}
    if node.kind == "tokens":
        return "", {}
    if (node.kind == CHECKPOINT and not scores(node)) or node.stage == "import_model":
        return "chat", {"model": node.id}
    if node.kind in ("corpus", "tokenizer"):
        return node.kind, {"artifact": node.id}
    stage = {"adapt": "sft", "ppo": "dpo"}.get(node.stage, node.stage)  # one page has both
    return (stage, {"run": node.run}) if stage in STAGES and node.run else ("", {})


def scores(node: Node) -> bool:
    """Whether it is a reward model, or a checkpoint of one: it scores answers and writes none."""
    return node.kind == "reward_model" or (node.kind == CHECKPOINT and node.stage == "reward")


def comparable(graph: Lineage, node: Node) -> list[Node]:
    """What its settings can be compared with: other artifacts and runs of the same stage, newest first. Checkpoints share the settings of
    their run."""
    return [n for n in reversed(graph.nodes.values()) if n.stage == node.stage and n.id != node.id and not n.deleted and n.spec
            and n.kind != CHECKPOINT and n.run != node.run]


@dataclass(frozen=True)
class Share:
    """A line of the disk usage: what, how many, bytes."""

    words: str
    note: str
    bytes: int


def shares(usage: DiskUsage, graph: Lineage) -> list[Share]:
    """The project's disk usage by sort, largest first."""
    sums: dict[str, list[int]] = {}
    for id, bytes_ in usage.artifacts.items():
        sums.setdefault(id.rpartition("-")[0], []).append(bytes_)
    words = {"corpus": tr("Corpora"), "tokenizer": tr("Tokenizers"), "tokens": tr("Corpora in tokens"), "model": tr("Models"),
             "export": tr("Receipts of exports"), "examples": tr("Generated examples"), "evaluation": tr("Evaluations"),
             "pairs": tr("Pairs of answers"), "reward_model": tr("Reward models")}
    found = [Share(words.get(kind, kind), number(len(each)), sum(each)) for kind, each in sums.items()]
    found.append(Share(tr("Checkpoints"), number(len(usage.checkpoints)), sum(usage.checkpoints.values())))
    found.append(Share(tr("Logs and curves of runs"), number(len(usage.runs)), sum(usage.runs.values())))
    found.append(Share(tr("Library, with backups"), "", usage.library))
    found.append(Share(tr("Everything else"), "", usage.other))
    return sorted((s for s in found if s.bytes), key=lambda s: -s.bytes)
