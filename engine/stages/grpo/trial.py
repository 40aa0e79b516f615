"""Samples a model's answers to problems as GRPO would, before any training: what the workbench holds verifiers against.

    python -m engine.stages.grpo.trial PROJECT_DIR --key KEY [--device auto] [--with-input]
    python -m engine.stages.grpo.trial PROJECT_DIR --given GIVEN.json

What is asked stands in the project (engine/project/trials.prepare) under its key, or comes as JSON ({"settings", "problems"}). Groups are
written as they come; a process that was killed is gone on with where it stood, with the same answers. Progress is a JSON line now and then:

    {"groups", "of", "tokens", "seconds", "rate", "share"}      the last line: {"done": {"key", "path", "groups", "left_out", ..}}

or {"error": {code, sentence, remedy, field}} with that error's exit code. With --with-input the end of its input ends it: it belongs to the
window then. The library is not opened, nothing is scored.
"""

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from engine.contract.errors import DeviceUnavailable, FledgeError, FormatError, InputError, Locked, Mismatch
from engine.contract.machine import DeviceFacts
from engine.contract.rows import Example, Message, Problem
from engine.contract.words import tr
from engine.model.checkpoint import load_model
from engine.model.decoder import Decoder
from engine.project import layout, trials
from engine.project.locks import FileLock
from engine.project.project import Project
from engine.project.trials import Completion, Group, Trial, TrialSettings
from engine.rl import rollouts
from engine.rl.prompts import ANSWER_ROOM
from engine.rl.rollouts import Question
from engine.sampling.sampling import Sampling
from engine.text import templates
from engine.training import devices
from engine.training.allocator import keep_memory
from engine.training.examples import prompt_key
from engine.training.precision import choose_dtype
from engine.training.tuning import Start

ROWS = {"cpu": 64, "cuda": 256, "mps": 128}
"""Answers that are written together and put on the disk together."""
TELL_SECONDS = 0.25
Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Summary:
    """What was sampled: groups there, problems that could not be asked, answers, tokens and seconds of this process alone."""

    groups: int
    left_out: int
    answers: int
    tokens: int
    seconds: float


def sample(project: Project, trial: Trial, facts: DeviceFacts, tell: Tell) -> Summary:
    """All groups that are not there yet. Raises NotFound (the model), Mismatch (no chat template), Locked (another process samples it),
    and what sampling raises."""
    settings, problems = trials.asked(trial)
    lock = FileLock(trial.lock)
    if not lock.acquire(run="trial"):
        raise Locked(tr("Another process samples these answers already."), tr("Wait for it."))
    try:
        if trial.whole.is_file():
            return Summary(len(problems), 0, 0, 0, 0.0)
        start = started(project, settings)
        writer = trials.Writer(trial)
        try:
            made = _sample(start, settings, problems, writer, facts, tell)
            writer.finish()
            return made
        finally:
            writer.close()
    finally:
        lock.release()


def started(project: Project, settings: TrialSettings) -> Start:
    """The model with the template it is asked in. Raises NotFound, FormatError, Mismatch."""
    start = Start.load(project, settings.model)
    if not settings.template and not start.tokenizer.chat_template:
        raise Mismatch(tr("This model has no chat template, so it does not know where an answer begins and ends."),
                       tr("Fine-tune it on conversations first, or choose a chat template."), code="no_template", field="model")
    return start.with_template(templates.choose(start.tokenizer, settings.template).source)


def question(start: Start, settings: TrialSettings, problem: Problem) -> Question | str:
    """A problem in the model's tokens, or why it cannot be asked."""
    messages = problem.prompt
    if settings.system and messages[0].role != "system":
        messages = (Message(role="system", content=settings.system), *messages)
    try:
        ids = tuple(start.tokenizer.encode_chat([message.model_dump() for message in messages]))
    except FledgeError as wrong:
        return wrong.sentence
    longest = start.config.max_seq_len
    if len(ids) > longest - min(ANSWER_ROOM, longest // 2):
        return tr("It leaves no room for an answer.")
    return Question(messages, ids, prompt_key(Example(id="", messages=messages)), problem.answer, problem.facts)


def _sample(start: Start, settings: TrialSettings, problems: Sequence[Problem], writer: trials.Writer, facts: DeviceFacts,
            tell: Tell) -> Summary:
    began, k = time.perf_counter(), settings.k
    asked = [(problem, question(start, settings, problem)) for problem in problems]
    if asked and all(isinstance(one, str) for _, one in asked):
        raise InputError(tr("None of these problems can be asked: {reason}", reason=str(asked[0][1])),
                         tr("Choose other problems, or a model with a longer context."), code="no_prompts")
    left = asked[writer.there:]
    sampling = Sampling(temperature=settings.temperature, top_p=settings.top_p, top_k=settings.top_k,
                        max_new_tokens=settings.max_new_tokens, stop_ids=start.stop_ids)
    model = _model(start, facts) if any(isinstance(one, Question) for _, one in left) else None
    of, tokens, answers, told = len(problems), 0, 0, [0.0]
    there = writer.there

    def progress(written: int, force: bool = False) -> None:
        seconds = time.perf_counter() - began
        if force or seconds - told[0] > TELL_SECONDS:
            told[0] = seconds
            tell({"groups": there, "of": of, "tokens": tokens, "seconds": seconds, "rate": tokens / seconds,
                  "share": min(1.0, (there * k + written) / max(1, of * k))})

    progress(0, force=True)
    size = max(1, ROWS[facts.kind] // k)
    for at in range(0, len(left), size):
        some = left[at:at + size]
        questions = [one for _, one in some if isinstance(one, Question)]
        written = [0]

        def finished(place: int, text: str, written: list[int] = written) -> None:
            written[0] += 1
            progress(written[0])
        seeds = [seed for problem, one in some if isinstance(one, Question)
                 for seed in rollouts.seeds(settings.seed, f"trial/{problem.id}", 0, range(k))]
        made: list[rollouts.Answer] = []
        if questions:
            assert model is not None
            made = rollouts.ask(model, start.tokenizer, questions, sampling, seeds=seeds, generations=k, finished=finished)
        tokens += sum(len(answer.ids) for answer in made)
        answers += len(made)
        groups, rest = [], iter(made)
        for problem, one in some:
            own = [next(rest) for _ in range(k)] if isinstance(one, Question) else []
            groups.append(Group(problem, tuple(Completion(answer.text, answer.finish, len(answer.ids)) for answer in own),
                                one if isinstance(one, str) else ""))
        writer.add(groups)
        there += len(groups)
        progress(0, force=True)
    return Summary(of, sum(isinstance(one, str) for _, one in asked), answers, tokens, time.perf_counter() - began)


def _model(start: Start, facts: DeviceFacts) -> Decoder:
    """As training has it: weights in float32, arithmetic in what is chosen for this device."""
    dtype, _ = choose_dtype("auto", facts, start.config.hidden_size)
    model = load_model(start.ref.folder, facts.id, torch.float32)
    model.compute_dtype = dtype if dtype != torch.float32 else None
    return model


def end_with_input() -> None:
    """Ends this process as soon as whoever started it is gone."""
    def watch() -> None:
        while os.read(0, 4096):     # not through sys.stdin: its lock would be held while this process ends
            pass
        os._exit(1)

    threading.Thread(target=watch, name="input", daemon=True).start()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m engine.stages.grpo.trial", description=tr("Samples a model's answers to problems."))
    parser.add_argument("project", type=Path)
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--key", help=tr("Of what was written down in the project."))
    given.add_argument("--given", help=tr("Settings and problems as JSON, or a file with them."))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--with-input", action="store_true", help=tr("End when the input ends."))
    asked = parser.parse_args(arguments)
    if asked.with_input:
        end_with_input()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    def tell(said: dict[str, Any]) -> None:
        print(json.dumps(said), flush=True)
    try:
        project = Project.open(asked.project)
        trial = Trial(project.dir, asked.key) if asked.key else _prepared(project, asked.given)
        made = with_device(asked.device, lambda facts: sample(project, trial, facts, tell))
        tell({"done": {"key": trial.key, "path": str(trial.whole), "groups": made.groups, "left_out": made.left_out,
                       "answers": made.answers, "tokens": made.tokens, "seconds": made.seconds}})
        return 0
    except FledgeError as wrong:
        tell({"error": {"code": wrong.code, "sentence": wrong.sentence, "remedy": wrong.remedy, "field": wrong.field}})
        return wrong.exit_code


def with_device(device: str, work: Callable[[DeviceFacts], Summary]) -> Summary:
    """With the device to itself. Raises DeviceUnavailable (code "device_busy") where it trains."""
    facts = devices.choose(device)
    lock = FileLock(layout.device_lock(facts.id))
    if not lock.acquire(run="trial"):
        raise DeviceUnavailable(tr("{device} is busy with a run right now.", device=facts.title), tr("Try again when it is free."),
                                code="device_busy")
    try:
        torch.set_num_threads(int(os.environ.get("FLEDGE_THREADS", "0")) or devices.usable_processors())
        if facts.kind == "cpu":
            keep_memory()
        return work(replace(facts, peak_flops=devices.measure_peak(facts)))
    finally:
        lock.release()


def _prepared(project: Project, given: str) -> Trial:
    try:
        said = json.loads(given if given.lstrip().startswith("{") else Path(given).read_text("utf-8"))
        settings, rows = TrialSettings.check(said["settings"]), [Problem.model_validate(row) for row in said["problems"]]
    except (OSError, ValueError, KeyError, TypeError) as wrong:
        raise FormatError(tr("What is to be sampled cannot be read: {reason}", reason=str(wrong)[:300]),
                          tr("Give a JSON object with settings and problems.")) from None
    return trials.prepare(project.dir, settings, rows)


if __name__ == "__main__":
    sys.exit(main())
