"""Settings: how the window looks, which Python has the engine, where things are kept. Each is in force at once."""

import sys
from typing import Any

from PySide6.QtCore import Qt, QTimer, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QWidget

from desktop.context import AppContext
from desktop.pages.settings.serve_panel import ServePanel
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.columns import Columns
from desktop.widgets.fields import Choice, Switch, TextField
from desktop.widgets.layout import col, row
from desktop.widgets.machine_panel import MachineParts
from desktop.widgets.notes import NoteSlot
from desktop.widgets.page import Page
from desktop.widgets.page_header import PageHeader
from desktop.widgets.panel import Panel, heading, rule
from desktop.widgets.text import Text, small
from engine import __version__
from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.project import launch, layout


class SettingsPage(Page):
    def __init__(self, context: AppContext) -> None:
        super().__init__(context)
        theme = self.theme
        self._mode = Segments(theme, (("system", tr("As the system")), ("light", tr("Light")), ("dark", tr("Dark"))), theme.mode,
                              name=tr("Theme"), on_change=context.set_theme)
        self._scale = Segments(theme, ((1.0, "100 %"), (1.25, "125 %"), (1.5, "150 %")), theme.scale, name=tr("Text size"),
                               on_change=context.set_scale)
        look = Panel(heading(tr("Look")), self._line(tr("Theme"), tr("Light, dark, or whatever the system has."), self._mode), rule(),
                     self._line(tr("Text size"), tr("Everything grows with it. Pages are built anew, runs are not touched."), self._scale),
                     rule(), self._line(tr("Language"), tr("More can be added as catalogues of messages."), Text("English")), gap=0)

        self._python = TextField(str(context.settings.get("engine_python") or ""), placeholder=launch.interpreter(), name=tr("Python"))
        self._python.editingFinished.connect(self._python_edited)
        self._said = NoteSlot(theme)
        self._check = Button(theme, tr("Check"), on_click=self._check_python)
        choose = Button(theme, tr("Choose…"), icon="folder", on_click=self._choose_python)
        engine = Panel(heading(tr("Engine")), Text(tr("Python that has the engine"), "medium"), row((self._python, 1), choose, self._check),
                       small(tr("Runs and the chat server start with it. Empty: the Python this window runs in, {python}.",
                                python=sys.executable), wrap=True), self._said, gap=6)

        home = layout.user_state()
        place = Text(str(home), "mono", elide=True, align=Qt.AlignmentFlag.AlignRight)
        kept = Panel(heading(tr("Where things are")), self._line(tr("Your own folder"),
                     tr("Settings, queue, crash log, locks. FLEDGE_HOME moves it."), place, stretch=True), rule(),
                     row(Button(theme, tr("Open folder"), icon="folder",
                                on_click=lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(str(home)))), "+",
                         small(tr("Fledge {version}, Python {python}", version=__version__, python=sys.version.split()[0])),
                         pad=(0, 12, 0, 0)), gap=0)

        self._measure = Button(theme, tr("Measure"), "quiet", on_click=lambda: context.probe.ask(measure=True))
        self._parts = MachineParts(theme)
        self._device = Choice(theme, [("auto", tr("Automatic"))], context.device, name=tr("Device"))
        self._device.changed.connect(lambda: context.set_device(str(self._device.value())))
        machine = Panel(heading(tr("This machine"), "", self._measure), self._parts, rule(), Text(tr("Train on"), "medium"), self._device,
                        small(tr("Automatic takes the best device. Runs that are under way stay where they are."), wrap=True),
                        pad=(16, 8, 16, 16), gap=10)
        self.serve = ServePanel(context)
        self.network = Switch(theme, context.settings.get("network") is True, name=tr("Network"))
        self.network.changed.connect(self._network_changed)
        self._net = Panel(row(Text(tr("Network"), "section"), "+", self.network, gap=10),
                          small(tr("Off, Fledge contacts nobody. On, it may fetch a model from the Hugging Face hub when you ask for one; "
                                   "nothing else, and nothing is sent but its name."), wrap=True), pad=(16, 10, 16, 14), gap=6)
        self.set_body(PageHeader(tr("Settings"), tr("How Fledge looks and where it keeps things. Changes are in force at once.")), 18,
                      Columns(theme, col(look, self.serve, self._net, engine, kept, "+", gap=12), col(machine, "+", gap=0)), "+")
        context.machine_changed.connect(self._show_machine)
        context.probe.busy_changed.connect(self._show_machine)

    def opened(self, **args: Any) -> None:
        self._mode.set(self.theme.mode)
        self._show_machine()
        self.serve.refresh()
        self.network.set(self.context.settings.get("network") is True)
        parts = {"serve": (self.serve, self.serve.switch), "network": (self._net, self.network)}
        if args.get("section") in parts:
            QTimer.singleShot(0, self, lambda: self._show_part(*parts[str(args["section"])]))
        if self.context.machine is None:
            self.context.probe.ask()

    def _show_part(self, part: QWidget, switch: QWidget) -> None:
        """One switch is on the screen and has the focus."""
        self.scroll.ensureWidgetVisible(part, 0, 24)
        switch.setFocus()

    def _network_changed(self) -> None:
        self.context.settings.set("network", True if self.network.value() else None)
        self.context.settings.flush()  # runs read the file

    def _line(self, label: str, help: str, control: QWidget, stretch: bool = False) -> QWidget:
        words = col(Text(label, "medium"), small(help, wrap=True), gap=1)
        return row((words, 1), (control, 1) if stretch else control, gap=16, pad=(0, 8, 0, 8))

    def _show_machine(self) -> None:
        busy = self.context.probe.busy
        self._parts.set(self.context.machine, self.context.project.dir if self.context.project is not None else layout.user_state())
        known = self.context.machine.devices if self.context.machine is not None else ()
        self._device.set_choices([("auto", tr("Automatic")), *((d.id, d.line()) for d in known)])
        self._device.set(self.context.device)
        self._measure.setEnabled(not busy)
        self._measure.set_words(tr("Measuring…") if busy else tr("Measure"))

    def _choose_python(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, tr("The Python that has the engine"), str(self._python.value() or sys.executable))
        if chosen:
            self._python.set(chosen)
            self._python_edited()
            self._check_python()

    def _python_edited(self) -> None:
        self.context.settings.set("engine_python", self._python.value().strip() or None)
        self.context.settings.flush()  # workers read the file
        self._said.clear()

    def _check_python(self) -> None:
        python = self._python.value().strip() or launch.interpreter()
        self._check.setEnabled(False)
        self._check.set_words(tr("Checking…"))
        self.context.jobs.run(lambda: launch.handshake(python), then=lambda _: self._checked(None), failed=self._checked, owner=self)

    def _checked(self, wrong: Exception | None) -> None:
        self._check.setEnabled(True)
        self._check.set_words(tr("Check"))
        if isinstance(wrong, FledgeError):
            self._said.show_error(wrong)
        elif wrong is not None:
            raise wrong
        else:
            self._said.clear()
            self.context.toast(tr("The engine answers, version {version}", version=__version__))
