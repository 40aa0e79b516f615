"""A recent project in one line: how far it is, its model's size, its disk space. No Qt; read in a thread."""

import time
from dataclasses import dataclass
from pathlib import Path

from engine.contract.errors import FledgeError
from engine.contract.units import percent
from engine.contract.words import tr
from engine.project.recent import Recent


@dataclass(frozen=True)
class ProjectGlance:
    """`id` is the folder. `stage`, `icon` and `tone` say how far it is; sizes are 0 while unknown; `there` is false for a lost folder."""

    id: str
    name: str
    opened: float
    stage: str = ""
    icon: str = ""
    tone: str = "text2"
    parameters: int = 0
    size: int = 0
    there: bool = True
    generated: bool = False


def unread(entry: Recent) -> ProjectGlance:
    """What is known before its folder was looked at."""
    return ProjectGlance(entry.path, entry.name, entry.opened)


def read(entry: Recent) -> ProjectGlance:
    """Look into the folder; a lost or broken one says so instead of failing."""
    if not entry.exists:
        return ProjectGlance(entry.path, entry.name, entry.opened, tr("not found"), "warn", "warn", there=False)
    from desktop.models.survey import BROKEN, survey  # loaded with the first project, not with the window
    from engine.pipeline import STAGES
    from engine.project.project import Project
    try:
        project = Project.open(entry.path)
        found = survey(project)
    except FledgeError:
        return ProjectGlance(entry.path, entry.name, entry.opened, tr("cannot be read"), "error", "danger")
    stage, icon, tone = tr("Empty"), "folder", "text2"
    titles = {stage.id: stage.verb for stage in STAGES.values()} | {s.id: s.title for s in found.stages}  # beside the rail: Import, Export
    last = max(found.runs, key=lambda r: r.created, default=None)
    running = found.running
    done = [s for s in found.stages if s.state in ("done", "stale")]
    if running is not None:
        stage, icon, tone = f"{titles.get(running.stage, running.stage)}, {percent(running.share)}", "pulse", "accent"
    elif last is not None and last.status in BROKEN:
        words = {"failed": tr("{stage} stopped", stage=titles.get(last.stage, last.stage)),
                 "crashed": tr("{stage} crashed", stage=titles.get(last.stage, last.stage)),
                 "interrupted": tr("{stage} interrupted", stage=titles.get(last.stage, last.stage))}
        stage, icon, tone = words[last.status], "warn", "warn"
    elif done:
        stage, icon = tr("{stage} done", stage=done[-1].title), "check"
    models = found.of_kind("model")
    parameters = int(models[0].facts.get("parameters", 0) or 0) if models else 0
    return ProjectGlance(entry.path, project.name, entry.opened, stage, icon, tone, parameters, project.size(), True,
                         project.origin in ("demo", "generated"))


def short_path(path: str) -> str:
    """The end of a folder's path, as people say it: "Documents/gazette"; the whole stands in the tooltip."""
    return "/".join(Path(path).parts[-2:]).replace("//", "/")


def when(opened: float, now: float | None = None) -> str:
    """now, 5 min ago, today 14:38, yesterday, 18 Nov, 18 Nov 2025."""
    now = time.time() if now is None else now
    then, today = time.localtime(opened), time.localtime(now)
    if now - opened < 60:
        return tr("now")
    if now - opened < 3600:
        return tr("{count} min ago", count=int((now - opened) // 60))
    if then[:3] == today[:3]:
        return time.strftime("%H:%M", then)
    if time.localtime(now - 86400)[:3] == then[:3]:
        return tr("yesterday")
    return f"{then.tm_mday} " + time.strftime("%b" if then.tm_year == today.tm_year else "%b %Y", then)  # Windows knows no %-d
