"""The process of a measured fit; the measuring itself is in fit.py.

    python -m engine.stages.pretrain.measure PROJECT_DIR --spec SPEC.json [--device auto]

prints one JSON object: `measured` and `formula` side by side (seconds, tokens_per_second, memory in bytes; measured also by part), `plan`,
and `problems`; or `error` with code, sentence and remedy, and that error's exit code. Killing it at any time leaves nothing behind that
matters.
"""

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from engine.contract.errors import DeviceUnavailable, FledgeError, FormatError
from engine.contract.words import tr
from engine.project import layout
from engine.project.locks import FileLock
from engine.project.project import Project
from engine.stages.pretrain.spec import PretrainSpec


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m engine.stages.pretrain.measure",
                                     description=tr("Measures what a pretraining run will take."))
    parser.add_argument("project", type=Path)
    parser.add_argument("--spec", required=True, help=tr("A JSON file with the settings, or the JSON itself."))
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args(arguments)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    lock: FileLock | None = None
    try:
        text = asked.spec if asked.spec.lstrip().startswith("{") else Path(asked.spec).read_text("utf-8")
        spec = PretrainSpec.check(json.loads(text))
        import torch

        from engine.stages.pretrain import fit
        from engine.training import devices
        from engine.training.allocator import keep_memory
        facts = devices.choose(asked.device)
        lock = FileLock(layout.device_lock(facts.id))
        if not lock.acquire(run="fit"):
            lock = None
            raise DeviceUnavailable(tr("{device} is training right now; a measurement would be wrong and slow it down.",
                                       device=facts.title),
                                    tr("Measure when it is free."), code="device_busy")
        torch.set_num_threads(devices.usable_processors())
        if facts.kind == "cpu":
            keep_memory()
        facts = replace(facts, peak_flops=devices.measure_peak(facts))
        print(json.dumps(fit.measure(Project.open(asked.project), spec, facts)))
        return 0
    except (json.JSONDecodeError, FileNotFoundError) as wrong:
        return _error(FormatError(tr("The settings cannot be read: {reason}", reason=str(wrong)), tr("Give a JSON object of settings.")))
    except FledgeError as wrong:
        return _error(wrong)
    finally:
        if lock:
            lock.release()


def _error(wrong: FledgeError) -> int:
    print(json.dumps({"error": {"code": wrong.code, "sentence": wrong.sentence, "remedy": wrong.remedy, "field": wrong.field}}))
    return wrong.exit_code


if __name__ == "__main__":
    sys.exit(main())
