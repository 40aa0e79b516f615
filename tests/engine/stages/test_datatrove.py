"""A corpus by datatrove: the same documents stay as on one machine, a run that is cut short goes on, clusters get what they need."""

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.contract.errors import InputError, NotFound, Stopped
from engine.stages.corpus import datatrove_pipeline as pipeline
from engine.stages.corpus.datatrove_work import Work
from engine.stages.corpus.spec import CorpusSpec
from engine.text.cleaning import lines
from engine.text.cleaning.clean import CleanCounts, CleanJob, CleanPlan, clean_part
from engine.text.dedup.find import find
from engine.text.dedup.settings import DedupSettings
from engine.text.dedup.signatures import SignJob, sign_part
from engine.text.parts import Parts
from engine.text.read_process import read
from engine.text.readers import ReadOptions, list_files

pytestmark = pytest.mark.skipif(importlib.util.find_spec("datatrove") is None, reason="the extra datatrove is not installed")
ROOT = Path(__file__).parents[3]
STEMS = [f"{a}{b}{c}" for a in ("b", "dr", "k", "fl", "m", "s", "t", "v") for b in "aeiou" for c in ("n", "rk", "st", "l")]
BOILERPLATE = "Home and contact of all these pages"
SBATCH = """#!{python}
import os, re, subprocess, sys
script = open(sys.argv[-1]).read()
last = int(re.search(r"--array=0-(\\d+)", script)[1])
number = 1 + len(open("{log}").readlines()) if os.path.exists("{log}") else 1
name = re.search(r"--job-name=(\\S+)", script)[1]
depends = [a for a in sys.argv if a.startswith("--dependency")] + re.findall(r"--(dependency=\\S+)", script)
open("{log}", "a").write(f"{{number}} {{name}} {{last + 1}} {{' '.join(depends)}}\\n")
for rank in range(last + 1 if "merge_stats" not in script else 0):
    env = dict(os.environ, SLURM_ARRAY_TASK_ID=str(rank), SLURM_NODELIST="here", SLURM_JOB_ID=str(number), RUN_OFFSET="0")
    subprocess.run(["bash", sys.argv[-1]], env=env, check=True, stdout=2)
print("Submitted batch job", number)
"""
"""A stand-in for Slurm's sbatch that does a job at once, rank after rank."""


def prose(rng, words):
    return " ".join(rng.choices(STEMS, k=words)).capitalize() + "."


def edited(rng, text, share):
    return " ".join(rng.choice(STEMS) if rng.random() < share else word for word in text.split())


@pytest.fixture
def sources(tmp_path):
    """Files of different sizes with exact and near duplicates, chains of edits, excerpts and short documents across them."""
    rng = random.Random(1)
    folder = tmp_path / "sources"
    folder.mkdir()
    kept: list[str] = []
    for file, count in (("a.jsonl", 60), ("b.jsonl", 20), ("c.jsonl", 90), ("d.jsonl", 30)):
        rows = []
        for n in range(count):
            kind = n % 6
            if kind == 1 and kept:
                rows.append(rng.choice(kept).upper() + "!!")
            elif kind == 2 and kept:
                rows.append(edited(rng, rng.choice(kept), 0.02))
            elif kind == 3 and kept:
                rows.append(edited(rng, rng.choice(kept), 0.12))
            elif kind == 4 and kept:
                rows.append(" ".join(rng.choice(kept).split()[20:70]))
            elif kind == 5:
                rows.append(prose(rng, 4))
            else:
                rows.append(prose(rng, rng.randint(90, 160)) + "  \n\n\n\n\x07" + prose(rng, 20) + f"\n{BOILERPLATE}")
                kept.append(rows[-1])
        (folder / file).write_text("\n".join(json.dumps({"text": row}) for row in rows))
    (folder / "e.txt").write_text(prose(rng, 300) + "\n\n" + kept[0])
    return folder


def settings(sources, **given):
    return CorpusSpec(sources=(str(sources),), minimum_length=40, identify_languages=False, **given).plain()


def here(tmp_path, sources, plain):
    """The documents and duplicates of an import on this machine."""
    files, _ = list_files([sources])
    work = tmp_path / "here"
    read(files, [ReadOptions()], work / "read", processes=1)
    (work / "clean").mkdir()
    counts, dedup = CleanCounts(), DedupSettings.of(plain)
    parts, boilerplate, shown = Parts(work / "read"), None, []
    if plain["repeated_lines"]:
        (work / "lines").mkdir()
        for path in parts.paths:
            lines.count_lines(lines.LineJob(path, work / "lines" / path.name))
        boilerplate, shown = lines.merge_lines(work / "lines", plain["repeated_lines_documents"])
    for n, path in enumerate(parts.paths):
        job = CleanJob(path, work / "clean" / path.name, CleanPlan.of(plain), boilerplate, parts.first(n))
        counts = counts + clean_part(job)
        sign_part(SignJob(job.target, work / "dup" / path.stem, dedup))
    return rows(work / "clean"), find(work / "dup", dedup), counts, shown


def rows(clean):
    return [row for _, table in Parts(clean).tables() for row in table.to_pylist()]


def write(tmp_path, sources, plain):
    files, skipped = list_files([sources])
    return pipeline.write_pipeline(tmp_path / "pipeline", plain, files, [ReadOptions()], skipped=skipped).parent


def comparable(counts):
    return {key: value for key, value in counts.plain().items() if key != "seconds"}


def module(folder):
    spec = importlib.util.spec_from_file_location("written_pipeline", folder / "pipeline.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize(("keep_rule", "boilerplate"), [("first", False), ("longest", True)])
def test_the_same_documents_stay_as_on_one_machine(tmp_path, sources, keep_rule, boilerplate):
    plain = settings(sources, keep_rule=keep_rule, repeated_lines=boilerplate)
    folder = write(tmp_path, sources, plain)
    seen = []
    pipeline.launch(folder, tasks=3, workers=2 if keep_rule == "first" else 1, report=lambda *standing: seen.append(standing))
    back = pipeline.read_back(folder)
    expected, duplicates, counts, shown = here(tmp_path, sources, plain)
    assert back.boilerplate == shown and [row["line"] for row in shown[:1]] == [BOILERPLATE] * boilerplate
    assert rows(back.clean) == expected and comparable(back.counts) == comparable(counts)
    for name in ("step", "duplicate_of", "similarity", "cluster"):
        assert np.array_equal(getattr(back.duplicates, name), getattr(duplicates, name)), name
    # The planted ones were all of use: something went by every rule, and something stayed.
    assert set(np.unique(duplicates.step)) == {0, 1, 2, 3} and counts.removed["minimum_length"] and back.counts.steps["whitespace"]
    output = [row for path in sorted((folder / "output").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    stays = [row for row, step in zip(expected, duplicates.step, strict=True) if row["step"] is None and not step]
    assert [(row["id"], row["text"], row["source"]) for row in output] == [(row["id"], row["text"], row["source"]) for row in stays]
    assert [row["name"] for row in back.files] == [f"sources/{n}" for n in ("a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl", "e.txt")]
    assert seen[-1] == ("filter", 3, 3) and len(list((folder / "read").iterdir())) == 3


def test_a_pipeline_that_was_cut_short_goes_on(tmp_path, sources):
    plain = settings(sources)
    folder = write(tmp_path, sources, plain)

    def stop(stage, done, total):
        if stage in ("clean", "buckets", "choose"):
            raise Stopped("enough")

    with pytest.raises(Stopped):
        pipeline.launch(folder, tasks=2, workers=1, report=stop)
    assert not running(folder)
    with pytest.raises(InputError, match="not finished"):
        pipeline.read_back(folder)
    with pytest.raises(InputError, match="2 tasks"):
        pipeline.launch(folder, tasks=4, workers=1)
    read_at = (folder / "read" / "00000" / "read.json").stat().st_mtime_ns
    pipeline.launch(folder, workers=1)
    assert (folder / "read" / "00000" / "read.json").stat().st_mtime_ns == read_at
    expected, duplicates, _, _ = here(tmp_path, sources, plain)
    back = pipeline.read_back(folder)
    assert rows(back.clean) == expected and np.array_equal(back.duplicates.step, duplicates.step)
    next(back.clean.glob("part-00001*.arrow")).unlink()
    with pytest.raises(InputError, match="missing"):
        pipeline.read_back(folder)


def test_a_rank_that_is_killed_leaves_no_half_file_where_datatrove_reads(tmp_path, sources, monkeypatch):
    """datatrove takes every file in a folder of signatures for one, whatever it is called."""
    work = Work(write(tmp_path, sources, settings(sources)))
    work.fix_tasks(1)
    work.read(0, 1)
    work.clean(0, 1)
    replace = os.replace

    def killed(source, target):
        if Path(target).suffix == ".sig":
            raise InterruptedError
        replace(source, target)

    monkeypatch.setattr("engine.stages.corpus.datatrove_work.os.replace", killed)
    with pytest.raises(InterruptedError):
        work.sign(0)
    assert not [path for path in (work.folder / "signatures").rglob("*") if path.is_file()]
    monkeypatch.undo()
    assert work.sign(0) and {path.suffix for path in (work.folder / "signatures").rglob("*") if path.is_file()} == {".sig"}


def running(folder):
    """Processes that were started for this folder and still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder) in path.read_bytes().decode("utf-8", "replace"):
                found.append(path)
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_a_pipeline_ends_with_the_process_that_launched_it(tmp_path, sources):
    folder = write(tmp_path, sources, settings(sources))
    code = ("import sys, time; from pathlib import Path; from engine.stages.corpus import datatrove_pipeline as p\n"
            "p.launch(Path(sys.argv[1]), tasks=2, workers=2)")
    launcher = subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=ROOT)
    deadline = time.monotonic() + 60
    while not (folder / "logs").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.wait()
    while running(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (folder / "logs").exists() and not running(folder)


def test_slurm_and_ray_get_a_chain_of_stages(tmp_path, sources):
    """Neither can run here: what would be submitted is built, and datatrove's own check of the chain is done."""
    folder = write(tmp_path, sources, settings(sources, repeated_lines=True))
    written = module(folder)
    Work(folder).fix_tasks(4)
    given = written.arguments(["--executor", "slurm", "--tasks", "4", "--partition", "cpu", "--venv", "/shared/venv", "--choose-gb", "64"])
    chain = written.executors(folder, given)
    assert [e.job_name for e in chain] == [f"fledge-{s}" for s in pipeline.STAGES]
    assert [e.tasks for e in chain] == [4, 4, 1, 4, Work(folder).bands, 1, 4]
    assert all(later.depends is before for before, later in zip(chain, chain[1:], strict=False)) and chain[0].depends is None
    script = chain[5].get_launch_file_contents(chain[5].get_sbatch_args(1), "launch")
    assert "#SBATCH --partition=cpu" in script and "#SBATCH --mem-per-cpu=64G" in script and "/shared/venv/bin/activate" in script
    ray = written.executors(folder, written.arguments(["--executor", "ray", "--tasks", "4"]))
    assert [e.tasks for e in ray] == [e.tasks for e in chain] and type(ray[0]).__name__ == "RayPipelineExecutor"
    with pytest.raises(SystemExit):
        written.arguments(["--executor", "slurm"])


def test_jobs_that_slurm_gets_do_the_work(tmp_path, sources):
    """By a stand-in for the scheduler: what is submitted, in which order, and that each job finds all it needs in its file."""
    plain = settings(sources, near_threshold=0.95)
    folder, programs, log = write(tmp_path, sources, plain), tmp_path / "bin", tmp_path / "submitted.txt"
    programs.mkdir()
    (programs / "sbatch").write_text(SBATCH.format(python=sys.executable, log=log))
    (programs / "srun").write_text('#!/bin/bash\nshift 3\nexec "$@"\n')     # -l -n 1
    (programs / "scontrol").write_text("#!/bin/bash\necho here\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, str(folder / "pipeline.py"), "--executor", "slurm", "--partition", "cpu", "--tasks", "2"]
    done = subprocess.run(command, env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr[:3000]
    # Every other job merges the statistics of the one before it.
    jobs = [line.split() for line in log.read_text().splitlines()][::2]
    assert [job[1:] for job in jobs] == [
        ["fledge-read", "2"], ["fledge-clean", "2", "--dependency=afterok:1"],
        ["fledge-buckets", str(Work(folder).bands), "--dependency=afterok:3"], ["fledge-choose", "1", "--dependency=afterok:5"],
        ["fledge-filter", "2", "--dependency=afterok:7"]]
    expected, duplicates, _, _ = here(tmp_path, sources, plain)
    back = pipeline.read_back(folder)
    assert rows(back.clean) == expected and np.array_equal(back.duplicates.step, duplicates.step)


def test_a_dry_run_starts_nothing(tmp_path, sources):
    folder = write(tmp_path, sources, settings(sources))
    command = [sys.executable, str(folder / "pipeline.py"), "--executor", "slurm", "--partition", "cpu", "--tasks", "2", "--dry-run"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("SlurmPipelineExecutor") == 5 and not (folder / "read").exists()


def test_what_goes_wrong_is_said(tmp_path, sources):
    folder = write(tmp_path, sources, settings(sources))
    assert write(tmp_path, sources, settings(sources)) == folder
    with pytest.raises(InputError, match="other settings"):
        write(tmp_path, sources, settings(sources, near_threshold=0.9))
    with pytest.raises(NotFound):
        pipeline.read_back(tmp_path)
    record = json.loads((folder / "settings.json").read_text())
    record["settings"]["keep_rule"] = "nonsense"
    (folder / "settings.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="pipeline failed") as wrong:
        pipeline.launch(folder, tasks=1, workers=1)
    assert "log.txt" in wrong.value.remedy


def test_ranks_have_neighbouring_files_of_about_the_same_size(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    rng = random.Random(2)
    for n in range(40):
        (folder / f"{n:02d}.txt").write_text("x" * rng.choice((10, 200, 1000, 8000)))
    files, _ = list_files([folder])
    pipeline.write_pipeline(tmp_path / "p", {}, files, [ReadOptions()])
    work = Work(tmp_path / "p")
    for tasks in (1, 3, 7, 40):
        shares = [work.share(rank, tasks) for rank in range(tasks)]
        assert [n for share in shares for n in share] == list(range(40)) and all(len(share) for share in shares)
    assert max(sum(files[n].size for n in work.share(rank, 3)) for rank in range(3)) < 0.5 * sum(file.size for file in files)
