"""What the command line shows: runs as progress bars (plain lines where there is no terminal), findings, the guided demo, a chat.

Reads events and results only; decides nothing.
"""

import json
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from engine.contract import events as ev
from engine.contract import units
from engine.contract.words import tr, trn
from engine.project import control, launch, layout
from engine.project.lineage import Deletion, DiskUsage, Lineage, Row, adapter_words, missing_words, reason_words, verify
from engine.project.models import ModelRef
from engine.project.recipe import Outcome, Step
from engine.project.run_doctor import Finding, rules
from engine.project.run_measures import now_words
from engine.project.run_state import RunState
from engine.project.runs import Run
from engine.project.taken_sets import told

PLAIN_SECONDS = 5.0
DOCTOR_SECONDS = 5.0
ANSWERING = ("sft", "dpo", "ppo", "grpo")
"""Stages whose samples are answers to questions, not texts that go on."""
SAMPLE = 160
"""Characters of a line that shows what the model writes."""
CONTROLS = {code: 0xFFFD for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def harmless(text: str) -> str:
    """A model's text for a terminal: control characters, which could move the cursor or worse, become the replacement character."""
    return text.translate(CONTROLS)


def bar(console: Console) -> Progress:
    return Progress(TextColumn("{task.description:<18}"), BarColumn(bar_width=28), TextColumn("{task.fields[words]}"), console=console)


def tell(console: Console, words: str, style: str = "") -> None:
    """Print as it stands: brackets are no markup, and where no terminal reads it, lines are not wrapped."""
    console.print(words, style=style, highlight=False, markup=False, soft_wrap=not console.is_terminal)


class ExportProgress:
    """Called with (documents, in all): a bar on a terminal, nothing elsewhere."""

    def __init__(self, quiet: bool = False) -> None:
        console = Console(stderr=True)
        self._progress = bar(console) if console.is_terminal and not quiet else None
        self._bar: TaskID | None = None

    def __enter__(self) -> Self:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress:
            self._progress.stop()

    def __call__(self, done: int, total: int) -> None:
        if not self._progress:
            return
        words = tr("{done} of {total} documents", done=units.number(done), total=units.number(total))
        if self._bar is None:
            self._bar = self._progress.add_task(tr("Writing"), total=total, words=words)
        self._progress.update(self._bar, completed=done, total=total, words=words)


class RunProgress:
    """Show one run's events. Ctrl-C asks it to save and stop; a second one raises KeyboardInterrupt and leaves it to itself."""

    def __init__(self, run: Run, pid: int, quiet: bool = False) -> None:
        self.run, self.pid, self.quiet = run, pid, quiet
        self.console = Console(stderr=True)
        self.live = not quiet and self.console.is_terminal
        self._progress = bar(self.console)
        self._bar: TaskID | None = None
        self._plain = self._looked = 0.0
        self._findings: list[Finding] = []
        self._told: set[str] = set()
        self._asked = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._interrupted)
        if self.live:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        signal.signal(signal.SIGINT, self._before)
        if self.live:
            self._progress.stop()

    def __call__(self, state: RunState, event: ev.Event) -> None:
        if self.quiet:
            return
        match event:
            case ev.Phase():
                if not self.live:
                    self._say(event.title)
                if self._bar is not None:  # what is over stands still
                    self._progress.update(self._bar, total=1, completed=1)
                self._bar = self._progress.add_task(event.title, total=None, words="") if self.live else None
            case ev.Progress() | ev.Metrics():
                self._advance(state, event)
                self._look(state)
            case ev.Evaluation():
                said = {name: v for name, v in event.values.items() if v is not None and not (name == "val_loss" and
                                                                                              "val_reward" in event.values)}
                values = ", ".join(f"{name} {units.significant(v, 4)}" for name, v in said.items())
                self._say(tr("step {step}: {values}", step=units.number(event.step), values=values))
            case ev.Sample():
                self._say(tr("step {step} writes: {text}", step=units.number(event.step), text=_sample(event, state.stage in ANSWERING)))
            case ev.Notice() if not event.cleared:
                self._say(": ".join(x for x in (event.title, event.text) if x) + (f" {event.remedy}" if event.remedy else ""))
            case ev.Waiting() if not event.over:
                self._say(event.text)

    def conclude(self, result: dict[str, Any], state: RunState) -> None:
        """The last lines: ids, status, where it stands, what to do after a failure."""
        out = Console()
        self._looked = 0.0
        self._look(state)
        if result.get("artifact"):
            tell(out, tr("Run {run} made {artifact}.", run=result["run"], artifact=result["artifact"]))
            if state.stage == "export" and result.get("path"):  # the artifact is a receipt; this is what was asked for
                tell(out, tr("It is in {path}.", path=str(result["path"])))
        else:
            tell(out, tr("Run {run}: {status}.", run=result["run"], status=result["status"]))
        if result.get("funnel"):
            out.print(_funnel(result))
        if state.stage == "evaluate" and result.get("suites"):
            out.print(_evaluation(result))
            for line in _beside(result):
                tell(out, line)
        if state.stage == "instruct" and result.get("artifact"):
            for line in _generated(result, str(self.run.dir.parent.parent)):
                tell(out, line)
        if state.stage == "preference" and result.get("artifact"):
            for line in _paired(result):
                tell(out, line)
        if state.stage == "reward" and result.get("artifact"):
            for line in _scores(result):
                tell(out, line)
        if state.stage in ("sft", "adapt", "dpo", "ppo", "grpo") and result.get("artifact"):
            for line in _tuned(result, state.stage) if state.stage in ("sft", "adapt") else _preferred(result, state.stage):
                tell(out, line)
            tell(out, tr("Try it: fledge chat {project} --checkpoint {model}", project=str(self.run.dir.parent.parent),
                         model=result["artifact"]))
        if result.get("sentence"):
            tell(self.console, result["sentence"], style="red")
            if result.get("remedy"):
                tell(self.console, result["remedy"])
        if result["status"] == "crashed":
            tell(self.console, result["log"])
        if state.checkpoints and any(n.code == "verifier_errors" and n.level == "problem" for n in state.notices):
            step = max(saved.step for saved in state.checkpoints)   # a resume would take the run's own copy, which fails again
            tell(out, tr("With the verifier mended, go on with: fledge run {project} grpo --input {model} --input VERIFIER@VERSION …",
                         project=str(self.run.dir.parent.parent), model=f"{self.run.id}@{step}"))
        elif result["status"] == "crashed" or result["status"] in ("stopped", "paused") and (
                state.checkpoints or layout.work(self.run.dir).exists()):  # a crashed run without a checkpoint begins anew
            tell(out, tr("Continue it with: fledge resume {project} {run}", project=str(self.run.dir.parent.parent), run=self.run.id))

    def _advance(self, state: RunState, event: ev.Progress | ev.Metrics) -> None:
        steps = state.facts.get("steps")
        now, speed = now_words(state), state.metrics.last("tokens_per_second")
        if steps and state.phase == "train" and now:
            done, total, eta = float(state.step), float(steps), state.progress.eta if state.progress else -1.0
            words = tr("{done} / {total} steps", done=units.number(done), total=units.number(total))
            words += f", {now}"
            words += tr(", {speed} tokens/s", speed=units.number(speed)) if speed else ""
            words += tr(", {eta} left", eta=units.duration(eta)) if eta >= 0 else ""
        elif isinstance(event, ev.Progress):
            done, total = event.done, event.total
            words = f"{units.number(done)}" + (f" / {units.number(total)}" if total else "") + f" {event.unit}"
            words += f", {units.number(event.rate)} {event.unit}/s" if event.rate else ""
            words += tr(", {eta} left", eta=units.duration(event.eta)) if event.eta >= 0 else ""
        else:
            return
        if self.live and self._bar is not None:
            self._progress.update(self._bar, completed=done, total=total or None, words=words)
        elif not self.live and time.monotonic() - self._plain >= PLAIN_SECONDS:
            self._plain = time.monotonic()
            self._say(words)

    def _look(self, state: RunState) -> None:
        """What the run doctor finds, each thing once."""
        if time.monotonic() - self._looked < DOCTOR_SECONDS:
            return
        self._looked = time.monotonic()
        self._findings = rules(state, self.run.stage, self.run.spec, self._findings)
        for finding in self._findings:
            if finding.code not in self._told:
                self._told.add(finding.code)
                self._say(finding_line(finding))

    def _say(self, words: str) -> None:
        tell(self._progress.console if self.live else self.console, words)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        if self._asked or not launch.running(self.pid):
            raise KeyboardInterrupt
        self._asked = True
        control.send(self.run.dir, "stop_save")
        self._say(tr("Asked to save and stop. Press Ctrl-C again to return without waiting for that."))


def finding_line(finding: Finding) -> str:
    """A finding of the run doctor, on one line."""
    return f"{finding.title}: {finding.sentence} {finding.remedy}".strip()


def print_findings(findings: Sequence[Any], as_json: bool) -> int:
    """The doctor's findings as a table or as JSON lines; 5 when one of them is a problem."""
    problem = any(f.status == "problem" for f in findings)
    if as_json:
        for found in findings:
            print(json.dumps({k: getattr(found, k) for k in ("id", "status", "title", "value", "meaning", "remedy")}))
        return 5 if problem else 0
    table = Table(box=None, header_style="dim", pad_edge=False, show_header=False)
    signs = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "problem": ("✗", "red")}
    for found in findings:
        sign, tone = signs[found.status]
        table.add_row(f"[{tone}]{sign}[/]", *map(escape, (found.title, found.value, f"{found.meaning} {found.remedy}".strip())))
    Console().print(table)
    return 5 if problem else 0


def talk(ref: ModelRef, prompt: str | None, sampling: dict[str, Any], device: str, as_json: bool) -> None:
    """One prompt, or a conversation line by line, with the model in this process; tokens are printed as they come."""
    from engine.sampling.session import Continuation, open_model
    model = open_model(ref.folder, device)
    if not as_json:
        kind = tr("answers") if ref.chat else tr("continues text; it was not tuned to answer")
        print(tr("{title} {kind}.", title=ref.title, kind=kind), file=sys.stderr)
    turns: list[dict[str, str]] = []
    while True:
        try:
            text = prompt if prompt is not None else input("> ")
        except (EOFError, KeyboardInterrupt):
            return
        made: Continuation = model.stream(text, turns if ref.chat else None, **sampling)
        written = ""
        for piece in made:
            written += piece
            if not as_json:
                print(harmless(piece) if sys.stdout.isatty() else piece, end="", flush=True)
        if as_json:
            print(json.dumps({"checkpoint": ref.id, "prompt": text, "text": written, "tokens": made.tokens, "finish": made.finish}))
        else:
            print()
        if ref.chat:
            turns += [{"role": "user", "content": text}, {"role": "assistant", "content": written}]
        if prompt is not None:
            return


class DemoProgress:
    """The guided demo in the terminal: each stage's run as above, and the report at its end."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def say(self, words: str) -> None:
        """A line between stages."""
        if not self.quiet:
            tell(Console(stderr=True), words)

    def watch(self, run: Run, pid: int) -> RunProgress:
        """What shows one of the demo's runs; enter it, and hand it to `follow`."""
        return RunProgress(run, pid, self.quiet)


def _sample(event: ev.Sample, answers: bool) -> str:
    """A line of what was written. Before an answer stands its question, cut where it would leave no room."""
    prompt, text = (harmless(" ".join(part.split())) for part in (event.prompt, event.text))
    if not answers:
        return harmless(" ".join((event.prompt + event.text).split()))[:SAMPLE]
    if len(prompt) > SAMPLE // 3:
        prompt = prompt[:SAMPLE // 3].rstrip() + "…"
    return f"{prompt} → {text}"[:SAMPLE]


def _tuned(report: dict[str, Any], stage: str) -> list[str]:
    """What a fine-tuning run came to: losses before and after, what was trained on, which weights were kept."""
    lines = []
    if stage == "adapt":
        for name, kind in ((tr("Held-out text of the domain"), "domain"), (tr("Held-out general text"), "general")):
            before, after = report.get(f"{kind}_bpb_before"), report.get(f"{kind}_bpb_after")
            if before is not None and after is not None:
                lines.append(tr("{text}: {before} bits per byte before, {after} after.", text=name, before=units.number(before, 3),
                                after=units.number(after, 3)))
    else:
        trained = trn("Trained on {count} example for {epochs} epochs.", "Trained on {count} examples for {epochs} epochs.",
                      report["examples"], epochs=units.number(report["epochs"], 0 if report["epochs"] == int(report["epochs"]) else 2))
        if report["left_out"]:
            trained += " " + trn("{count} was left out.", "{count} were left out.", report["left_out"])
        lines.append(trained)
        before, after = report.get("val_loss_before"), report.get("val_loss_after")
        if before is not None and after is not None:
            lines.append(trn("Loss on {count} example kept for validation: {before} before, {after} after.",
                             "Loss on {count} examples kept for validation: {before} before, {after} after.", report["held_out"],
                             before=units.number(before, 3), after=units.number(after, 3)))
        else:
            lines.append(tr("None was kept for validation: how well it answers other questions is not known."))
        before, after = report.get("general_bpb_before"), report.get("general_bpb_after")
        if before is not None and after is not None:
            lines.append(tr("{text}: {before} bits per byte before, {after} after.", text=tr("Held-out general text"),
                            before=units.number(before, 3), after=units.number(after, 3)))
    return lines + _kept_weights(report)


def _kept_weights(report: dict[str, Any]) -> list[str]:
    if report.get("weights") != "best" or report.get("step") is None:
        return []
    return [tr("It has the weights of step {step} of {steps}, the best on what was kept for validation.",
               step=units.number(report["step"]), steps=units.number(report["steps"]))]


def _scores(report: dict[str, Any]) -> list[str]:
    """What training a reward model came to: how often it is right on pairs it was not trained on, and how its scores go with length."""
    lines = [trn("Trained on {count} labelled pair.", "Trained on {count} labelled pairs.", report["pairs"])]
    if report["left_out"]:
        lines[0] += " " + trn("{count} was left out.", "{count} were left out.", report["left_out"])
    if report.get("accuracy") is not None:
        lines.append(trn("Of {count} held-out pair, it foretells {share} (95 % interval {low} – {high}).",
                         "Of {count} held-out pairs, it foretells {share} (95 % interval {low} – {high}).", report["accuracy_pairs"],
                         share=units.percent(report["accuracy"], 1), low=units.percent(report["accuracy_low"]),
                         high=units.percent(report["accuracy_high"])))
    else:
        lines.append(tr("No decided pair was held out: how often it is right is not known."))
    return lines + _kept_weights(report)


def _preferred(report: dict[str, Any], stage: str) -> list[str]:
    """What tuning by DPO, PPO or GRPO came to: what it learned from, before and after, how far it moved."""
    if stage == "grpo":
        return _solved(report)
    if stage == "ppo":
        before, after = report.get("val_reward_before"), report.get("val_reward_after")
        lines = [trn("{count} round of {answers} answers.", "{count} rounds of {answers} answers each.", report["rounds"],
                     answers=units.number(report["answers"]))]
        if before is not None and after is not None:
            lines.append(trn("Reward on {count} held-out prompt: {before} before, {after} after.",
                             "Reward on {count} held-out prompts: {before} before, {after} after.", report["held_out"],
                             before=units.significant(before, 3), after=units.significant(after, 3)))
    else:
        lines = [trn("Trained on {count} labelled pair.", "Trained on {count} labelled pairs.", report["pairs"])]
        if report["left_out"]:
            lines[0] += " " + trn("{count} was left out.", "{count} were left out.", report["left_out"])
        if report.get("accuracy_after") is not None:
            lines.append(trn("Of {count} held-out pair, {share} is told right.", "Of {count} held-out pairs, {share} are told right.",
                             report["held_out"], share=units.percent(report["accuracy_after"], 1)))
    if report.get("kl") is not None:
        lines.append(tr("It moved {kl} nats an answer from the model it started from.", kl=units.significant(report["kl"], 3)))
    return lines + _kept_weights(report)


def _solved(report: dict[str, Any]) -> list[str]:
    """What GRPO came to: the share of held-out problems it solves, one sampled answer to each."""
    lines = [trn("{count} round of {answers} answers.", "{count} rounds of {answers} answers each.", report["rounds"],
                 answers=units.number(report["answers"]))]
    if report["left_out"]:
        lines[0] += " " + trn("{count} problem was left out.", "{count} problems were left out.", report["left_out"])
    before, after = report.get("pass_at_1_before"), report.get("pass_at_1_after")
    if before is not None and after is not None:
        lines.append(trn("Of {count} held-out problem, {after} are solved in one sampled answer, {before} before.",
                         "Of {count} held-out problems, {after} are solved in one sampled answer, {before} before.", report["held_out"],
                         before=units.percent(before, 1), after=units.percent(after, 1)))
    else:
        lines.append(tr("No problem was held out: how many it solves is not known."))
    return lines + _kept_weights(report)


def _funnel(report: dict[str, Any]) -> Table:
    """What a corpus run read, removed and kept, a step a line."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column(tr("Step"))
    for name in (tr("Removed"), tr("Documents left")):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in report["funnel"]:
        note = row["note"]
        if row["step"] == "kept":
            note = tr("{size}, about {tokens} tokens", size=units.size(report["bytes"]), tokens=units.count(report["tokens_estimate"]))
        table.add_row(row["title"], f"−{units.number(row['removed'])}" if row["removed"] else "", units.number(row["left"]), note)
    return table


def _evaluation(report: dict[str, Any]) -> Table:
    """What an evaluation measured: a suite, a model and a form a line, with its interval; then the win rates."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in (tr("Suite"), tr("Model"), tr("Asked")):
        table.add_column(name)
    for name in (tr("Result"), tr("95 % interval"), tr("Questions")):
        table.add_column(name, justify="right", no_wrap=True)
    suites = {suite["id"]: suite for suite in report["suites"]}
    forms = {"chat": tr("as a chat"), "plain": tr("plainly"), "few_shot": tr("after solved questions")}
    for row in report["results"]:
        suite = suites[row["suite"]]
        if suite["kind"] in ("text_loss", "example_loss"):
            unit = tr("bits a byte") if suite["kind"] == "text_loss" else tr("nats a token")
            table.add_row(suite["title"], row["model"], "", f"{units.number(row['value'], 3)} {unit}", "", "")
            continue
        table.add_row(suite["title"], row["model"], forms.get(row["form"], row["form"]), units.percent(row["value"], 1),
                      f"{units.percent(row['low'])} – {units.percent(row['high'])}", units.number(row["n"]))
    for rate in report["win_rates"]:
        if not rate["n"]:  # nothing was judged: no share of anything
            table.add_row(suites[rate["suite"]]["title"], rate["second"], tr("against {model}", model=rate["first"]), "–", "", "0")
            continue
        table.add_row(suites[rate["suite"]]["title"], rate["second"], tr("against {model}", model=rate["first"]),
                      units.percent(rate["value"], 1), f"{units.percent(rate['low'])} – {units.percent(rate['high'])}",
                      units.number(rate["n"]))
    return table


def _beside(report: dict[str, Any]) -> list[str]:
    """What an evaluation's table does not say: verdicts that could not be read, pairs that wait for a person."""
    lines = []
    for rate in report["win_rates"]:
        if count := rate["judge"]["unreadable"]:
            lines.append(trn("{count} verdict of {judge} could not be read, and does not count. A larger model judges more reliably.",
                             "{count} verdicts of {judge} could not be read, and do not count. A larger model judges more reliably.", count,
                             judge=rate["judged_by"]))
    blind = sum(suite["questions"] for suite in report["suites"] if suite["kind"] == "blind") * (len(report["models"]) - 1)
    if blind:
        lines.append(trn("{count} pair of answers waits to be compared, in the window under Evaluate.",
                         "{count} pairs of answers wait to be compared, in the window under Evaluate.", blind))
    return lines


def _generated(report: dict[str, Any], project: str) -> list[str]:
    """What a run of generation came to: how many examples, what was set aside and why, where they are."""
    from engine.generators.flags import flag
    lines = [trn("{count} example passed the checks.", "{count} examples passed the checks.", report["kept"])]
    if aside := report["set_aside"]:
        reasons = ", ".join(f"{flag(id).title} ({units.number(count)})" for id, count in sorted(aside.items(), key=lambda x: -x[1]))
        lines.append(trn("{count} was set aside: {reasons}.", "{count} were set aside: {reasons}.", sum(aside.values()), reasons=reasons))
    if report.get("set"):
        lines.append(tr("They are in {set} of the library: fledge examples {project} export {set}", set=report["set"], project=project))
    return lines


def _paired(report: dict[str, Any]) -> list[str]:
    """What making pairs came to: how many, what was left out, where they wait to be compared."""
    left = sum(report["left_out"].values()) + sum(report["failed"].values())
    lines = [trn("{count} pair was made.", "{count} pairs were made.", report["pairs"])]
    if left:
        lines[0] += " " + trn("{count} prompt was left out.", "{count} prompts were left out.", left)
    if report.get("set"):
        lines.append(tr("They wait in {set} of the library, in the window under Preferences.", set=report["set"]))
    return lines


def print_lineage(graph: Lineage, usage: DiskUsage, as_json: bool) -> None:
    """Every node with its parents, what is wrong with it, and its bytes on the disk; the sum last."""
    for node in graph.nodes.values():
        stale = [reason_words(reason, graph) for reason in node.stale]
        missing = missing_words(node, graph)
        if as_json:
            print(json.dumps({"id": node.id, "kind": node.kind, "title": node.title, "created": node.created, "status": node.status,
                              "parents": list(node.parents), "children": list(graph.children(node.id)), "run": node.run or None,
                              "stage": node.stage or None, "bytes": usage.of(node), "hash": node.hash or None, "files": node.files,
                              "replaced_by": node.replaced_by or None, "stale": stale, "missing": missing,
                              "sets": told(node.sets, node.stage) or list(node.facts.get("sets") or ()), "base": node.base or None,
                              "used_by": graph.used_by(node.id)}))
    if as_json:
        print(json.dumps({"bytes": usage.total, "library": usage.library, "other": usage.other, "runs": usage.runs}))
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in (tr("Id"), tr("Name"), tr("Made from"), tr("On disk"), tr("State")):
        table.add_column(name, justify="right" if name == tr("On disk") else "left")
    for node in graph.nodes.values():
        state = (tr("stale") if node.stale else tr("replaced by {id}", id=node.replaced_by) if node.replaced_by else
                 tr("a parent is missing") if node.missing else node.status)
        disk = "" if node.deleted else units.size(usage.of(node))
        sets = [str(one.get("title") or one.get("id")) for one in told(node.sets, node.stage) or node.facts.get("sets") or ()]
        made_from = ", ".join((*node.parents, *(tr("“{set}”", set=name) for name in sets)))
        table.add_row(*map(escape, (node.id, node.title, made_from, disk, state)))
    out = Console()
    out.print(table if graph.nodes else tr("Nothing was made yet."))
    for node in graph.nodes.values():
        for words in (*(reason_words(reason, graph) for reason in node.stale), *missing_words(node, graph)):
            tell(out, f"{node.id}: {words}", style="yellow")
    tell(out, tr("{size} on disk in all.", size=units.size(usage.total)))


def print_comparison(ids: Sequence[str], rows: Sequence[Row], as_json: bool) -> None:
    """What the settings of two things differ in."""
    if as_json:
        for each in rows:
            print(json.dumps({"setting": each.name, "label": each.label, "left": each.left, "right": each.right}))
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in (tr("Setting"), *ids):
        table.add_column(escape(name))
    for each in rows:
        table.add_row(*map(escape, (each.label, each.left, each.right)))
    Console().print(table if rows else tr("They have the same settings."))


def print_verified(graph: Lineage, id: str, as_json: bool) -> int:
    """Read the files of one node, or of all, and say which are what was written; 3 when one is not."""
    chosen = [n for n in graph.nodes.values() if n.files] if id == "all" else [graph.get(id)]
    broken = 0
    for node in chosen:
        wrong = [check for check in verify(node) if check.state != "same"]
        broken += bool(wrong)
        if as_json:
            print(json.dumps({"id": node.id, "files": len(node.files), "same": not wrong, "wrong": {c.name: c.state for c in wrong}}))
        elif wrong:
            tell(Console(), tr("{id}: {files} are not what was written.", id=node.id, files=", ".join(c.name for c in wrong)), style="red")
        else:
            tell(Console(), trn("{id}: {count} file is what was written.", "{id}: all {count} files are what was written.", len(node.files),
                                id=node.id))
    return 3 if broken else 0


def print_deletion(plan: Deletion, as_json: bool) -> None:
    """What would go, children first, what it frees, what is in the way."""
    if as_json:
        print(json.dumps({"deletes": [gone.id for gone in plan.goes], "bytes": plan.bytes,
                          "adapters": {gone.id: gone.base for gone in plan.adapters}, "used_by": [list(pair) for pair in plan.used_by],
                          "checkpoints": [gone.id for gone in plan.checkpoints], "stranded": list(plan.stranded)}))
        return
    out = Console(stderr=True)
    for gone in plan.goes:
        tell(out, f"{gone.id:<20}{units.size(gone.bytes):>10}  {gone.title}")
    tell(out, tr("{size} in all.", size=units.size(plan.bytes)))
    if plan.adapters:
        tell(out, adapter_words(plan))
    for run, id in plan.used_by:
        tell(out, tr("Run {run} is under way and uses {id}: nothing can be deleted now.", run=run, id=id), style="yellow")
    for run in plan.stranded:
        tell(out, tr("Run {run} cannot be resumed then.", run=run), style="yellow")
    if plan.checkpoints and not plan.with_checkpoints:
        tell(out, tr("Checkpoints of its runs stay ({size}); --checkpoints deletes them too.",
                     size=units.size(sum(gone.bytes for gone in plan.checkpoints))))
    for path in plan.elsewhere:
        tell(out, tr("The exported files in {path} stay.", path=path))


def print_step(step: Step, what: str) -> None:
    """How a replay goes about a step."""
    words = {"there": tr("{step}: is there already.", step=step.name), "resumed": tr("{step}: goes on where it was.", step=step.name),
             "started": tr("{step}: starts.", step=step.name), "followed": tr("{step}: is under way.", step=step.name)}
    tell(Console(stderr=True), words[what], style="bold")


def print_replay(outcome: Outcome, as_json: bool) -> None:
    """Which results equal the recorded ones, and why others may not."""
    rows = [(done, result) for done in outcome.steps for result in done.results]
    if as_json:
        for done in outcome.steps:
            print(json.dumps({"step": done.step.name, "run": done.run, "skipped": done.skipped, "results": [
                {"kind": r.kind, "artifact": r.artifact, "same": r.same, "different": list(r.different)} for r in done.results]}))
        print(json.dumps({"steps": len(outcome.steps), "same": outcome.same, "different": outcome.different, "changed": outcome.changed,
                          "notes": outcome.notes, "artifact": rows[-1][1].artifact if rows else None}))
        return
    out = Console()
    for done, result in rows:
        words = (tr("{step}: {artifact} equals the recorded one.", step=done.step.name, artifact=result.artifact) if result.same else
                 tr("{step}: {artifact} is there; no hashes were recorded.", step=done.step.name, artifact=result.artifact)
                 if result.same is None else tr("{step}: {artifact} differs in {files}.", step=done.step.name, artifact=result.artifact,
                                                files=", ".join(result.different)))
        tell(out, words, style="green" if result.same else "" if result.same is None else "yellow")
    for note in outcome.notes:
        tell(out, note)
