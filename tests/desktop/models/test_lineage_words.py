"""What the side panel of Lineage says of a node, beside its page's own tests."""

from desktop.models import lineage as words
from engine.project.lineage import Lineage, Node


def test_a_model_says_which_verifier_it_learned_from() -> None:
    def said(**verifier: str) -> dict[str, str]:
        node = Node("model-2", "model", "Solver", 1.0, stage="grpo", facts={"verifier": verifier} if verifier else {})
        return dict(words.facts(node, Lineage({}), None, 0))
    assert said(ref="verifier-3@4", title="Last number", sha256="0123456789abcdef")["Verifier"] == "Last number, 0123 4567 89ab"
    assert said(ref="", title="", sha256="f" * 64)["Verifier"] == "several parts, ffff ffff ffff"
    assert "Verifier" not in said()
