"""The demo's report: one object for machines, one page for people. Reads results only; measures nothing."""

from typing import Any

from engine.contract import units
from engine.contract.words import tr


def page(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    stages, lines = report["stages"], [f"# {tr('What the demo did')}", ""]
    if report["generated"]:
        lines += [tr("The text is a small generated world: {people} people, their towns and animals, and sums. Nobody in it is real.",
                     people=report["people"]), ""]
    else:
        lines += [tr("The text is your own: {source}.", source=report["corpus"]), ""]
    lines += [tr("Total: {time} on {device}.", time=units.duration(report["seconds"]), device=report["device"]), ""]
    lines += [f"| {tr('Stage')} | {tr('Time')} | {tr('Result')} |", "|---|---|---|"]
    for name, facts in stages.items():
        lines.append(f"| {facts['title']} | {units.duration(facts['seconds'])} | {result(name, facts)} |")
    for left in report["left_out"]:
        lines.append(f"| {left['title']} | | {tr('left out')}: {left['reason']} |")
    pretrain = stages.get("pretrain")
    if pretrain:
        lines += ["", f"## {tr('Before and after')}", "", explain(pretrain), ""]
        for sample in pretrain["samples"]:
            lines += [f"**{sample['prompt'].strip()}**", "", f"- {tr('untrained')}: {_inline(sample['before'])}",
                      f"- {tr('trained')}: {_inline(sample['after'])}", ""]
    lines += [f"## {tr('Go on')}", "", f"- {tr('Chat with it:')} `fledge chat {report['project']}`",
              f"- {tr('Look at it in the window:')} `fledge app {report['project']}`", ""]
    return "\n".join(lines)


def result(name: str, facts: dict[str, Any]) -> str:
    """One line on what a stage made."""
    match name:
        case "corpus":
            return tr("{documents} documents, {size}", documents=units.number(facts["documents"]), size=units.size(facts["bytes"]))
        case "tokenizer":
            return tr("{count} tokens, {rate} bytes each", count=units.number(facts["vocab_size"]),
                      rate=units.number(facts["bytes_per_token"], 2)) if facts.get("bytes_per_token") else tr(
                          "{count} tokens", count=units.number(facts["vocab_size"]))
        case "pretrain":
            return tr("{parameters} parameters, {steps} steps: {before} bits per byte before, {after} after",
                      parameters=units.count(facts["parameters"]), steps=units.number(facts["steps"]),
                      before=units.number(facts["bpb_before"], 2), after=units.number(facts["bpb_after"], 3))
        case "knowledge":
            return tr("{facts} of known facts completed; sums never seen: {direct} right at once, {worked} worked out",
                      facts=units.percent(facts["facts_completed"]), direct=units.percent(facts["sums_direct"]),
                      worked=units.percent(facts["sums_worked"]))
    return ", ".join(f"{key} {value}" for key, value in facts.items() if isinstance(value, (int, float)) and key != "seconds")


def explain(pretrain: dict[str, Any]) -> str:
    """What bits per byte mean here."""
    text = tr("Bits per byte on text kept out of training: {before} untrained, {after} trained. Lower is better; 8 is a blind guess.",
              before=units.number(pretrain["bpb_before"], 2), after=units.number(pretrain["bpb_after"], 3))
    if pretrain.get("bpb_unigram"):
        text += " " + tr("Knowing only how frequent each token is gives {unigram}.", unigram=units.number(pretrain["bpb_unigram"], 2))
    return text


def _inline(text: str) -> str:
    """One line of Markdown, whatever the model wrote."""
    return "`" + " ".join(text.replace("`", "'").split())[:400] + "`"
