"""The graph of a project: what replaces what, what is stale or missing, what a deletion takes along, what differs."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.contract import events as ev
from engine.contract.errors import InputError, Locked, NotFound, ProjectError, Stopped
from engine.pipeline import STAGES
from engine.project import files, layout, lineage, queue
from engine.project.event_log import EventWriter, read_events
from engine.project.lineage import Standing
from engine.project.models import needed_steps
from engine.project.project import Project
from engine.project.runs import Run
from engine.stages.adapt.spec import AdaptSpec
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.evaluate.spec import EvaluateSpec
from engine.stages.import_model.spec import ImportModelSpec
from engine.stages.instruct.spec import InstructSpec
from engine.stages.pretrain.spec import PretrainSpec
from engine.stages.tokenizer.spec import TokenizerSpec

SPECS = {id: stage.spec for id, stage in STAGES.items()}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "p", "Ferry")


def done(run: Run, status: str = "done") -> Run:
    writer = EventWriter(layout.events_file(run.dir), attempt=1)
    writer.write(ev.Started(stage=run.stage, device="cpu", threads=1))
    if status:
        writer.write(ev.Finished(status=status))
    writer.close()
    return run


def corpus(project: Project, title: str = "Gazette", source: str = "/text/gazette", base: str = "") -> str:
    spec = CorpusSpec(sources=(source,), base=base)
    return made(project, "corpus", title, spec, (base,) if base else ())


def tokenizer(project: Project, corpus: str, title: str = "Tokens") -> str:
    return made(project, "tokenizer", title, TokenizerSpec(corpus=corpus), (corpus,))


def model(project: Project, corpus: str, tokenizer: str, title: str = "small", **settings: Any) -> str:
    return made(project, "model", title, PretrainSpec(corpus=corpus, tokenizer=tokenizer, title=title, **settings), (corpus, tokenizer))


def made(project: Project, kind: str, title: str, spec: Any, parents: tuple[str, ...]) -> str:
    run = done(project.runs.create(spec))
    with project.artifacts.create(kind, title=title, parents=parents, run=run.id, spec=json.loads(spec.model_dump_json())) as writer:
        (writer.path / "data.bin").write_bytes(title.encode() * 100)
        return writer.finish().id


def checkpoint(run: Run, step: int) -> str:
    folder = layout.checkpoint(run.dir, step)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"w" * 5000)
    files.write_json(folder / layout.MANIFEST, {"step": step, "created": run.created + step, "files": files.hash_folder(folder)})
    return f"{run.id}@{step}"


# what there is -------------------------------------------------------------------------------------------------------


def test_a_chain_is_a_graph_with_parents_and_children(project: Project) -> None:
    c = corpus(project)
    t = tokenizer(project, c)
    m = model(project, c, t)
    graph = lineage.read(project)
    assert list(graph.nodes) == [c, t, m]
    assert graph.nodes[m].parents == (c, t) and graph.children(c) == (t, m)
    assert graph.descendants(c) == [m, t] and graph.ancestors(m) == [c, t]
    assert graph.nodes[m].stage == "pretrain" and graph.nodes[m].run == "3-pretrain"
    assert not any(n.stale or n.missing or n.replaced_by for n in graph.nodes.values())


def test_checkpoints_and_unfinished_runs_are_nodes_and_failed_ones_without_anything_are_not(project: Project) -> None:
    c = corpus(project)
    t = tokenizer(project, c)
    left = done(project.runs.create(PretrainSpec(corpus=c, tokenizer=t, title="half")), "paused")
    at = checkpoint(left, 200)
    failed = done(project.runs.create(PretrainSpec(corpus=c, tokenizer=t, title="broken")), "failed")
    graph = lineage.read(project)
    assert graph.nodes[at].kind == "checkpoint" and graph.nodes[at].parents == (c, t) and graph.nodes[at].step == 200
    assert graph.nodes[left.id].kind == "run" and graph.nodes[left.id].status == "paused"
    assert failed.id not in graph.nodes


def test_the_models_that_a_setting_names_are_parents_of_its_run(project: Project) -> None:
    from engine.stages.export.spec import ExportSpec
    c = corpus(project)
    m = model(project, c, tokenizer(project, c), title="model-1")
    run = project.runs.create(ExportSpec(model=m, title=m, out="/tmp/x"))
    graph = lineage.read(project, {run.id: Standing("running", 0.5)})
    assert graph.nodes[run.id].parents == (m,) and graph.used_by(m) == [run.id]


# stale ---------------------------------------------------------------------------------------------------------------


def test_a_corpus_made_from_another_by_base_replaces_it_and_makes_what_is_below_stale(project: Project) -> None:
    c = corpus(project)
    t = tokenizer(project, c)
    m = model(project, c, t)
    newer = corpus(project, base=c)
    graph = lineage.read(project)
    assert graph.nodes[c].replaced_by == newer and not graph.nodes[newer].replaced_by
    assert not graph.nodes[newer].stale, "what replaced its own base is current"
    assert [(r.parent, r.by, r.remade, r.through) for r in graph.nodes[t].stale] == [(c, newer, True, "")]
    assert [(r.parent, r.by) for r in graph.nodes[m].stale] == [(c, newer)], "said once, although it comes by two ways"
    assert "was made from" in lineage.reason_words(graph.nodes[m].stale[0], graph)


def test_staleness_is_handed_down_and_says_through_what(project: Project) -> None:
    c, other = corpus(project), corpus(project, "Letters", "/text/letters")
    t = tokenizer(project, c)
    m = model(project, other, t)
    newer = corpus(project)
    graph = lineage.read(project)
    (reason,) = graph.nodes[m].stale
    assert (reason.parent, reason.by, reason.remade, reason.through) == (c, newer, False, t)
    assert f"({t})" in lineage.reason_words(reason, graph)


@pytest.mark.parametrize(("title", "source", "replaces"), [("Gazette", "/text/gazette", True), ("Gazette, strict", "/text/gazette", False),
                                                           ("Gazette", "/text/other", False)])
def test_a_newer_corpus_replaces_an_older_one_only_with_its_name_and_sources(project: Project, title: str, source: str,
                                                                             replaces: bool) -> None:
    c = corpus(project)
    newer = corpus(project, title, source)
    assert lineage.read(project).nodes[c].replaced_by == (newer if replaces else "")


def test_a_tokenizer_on_the_newer_corpus_replaces_the_older_one_but_not_one_of_another_name_or_corpus(project: Project) -> None:
    c, other = corpus(project), corpus(project, "Letters", "/text/letters")
    t, variant, apart = tokenizer(project, c), tokenizer(project, c, "Large"), tokenizer(project, other)
    newer = corpus(project, base=c)
    again = tokenizer(project, newer)
    graph = lineage.read(project)
    assert graph.nodes[t].replaced_by == again
    assert not graph.nodes[variant].replaced_by and not graph.nodes[apart].replaced_by and not graph.nodes[again].stale


def test_things_without_a_name_of_their_own_replace_nothing(project: Project) -> None:
    c = corpus(project)
    t = tokenizer(project, c)
    one, two = (model(project, c, t, title="") for _ in range(2))
    graph = lineage.read(project)
    assert graph.nodes[one].title == one and not graph.nodes[one].replaced_by and not graph.nodes[two].replaced_by


def test_a_deleted_parent_stays_in_the_graph_by_its_tombstone(project: Project) -> None:
    c = corpus(project, "Old letters")
    t = tokenizer(project, c)
    project.artifacts.delete(c)
    graph = lineage.read(project)
    assert graph.nodes[c].deleted and graph.nodes[c].title == "Old letters" and graph.nodes[t].missing == (c,)
    (words,) = lineage.missing_words(graph.nodes[t], graph)
    assert "Old letters" in words and "was deleted on" in words


def test_a_ring_that_somebody_made_by_hand_does_not_hang(project: Project) -> None:
    c = corpus(project)
    manifest = layout.artifacts(project.dir) / c / layout.MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "parents": [c]}))
    graph = lineage.read(Project.open(project.dir))
    assert graph.descendants(c) == [] and [g.id for g in lineage.plan_deletion(Project.open(project.dir), c).goes] == [c]


# deleting ------------------------------------------------------------------------------------------------------------


def test_a_deletion_lists_what_depends_on_it_children_first_and_frees_that(project: Project) -> None:
    c = corpus(project)
    t = tokenizer(project, c)
    m = model(project, c, t)
    kept = corpus(project, "Letters", "/text/letters")
    plan = lineage.plan_deletion(project, c)
    assert [g.id for g in plan.goes] == [m, t, c] and not plan.used_by
    before = lineage.disk_usage(project)
    freed = lineage.delete(project, plan)
    assert [a.id for a in project.artifacts.list()] == [kept]
    assert freed == plan.bytes == sum(before.artifacts[id] for id in (c, t, m))
    assert [r.id for r in project.runs.list()] == ["1-corpus", "2-tokenizer", "3-pretrain", "4-corpus"], "runs and their logs stay"
    assert corpus(project) == "corpus-3", "a number is never given again"


def test_what_replaced_it_stays(project: Project) -> None:
    c = corpus(project)
    t = tokenizer(project, c)
    newer = corpus(project, base=c)
    later = tokenizer(project, newer)
    assert [g.id for g in lineage.plan_deletion(project, c).goes] == [t, c]
    assert [g.id for g in lineage.plan_deletion(project, newer).goes] == [later, newer]


def test_nothing_is_deleted_while_a_run_uses_it(project: Project) -> None:
    c = corpus(project)
    t = tokenizer(project, c)
    run = project.runs.create(PretrainSpec(corpus=c, tokenizer=t))
    plan = lineage.plan_deletion(project, c)
    assert not plan.used_by
    lock = run.lock()
    assert lock.acquire()
    done(run, "")
    try:
        assert lineage.plan_deletion(project, c).used_by == ((run.id, c), (run.id, t))
        with pytest.raises(Locked) as wrong:
            lineage.delete(project, plan)
        assert run.id in wrong.value.sentence and len(project.artifacts.list()) == 2
    finally:
        lock.release()


def test_a_queued_run_counts_as_using_and_shards_count_by_their_parents(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    c = corpus(project)
    t = tokenizer(project, c)
    with project.artifacts.create("tokens", parents=(c, t), run="9-pretrain") as writer:
        shards = writer.finish().id
    run = project.runs.create(PretrainSpec(corpus=c, tokenizer=t))
    monkeypatch.setattr(queue, "ensure_runner", lambda *a: None)
    queue.add(project.dir, run.id)
    assert lineage.plan_deletion(project, shards).used_by == ((run.id, shards),)


def test_a_deletion_that_was_planned_before_something_was_made_is_refused(project: Project) -> None:
    c = corpus(project)
    plan = lineage.plan_deletion(project, c)
    tokenizer(project, c)
    with pytest.raises(InputError) as wrong:
        lineage.delete(project, plan)
    assert wrong.value.code == "changed" and len(project.artifacts.list()) == 2


def test_a_deletion_that_is_cut_short_leaves_no_child_without_its_parent_and_can_be_finished(project: Project) -> None:
    c = corpus(project)
    t = tokenizer(project, c)
    model(project, c, t)
    plan = lineage.plan_deletion(project, c)

    def die(id: str) -> None:
        if id == t:
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        lineage.delete(project, plan, release=die)
    again = Project.open(project.dir)
    graph = lineage.read(again)
    assert [n.id for n in graph.nodes.values() if not n.deleted] == [c, t] and not any(n.missing for n in graph.nodes.values())
    lineage.delete(again, lineage.plan_deletion(again, c))
    assert not Project.open(project.dir).artifacts.list()


def test_files_that_cannot_be_removed_are_said_with_a_remedy(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    c = corpus(project)

    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))
    monkeypatch.setattr(files, "remove_tree", refuse)
    with pytest.raises(ProjectError) as wrong:
        lineage.delete(project, lineage.plan_deletion(project, c))
    assert wrong.value.code == "not_removed" and wrong.value.remedy and project.artifacts.get(c)


def test_checkpoints_stay_unless_asked_for_and_their_run_hears_of_it(project: Project) -> None:
    c = corpus(project)
    t = tokenizer(project, c)
    run = done(project.runs.create(PretrainSpec(corpus=c, tokenizer=t)), "paused")
    at = checkpoint(run, 100)
    plan = lineage.plan_deletion(project, c)
    assert [g.id for g in plan.checkpoints] == [at] and at not in [g.id for g in plan.goes] and plan.stranded == (run.id,)
    whole = lineage.plan_deletion(project, c, with_checkpoints=True)
    assert at in [g.id for g in whole.goes] and whole.bytes > plan.bytes
    lineage.delete(project, whole)
    assert not project.runs.get(run.id).checkpoint_steps()
    assert [e.step for e in read_events(layout.events_file(run.dir)) if isinstance(e, ev.CheckpointRemoved)] == [100]


def test_one_checkpoint_goes_alone(project: Project) -> None:
    c = corpus(project)
    run = done(project.runs.create(PretrainSpec(corpus=c, tokenizer=tokenizer(project, c))), "stopped")
    one, two = checkpoint(run, 100), checkpoint(run, 200)
    plan = lineage.plan_deletion(project, one)
    assert [g.id for g in plan.goes] == [one] and not plan.checkpoints
    lineage.delete(project, plan)
    assert project.runs.get(run.id).checkpoint_steps() == [200] and two in lineage.read(project).nodes


def adapter(run: Run, step: int, base: str) -> str:
    """A checkpoint that holds an adapter of `base` alone."""
    folder = layout.checkpoint(run.dir, step)
    folder.mkdir(parents=True)
    (folder / "adapter.safetensors").write_bytes(b"a" * 500)
    files.write_json(folder / "adapter.json", {"format": 1, "base": base, "base_sha256": "0" * 64, "merged": False})
    files.write_json(folder / layout.MANIFEST, {"step": step, "created": run.created + step, "files": files.hash_folder(folder)})
    return f"{run.id}@{step}"


def tuned(project: Project, base: str, **settings: Any) -> Run:
    spec = AdaptSpec(model=base, corpus="corpus-1", method="lora", **settings)
    return done(project.runs.create(spec), "stopped")


def test_checkpoints_that_hold_an_adapter_alone_go_with_the_model_they_change_and_are_named(project: Project) -> None:
    c = corpus(project)
    m = model(project, c, tokenizer(project, c))
    first = tuned(project, m)
    one = adapter(first, 10, m)
    second = tuned(project, one)
    other = adapter(second, 20, one)
    whole = checkpoint(tuned(project, m), 30)
    graph = lineage.read(project)
    assert graph.nodes[one].base == m and graph.nodes[other].base == one and not graph.nodes[whole].base
    plan = lineage.plan_deletion(project, m)
    assert [g.id for g in plan.goes] == [other, one, m] and [g.base for g in plan.adapters] == [one, m]
    assert lineage.adapter_words(plan).startswith(f"{other}, {one} go with it: they hold adapters alone")
    assert set(plan.stranded) == {first.id, second.id, whole.partition("@")[0]}
    assert [g.id for g in lineage.plan_deletion(project, one).goes] == [other, one]
    assert [g.id for g in lineage.plan_deletion(project, other).goes] == [other] and not lineage.plan_deletion(project, other).adapters
    lineage.delete(project, plan)
    assert not first.checkpoint_steps() and not second.checkpoint_steps()
    assert project.runs.get(whole.partition("@")[0]).checkpoint_steps() == [30]


def test_an_adapter_made_since_the_plan_stops_the_deletion(project: Project) -> None:
    c = corpus(project)
    m = model(project, c, tokenizer(project, c))
    run = tuned(project, m)
    plan = lineage.plan_deletion(project, m)
    adapter(run, 10, m)
    with pytest.raises(InputError, match="Something was made"):
        lineage.delete(project, plan)
    assert project.artifacts.get(m)


def test_a_run_whose_checkpoint_carries_an_adapter_is_not_deleted_without_it(project: Project) -> None:
    c = corpus(project)
    base = done(project.runs.create(PretrainSpec(corpus=c, tokenizer=tokenizer(project, c))), "stopped")
    start = checkpoint(base, 5)
    above = tuned(project, start)
    one = adapter(above, 10, start)
    with pytest.raises(InputError, match=f"needed: {one}"):
        project.runs.delete(base.id)
    assert needed_steps(project.dir, base.id) == {5: one}
    plan = lineage.plan_deletion(project, base.id)
    assert [g.id for g in plan.goes] == [one, base.id]
    lineage.delete(project, plan)
    assert not base.dir.exists() and not above.checkpoint_steps()


def test_a_checkpoint_that_a_waiting_run_starts_from_is_needed_until_that_run_has_a_result(project: Project) -> None:
    c = corpus(project)
    base = done(project.runs.create(PretrainSpec(corpus=c, tokenizer=tokenizer(project, c))), "stopped")
    run = tuned(project, checkpoint(base, 5))
    asked = project.runs.create(EvaluateSpec(models=(checkpoint(base, 6), checkpoint(base, 7))))
    assert needed_steps(project.dir, base.id) == {5: run.id, 6: asked.id, 7: asked.id}
    waiting = lineage.read(project, {run.id: Standing("queued"), base.id: Standing("stopped")})
    assert set(waiting.nodes[run.id].parents) == {c, f"{base.id}@5"} and needed_steps(project.dir, run.id) == {}
    with project.artifacts.create("model", title="x", run=run.id) as writer:
        writer.finish()
    assert needed_steps(project.dir, base.id) == {6: asked.id, 7: asked.id}


def test_names_that_a_stage_made_up_replace_nothing_but_given_ones_do(project: Project) -> None:
    c = corpus(project)
    m = model(project, c, tokenizer(project, c))
    made_up = [made(project, "model", "small, adapted", AdaptSpec(model=m, corpus=c, lora_rank=rank), (m, c)) for rank in (4, 8)]
    given = [made(project, "model", "Doctor", AdaptSpec(model=m, corpus=c, title="Doctor", lora_rank=rank), (m, c)) for rank in (4, 8)]
    graph = lineage.read(project)
    assert not graph.nodes[made_up[0]].replaced_by and graph.nodes[given[0]].replaced_by == given[1]


def test_an_adapter_that_was_brought_in_does_not_replace_the_model_it_changes(project: Project) -> None:
    base = made(project, "model", "Base", ImportModelSpec(folder="/models/base"), ())
    made(project, "model", "Added", ImportModelSpec(folder="/models/adapter", base=base), (base,))
    assert not lineage.read(project).nodes[base].replaced_by


def test_models_of_the_project_that_generate_or_judge_are_in_use_meanwhile(project: Project) -> None:
    c = corpus(project)
    m = model(project, c, tokenizer(project, c))
    run = project.runs.create(InstructSpec(responder=f"project:{m}", corpus=c))
    assert lineage.read(project, {run.id: Standing("running")}).used_by(m) == [run.id]


def test_what_is_unknown_or_gone_is_said(project: Project) -> None:
    c = corpus(project)
    tokenizer(project, c)
    project.artifacts.delete(c)
    for id in ("corpus-9", c):
        with pytest.raises(NotFound):
            lineage.plan_deletion(project, id)


# the disk, hashes ----------------------------------------------------------------------------------------------------


def test_disk_usage_adds_up_to_the_folder(project: Project) -> None:
    c = corpus(project)
    index = layout.browse_cache(project.artifacts.get(c).path)
    index.mkdir(parents=True)
    (index / "table.bin").write_bytes(b"i" * 4000)
    run = done(project.runs.create(PretrainSpec(corpus=c, tokenizer="tokenizer-1")), "paused")
    at = checkpoint(run, 10)
    usage = lineage.disk_usage(project)
    assert usage.total == files.folder_size(project.dir)
    assert usage.artifacts[c] >= 4000 + project.artifacts.get(c).size and usage.checkpoints[at] > 5000
    graph = lineage.read(project)
    assert usage.of(graph.nodes[run.id]) == usage.runs[run.id] + usage.checkpoints[at]


def test_verify_tells_changed_and_missing_files_and_can_be_stopped(project: Project) -> None:
    spec = CorpusSpec(sources=("x",))
    with project.artifacts.create("corpus", spec=json.loads(spec.model_dump_json())) as writer:
        for name in ("a", "b", "c"):
            (writer.path / name).write_bytes(name.encode() * 50)
        made = writer.finish()
    node = lineage.read(project).nodes[made.id]
    told: list[tuple[int, int]] = []
    assert {f.state for f in lineage.verify(node, lambda done, total: told.append((done, total)))} == {"same"}
    assert told[-1] == (150, 150) and len(node.hash) == 64
    (made.path / "b").write_bytes(b"B" * 50)
    (made.path / "c").unlink()
    assert [(f.name, f.state) for f in lineage.verify(node)] == [("a", "same"), ("b", "changed"), ("c", "missing")]
    with pytest.raises(Stopped):
        lineage.verify(node, stop=lambda: True)


# comparing -----------------------------------------------------------------------------------------------------------


def test_settings_that_differ_are_told_in_the_words_of_the_form(project: Project) -> None:
    c = corpus(project)
    t = tokenizer(project, c)
    one = model(project, c, t, "one", depth=2, tie_embeddings=True)
    two = model(project, c, t, "two", depth=6, optimizer="adamw")
    rows = lineage.compare(lineage.describe(project, one), lineage.describe(project, two), SPECS)
    assert {r.label: (r.left, r.right) for r in rows} == {
        "Name": ("one", "two"), "Size": ("2", "6"), "Tied embeddings": ("on", "automatic"), "Optimizer": ("Muon + AdamW", "AdamW")}
    every = lineage.compare(lineage.describe(project, one), lineage.describe(project, "4"), SPECS, everything=True)
    assert len(every) == len(PretrainSpec.model_fields) and sum(r.differs for r in every) == 4


def test_a_setting_that_an_older_spec_lacks_counts_with_its_default(project: Project) -> None:
    plain = json.loads(PretrainSpec(corpus="c", tokenizer="t").model_dump_json())
    older = {k: v for k, v in plain.items() if k != "qk_norm"}
    sides = [lineage.Described("a", "a", "pretrain", spec) for spec in (plain, older)]
    assert lineage.compare(*sides, SPECS) == []


def test_changed_settings_leave_out_names_and_parents(project: Project) -> None:
    c = corpus(project)
    m = model(project, c, tokenizer(project, c), "one", depth=2)
    assert [(r.label, r.left, r.right) for r in lineage.changed_settings(lineage.describe(project, m), SPECS)] == [("Size", "4", "2")]
