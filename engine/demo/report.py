"""The demo's report: one object for machines, one page for people. Reads results only; measures nothing."""

from typing import Any

from engine.contract import units
from engine.contract.words import tr
from engine.demo.questions import FLOURISH


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
    if "evaluate" in stages:
        lines += answers(stages["evaluate"])
    if "taste" in stages:
        lines += taste(stages)
    if "reasoning" in stages:
        lines += reasoning(stages)
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
        case "questions":
            return tr("{examples} to learn from, {held_out} held out", examples=units.number(facts["examples"]),
                      held_out=units.number(facts["held_out"]))
        case "instruct":
            return tr("{true} of {asked} answers of the base model are true; the others are set aside", true=units.number(facts["true"]),
                      asked=units.number(facts["asked"]))
        case "sft":
            return tr("{examples} examples, {steps} steps", examples=units.number(facts["examples"]), steps=units.number(facts["steps"]))
        case "evaluate":
            return tr("{before} of {questions} answered by the base model, {after} by the tuned one",
                      before=units.percent(facts["accuracy_before"], 1), after=units.percent(facts["accuracy_after"], 1),
                      questions=units.number(facts["questions"]))
        case "preference":
            return tr("{pairs} pairs of answers", pairs=units.number(facts["pairs"]))
        case "labels":
            return tr("{labels} labels: {decided} for one answer, {ties} ties", labels=units.number(facts["labels"]),
                      decided=units.number(facts["decided"]), ties=units.number(facts["ties"]))
        case "reward":
            return tr("{accuracy} of {held_out} held-out labels foretold", accuracy=_share(facts["accuracy"]),
                      held_out=units.number(facts["held_out"]))
        case "dpo" | "ppo":
            return tr("{steps} steps, {kl} nats from where it began", steps=units.number(facts["steps"]), kl=units.number(facts["kl"], 2))
        case "taste":
            return tr("answers the annotator likes: {before} before, {dpo} after DPO, {ppo} after PPO",
                      before=units.percent(facts["rate_before"], 1), dpo=units.percent(facts["rate_dpo"], 1),
                      ppo=units.percent(facts["rate_ppo"], 1))
        case "problems":
            return tr("{problems} sums to try, {held_out} held out; a verifier in Python", problems=units.number(facts["problems"]),
                      held_out=units.number(facts["held_out"]))
        case "grpo":
            return tr("{steps} steps", steps=units.number(facts["steps"]))
        case "reasoning":
            return tr("held-out sums right at the first try: {before} before, {after} after",
                      before=units.percent(facts["pass_at_1_before"], 1), after=units.percent(facts["pass_at_1_after"], 1))
    return ", ".join(f"{key} {value}" for key, value in facts.items() if isinstance(value, (int, float)) and key != "seconds")


def answers(facts: dict[str, Any]) -> list[str]:
    """The same held-out questions to the base and the tuned model, and what the figures mean."""
    lines = [f"## {tr('The same questions to both models')}", "",
             tr("{questions} questions that no training question asks, in any wording; the facts stand in the text. Only exactly the known "
                "answer is right.", questions=units.number(facts["questions"])), "",
             f"| | {tr('base model')} | {tr('tuned model')} |", "|---|---|---|"]
    for name, title in (("people", tr("people whom no training question names")), ("pairs", tr("other people, facts never asked for")),
                        ("accuracy", tr("together"))):
        lines.append(f"| {title} | {units.percent(facts[f'{name}_before'], 1)} | {units.percent(facts[f'{name}_after'], 1)} |")
    lines.append(f"| {tr('bits per byte on held-out text')} | {units.number(facts['text_bpb_before'], 3)} | "
                 f"{units.number(facts['text_bpb_after'], 3)} |")
    how = {"plain": tr("when asked plainly"), "few_shot": tr("after solved questions"), "chat": tr("as a chat")}[facts["form_before"]]
    lines += ["", tr("The base model does best {how}: that is shown. It goes on writing instead of answering; the known answer stands "
                     "somewhere in {contains} of what it writes.", how=how, contains=units.percent(facts["contains_before"])), "",
              f"| {tr('question')} | {tr('base model')} | {tr('tuned model')} |", "|---|---|---|"]
    for row in facts["side_by_side"]:
        lines.append(f"| {row['question']} | {_cell(row['before'])} | {_cell(row['after'])} |")
    return [*lines, ""]


def taste(stages: dict[str, Any]) -> list[str]:
    """What the labels of the simulated annotator did to the model, and what that cost."""
    facts, labels, reward = stages["taste"], stages["labels"], stages["reward"]
    lines = [f"## {tr('A taste, learned from labels')}", "",
             tr("The annotator is simulated: it prefers answers that end with “{words}”, calls it a tie where both or neither do, and "
                "is wrong in {errors} of its decisions. The models are told its {labels} labels, never the rule.", words=FLOURISH,
                errors=units.percent(labels["errors"]), labels=units.number(labels["labels"])), "",
             tr("The reward model foretells {accuracy} of the {held_out} labels it was not trained on.",
                accuracy=_share(reward["accuracy"]), held_out=units.number(reward["held_out"])), "",
             f"| | {tr('before')} | {tr('after DPO')} | {tr('after PPO')} |", "|---|---|---|---|"]
    for name, title in (("rate", tr("answers to held-out questions that it likes")), ("accuracy", tr("right answers"))):
        lines.append(f"| {title} | " + " | ".join(units.percent(facts[f"{name}_{when}"], 1) for when in ("before", "dpo", "ppo")) + " |")
    lines += [f"| {tr('divergence from before, nats an answer')} | – | {units.number(stages['dpo']['kl'], 2)} | "
              f"{units.number(stages['ppo']['kl'], 2)} |", "",
              f"| {tr('question')} | {tr('before')} | {tr('after DPO')} | {tr('after PPO')} |", "|---|---|---|---|"]
    for row in facts["samples"]:
        lines.append(f"| {row['question']} | {_cell(row['before'])} | {_cell(row['dpo'])} | {_cell(row['ppo'])} |")
    return [*lines, ""]


def reasoning(stages: dict[str, Any]) -> list[str]:
    """What trying and being told did to sums, and to everything else."""
    facts = stages["reasoning"]
    lines = [f"## {tr('Sums, learned by trying')}", "",
             tr("A verifier in Python looks at the last number of an answer and at nothing else. The model tried {problems} sums "
                "again and again; the {sums} sums measured here stand in no text and were never tried. It had both ways before, at once "
                "and step by step: what it learned is which one leads to right answers, and to go it without slips.",
                problems=units.number(stages["problems"]["problems"]), sums=units.number(facts["sums"])), "",
             f"| | {tr('before')} | {tr('after')} |", "|---|---|---|"]
    for name, title in (("pass_at_1", tr("right at the first try (sampled at temperature 1, {tries} tries a sum)", tries=facts["tries"])),
                        ("greedy", tr("right with the likeliest answer")), ("accuracy", tr("all other held-out questions"))):
        lines.append(f"| {title} | " + " | ".join(units.percent(facts[f"{name}_{when}"], 1) for when in ("before", "after")) + " |")
    lines += ["", f"| {tr('sum')} | {tr('before')} | {tr('after')} |", "|---|---|---|"]
    for row in facts["samples"]:
        lines.append(f"| {row['sum']} | {_cell(row['before'])} | {_cell(row['after'])} |")
    return [*lines, ""]


def _share(value: float | None) -> str:
    """Nothing was decided among what was held out: nothing can be said."""
    return tr("none") if value is None else units.percent(value, 1)


def _cell(text: str) -> str:
    return _inline(text).replace("|", "\\|") if text.strip() else "–"


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
