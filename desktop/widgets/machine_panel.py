"""This machine: its devices, memory and disk, each with a bar; and Measure, which finds out how fast it is. Used by Home and the wizard."""

import shutil
from pathlib import Path

import psutil
from PySide6.QtWidgets import QWidget

from desktop.theme.theme import Theme
from desktop.widgets.bar import Bar
from desktop.widgets.layout import clear, col, fill, row
from desktop.widgets.text import Icon, Text, small
from engine.contract.machine import DeviceFacts, MachineFacts
from engine.contract.units import number, size
from engine.contract.words import tr


def speed_words(device: DeviceFacts) -> str:
    """The measured matrix-product peak: "152 TFLOP/s in bfloat16", or that it was not measured."""
    peak = device.peak(device.dtype)
    if not peak:
        return tr("speed not measured yet")
    scaled, unit = (peak / 1e12, "TFLOP/s") if peak >= 1e12 else (peak / 1e9, "GFLOP/s")
    return tr("{rate} {unit} in {dtype}", rate=number(scaled, 0 if scaled >= 10 else 1), unit=unit, dtype=device.dtype)


class MachineParts(QWidget):
    """The lines of the panel: the accelerators, or the processor where there is none. The disk shown is the one of `folder`."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._box = col(gap=14, host=self).layout()

    def set(self, facts: MachineFacts | None, folder: Path) -> None:
        clear(self._box)
        memory = psutil.virtual_memory()
        lines: list[QWidget] = []
        devices = facts.devices if facts is not None else ()
        for device in [d for d in devices if d.kind != "cpu"] or devices:
            if device.kind == "cpu":
                threads = tr("{count} threads", count=device.threads)
                lines.append(self._part("chip", device.title, threads, speed_words(device), None))
            else:
                used = device.memory_total - device.memory_free
                note = f"{speed_words(device)}, {tr('{used} in use', used=size(used))}"
                lines.append(self._part("chip", device.title, size(device.memory_total), note, used / max(1, device.memory_total)))
        if not lines:
            threads = tr("{count} threads", count=psutil.cpu_count() or 1)
            lines.append(self._part("chip", tr("Processor"), threads, tr("devices not looked at yet"), None))
        lines.append(self._part("memory", tr("Memory"), size(memory.total), tr("{free} free", free=size(memory.available)),
                                1 - memory.available / memory.total))
        place = next(p for p in (folder, *folder.parents) if p.exists())
        disk = shutil.disk_usage(place)
        used = 1 - disk.free / disk.total
        lines.append(self._part("folder", tr("Disk"), size(disk.total), tr("{free} free", free=size(disk.free)), used))
        fill(self._box, tuple(lines), 14)

    def _part(self, icon: str, name: str, value: str, note: str, share: float | None) -> QWidget:
        bar = Bar(self._theme, share, height=4, name=name) if share is not None else None
        words = col(row((Text(name, "medium", elide=True), 1), Text(value), gap=8), bar, small(note, elide=True), gap=4)
        return row(col(1, Icon(self._theme, icon), "+", gap=0), (words, 1), gap=10)
