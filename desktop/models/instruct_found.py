"""What `python -m engine.generators.find` said, as places with models that a setting can name. No Qt; it asks nobody."""

from collections.abc import Mapping, Sequence
from typing import Any

from desktop.models.local_models import ModelChoice, Place

PREFIXES = {"project": "project:", "ollama": "ollama:", "gguf": "gguf:"}


def setting_name(kind: str, address: str, model: str) -> str:
    """A model as the spec names it: "ollama:llama3.2", "http://127.0.0.1:1234/v1 qwen3"."""
    return f"{PREFIXES[kind]}{model}" if kind in PREFIXES else f"{address} {model}"


def places(found: Sequence[Mapping[str, Any]]) -> list[Place]:
    """The places of an answer, those that run first."""
    made = []
    for each in found:
        kind, address = str(each.get("kind", "")), str(each.get("address", ""))
        models = tuple(ModelChoice(setting_name(kind, address, str(m["name"])), str(m.get("title") or m["name"]), int(m.get("size") or 0),
                                   bool(m.get("loaded"))) for m in each.get("models") or () if m.get("name"))
        made.append(Place(kind, str(each.get("title") or kind), address, bool(each.get("running")), models,
                          str(each.get("what_to_do") or "")))
    return sorted(made, key=lambda p: not (p.running and p.models))


def with_files(found: Sequence[Place], files: Sequence[str], title: str) -> list[Place]:
    """The places with one more for GGUF files that the person chose by hand."""
    chosen = [f for f in files if all(m.name != f"gguf:{f}" for p in found for m in p.models)]
    if not chosen:
        return list(found)
    models = tuple(ModelChoice(f"gguf:{path}", path.replace("\\", "/").rpartition("/")[2]) for path in chosen)
    return [*found, Place("gguf", title, "", True, models, added=True)]
