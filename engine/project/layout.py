"""The only file that spells paths: where things lie inside a project, and in the person's own folder. It touches no disk."""

import os
from pathlib import Path

import platformdirs

PROJECT_FILE = "project.json"
LIBRARY_FILE = "library.sqlite"
MANIFEST = "manifest.json"


def project_file(project: Path) -> Path:
    return project / PROJECT_FILE


def library_file(project: Path) -> Path:
    return project / LIBRARY_FILE


def backups(project: Path) -> Path:
    return project / "backups"


def artifacts(project: Path) -> Path:
    return project / "artifacts"


def browse_cache(artifact: Path) -> Path:
    """What the browser of documents derives from a corpus artifact: no part of its manifest, and can be deleted at any time."""
    return artifact / "cache" / "browse"


def runs(project: Path) -> Path:
    return project / "runs"


def making_lock(project: Path) -> Path:
    """Held while a run is made, so that no two get one number."""
    return runs(project) / ".making.lock"


def run(project: Path, id: str) -> Path:
    return runs(project) / id


def spec_file(run_dir: Path) -> Path:
    return run_dir / "spec.json"


def input_file(run_dir: Path, name: str) -> Path:
    """Rows of the library as they were when the run was made."""
    return run_dir / "inputs" / f"{name}.json"


def input_rows(run_dir: Path, name: str) -> Path:
    """Rows of the library that are streamed, a JSON object a line."""
    return run_dir / "inputs" / f"{name}.jsonl"


def rows_file(run_dir: Path) -> Path:
    """Examples or pairs that a run makes, a JSON object a line; they come into the library by engine/project/ingest.py."""
    return run_dir / "rows.jsonl"


def scores_file(run_dir: Path) -> Path:
    """What a reward model gives pairs nobody has labelled: {"id", "first", "second", "uncertainty"} a line. Written aside and renamed, then
    taken into the library by engine/project/ingest.py."""
    return run_dir / "scores.jsonl"


def rollouts(run_dir: Path) -> Path:
    """What a policy wrote to be trained on: a file for each round (engine/project/rollouts.py)."""
    return run_dir / "rollouts"


def reference_file(run_dir: Path) -> Path:
    """What the model that preference tuning starts from says of each answer: log-probabilities, read once."""
    return run_dir / "reference.safetensors"


def work(run_dir: Path) -> Path:
    """Half-done work that a resume of the run can use; removed when it is done."""
    return run_dir / "work"


def events_file(run_dir: Path) -> Path:
    return run_dir / "events.jsonl"


def log_file(run_dir: Path) -> Path:
    return run_dir / "log.txt"


def lock_file(run_dir: Path) -> Path:
    return run_dir / "lock"


def control_file(run_dir: Path) -> Path:
    return run_dir / "control"


def checkpoints(run_dir: Path) -> Path:
    return run_dir / "checkpoints"


def checkpoint(run_dir: Path, step: int) -> Path:
    return checkpoints(run_dir) / f"step-{step:08d}"


def recipes(project: Path) -> Path:
    """A person's own recipes of instruction data (.toml, .py), edited by hand or on the page."""
    return project / "recipes"


def exports(project: Path) -> Path:
    """Where a replayed recipe puts exported files: what another person's paths would be is no matter here."""
    return project / "exports"


def suites(project: Path) -> Path:
    """The project's own suites of questions, a TOML file each."""
    return project / "suites"


def trials(project: Path) -> Path:
    """Completions of a model to problems, for the workbench of verifiers (engine/project/trials.py): can be deleted at any time."""
    return project / "trials"


def verifier_checks(project: Path) -> Path:
    """Which verifiers were checked on which problems, by the hash of their source: can be deleted at any time."""
    return project / "verifier_checks.json"


def demo_file(project: Path) -> Path:
    """What the guided demo was asked for and how long its stages took."""
    return project / "demo.json"


def demo_lock(project: Path) -> Path:
    return project / ".demo.lock"


def demo_text(project: Path) -> Path:
    """The generated world's documents, a JSON object a line."""
    return project / "world" / "world.jsonl"


def demo_report(project: Path, kind: str) -> Path:
    """`kind` is "md" or "json"."""
    return project / f"report.{kind}"


def user_state() -> Path:
    """What belongs to the person and not to a project: device locks, the queue, recent projects, the crash log. FLEDGE_HOME overrides."""
    home = os.environ.get("FLEDGE_HOME")
    return Path(home) if home else Path(platformdirs.user_state_dir("fledge", appauthor=False))


def device_lock(device: str) -> Path:
    return user_state() / "devices" / (device.replace(":", "-") + ".lock")


def device_start(device: str) -> Path:
    """Which worker was started last to take the device."""
    return device_lock(device).with_suffix(".start")


def queue_file() -> Path:
    return user_state() / "queue.json"


def queue_lock() -> Path:
    return user_state() / "queue.lock"


def queue_runner_lock() -> Path:
    return user_state() / "queue-runner.lock"


def recent_file() -> Path:
    return user_state() / "recent.json"


def settings_file() -> Path:
    return user_state() / "settings.json"


def trust_file() -> Path:
    """Hashes of the sources this person trusts (engine/project/trust.py)."""
    return user_state() / "trust.json"


def machine_file() -> Path:
    """Measurements of this machine (matrix-product peak, tokens a second by size), reused by estimates."""
    return user_state() / "machine.json"


def crash_log() -> Path:
    return user_state() / "crash.log"


def server_file(project: Path) -> Path:
    """Address and token of the local server of a project, readable by its owner only; gone when it stops."""
    return project / ".server.json"


def server_lock(project: Path) -> Path:
    """Held by the local server for life: a server file without it is stale."""
    return project / ".server.lock"


def server_log(project: Path) -> Path:
    """What the local server said, when the window started it."""
    return project / ".server.log"
