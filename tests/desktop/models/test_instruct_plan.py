"""The wizard's decisions: what is in the way of a run, what goes into its spec, which addresses are this machine, drafts, estimates."""

from typing import Any

import pytest

from desktop.models.instruct_plan import InstructPlan, Measured, RecipeChoice
from desktop.models.local_models import ModelChoice, Place, host_of, is_local, short_name
from engine.stages.instruct.spec import InstructSpec

REMOTE = "http://192.168.0.7:1234/v1 qwen3"
LOCAL = "http://127.0.0.1:1234/v1 qwen3"
DOCUMENTS = RecipeChoice("documents", "Questions about my documents", "Asks.", needs=("documents",))
TOPICS = RecipeChoice("topics", "From topics", "Asks.", needs=("topics",))
PROGRAM = RecipeChoice("capitals", "Capitals", "Asks.", needs=("topics",), path="/p/recipes/capitals.py", python=True)
TALK = RecipeChoice("conversations", "Conversations", "Talks.", needs=("topics_or_seeds",))


@pytest.fixture
def plan() -> InstructPlan:
    """Models of two places and four recipes are known."""
    places = [Place("openai", "LM Studio", "http://127.0.0.1:1234/v1", True, (ModelChoice(LOCAL, "qwen3"),)),
              Place("openai", "192.168.0.7", "http://192.168.0.7:1234/v1", True, (ModelChoice(REMOTE, "qwen3"),)),
              Place("ollama", "Ollama", "http://127.0.0.1:11434", False, what_to_do="Start it.")]
    return InstructPlan(places=places, recipes=[DOCUMENTS, TOPICS, PROGRAM, TALK])


@pytest.mark.parametrize(("host", "local"), [
    ("localhost", True), ("127.0.0.1", True), ("127.8.9.10", True), ("::1", True), ("", True), ("192.168.0.7", False), ("10.0.0.1", False),
    ("localhost.example.com", False), ("127.0.0.1.example.com", False), ("0.0.0.0", False), ("box.local", False)])
def test_only_the_loopback_is_this_machine(host: str, local: bool) -> None:
    assert is_local(host) is local


def test_names_of_models_without_where_they_run() -> None:
    assert [short_name(n) for n in ("ollama:qwen3:4b", LOCAL, "gguf:/a/b/tiny.gguf", "project:model-1", "")] == \
        ["qwen3:4b", "qwen3", "tiny.gguf", "model-1", ""]
    assert host_of(REMOTE) == "192.168.0.7" and host_of("ollama:http://x") == ""


def test_every_role_that_a_mode_has_must_be_given(plan: InstructPlan) -> None:
    assert [p.field for p in plan.problems("models")] == ["responder"]
    plan.choose("responder", LOCAL)
    assert not plan.problems("models")
    plan.set_mode("scored")
    assert [p.field for p in plan.problems("models")] == ["judge"]
    plan.set_mode("two")
    assert plan.values["second_responder"] == LOCAL  # the first answers twice until somebody else is chosen
    assert [p.field for p in plan.problems("models")] == ["judge"]
    plan.choose("judge", LOCAL)
    assert not plan.problems("models") and plan.roles_of(LOCAL) == ["responder", "second_responder", "judge"]


def test_a_model_that_is_not_there_now_is_named(plan: InstructPlan) -> None:
    plan.choose("responder", "ollama:llama3.2")
    assert "llama3.2 is not there now" in plan.problems("models")[0].sentence


def test_another_machine_is_asked_only_when_it_was_confirmed(plan: InstructPlan) -> None:
    plan.choose("responder", REMOTE)
    assert "192.168.0.7 is outside this machine" in plan.problems("models")[0].sentence
    assert plan.values["allowed_host"] == ""
    plan.confirmed.add("192.168.0.7")
    plan.choose("responder", REMOTE)
    assert not plan.problems("models") and plan.values["allowed_host"] == "192.168.0.7"
    plan.choose_recipe("topics")
    plan.set_values({"topics": ("fog",)})
    assert plan.spec().allowed_host == "192.168.0.7"
    plan.choose("responder", LOCAL)
    assert plan.spec().allowed_host == ""  # nobody outside is asked any more


def test_a_second_other_machine_cannot_be_asked_in_the_same_run(plan: InstructPlan) -> None:
    other = "http://10.0.0.9:8000/v1 judge"
    assert plan.places is not None
    plan.places.append(Place("openai", "10.0.0.9", "http://10.0.0.9:8000/v1", True, (ModelChoice(other, "judge"),)))
    plan.confirmed |= {"192.168.0.7", "10.0.0.9"}
    plan.set_mode("scored")
    plan.choose("responder", REMOTE)
    plan.choose("judge", other)
    assert [p.field for p in plan.problems("models")] == ["judge"]
    assert "Only one other machine" in plan.problems("models")[0].sentence


def test_recipes_say_what_they_miss(plan: InstructPlan) -> None:
    assert [p.field for p in plan.problems("recipe")] == ["corpus"]
    plan.choose_recipe("topics")
    assert [p.field for p in plan.problems("recipe")] == ["topics"]
    plan.choose_recipe("conversations")
    assert [p.field for p in plan.problems("recipe")] == ["topics"]
    plan.set_values({"seeds": ["set-1"]})
    assert not plan.problems("recipe")
    plan.choose_recipe("/p/recipes/capitals.py")
    plan.set_values({"topics": ("France",)})
    assert [p.field for p in plan.problems("recipe")] == ["recipe_hash"]
    plan.set_values({"recipe_hash": "0" * 64})
    assert not plan.problems("recipe")
    plan.choose_recipe("topics")
    assert plan.values["recipe_hash"] == ""  # trust is of one text


def test_the_spec_holds_only_what_is_used(plan: InstructPlan) -> None:
    plan.choose("responder", LOCAL)
    plan.set_mode("two")
    plan.choose("judge", LOCAL)
    plan.set_values({"rubric": "Short.", "topics": ("fog", "ice"), "corpus": "corpus-1", "seeds": ("set-1",)})
    plan.choose_recipe("topics")
    spec = plan.spec()
    assert (spec.judge, spec.second_responder, spec.rubric) == (LOCAL, LOCAL, "Short.")
    assert spec.topics == ("fog", "ice") and spec.corpus == "" and spec.seeds == () and spec.preview == 0
    plan.set_mode("one")
    spec = plan.spec(preview=True)
    assert (spec.judge, spec.second_responder, spec.rubric, spec.preview) == ("", "", "", 5)
    plan.choose_recipe("/p/recipes/capitals.py")
    assert plan.spec().recipe == "/p/recipes/capitals.py"


def test_a_draft_comes_back_as_it_was_left(plan: InstructPlan) -> None:
    import json
    plan.choose("responder", LOCAL)
    plan.set_mode("two")
    plan.choose_recipe("topics")
    plan.set_values({"topics": ("fog", "ice"), "count": 40, "judge": LOCAL})
    plan.go("amount")
    again = InstructPlan(places=plan.places, recipes=plan.recipes)
    again.recall(json.loads(json.dumps(plan.draft())))
    assert again.values == plan.values and again.mode == "two" and again.step == "amount"


@pytest.mark.parametrize("draft", [None, 3, [], {"values": 4}, {"values": {"count": "many", "unknown": 1, "timeout": -5}, "step": "gone"}])
def test_a_strange_draft_is_an_empty_one(draft: Any) -> None:
    plan = InstructPlan()
    plan.recall(draft)
    assert plan.values == InstructPlan().values and plan.step == "models" and not plan.begun


def test_the_settings_of_a_run_can_be_taken_up(plan: InstructPlan) -> None:
    spec = InstructSpec(responder=LOCAL, judge=LOCAL, recipe="topics", topics=("fog",), preview=5)
    plan.take_spec(spec.model_dump(mode="json"))
    assert plan.mode == "scored" and plan.values["topics"] == ("fog",) and plan.values["preview"] == 0


def test_what_it_takes_is_guessed_until_a_preview_measured_it(plan: InstructPlan) -> None:
    plan.choose("responder", LOCAL)
    plan.choose_recipe("topics")
    plan.set_values({"topics": ("fog",), "count": 100})
    assert plan.requests() == (100, False) and plan.seconds() is None
    plan.set_mode("two")
    assert plan.requests() == (400, False)  # another answer, and two looks of the judge
    plan.note_preview(Measured(seconds=2.0, requests=5.0, tokens=900.0, kept=0.8))
    assert plan.requests() == (500, True) and plan.seconds() == 200 and plan.tokens() == (90_000, True)
    assert "3 min 20 s" in plan.will_happen()[1].replace("\u00a0", " ")
    plan.set_values({"count": 10})
    assert not plan.preview_is_stale and plan.seconds() == 20
    plan.set_values({"temperature": 1.2})
    assert plan.preview_is_stale and plan.seconds() is None


def test_a_number_that_is_none_breaks_no_estimate(plan: InstructPlan) -> None:
    plan.set_values({"count": "abc", "margin": "x"})
    assert plan.rows == 200 and plan.will_happen()[0] and plan.checks_in_words()
    assert "count" in {p.field for p in plan.problems("amount")}


def test_steps_open_one_after_the_other(plan: InstructPlan) -> None:
    assert plan.reachable() == {"models"}
    plan.choose("responder", LOCAL)
    assert plan.reachable() == {"models", "recipe"}
    plan.choose_recipe("topics")
    plan.set_values({"topics": ("fog",)})
    assert plan.reachable() == {"models", "recipe", "amount", "preview"}
