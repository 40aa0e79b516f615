"""How long the pages of instruction data, fine-tuning and evaluation ever hold the window's thread:
`python -m tests.benchmarks.answers_stall [EXAMPLES [SECONDS]]`.

A real project with many examples and tiny models is used in the real window as a person would: rows are scrolled, searched, walked through
and accepted, the wizards are gone through with the real microscope, a long run of fine-tuning is replayed, an evaluation is opened. Needs
no display. The first time a page is shown is measured apart: it is built then.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.window_parts import WindowParts, alone
from tests.benchmarks.window_stall import LIMIT_MS, Stall, _wait, write_events

EXAMPLES, SECONDS, STEPS, ASKED = 100_000, 4.0, 100_000, 100
ROOT = Path(__file__).parents[2]
MAKE = """
import sys
from pathlib import Path
from engine.contract.rows import Example, Message
from engine.project import launch
from engine.project.follow import follow
from engine.stages.evaluate.spec import EvaluateSpec
from tests.serving import make_project
count, asked = int(sys.argv[2]), int(sys.argv[3])
project = make_project(Path(sys.argv[1]), context=96)
library = project.library.examples
def rows(many, name):
    for i in range(many):
        yield Example(id=f"{name}-{i}", messages=(Message(role="user", content=f"When did ferry {i} leave the quay?"),
                      Message(role="assistant", content=f"It left at {i % 12} with the mail and forty passengers." * (1 + i % 3))),
                      origin="ollama:tiny", score=float(1 + i % 10), flags=("refusal",) if i % 9 == 0 else (),
                      facts={"answer": str(i % 12)})
library.add(library.create_set("Ferries").id, rows(count, "a"))
few = library.create_set("Few ferries").id
library.add(few, rows(400, "b"))
run = project.runs.create(EvaluateSpec(title="Asked", models=("model-1", "1-pretrain@20"), suites=("questions",), examples=(few,),
                                       limit=asked, max_tokens=4))
state = follow(run, launch.start(run))
assert state.status == "done", run.log_tail()
"""


def measure(count: int = EXAMPLES, seconds: float = SECONDS, steps: int = STEPS, asked: int = ASKED) -> dict[str, Stall]:
    """By part of what a person does; names that begin with "built" are pages shown for the first time."""
    with alone() as folder:
        return _Measuring(folder, count, seconds, steps, asked).all()


class _Measuring(WindowParts):
    pause = 0.03

    def __init__(self, folder: Path, count: int, seconds: float, steps: int, asked: int) -> None:
        from engine.project import layout
        from engine.project.project import Project
        from engine.stages.sft.spec import SftSpec
        subprocess.run([sys.executable, "-c", MAKE, str(folder / "project"), str(count), str(asked)], cwd=ROOT, check=True,
                       env=dict(os.environ, PYTHONPATH=str(ROOT)))
        project = Project.open(folder / "project")
        self.sets = {one.title: one.id for one in project.library.examples.sets()}
        self.run = project.runs.create(SftSpec(model="model-1", examples=(self.sets["Few ferries"],), title="long"))
        write_events(layout.events_file(self.run.dir), steps)
        self.file = folder / "questions.jsonl"
        self.file.write_text("\n".join(json.dumps({"question": f"Where is ferry {i}?", "answer": f"At quay {i % 9}."})
                                       for i in range(min(count, 20_000))), "utf-8")
        self.steps = steps
        super().__init__(project, seconds)

    def do(self) -> None:
        self._instruct()
        self._finetune()
        self._evaluate()

    def _page(self, id: str) -> Any:
        self.part(f"built: {id}", lambda n: self.window.show_page(id), once=True)
        return self.window.pages[id]

    def _instruct(self) -> None:
        page = self._page("instruct")
        self.part("built: review", lambda n: page.open_review((self.sets["Ferries"],)), once=True)
        self.wait(lambda: page.review is not None and page.review.listed.total > 0)
        review = page.review
        bar = review.table.verticalScrollBar()
        self.part("review: rows scrolled", lambda n: bar.setValue((n * 911) % max(1, bar.maximum())))
        search = review.filters.search
        self.part("review: searched while typing", lambda n: search.setText("ferry 123 mail"[:1 + n % 14]))
        search.setText("")
        _wait(self.app, 0.5)
        self.part("built: card", lambda n: review.show_view("card"), once=True)
        self.part("review: cards walked through", lambda n: review.act("next"))
        self.part("review: cards accepted", lambda n: review.act("accept"))
        self.part("sets", lambda n: page.to_start() if n % 2 else page.open_review((self.sets["Ferries"],)))
        page.to_start()
        self.part("a file looked at", lambda n: page.take([str(self.file)]), once=True)
        self.wait(lambda: page.bring.plan.look is not None)
        self.part("a file imported", lambda n: page.bring.start(), once=True)
        self.wait(lambda: len(self.project.library.examples.sets()) == 3 and not self.context.jobs.busy)
        self.part("built: wizard of instruction data", lambda n: page.generate(), once=True)
        self.wait(lambda: page.wizard.plan.places is not None and page.wizard.plan.recipes is not None)

        def go(n: int) -> None:
            page.wizard.plan.go(("models", "recipe", "amount", "preview")[n % 4])
            page.wizard.refresh()
        for n in range(4):  # each step's widgets are made when it is first shown
            self.part(f"built: step {n + 1} of instruction data", lambda _, n=n: go(n), once=True)
        self.part("wizard of instruction data", go)

    def _finetune(self) -> None:
        page = self._page("sft")
        page.show_wizard("sft", {"model": "model-1", "examples": [self.sets["Few ferries"]]})
        wizard = page.wizard
        self.wait(lambda: wizard.plan.models is not None and wizard.plan.sets is not None)
        for step in ("data", "template", "method", "start"):
            self.part(f"built: {step} of fine-tuning", lambda n, step=step: wizard.go(step), once=True)
        wizard.go("template")
        self.wait(lambda: not wizard.plan.look_is_due)
        self.part("microscope turned over", lambda n: wizard.template._turn(1 if n % 3 else -1))
        self.part("wizard of fine-tuning", lambda n: wizard.go(("goal", "data", "template", "method", "start")[n % 5]))
        _wait(self.app, 0.1)
        self.heart.take()
        self.window.show_page("sft", {"run": self.run.id})
        _wait(self.app, 0.1)
        self.found["built: run of fine-tuning"] = self.heart.take()
        _wait(self.app, 0.5)
        self.wait(lambda: page.run_side.follower.state.step >= self.steps, 240)
        self.found["run of fine-tuning replayed"] = self.heart.take()

    def _evaluate(self) -> None:
        page = self._page("evaluate")
        made = self.project.artifacts.list("evaluation")[0].id
        self.part("built: evaluation", lambda n: page.show_evaluation(made), once=True)
        self.part("evaluation opened", lambda n: page.show_evaluation(made) if n % 2 else page.to_start())
        self.part("built: what is measured", lambda n: page.begin(), once=True)
        self.part("what is measured", lambda n: page.begin() if n % 2 else page.to_start())


def main() -> int:
    given = sys.argv[1:]
    found = measure(int(given[0]) if given else EXAMPLES, float(given[1]) if len(given) > 1 else SECONDS)
    for name, stall in found.items():
        print(f"{name}: {stall.words()}", flush=True)
    own = {name: stall.work for name, stall in found.items()}
    used = {name: work for name, work in own.items() if not name.startswith("built")}
    print(f"own work of the window's thread at most {max(used.values()):.1f} ms ({max(used, key=lambda k: used[k])}), "
          f"{max(own.values()):.1f} ms as a page is built ({max(own, key=lambda k: own[k])}) (limit {LIMIT_MS:.0f} ms)")
    return 0 if max(used.values()) < LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
