"""The lineage of a project: what was made from what, what is out of date because of it, what goes when something is deleted, how much
disk all takes, and what the settings of two things differ in. It reads manifests, run folders and tombstones; it starts nothing.

    graph = read(project)                     # nodes: artifacts, checkpoints, runs that made nothing yet, parents that were deleted
    plan = plan_deletion(project, "corpus-1") # what would go, how many bytes, what stands in the way
    delete(project, plan)                     # children first, so that a crash never leaves a child without its parent

What replaces what. Artifacts that stand for one another form a line, and the newest of a line is current. An artifact joins the line of
an older one of the same kind and stage

  - when it was made from that one by its setting `base` (a corpus gone through again with decisions), or
  - when it has the same name, and came from the same sources and from the same parents, or from parents of the same lines.

So a corpus imported again, and the tokenizer trained again on it under the same name, replace the older two; a tokenizer of another name
or another size is a variant and replaces nothing. Something is stale when a parent is not current, or is stale itself; what replaced its
own base is not stale because of that. Whoever has no name of its own (the title is the id, or was made up by the stage) replaces nothing.

What came of sets of the library (a tuned model, an evaluation) is stale, too, once examples of them came in, were edited or rejected. And
what holds an adapter alone needs the model it changes: that one is not deleted without it (`Node.base`).
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.contract import events as ev
from engine.contract.errors import InputError, Locked, NotFound, ProjectError, Stopped
from engine.contract.spec import Spec
from engine.contract.units import number
from engine.contract.words import tr, trn
from engine.project import files, layout, queue, taken_sets
from engine.project.artifacts import NAME as ARTIFACT_NAME
from engine.project.artifacts import Artifact
from engine.project.event_log import EventWriter, read_events
from engine.project.models import base_of, prefix_of
from engine.project.project import Project
from engine.project.runs import ACTIVE, RESUMABLE, Run
from engine.project.taken_sets import SetChange, TakenSet, change_words

CHECKPOINT, RUN = "checkpoint", "run"
"""Kinds of nodes beside the artifacts' own."""
BUSY = (*ACTIVE, "starting", "queued")
ORIGIN = ("sources", "source", "folder", "pipeline", "to", "out")
"""Settings that say where something came from outside the project, or went to: two that differ in them never stand for one another."""
WORDS = ("title", "name", "licence", "out")
"""Settings that hold the person's words, whatever these look like."""
NAMED = ("model", "evaluation", "examples", "pairs", "reward_model")
"""Kinds whose title is made up by their stage where the person gave none, and nothing from outside did: such a title is no name."""
MODEL_ID = re.compile(r"([1-9][0-9]*-[a-z_]+)@([0-9]+)")
BLOCK = 1 << 22

Specs = Mapping[str, type[Spec]]
"""The settings class of each stage; engine/pipeline.py has them, and lies above this file."""


@dataclass(frozen=True)
class Standing:
    """How a run stands: its status for people, and how far it is, 0 to 1."""

    status: str
    share: float = 0.0


@dataclass(frozen=True)
class Reason:
    """Why something is stale: its parent `parent` (or, `through` that one, something further back) was replaced by `by`. `remade`: `by`
    was made from it; else it is a newer one of the same name. Or `changed`: a set of the library, which has the id `parent`, is not what it
    was; `by` is "" then."""

    parent: str
    by: str
    remade: bool = False
    through: str = ""
    changed: SetChange | None = None


@dataclass(frozen=True)
class Node:
    """One thing of the project. `kind` is an artifact's, or "checkpoint", or "run" (one that made no artifact, but is under way or can be
    resumed); `status` "done", "deleted", or how the run stands. `parents` are ids of nodes; a deleted one that is known by its tombstone,
    or by nothing but its children, is a node too. `bytes` is what the manifest says; DiskUsage has what the disk says. `sets` went into it
    from the library. `base` is the model without which it is nothing: it holds an adapter of that one alone."""

    id: str
    kind: str
    title: str
    created: float
    parents: tuple[str, ...] = ()
    stage: str = ""
    run: str = ""
    status: str = "done"
    share: float = 0.0
    step: int = -1
    bytes: int = 0
    path: Path | None = None
    spec: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    engine_version: str = ""
    replaced_by: str = ""
    stale: tuple[Reason, ...] = ()
    missing: tuple[str, ...] = ()
    sets: tuple[TakenSet, ...] = ()
    base: str = ""

    @property
    def busy(self) -> bool:
        return self.status in BUSY

    @property
    def deleted(self) -> bool:
        return self.status == "deleted"

    @property
    def hash(self) -> str:
        """One hash for all its files: SHA-256 over their names and hashes; "" without files."""
        if not self.files:
            return ""
        listed = "".join(f"{name}\0{entry['sha256']}\n" for name, entry in sorted(self.files.items()))
        return hashlib.sha256(listed.encode()).hexdigest()


@dataclass(frozen=True)
class Lineage:
    """The graph. `nodes` stand in the order in which they were made; `users` are runs under way with what goes into them."""

    nodes: dict[str, Node]
    users: dict[str, tuple[str, ...]] = field(default_factory=dict)
    below: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def get(self, id: str) -> Node:
        if id not in self.nodes:
            raise NotFound(tr("There is nothing called {id} in this project.", id=id or '""'),
                           tr("`fledge lineage DIR` lists what it holds."))
        return self.nodes[id]

    def children(self, id: str) -> tuple[str, ...]:
        return self.below.get(id, ())

    def descendants(self, id: str) -> list[str]:
        """Everything made from it, and from that: children before their parents."""
        return [each for each in _children_first(self.below, [id]) if each != id]

    def dependents(self, id: str) -> list[str]:
        """What goes when it is deleted: everything made from it, but what was made to replace it (it holds all that it needs) and what was
        made from that alone. Children before their parents."""
        below = {at: tuple(c for c in kids if not self.heir(c, at)) for at, kids in self.below.items()}
        return [each for each in _children_first(below, [id]) if each != id]

    def heir(self, child: str, parent: str) -> bool:
        """Whether `child` was made from `parent` to stand for it."""
        newer = self.nodes[parent].replaced_by
        return bool(newer) and newer in (child, self.nodes[child].replaced_by)

    def ancestors(self, id: str) -> list[str]:
        """Everything it was made from, parents before their children."""
        above = {n.id: n.parents for n in self.nodes.values()}
        return [each for each in _children_first(above, [id]) if each != id]

    def used_by(self, id: str) -> list[str]:
        """Runs under way that it goes into, or that made it."""
        node = self.nodes[id]
        found = [run for run, inputs in self.users.items() if id in inputs or run == node.run]
        if node.kind == "tokens":  # no setting names shards: a run takes those of its corpus and tokenizer
            found += [run for run, inputs in self.users.items() if node.parents and set(node.parents) <= set(inputs)]
        return sorted(set(found))


def _children_first(below: Mapping[str, Sequence[str]], roots: Iterable[str]) -> list[str]:
    """Post-order without recursion; what comes twice, or in a ring (a project that somebody changed by hand), comes once."""
    order: list[str] = []
    seen: set[str] = set()
    for root in roots:
        stack: list[tuple[str, Iterator[str]]] = []
        if root not in seen:
            seen.add(root)
            stack.append((root, iter(below.get(root, ()))))
        while stack:
            id, rest = stack[-1]
            for child in rest:
                if child not in seen:
                    seen.add(child)
                    stack.append((child, iter(below.get(child, ()))))
                    break
            else:
                order.append(id)
                stack.pop()
    return order


# the graph -----------------------------------------------------------------------------------------------------------


def read(project: Project, standings: Mapping[str, Standing] | None = None) -> Lineage:
    """The project's graph as its folder is now. `standings` of the runs, where the caller knows them; else the runs that made no artifact
    are read from their events. Nothing is written."""
    artifacts, runs = project.artifacts.list(), project.runs.list()
    waiting = {e.run for e in queue.entries() if e.project == str(project.dir)}
    makers = {a.run for a in artifacts if a.run}
    current, remade = _lines(artifacts)
    sets = {run.id: taken_sets.taken(run) for run in runs if run.sets}
    nodes: dict[str, Node] = {}
    for a in artifacts:
        nodes[a.id] = Node(id=a.id, kind=a.kind, title=a.title, created=a.created, parents=a.parents, stage=a.run.partition("-")[2],
                           run=a.run, step=int(a.facts.get("step") or -1) if a.kind == "model" else -1, bytes=a.size, path=a.path,
                           spec=a.spec, facts=a.facts, files=a.files, engine_version=a.engine_version,
                           replaced_by=current[a.id] if current[a.id] != a.id else "", sets=sets.get(a.run, ()), base=base_of(a.path)
                           if a.kind == "model" else "")
    users: dict[str, tuple[str, ...]] = {}
    known = {a.id for a in artifacts}
    for run in runs:
        standing = _standing(run, standings, run.id in waiting, run.id in makers)
        inputs = _inputs(run, known)
        if standing.status in BUSY:
            users[run.id] = inputs
        steps = run.checkpoint_steps()
        for step in steps:
            made = replace(_checkpoint(run, step, inputs), sets=sets.get(run.id, ()))
            nodes[made.id] = made
        left = standing.status in RESUMABLE and (steps or standing.status in ("paused", "interrupted"))
        if run.id not in makers and (standing.status in BUSY or left):
            nodes[run.id] = Node(id=run.id, kind=RUN, title=run.title or tr("Run {number}", number=run.number), created=run.created,
                                 parents=inputs, stage=run.stage, run=run.id, status=standing.status, share=standing.share, path=run.dir,
                                 spec=run.spec, sets=sets.get(run.id, ()))
    gone = _tombstones(project)
    for id in {p for n in nodes.values() for p in n.parents if p not in nodes}:
        title, when = gone.get(id, (id, 0.0))
        kind = CHECKPOINT if "@" in id else id.rpartition("-")[0]
        nodes[id] = Node(id=id, kind=kind, title=title, created=when, status="deleted", stage=id.partition("@")[0].partition("-")[2]
                         if "@" in id else "")
    return _judge(nodes, users, current, remade, taken_sets.changed(project.dir, [run for run in runs if run.id in sets]))


def _standing(run: Run, standings: Mapping[str, Standing] | None, queued: bool, made: bool) -> Standing:
    if standings is not None and run.id in standings:
        return standings[run.id]
    if made:
        return Standing("running" if run.alive() else "done", 1.0)
    state = run.state()
    return Standing(run.status_of(state, queued), state.share)


def _inputs(run: Run, known: set[str]) -> tuple[str, ...]:
    """What goes into a run: its artifacts, and the model that a setting names (an artifact's id or run@step)."""
    given = [v.removeprefix(prefix_of(v)) for k, value in run.spec.items() if k not in WORDS
             for v in (value if isinstance(value, list) else [value]) if isinstance(v, str)]
    return tuple(dict.fromkeys((*run.inputs.values(), *(v for v in given if v in known or MODEL_ID.fullmatch(v)))))


def _checkpoint(run: Run, step: int, inputs: tuple[str, ...]) -> Node:
    folder = layout.checkpoint(run.dir, step)
    raw = files.read_json(folder / layout.MANIFEST, {})
    manifest: dict[str, Any] = raw if isinstance(raw, dict) else {}
    listed = {str(k): v for k, v in dict(manifest.get("files") or {}).items() if isinstance(v, dict)}
    name = run.title or tr("Run {number}", number=run.number)
    title = tr("{name}, untrained", name=name) if step == 0 else tr("{name}, step {step}", name=name, step=number(step))
    return Node(id=f"{run.id}@{step}", kind=CHECKPOINT, title=title, created=float(manifest.get("created") or run.created), parents=inputs,
                stage=run.stage, run=run.id, step=step, bytes=sum(int(f.get("size", 0)) for f in listed.values()), path=folder,
                spec=run.spec, facts=dict(manifest.get("facts") or {}), files=listed, base=base_of(folder))


def _tombstones(project: Project) -> dict[str, tuple[str, float]]:
    """(title, when it was deleted) of artifacts and checkpoints that are gone."""
    found: dict[str, tuple[str, float]] = {}
    folder = layout.artifacts(project.dir)
    for path in folder.glob(".gone-*") if folder.is_dir() else ():
        raw = files.read_json(path)
        if isinstance(raw, dict):
            found[path.name.removeprefix(".gone-")] = (str(raw.get("title") or raw.get("id")), float(raw.get("deleted") or 0))
    return found


def _lines(artifacts: Sequence[Artifact]) -> tuple[dict[str, str], dict[str, str]]:
    """({artifact: the current one of its line}, {artifact: the base it was made from}), by the rules at the top."""
    line: dict[str, str] = {}
    first: dict[tuple[Any, ...], str] = {}
    newest: dict[str, str] = {}
    bases: dict[str, str] = {}
    kinds = {a.id: (a.kind, a.run.partition("-")[2]) for a in artifacts}
    for a in artifacts:  # oldest first: parents have their line before their children
        base = a.spec.get("base")
        origin = json.dumps([a.spec.get(name) for name in ORIGIN], sort_keys=True, default=str)
        parents = tuple(line.get(p, p) for p in a.parents)
        made_up = a.kind in NAMED and a.spec.get("title") == "" and not any(a.spec.get(name) for name in ORIGIN)
        named = a.title != a.id and not made_up
        key = (*kinds[a.id], a.title, parents, origin) if named else (a.id,)
        if isinstance(base, str) and base in line and kinds[base] == kinds[a.id] and a.kind not in NAMED:  # an adapter replaces no base
            bases[a.id], line[a.id] = base, line[base]
        else:
            line[a.id] = line.get(first.get(key, ""), a.id)
        first.setdefault(key, a.id)
        newest[line[a.id]] = a.id
    return {id: newest[of] for id, of in line.items()}, bases


def _judge(nodes: dict[str, Node], users: dict[str, tuple[str, ...]], current: dict[str, str], bases: dict[str, str],
           changed: Mapping[str, Sequence[SetChange]]) -> Lineage:
    """Say of each node what is stale and what is missing, parents before children."""
    above = {n.id: n.parents for n in nodes.values()}
    judged: dict[str, Node] = {}
    for id in _children_first(above, nodes):
        node, reasons = nodes[id], []
        for change in changed.get(node.run, ()) if node.sets else ():
            reasons.append(Reason(change.id, "", changed=change))
        for parent in dict.fromkeys(node.parents):
            if current.get(id) is not None and current.get(id) == current.get(parent):
                continue  # of one line: made to stand for it
            by = current.get(parent, parent)
            if by != parent:
                reasons.append(Reason(parent, by, remade=_made_from(by, parent, bases)))
            for earlier in judged[parent].stale if parent in judged else ():
                reasons.append(replace(earlier, through=parent))
        unique = {(r.parent, r.by): r for r in reversed(reasons)}
        judged[id] = replace(node, stale=tuple(r for r in reasons if unique[(r.parent, r.by)] is r),
                             missing=tuple(p for p in node.parents if nodes[p].deleted))
    ordered = dict(sorted(judged.items(), key=lambda item: (item[1].created, item[0])))
    below: dict[str, list[str]] = {}
    for node in ordered.values():
        for parent in dict.fromkeys(node.parents):
            below.setdefault(parent, []).append(node.id)
    return Lineage(ordered, users, {id: tuple(kids) for id, kids in below.items()})


def stale_ids(artifacts: Sequence[Artifact]) -> set[str]:
    """Those of a project's artifacts, oldest first, that were made from what was replaced, by the rules at the top: what a glance can tell
    without reading runs and library."""
    current, _ = _lines(artifacts)
    found: set[str] = set()
    for a in artifacts:
        if any(current.get(p) != current[a.id] and (current.get(p, p) != p or p in found) for p in a.parents):
            found.add(a.id)
    return found


def _made_from(id: str, base: str, bases: Mapping[str, str]) -> bool:
    while id in bases:
        id = bases[id]
        if id == base:
            return True
    return False


def reason_words(reason: Reason, graph: Lineage) -> str:
    """Why something is stale, as a sentence."""
    old, new = _named(graph, reason.parent), _named(graph, reason.by)
    words = (change_words(reason.changed) if reason.changed else
             tr("{new} was made from {old} and replaces it.", new=new, old=old) if reason.remade else
             tr("{new} is newer than {old} and has the same name and origin.", new=new, old=old))
    if reason.through:
        words += " " + tr("It comes in through {parent}.", parent=_named(graph, reason.through))
    return words


def _named(graph: Lineage, id: str) -> str:
    """Title and id: titles of things that replace each other are often the same."""
    node = graph.nodes.get(id)
    return id if node is None or node.title in ("", id) else tr("{title} ({id})", title=node.title, id=id)


def missing_words(node: Node, graph: Lineage) -> list[str]:
    """What is not there any more of what it was made from, as sentences."""
    found = []
    for id in node.missing:
        gone = graph.nodes[id]
        day = time.strftime("%Y-%m-%d", time.localtime(gone.created)) if gone.created else ""
        found.append(tr("{parent}, which it was made from, was deleted on {day}.", parent=_named(graph, id), day=day) if day else
                     tr("{parent}, which it was made from, is not in this project.", parent=id))
    return found


# the disk ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DiskUsage:
    """Bytes on the disk: each artifact's folder (with what was derived beside it, as the browser's index), each checkpoint, the rest of the
    runs (events, logs, work), the library with its backups, everything else."""

    artifacts: dict[str, int]
    checkpoints: dict[str, int]
    runs: dict[str, int]
    library: int
    other: int

    @property
    def total(self) -> int:
        return sum(self.artifacts.values()) + sum(self.checkpoints.values()) + sum(self.runs.values()) + self.library + self.other

    def of(self, node: Node) -> int:
        """A node's bytes; a run's are its folder's, checkpoints included."""
        if node.kind == RUN:
            return self.runs.get(node.id, 0) + sum(size for id, size in self.checkpoints.items() if id.startswith(f"{node.id}@"))
        return self.checkpoints.get(node.id, 0) if node.kind == CHECKPOINT else self.artifacts.get(node.id, 0)


def disk_usage(project: Project) -> DiskUsage:
    """Walk the project's folder: for a thread."""
    artifacts = {a.id: files.folder_size(a.path) for a in project.artifacts.list()}
    checkpoints, runs = {}, {}
    for run in project.runs.list():
        for step in run.checkpoint_steps():
            checkpoints[f"{run.id}@{step}"] = files.folder_size(layout.checkpoint(run.dir, step))
        runs[run.id] = max(0, files.folder_size(run.dir) - sum(v for k, v in checkpoints.items() if k.startswith(f"{run.id}@")))
    library = files.folder_size(layout.backups(project.dir))
    for path in project.dir.glob(f"{layout.LIBRARY_FILE}*"):
        library += path.lstat().st_size
    known = sum(artifacts.values()) + sum(checkpoints.values()) + sum(runs.values()) + library
    return DiskUsage(artifacts, checkpoints, runs, library, max(0, project.size() - known))


@dataclass(frozen=True)
class FileCheck:
    """One file read and compared with what was written: "same", "changed" or "missing"."""

    name: str
    bytes: int
    state: str


def verify(node: Node, report: Callable[[int, int], None] = lambda done, total: None,
           stop: Callable[[], bool] = lambda: False) -> list[FileCheck]:
    """Read every file of an artifact or a checkpoint and compare its hash. `report(bytes, in all)` a few times a second at most costs; a
    true `stop` ends it with Stopped."""
    total, done, found = sum(int(e["size"]) for e in node.files.values()), 0, []
    assert node.path is not None or not node.files
    for name, entry in node.files.items():
        path = Path(node.path or "") / name
        state, digest = "missing", hashlib.sha256()
        try:
            size = path.stat().st_size
            with open(path, "rb") as file:
                while data := file.read(BLOCK):
                    if stop():
                        raise Stopped(tr("Verifying was stopped."))
                    digest.update(data)
                    done += len(data)
                    report(min(done, total), total)
            state = "same" if digest.hexdigest() == entry["sha256"] and size == int(entry["size"]) else "changed"
        except (FileNotFoundError, NotADirectoryError):
            pass
        found.append(FileCheck(name, int(entry["size"]), state))
    return found


# deleting ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gone:
    """One thing that a deletion removes. `base` is the model that goes and without which it is nothing."""

    id: str
    kind: str
    title: str
    bytes: int
    base: str = ""


@dataclass(frozen=True)
class Deletion:
    """What deleting `wanted` takes along, in the order of removal (children first), and what it leaves. What replaced it stays.

    `used_by` are (run under way, what it uses): while there is one nothing is deleted. `checkpoints` are those of the runs that made or
    used what goes; they stay unless asked for, since chat needs nothing else, but for those that hold an adapter of what goes alone: they
    go, too (`adapters`). `stranded` are runs that could be resumed and then no more.
    `elsewhere` are exported files outside the project: nobody deletes those.
    """

    wanted: str
    goes: tuple[Gone, ...]
    used_by: tuple[tuple[str, str], ...] = ()
    checkpoints: tuple[Gone, ...] = ()
    stranded: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    with_checkpoints: bool = False

    @property
    def bytes(self) -> int:
        return sum(gone.bytes for gone in self.goes)

    @property
    def adapters(self) -> tuple[Gone, ...]:
        return tuple(gone for gone in self.goes if gone.base and gone.id != self.wanted)


def plan_deletion(project: Project, wanted: str, *, with_checkpoints: bool = False, standings: Mapping[str, Standing] | None = None,
                  graph: Lineage | None = None) -> Deletion:
    """What would go with an artifact, a checkpoint (`run@step`) or a run that made nothing. Nothing is deleted."""
    graph = graph or read(project, standings)
    node = graph.get(wanted)
    if node.deleted:
        raise NotFound(tr("{id} was deleted already.", id=wanted))
    ids = [id for id in (*graph.dependents(wanted), wanted) if not graph.nodes[id].deleted]
    if node.kind == RUN:
        ids = [id for root in graph.nodes if graph.nodes[root].run == node.id and graph.nodes[root].kind == CHECKPOINT
               for id in graph.dependents(root) if not graph.nodes[id].deleted] + ids
    named = list(dict.fromkeys(ids))
    goes = [id for id in named if id == wanted or graph.nodes[id].kind not in (CHECKPOINT, RUN)]
    # Checkpoints and unfinished runs below an artifact are resumed from it, but what they hold stands on its own.
    runs = {graph.nodes[id].run for id in named if graph.nodes[id].kind != "tokens"} - {""}
    beside = [n.id for n in graph.nodes.values() if n.kind == CHECKPOINT and n.run in runs and n.id not in goes
              and (node.kind != CHECKPOINT or n.id != wanted) and n.run != (wanted if node.kind == RUN else "")]
    if node.kind == CHECKPOINT:
        beside = []
    if with_checkpoints:
        more = [id for root in beside for id in (*graph.dependents(root), root) if not graph.nodes[id].deleted]
        goes = list(dict.fromkeys([*(id for id in more if graph.nodes[id].kind != RUN), *goes]))
    goes = _with_adapters(graph, goes, node)
    beside = [id for id in beside if id not in goes or with_checkpoints]
    stranded = tuple(n.id for n in graph.nodes.values() if n.kind == RUN and n.id != wanted and n.status in RESUMABLE
                     and set(n.parents) & set(goes))
    rank = {id: at for at, id in enumerate(_children_first(graph.below, graph.nodes))}
    goes.sort(key=lambda id: (graph.nodes[id].kind == RUN, rank[id]))  # a run after what needs its checkpoints
    used = tuple((run, id) for id in sorted(goes, key=lambda id: (id != wanted, rank[id])) for run in graph.used_by(id))
    elsewhere = tuple(str(graph.nodes[id].facts.get("path") or graph.nodes[id].spec.get("out") or "") for id in goes
                      if graph.nodes[id].kind == "export")
    bases = {id: graph.nodes[id].base for id in goes if _goes_with(graph.nodes[id], goes, node)}
    return Deletion(wanted, tuple(_gone(graph.nodes[id], bases.get(id, "")) for id in goes), used,
                    tuple(_gone(graph.nodes[id]) for id in beside), stranded, tuple(filter(None, elsewhere)), with_checkpoints)


def _with_adapters(graph: Lineage, goes: Sequence[str], wanted: Node) -> list[str]:
    """What goes, with all that holds an adapter of it alone, and of that."""
    found = list(goes)
    while more := [n.id for n in graph.nodes.values() if n.id not in found and not n.deleted and _goes_with(n, found, wanted)]:
        found += more
    return found


def _goes_with(node: Node, goes: Sequence[str], wanted: Node) -> bool:
    """Whether it needs weights that go; a run takes its checkpoints along."""
    run = node.base.partition("@")[0] if "@" in node.base else ""
    return bool(node.base) and (node.base in goes or (wanted.kind == RUN and run == wanted.id and node.run != wanted.id))


def _gone(node: Node, base: str = "") -> Gone:
    return Gone(node.id, node.kind, node.title, files.folder_size(node.path) if node.path is not None else node.bytes, base)


def delete(project: Project, plan: Deletion, *, release: Callable[[str], None] = lambda id: None,
           standings: Mapping[str, Standing] | None = None) -> int:
    """Carry out a plan; the bytes that were freed. What the library holds stays. `release(id)` is called before each removal: whoever keeps
    files of it open (the browser's memory-mapped tables) closes them, since Windows removes no open file.

    Raises Locked while a run uses any of it, and InputError when something was made from it since the plan: look again then. A crash midway
    leaves fewer children, never a child without its parent; the same deletion again finishes it.
    """
    graph = read(project, standings)
    if plan.wanted not in graph.nodes or graph.nodes[plan.wanted].deleted:
        raise NotFound(tr("{id} was deleted already.", id=plan.wanted))
    now = plan_deletion(project, plan.wanted, with_checkpoints=plan.with_checkpoints, graph=graph)
    if now.used_by:
        run, id = now.used_by[0]
        raise Locked(tr("Run {run} is under way and uses {id}.", run=run, id=id), tr("Wait for its end, or stop it first."), code="in_use")
    if {g.id for g in now.goes} - {g.id for g in plan.goes}:
        raise InputError(tr("Something was made from it in the meantime."), tr("Look at what goes, and delete again."), code="changed")
    freed = 0
    for gone in now.goes:
        release(gone.id)
        try:
            if gone.kind == CHECKPOINT:
                _delete_checkpoint(project, gone)
            elif gone.kind == RUN:
                project.runs.delete(gone.id)
            else:
                project.artifacts.delete(gone.id)
        except OSError as wrong:
            raise ProjectError(tr("{id} could not be removed: {why}.", id=gone.id, why=wrong.strerror or str(wrong)),
                               tr("Close what reads it (a chat, a browser of documents, another program), check that you may write to the "
                                  "project's folder, and delete again."), code="not_removed") from wrong
        freed += gone.bytes
    return freed


def _delete_checkpoint(project: Project, gone: Gone) -> None:
    """A checkpoint of a run that nobody works on: its folder goes, a tombstone keeps its name for what was made from it, the run's events
    say so."""
    id, _, step = gone.id.partition("@")
    run = project.runs.get(id)
    lock = run.lock()
    if not lock.acquire():
        raise Locked(tr("Run {run} is under way and uses {id}.", run=run.id, id=gone.id), tr("Wait for its end, or stop it first."),
                     code="in_use")
    try:
        files.write_json(layout.artifacts(project.dir) / f".gone-{gone.id}", {"id": gone.id, "title": gone.title, "deleted": time.time()})
        files.remove_tree(layout.checkpoint(run.dir, int(step)))
        path = layout.events_file(run.dir)
        if path.exists():
            writer = EventWriter(path, attempt=max((e.attempt for e in read_events(path)), default=1))
            writer.write(ev.CheckpointRemoved(step=int(step)))
            writer.close()
    finally:
        lock.release()


# comparing -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One setting of two things: its label, its value in each as words, whether they differ. `name` is the setting's own."""

    name: str
    label: str
    left: str
    right: str
    differs: bool


@dataclass(frozen=True)
class Described:
    """What a comparison needs of one side."""

    id: str
    title: str
    stage: str
    spec: dict[str, Any]


def describe(project: Project, id: str) -> Described:
    """An artifact (by its id), a run (by id or number) or a checkpoint (`run@step`); NotFound says what there is."""
    if ARTIFACT_NAME.fullmatch(id):
        a = project.artifacts.get(id)
        spec = a.spec or (_run_spec(project, a.run) if a.run else {})
        return Described(a.id, a.title, a.run.partition("-")[2], spec)
    run = project.runs.get(id.partition("@")[0])
    return Described(id, run.title or run.id, run.stage, run.spec)


def _run_spec(project: Project, id: str) -> dict[str, Any]:
    try:
        return project.runs.get(id).spec
    except NotFound:
        return {}


_ABSENT = object()


def compare(one: Described, other: Described, specs: Specs, everything: bool = False) -> list[Row]:
    """The settings of two things side by side: what differs, or `everything`. A setting that a spec of an earlier version lacks counts with
    its default; one that a stage does not know is a dash."""
    found = []
    left, right = _full(one, specs), _full(other, specs)
    for name in [*left, *(n for n in right if n not in left)]:
        a, b = left.get(name, _ABSENT), right.get(name, _ABSENT)
        if everything or a != b:
            kinds = specs.get(one.stage), specs.get(other.stage)
            kind = next((k for k in kinds if k is not None and name in k.model_fields), None)
            if kind is not None and kind.option_of(name).hidden:  # what no form shows: the text of a recipe, say
                continue
            found.append(Row(name, kind.option_of(name).label if kind else name, value_words(kinds[0] or kind, name, a),
                             value_words(kinds[1] or kind, name, b), a != b))
    return found


def _full(one: Described, specs: Specs) -> dict[str, Any]:
    """The spec as JSON would have it, in the order of the form, with the defaults of settings it does not name."""
    kind = specs.get(one.stage)
    if kind is None:
        return dict(one.spec)
    made: dict[str, Any] = {}
    for name, field_ in kind.model_fields.items():
        if name in one.spec:
            made[name] = one.spec[name]
        elif not field_.is_required():
            made[name] = _plain(field_.get_default(call_default_factory=True))
    return {**made, **{k: v for k, v in one.spec.items() if k not in made}}


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=lambda v: v.model_dump(mode="json")))


def changed_settings(one: Described, specs: Specs) -> list[Row]:
    """The settings that differ from their defaults: `left` the default, `right` the value. References to other artifacts and the name are
    left out: parents and title say those."""
    kind = specs.get(one.stage)
    if kind is None:
        return []
    plain = Described("", "", one.stage, {})
    rows = compare(plain, one, specs)
    return [r for r in rows if r.name != "title" and r.name in kind.model_fields and not kind.option_of(r.name).artifact
            and not kind.option_of(r.name).hidden]


def value_words(kind: type[Spec] | None, name: str, value: Any) -> str:
    """A setting's value for people."""
    if value is _ABSENT:
        return "–"
    if value is None:
        return tr("automatic")
    if isinstance(value, bool):
        return tr("on") if value else tr("off")
    if kind is not None and name in kind.model_fields:
        for choice, words in kind.option_of(name).choices:
            if choice == value:
                return words
    if isinstance(value, int):
        return number(value) if name != "seed" else str(value)
    if isinstance(value, float):
        return f"{value:,.8g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {value_words(None, '', v)}" for k, v in value.items()) or tr("none")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(str(v) for v in value) or tr("none")
    return str(value) or tr("none")


def deletion_words(plan: Deletion) -> str:
    """What goes, counted, as a sentence without the bytes."""
    others = len(plan.goes) - 1
    return (trn("It and {count} thing made from it are deleted.", "It and {count} things made from it are deleted.", others) if others > 0
            else tr("Nothing else depends on it."))


def adapter_words(plan: Deletion) -> str:
    """Which of what goes holds an adapter of the rest alone, as a sentence; "" for none."""
    if not plan.adapters:
        return ""
    return trn("{ids} goes with it: it holds an adapter alone, and is nothing without the model that this changes.",
               "{ids} go with it: they hold adapters alone, and are nothing without the model that these change.", len(plan.adapters),
               ids=_listed([gone.id for gone in plan.adapters]))


def _listed(ids: Sequence[str], most: int = 4) -> str:
    shown = ", ".join(ids[:most])
    return tr("{ids} and {count} more", ids=shown, count=len(ids) - most) if len(ids) > most else shown
