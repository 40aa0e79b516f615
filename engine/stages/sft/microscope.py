"""The loss-mask microscope: what a fine-tuning run would train on, token by token, before it is started. Nothing is trained, no weights
are read, nothing is written.

    python -m engine.stages.sft.microscope PROJECT_DIR [--batches 2] < SPEC.json

prints one JSON object (see `inspect`), or `error` with code, sentence and remedy, and that error's exit code.

Of many examples an even sample is looked at (`sampled` says so); roles are counted over all. The batches come from the ExampleRows that
the run will use: of a set that is looked at whole they are the run's own first batches.
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from engine.contract.errors import FledgeError, FormatError, InputError
from engine.contract.rows import Example
from engine.contract.units import percent
from engine.contract.words import tr, trn
from engine.model.checkpoint import load_config
from engine.project.library import Library
from engine.project.models import parents_of, resolve
from engine.project.project import Project
from engine.stages.sft import plan
from engine.stages.sft.spec import SftSpec
from engine.text import chat_mask, templates
from engine.text.shards import TokenShards, TokenSplit
from engine.text.tokenizer import Tokenizer
from engine.training import tokens
from engine.training.examples import EncodedExamples, ExampleRows, encode_examples

MOST = 2_000
"""Examples that are looked at closely; at most twice as many."""
SHOWN_TOKENS = 20_000
"""Tokens of a batch that are listed; the rest of its rows are only counted."""
CUT_SHARE, UNENDED_SHARE, NOTHING_SHARE = 0.05, 0.05, 0.5
"""From these shares of the examples on, answers without their end or without an end token, or with nothing to learn, stop the run."""
LITTLE_TRAINED = 0.02
ROLES = ("system", "user", "assistant", "tool")
PROBE = "featherweight"

State = Literal["trained", "masked", "truncated", "pad"]


@dataclass(frozen=True)
class Fault:
    """`level` "block" (the run should not be started) or "warn". `share` of the examples it concerns (0 to 1); `examples`: ids of some of
    them; `field`: the setting it belongs to."""

    level: Literal["block", "warn"]
    code: str
    sentence: str
    remedy: str
    share: float = 0.0
    field: str = ""
    examples: tuple[str, ...] = ()


def inspect(project_dir: Path | str, spec: dict[str, Any], batches: int = 2, tokens_listed: int = SHOWN_TOKENS) -> dict[str, Any]:
    """What the window shows, as plain values:

    problems   each with level, code, sentence, remedy, share, field, examples
    batches    [{step, rows: [{pieces: [{text, state, example}], tokens}], examples, tokens, trained, padding, more_rows}]; a piece's
               `example` is a place in `examples` (-1: replayed text, or padding, which also has a `count`); `step` -1: nothing can be
               trained on, and these are the first examples as they are
    examples   [{id, tokens, trained, refusal}] of the pieces; `refusal`: why the template cannot write it
    rendered   one example as text, `rendered_example` its id
    template   {source, origin, name, sentence}
    counts     examples, looked_at, usable, train, held_out, too_long, cut, cut_answers, nothing_trained, refused, left_out, tokens,
               trained_tokens, share_trained, longest, max_seq_len, batch_size, steps; of a sample those of the sample
    roles      how many messages of each role, over all examples
    sampled    whether only some were looked at; `note` says it in words

    Raises SettingError, NotFound and what opening a project raises; whatever is wrong with examples or template is among the problems.
    """
    settings = SftSpec.check(spec)
    project = Project.open(project_dir)
    ref = resolve(project, settings.model)
    tokenizer = Tokenizer.load(ref.folder)
    longest = plan.longest(settings, load_config(ref.folder))
    with closing(Library(project.dir)) as library:
        sample = Sample(library.examples.for_training(settings.examples, settings.only_accepted))
    try:
        template = templates.choose(tokenizer, settings.template)
    except FledgeError as wrong:
        return _nothing_shown(sample, longest, Fault("block", wrong.code, wrong.sentence, wrong.remedy, 1.0, "template"))
    encoded = encode_examples(tokenizer, sample.kept, template=template.source, loss_on=settings.loss_on, system=settings.system,
                              max_seq_len=longest, too_long=settings.too_long)
    problems = find_problems(tokenizer, template.source, settings, sample, encoded, longest)
    train, held = encoded.split(settings.validation_percent)
    all_trained = round(len(train) * sample.count / max(1, len(sample.kept)))
    batch = plan.batch_size(settings, all_trained) if len(train) else 0
    shown = Shown(tokenizer, template.source, settings, sample, longest, tokens_listed)
    made: list[dict[str, Any]] = []
    note = [sample.note] if sample.note else []
    steps = 0
    if len(train):
        replay = _replay(project, settings, ref, tokenizer)
        if settings.replay and replay is None:
            note.append(tr("Replayed text is not shown: it is cut into tokens when the run starts."))
        rows = ExampleRows(train, max_seq_len=longest, batch_size=min(batch, len(train)), seed=settings.seed, pad=tokenizer.pad_id or 0,
                           packing=settings.packing, replay=replay, replay_documents=plan.replayed(settings, batch) if replay else 0,
                           begin=tokenizer.bos_id)
        steps = max(1, round(rows.steps(settings.epochs) * (all_trained / len(train)) * (min(batch, len(train)) / batch)))
        made = [shown.batch(rows, step) for step in range(min(batches, rows.steps(settings.epochs)))]
    elif sample.kept:
        made = [shown.unusable()]
    text, of = shown.rendered(encoded)
    left = encoded.left_out
    lengths = encoded.lengths()
    counts = {"examples": sample.count, "looked_at": len(sample.kept), "usable": len(encoded), "train": len(train), "held_out": len(held),
              "too_long": left.too_long, "cut": left.cut, "cut_answers": left.cut_answers, "nothing_trained": left.nothing_trained,
              "refused": left.refused, "left_out": left.total, "tokens": encoded.tokens, "trained_tokens": encoded.trained_tokens,
              "share_trained": encoded.trained_tokens / max(1, encoded.tokens), "longest": int(lengths.max()) if len(lengths) else 0,
              "max_seq_len": longest, "batch_size": batch, "steps": steps}
    return {"problems": [asdict(p) for p in problems], "batches": made, "examples": shown.examples, "rendered": text,
            "rendered_example": of, "template": asdict(template) | {"sentence": template.sentence}, "counts": counts,
            "roles": dict(sample.roles), "sampled": sample.sampled, "note": " ".join(note)}


class Sample:
    """Examples kept evenly from a stream of unknown length, in their order; all of them up to MOST. `roles` are counted over all."""

    def __init__(self, examples: Iterable[Example], most: int = MOST) -> None:
        self.kept: list[Example] = []
        self.count, self.every = 0, 1
        self.roles: Counter[str] = Counter()
        self.of_role: dict[str, Example] = {}
        self.with_role: Counter[str] = Counter()
        for example in examples:
            for role in {m.role for m in example.messages}:
                self.of_role.setdefault(role, example)
                self.with_role[role] += 1
            self.roles.update(m.role for m in example.messages)
            if self.count % self.every == 0:
                self.kept.append(example)
                if len(self.kept) > 2 * most:
                    self.kept, self.every = self.kept[::2], self.every * 2
            self.count += 1

    @property
    def sampled(self) -> bool:
        return len(self.kept) < self.count

    @property
    def note(self) -> str:
        return tr("{looked} of {count} examples were looked at, evenly spread.", looked=f"{len(self.kept):,}",
                  count=f"{self.count:,}") if self.sampled else ""

    def ids(self, places: Iterable[int]) -> tuple[str, ...]:
        return tuple(self.kept[n].id for n in places)


# ------------------------------------------------------------------------------------------------------------------ problems


def find_problems(tokenizer: Tokenizer, template: str, spec: SftSpec, sample: Sample, encoded: EncodedExamples,
                  longest: int) -> list[Fault]:
    """What is wrong with examples, template and settings together, what stops a run first."""
    if not sample.count:
        return [Fault("block", "no_examples", tr("There are no examples to train on."),
                        tr("Choose a set that has some, or take those too that nobody has accepted yet.") if spec.only_accepted else
                        tr("Choose a set that has some; rejected examples are left out."), 1.0, "examples")]
    found = [*_roles(tokenizer, template, sample), *_lengths(spec, sample, encoded, longest),
             *_ends(tokenizer, template, spec, sample, encoded), *_trained(spec, sample, encoded)]
    if not any(problem.code == "unknown_role" for problem in found):
        found += _refused(sample, encoded)
    if not len(encoded) and not any(problem.level == "block" for problem in found):
        found.append(Fault("block", "nothing_left", tr("No example is left to train on."),
                             tr("Look at the reasons why they are left out."), 1.0, "examples"))
    return sorted(found, key=lambda problem: problem.level != "block")


def _unknown_roles(template: str, sample: Sample) -> list[str]:
    """Roles of the examples that neither Fledge knows nor the template names."""
    return [role for role in sample.roles if role not in ROLES and not re.search(rf"""(['"]){re.escape(role)}\1""", template)]


def _roles(tokenizer: Tokenizer, template: str, sample: Sample) -> Iterator[Fault]:
    unknown = _unknown_roles(template, sample)
    if unknown:
        names = ", ".join(f"“{role}”" for role in unknown[:5])
        yield Fault("block", "unknown_role", trn("The chat template knows no role called {names}.", "The chat template knows no roles "
                                                   "called {names}.", len(unknown), names=names),
                      tr("Rename them in the examples: the person is “user”, the model “assistant”."),
                      max(sample.with_role[role] for role in unknown) / sample.count, "examples",
                      tuple(dict.fromkeys(sample.of_role[role].id for role in unknown)))
    for role in (r for r in sample.roles if r in ROLES and r not in ("user", "assistant")):
        way = _probe(tokenizer, template, role)
        if way == "fine":
            continue
        share = sample.with_role[role] / sample.count
        if way == "refused":
            yield Fault("block", "unknown_role", tr("The chat template refuses the role “{role}”.", role=role),
                          tr("Take those messages out of the examples, or choose another template."), share, "template",
                          (sample.of_role[role].id,))
        else:
            yield Fault("warn", "role_dropped", tr("The chat template leaves out what the role “{role}” says.", role=role),
                          tr("Choose another template if the model should read it."), share, "template", (sample.of_role[role].id,))


def _probe(tokenizer: Tokenizer, template: str, role: str) -> Literal["fine", "refused", "dropped"]:
    """What a template does with a role that it may not know, tried on a short conversation."""
    asked, answered = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
    odd = {"role": role, "content": PROBE}
    talk = [odd, asked, answered] if role == "system" else [asked, answered, odd, answered]
    try:
        return "fine" if PROBE in chat_mask.rendered(tokenizer, talk, template=template) else "dropped"
    except FormatError:
        try:  # is it the role, or would it refuse the rest too?
            chat_mask.rendered(tokenizer, [m for m in talk if m is not odd], template=template)
        except FormatError:
            return "fine"
        return "refused"


def _lengths(spec: SftSpec, sample: Sample, encoded: EncodedExamples, longest: int) -> Iterator[Fault]:
    left, looked = encoded.left_out, len(sample.kept)
    long = left.too_long or left.cut
    if spec.too_long == "leave_out" and left.too_long:
        share, everything = left.too_long / looked, left.too_long == looked
        yield Fault("block" if everything else "warn", "all_too_long" if everything else "too_long",
                      tr("Every example is longer than {longest} tokens.", longest=f"{longest:,}") if everything else
                      tr("{share} of the examples are longer than {longest} tokens and are left out.", share=percent(share, 1),
                         longest=f"{longest:,}"),
                      tr("Choose a longer context, a model that has one, or shorter examples."), share, "max_seq_len",
                      sample.ids(left.places["too_long"]))
    if spec.too_long == "cut" and left.cut_answers:
        share = left.cut_answers / looked
        yield Fault("block" if share >= CUT_SHARE else "warn", "answers_cut",
                      tr("{share} of the answers do not fit into {longest} tokens and would lose their end: the model would learn to stop "
                         "in mid-sentence.", share=percent(share, 1), longest=f"{longest:,}"),
                      tr("Leave longer examples out, choose a longer context, or shorten them."), share, "too_long",
                      sample.ids(left.places["cut_answers"]))
    elif spec.too_long == "cut" and long:
        yield Fault("warn", "cut", tr("{share} of the examples are cut at {longest} tokens, behind what is learned.",
                                        share=percent(left.cut / looked, 1), longest=f"{longest:,}"),
                      tr("Nothing needs to be done."), left.cut / looked, "too_long", sample.ids(left.places["cut"]))


def _ends(tokenizer: Tokenizer, template: str, spec: SftSpec, sample: Sample, encoded: EncodedExamples) -> Iterator[Fault]:
    places: tuple[int, ...] = ()
    if spec.loss_on == "all":  # whole conversations are one stretch, and the end of the last answer is the end of the text
        share, names = 0.0, chat_mask.end_ids(tokenizer)
        if len(encoded):
            last = [encoded.example(n)[0] for n in range(min(len(encoded), 16)) if int(encoded.numbers[n]) not in
                    encoded.left_out.places["cut"]]
            open_ones = [ids for ids in last if not any(int(id) in names for id in ids[-3:])]
            share = len(open_ones) / max(1, len(last))
    else:
        share, places = encoded.left_out.unended / max(1, len(encoded)), encoded.left_out.places["unended"]
    if share:
        ends = ", ".join(sorted(name for name, id in tokenizer.special.items() if id in chat_mask.end_ids(tokenizer))) or tr("none")
        yield Fault("block" if share >= UNENDED_SHARE else "warn", "no_end_token",
                      tr("The chat template puts no end token behind the answer, so the model would never learn to stop."),
                      tr("Close the assistant's turn in the template with one of this model's end tokens ({names}), inside the generation "
                         "block where there is one.", names=ends), share, "template", sample.ids(places))


def _trained(spec: SftSpec, sample: Sample, encoded: EncodedExamples) -> Iterator[Fault]:
    left, looked = encoded.left_out, len(sample.kept)
    if left.nothing_trained:
        share = left.nothing_trained / looked
        if not sample.roles["assistant"]:
            why = tr("No message has the role “assistant”, so there is no answer to learn.")
            remedy = tr("Rename the role of the answers to “assistant”, or learn everything.")
        elif spec.too_long == "cut":
            why = tr("In {share} of the examples nothing would be learned: the answer begins behind the end of the context, or there is "
                     "none.", share=percent(share, 1))
            remedy = tr("Choose a longer context, or shorten what is asked.")
        else:
            why = tr("In {share} of the examples nothing would be learned: they have no answer that the template marks.",
                     share=percent(share, 1))
            remedy = tr("Look whether they have an answer of the assistant, and whether the generation block of the template holds it.")
        blocks = share >= NOTHING_SHARE or not len(encoded)
        yield Fault("block" if blocks else "warn", "nothing_trained", why, remedy, share, "loss_on",
                      sample.ids(left.places["nothing_trained"]))
    trained = encoded.trained_tokens / max(1, encoded.tokens)
    if len(encoded) and trained < LITTLE_TRAINED:
        yield Fault("warn", "little_trained", tr("Only {share} of the tokens are learned; the rest is only read.",
                                                   share=percent(trained, 1)),
                      tr("That is slow, but not wrong. Shorten what is asked, or learn everything."), 1.0, "loss_on")


def _refused(sample: Sample, encoded: EncodedExamples) -> Iterator[Fault]:
    left, looked = encoded.left_out, len(sample.kept)
    if left.refusal is None:
        return
    share = left.refused / looked
    code = "unclear_mask" if left.refusal.code == "chat_mask" else "refused"
    yield Fault("block" if share >= NOTHING_SHARE else "warn", code,
                  tr("{share} of the examples cannot be written by the chat template. {reason}", share=percent(share, 1),
                     reason=left.refusal.sentence), left.refusal.remedy, share, "template", sample.ids(left.places["refused"]))


def refuse(problems: Iterable[Fault]) -> None:
    """Raise the first problem that stops a run, as InputError."""
    for problem in problems:
        if problem.level == "block":
            raise InputError(problem.sentence, problem.remedy, code=problem.code, field=problem.field)


def check(examples: Iterable[Example], tokenizer: Tokenizer, template: str, spec: SftSpec, longest: int) -> None:
    """Refuse what would spoil a run, as the window does before one is made: InputError with the first cause."""
    sample = Sample(examples)
    encoded = encode_examples(tokenizer, sample.kept, template=template, loss_on=spec.loss_on, system=spec.system, max_seq_len=longest,
                              too_long=spec.too_long)
    refuse(find_problems(tokenizer, template, spec, sample, encoded, longest))


# ------------------------------------------------------------------------------------------------------------------ what is shown


class Shown:
    """Batches as pieces. `examples` gathers what the pieces belong to."""

    def __init__(self, tokenizer: Tokenizer, template: str, spec: SftSpec, sample: Sample, longest: int,
                 tokens_listed: int = SHOWN_TOKENS) -> None:
        self.tokenizer, self.template, self.spec, self.sample, self.longest = tokenizer, template, spec, sample, longest
        self.tokens_listed = tokens_listed
        self.examples: list[dict[str, Any]] = []
        self._place: dict[int, int] = {}

    def batch(self, rows: ExampleRows, step: int) -> dict[str, Any]:
        """One step's rows, of natural lengths one example a row."""
        packed = rows.rows(step)
        # The last token of an example is only learned, never read: a row has room for what is read.
        width = max(sum(len(rows.item(n)[0]) - 1 for n in row) for row in packed) if self.spec.packing else 0
        made: list[dict[str, Any]] = []
        tokens = trained = listed = padding = 0
        for row in packed:
            pieces: list[dict[str, Any]] = []
            size = 0
            for number in row:
                ids, learned = rows.item(number)
                size, trained = size + len(ids) - 1, trained + int(learned.sum())
                if listed < self.tokens_listed:
                    pieces += self._pieces(int(rows.examples.numbers[number]) if number >= 0 else None, ids, learned)
            tokens += size
            if width > size:
                padding += width - size
                pieces.append({"text": "", "state": "pad", "example": -1, "count": width - size})
            if listed < self.tokens_listed:
                made.append({"pieces": pieces, "tokens": size})
            listed += size
        return {"step": step, "rows": made, "examples": sum(n >= 0 for row in packed for n in row), "tokens": tokens, "trained": trained,
                "padding": padding, "more_rows": len(packed) - len(made)}

    def unusable(self) -> dict[str, Any]:
        """The first examples as they are, where none can be trained on: the cause can be seen."""
        made = []
        for number in range(min(4, len(self.sample.kept))):
            pieces = self._pieces(number, None, None)
            made.append({"pieces": pieces, "tokens": len(pieces)})
        return {"step": -1, "rows": made, "examples": 0, "tokens": 0, "trained": 0, "padding": 0, "more_rows": 0}

    def rendered(self, encoded: EncodedExamples) -> tuple[str, str]:
        """(text, id of the example): the first that is trained on, else the first that the template can write."""
        order = [*(int(n) for n in encoded.numbers[:1]), *range(min(4, len(self.sample.kept)))]
        for number in order:
            example = self.sample.kept[number]
            try:
                return chat_mask.rendered(self.tokenizer, example.messages, template=self.template, system=self.spec.system), example.id
            except FledgeError:
                continue
        return "", ""

    def _pieces(self, number: int | None, ids: np.ndarray | None, learned: np.ndarray | None) -> list[dict[str, Any]]:
        """Token by token; behind the end of what is trained on, what was cut. `ids` None: as the template writes it."""
        if number is None:
            assert ids is not None and learned is not None
            return [self._piece(int(id), "trained" if on else "masked", -1) for id, on in zip(ids, learned, strict=True)]
        try:
            whole = chat_mask.encode(self.tokenizer, self.sample.kept[number].messages, template=self.template, loss_on=self.spec.loss_on,
                                     system=self.spec.system)
        except FledgeError as wrong:
            place = self._example(number, 0, 0, wrong.sentence)
            return [{"text": m.role + ": " + m.content, "state": "masked", "example": place} for m in self.sample.kept[number].messages]
        keep = len(whole.ids) if ids is None and self.spec.too_long == "leave_out" else self.longest
        place = self._example(number, len(whole.ids), int(whole.trained[:keep].sum()), "")
        fits = self.longest
        return [self._piece(int(id), "truncated" if n >= fits else "trained" if on else "masked", place)
                for n, (id, on) in enumerate(zip(whole.ids, whole.trained, strict=True))]

    def _example(self, number: int, tokens: int, trained: int, refusal: str) -> int:
        if number not in self._place:
            self._place[number] = len(self.examples)
            self.examples.append({"id": self.sample.kept[number].id, "tokens": tokens, "trained": trained, "refusal": refusal})
        return self._place[number]

    def _piece(self, id: int, state: State, example: int) -> dict[str, Any]:
        return {"text": self.tokenizer.token_text(id), "state": state, "example": example}


def _replay(project: Project, spec: SftSpec, ref: Any, tokenizer: Tokenizer) -> TokenSplit | None:
    """Tokens of the replay corpus where they are made already."""
    if not spec.replay:
        return None
    parents = parents_of(project, ref)
    model = next((id for id in (ref.id, *parents) if id.startswith("model-")), ref.id)
    found = tokens.find(project, spec.replay, tokenizer, tokens.maker_of(project, tokenizer, model))
    return TokenShards.open(found.path).split("train") if found else None


def _nothing_shown(sample: Sample, longest: int, problem: Fault) -> dict[str, Any]:
    return {"problems": [asdict(problem)], "batches": [], "examples": [], "rendered": "", "rendered_example": "",
            "template": {"source": "", "origin": "", "name": "", "sentence": ""},
            "counts": {"examples": sample.count, "looked_at": 0, "usable": 0, "train": 0, "held_out": 0, "too_long": 0, "cut": 0,
                       "cut_answers": 0, "nothing_trained": 0, "refused": 0, "left_out": 0, "tokens": 0, "trained_tokens": 0,
                       "share_trained": 0.0, "longest": 0, "max_seq_len": longest, "batch_size": 0, "steps": 0},
            "roles": dict(sample.roles), "sampled": sample.sampled, "note": sample.note}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m engine.stages.sft.microscope",
                                     description=tr("Shows which tokens a fine-tuning run would learn. Settings are read as JSON."))
    parser.add_argument("project", type=Path)
    parser.add_argument("--batches", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=SHOWN_TOKENS, help=tr("Tokens of a batch that are listed."))
    asked = parser.parse_args(arguments)
    try:
        spec = json.loads(sys.stdin.read())
        if not isinstance(spec, dict):
            raise ValueError("no object")
        print(json.dumps(inspect(asked.project, spec, asked.batches, asked.tokens)))
        return 0
    except ValueError as wrong:
        return _error(FormatError(tr("The settings cannot be read: {reason}", reason=str(wrong)), tr("Give a JSON object of settings.")))
    except FledgeError as wrong:
        return _error(wrong)


def _error(wrong: FledgeError) -> int:
    print(json.dumps({"error": {"code": wrong.code, "sentence": wrong.sentence, "remedy": wrong.remedy, "field": wrong.field}}))
    return wrong.exit_code


if __name__ == "__main__":
    sys.exit(main())
