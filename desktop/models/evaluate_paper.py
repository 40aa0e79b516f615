"""The report of an evaluation to hand on: one HTML file without anything from elsewhere, or its figures and examples as JSON. No Qt."""

from html import escape
from pathlib import Path

from desktop.models.evaluate_result import FORMS, Result, check_words
from engine.contract.words import tr
from engine.project import files
from engine.project.artifacts import Artifact

STYLE = """body{font:15px/1.5 system-ui,sans-serif;color:#1A2025;background:#F7F8F9;margin:0}
main{max-width:960px;margin:0 auto;padding:32px 24px}
h1{font-size:24px;margin:0}h2{font-size:17px;margin:28px 0 6px}p{color:#4E5861;margin:4px 0}
table{border-collapse:collapse;width:100%;background:#fff;border:1px solid #DDE2E6}
th,td{text-align:left;padding:8px 12px;border-bottom:1px solid #DDE2E6;vertical-align:top}th{font-weight:500;color:#4E5861}
small{color:#606A73}.better{color:#1B6B41}.worse{color:#B02A1E}
.bar{background:#DDE2E6;height:8px;width:160px}.bar i{display:block;height:8px;background:#0E6780}
pre{white-space:pre-wrap;margin:0;font:inherit}"""


def html(result: Result, examples: list[dict[str, object]] | None = None) -> str:
    """The whole page. Text of models is escaped: it is no markup."""
    models = "".join(f"<th>{escape(title)}</th>" for _, title in result.models)
    parts = [f"<h1>{escape(result.title)}</h1>", f"<p>{escape('. '.join(x for x in (*result.goes_in(), *result.came_out()) if x))}</p>",
             f"<table><tr><th>{escape(tr('Suite'))}</th>{models}</tr>"]
    for line in result.lines():
        cells = ""
        for figure in line.figures:
            said = {1: f" <span class='better'>▲ {escape(tr('better'))}</span>", -1: f" <span class='worse'>▼ {escape(tr('worse'))}</span>"}
            cells += f"<td>{escape(figure.words)}{said.get(figure.mark, '')}<br><small>{escape(figure.note)}</small></td>"
        parts.append(f"<tr><td>{escape(line.title)}<br><small>{escape(line.unit)}</small></td>{cells}</tr>")
    said = tr("Ranges hold in 95 of 100 cases. A difference is marked only where it is more than chance.")
    parts.append(f"</table><p><small>{escape(said)}</small></p>")
    for line in result.lines():
        rows = ""
        for f in result.bars(line.id):
            share = f"<div class='bar'><i style='width:{min(1.0, f.value or 0.0) * 100:.1f}%'></i></div>" if f.share else ""
            note = ", ".join(x for x in (FORMS.get(f.form, f.form), f.note) if x)
            rows += (f"<tr><td>{escape(result.model_title(f.model))}</td><td>{share}</td><td>{escape(f.words)} "
                     f"<small>{escape(note)}</small></td></tr>")
        said = "".join(f"<p>{escape(words)}</p>" for words in result.sentences(line.id))
        broken = "".join(f"<p>{escape(title)}: {escape(', '.join(f'{n} {w}' for n, _, w in lines))}</p>" for title,
                         lines in result.broken(line.id))
        parts.append(f"<h2>{escape(line.title)}</h2><p>{escape(line.sentence)}</p><table>{rows}</table>{said}{broken}")
        parts.append(_examples(result, line.id, examples or []))
    return (f"<!doctype html><html><head><meta charset='utf-8'><title>{escape(result.title)}</title><style>{STYLE}</style></head>"
            f"<body><main>{''.join(parts)}</main></body></html>")


def _examples(result: Result, suite: str, examples: list[dict[str, object]]) -> str:
    """Some answers at random, right and wrong alike."""
    rows = ""
    for each in examples:
        if each.get("suite") != suite:
            continue
        for row in list(each.get("random") or ())[:3]:  # type: ignore[call-overload]
            if "said" in row:
                mark = tr("right") if row.get("score", 0) >= 0.5 else ", ".join(check_words(x) for x in str(row.get("why", "")).split(", ")
                                                                                if x) or tr("wrong")
                rows += (f"<tr><td>{escape(result.model_title(str(each['model'])))}</td>"
                         f"<td><pre>{escape(str(row['prompt'])[:600])}</pre></td>"
                         f"<td><pre>{escape(str(row['said'])[:600])}</pre></td><td>{escape(mark)}</td></tr>")
    head = "".join(f"<th>{escape(words)}</th>" for words in (tr("Model"), tr("Asked"), tr("Answer"), tr("Graded")))
    return f"<p>{escape(tr('Some answers, drawn at random'))}</p><table><tr>{head}</tr>{rows}</table>" if rows else ""


def write(made: Artifact, result: Result, path: Path) -> Path:
    """The report beside the person's other files: JSON for a name that ends so, else HTML."""
    told = files.read_json(made.path / "report.json", {})
    if path.suffix.lower() == ".json":
        files.write_json(path, {"title": made.title, "id": made.id, "spec": made.spec, **told})
    else:
        path = path if path.suffix.lower() in (".html", ".htm") else path.with_name(f"{path.name}.html")
        files.write_bytes(path, html(result, told.get("examples")).encode())
    return path


def summary(result: Result) -> str:
    """The first figures in a line, for a list: "72 %, 64 %"."""
    for line in result.lines():
        shown = [f.words for f in line.figures if f.value is not None]
        if shown:
            return tr("{suite}: {figures}", suite=line.title, figures=", ".join(shown[:4]))
    return ", ".join(s["title"] for s in result.suites)
