"""Measures models by suites: asks, grades, compares, keeps every answer. The `evaluation` artifact holds report.json (figures, examples)
and rows.jsonl (every answer, a JSON object a line); comparisons.jsonl where people are to judge.

What was answered before a stop or a kill is not asked again. It trains nothing and writes nothing into the library.
"""

import orjson

from engine.contract.context import RunContext
from engine.contract.errors import SettingError
from engine.contract.events import ArtifactMade, Facts, Phase, Phases
from engine.contract.words import tr
from engine.evaluation.journal import Journal
from engine.project import files, layout
from engine.project.project import Project
from engine.stages.evaluate.job import Job
from engine.stages.evaluate.spec import EvaluateSpec


def run(spec: EvaluateSpec, context: RunContext) -> None:
    """Prepare, measure each model by each suite, compare, keep."""
    for problem in spec.problems():
        raise SettingError(problem.sentence, problem.remedy, field=problem.field)
    project = Project.open(context.project_dir)
    if before := project.artifacts.made_by(context.run_id, "evaluation"):  # killed right after it had finished
        context.emit(Facts(facts=before.facts))
        context.emit(ArtifactMade(id=before.id, kind="evaluation"))
        return
    job = Job(spec, context, project)
    context.emit(Facts(facts=job.asked_for()))
    judging = any(suite.kind == "win_rate" for suite in job.suites)
    context.emit(Phases(phases=[*([f"model-{i}", ref.title] for i, ref in enumerate(job.refs)),
                                *([["judge", tr("Judging")]] if judging else []), ["save", tr("Saving")]]))
    with Journal(layout.work(context.run_dir) / f"rows-{job.mark}.jsonl") as job.journal:
        for number, ref in enumerate(job.refs):
            context.emit(Phase(id=f"model-{number}", title=ref.title))
            job.measure(ref)
        if judging:
            context.emit(Phase(id="judge", title=tr("Judging")))
            job.judge()
    context.emit(Phase(id="save", title=tr("Saving")))
    made = job.report()
    with project.artifacts.create("evaluation", title=spec.title or job.title(), parents=job.parents(), run=context.run_id,
                                  spec=spec.model_dump(mode="json")) as writer:
        files.write_json(writer.path / "report.json", {**made, "examples": job.examples()})
        files.write_bytes(writer.path / "rows.jsonl", b"".join(orjson.dumps(row) + b"\n" for row in job.rows()))
        if laid_out := job.comparisons():
            files.write_bytes(writer.path / "comparisons.jsonl", b"".join(orjson.dumps(one.plain()) + b"\n" for one in laid_out))
        artifact = writer.finish(**made)
    files.remove_tree(layout.work(context.run_dir))
    context.emit(Facts(facts=made))
    context.emit(ArtifactMade(id=artifact.id, kind="evaluation"))
