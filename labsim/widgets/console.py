"""The console of a scanner in a notebook: pick, start, acquire, complete, send."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets
from pydicom.dataset import Dataset

from labsim.errors import LabError
from labsim.systems.catalogue import examinations
from labsim.systems.modality import Modality
from labsim.systems.performed_step import DISCONTINUATION_REASONS

_WIDE = ipywidgets.Layout(width="100%", height="9em")


class ScannerConsole(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """Worklist, steps and buttons of one scanner.

    Every button calls one method of `Modality`, so a script can do all that a
    click does; the console itself keeps nothing. All controls are plain labelled
    inputs: they can be reached by keyboard and are read out by a screen reader.

    Parameters
    ----------
    scanner : Modality
        Whose console it is.

    Attributes
    ----------
    said : str
        What the last click came to, as shown.
    """

    def __init__(self, scanner: Modality) -> None:
        self.scanner = scanner
        self.said = ""
        self.worklist = ipywidgets.SelectMultiple(description="Worklist", layout=_WIDE)
        self.caption = ipywidgets.Label()
        self.perform = _choice("Perform", [("as ordered", ""), *_performable(scanner)])
        self.name = ipywidgets.Text(description="Emergency", placeholder="Family^Given")
        self.patient_id = ipywidgets.Text(description="Patient ID", placeholder="if known")
        self.steps = ipywidgets.Select(description="Steps", layout=_WIDE)
        self.reason = _choice("Reason", [(f"{code} {words}", code) for code, words in _reasons()])
        self.status = ipywidgets.HTML()
        super().__init__(
            [
                self.caption,
                self.worklist,
                ipywidgets.HBox([self._button("Refresh", self.refresh), self.perform]),
                ipywidgets.HBox(
                    [
                        self._button("Start", self.start),
                        self.name,
                        self.patient_id,
                        self._button("Start unscheduled", self.start_unscheduled),
                    ]
                ),
                self.steps,
                ipywidgets.HBox(
                    [
                        self._button("Acquire", self.acquire),
                        self._button("Complete", self.complete),
                        self._button("Append", self.append),
                    ]
                ),
                ipywidgets.HBox([self._button("Discontinue", self.discontinue), self.reason]),
                ipywidgets.HBox(
                    [self._button("Send", self.send), self._button("Send again", self.resend)]
                ),
                self.status,
            ]
        )
        self._do(self.refresh)

    # What the buttons do; each returns what it came to

    def refresh(self) -> str:
        """Ask for the worklist."""
        listed = self.scanner.worklist()
        self.caption.value = listed.caption
        return f"{len(listed)} entries. {listed.problem}".strip()

    def start(self) -> str:
        """Begin the chosen entries, several of one patient as one step."""
        chosen = [self._entries[number] for number in self.worklist.value]
        if not chosen:
            raise LabError("No entry of the worklist is chosen.", "Choose one, then Start.")
        self.scanner.start_step(chosen, perform=self.perform.value)
        return "Step begun."

    def start_unscheduled(self) -> str:
        """Begin without an entry, under the name that is typed."""
        self.scanner.start_unscheduled(
            self.name.value, patient_id=self.patient_id.value, perform=self.perform.value
        )
        return "Unscheduled step begun."

    def acquire(self) -> str:
        """Take the images of the chosen step."""
        return f"{len(self.scanner.acquire(self._step()))} images acquired."

    def complete(self) -> str:
        """End the chosen step."""
        self.scanner.complete_step(self._step())
        return "Step completed."

    def append(self) -> str:
        """Begin another step of the examination of the chosen one."""
        self.scanner.append(self._step(), perform=self.perform.value)
        return "Step appended."

    def discontinue(self) -> str:
        """Give the chosen step up, for the chosen reason."""
        self.scanner.discontinue_step(self._step(), self.reason.value)
        return "Step discontinued."

    def send(self) -> str:
        """Send what waits."""
        return str(self.scanner.send())

    def resend(self) -> str:
        """Send all images of the chosen step's examination again."""
        return str(self.scanner.resend(self._step()))

    # The view

    def _button(self, label: str, action: Callable[[], str]) -> ipywidgets.Button:
        button = ipywidgets.Button(description=label, tooltip=action.__doc__ or label)
        button.on_click(lambda _: self._do(action))
        return button

    def _do(self, action: Callable[[], str]) -> None:
        self._say("Working…")
        try:
            said = action()
        except LabError as error:
            said = f"⚠ {error}"
        self._show()
        self._say(said)

    def _say(self, text: str) -> None:
        self.said = text
        safe = text.replace("&", "&amp;").replace("<", "&lt;")
        self.status.value = f"<p role='status'>{safe}</p>"

    def _show(self) -> None:
        """Show what the scanner has now; what was chosen stays chosen if it is still there."""
        chosen = self.steps.value
        self._entries = self.scanner.kept_worklist()
        self.worklist.options = [(_line(e), n) for n, e in enumerate(self._entries)]
        rows = self.scanner.steps().rows
        options = [(" · ".join(map(str, row[:-1])), str(row[-1])) for row in rows]
        self.steps.options = options
        known = [uid for _, uid in options]
        if chosen in known:
            self.steps.value = chosen
        elif known:
            self.steps.value = known[-1]

    def _step(self) -> str:
        if not self.steps.value:
            raise LabError("No step is chosen.", "Start one from the worklist.")
        return str(self.steps.value)


def console(scanner: Modality) -> ScannerConsole:
    """Return the console of a scanner, to be shown in a notebook.

    Parameters
    ----------
    scanner : Modality
        Such as ``hospital.ct``.
    """
    return ScannerConsole(scanner)


def _choice(label: str, options: list[tuple[str, str]]) -> ipywidgets.Dropdown:
    return ipywidgets.Dropdown(description=label, options=options)


def _performable(scanner: Modality) -> list[tuple[str, str]]:
    known = [e for e in examinations() if e.modality == scanner.modality]
    return [(examination.description, examination.code) for examination in known]


def _reasons() -> list[tuple[str, str]]:
    """Return the reasons, the unspecified one first."""
    first = "110513"
    return [(first, DISCONTINUATION_REASONS[first])] + [
        pair for pair in DISCONTINUATION_REASONS.items() if pair[0] != first
    ]


def _line(entry: Dataset) -> str:
    step = entry.ScheduledProcedureStepSequence[0]
    time = str(step.get("ScheduledProcedureStepStartTime") or "")[:4]
    parts = (
        entry.AccessionNumber, time, entry.PatientName, entry.RequestedProcedureDescription
    )  # fmt: skip
    return " · ".join(str(part or "") for part in parts)
