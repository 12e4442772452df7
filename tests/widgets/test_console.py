"""The console of a scanner, operated as a learner does: by its buttons."""

from __future__ import annotations

import ipywidgets
import pytest

from labsim import Hospital
from labsim.widgets import ScannerConsole, console

pytestmark = pytest.mark.usefixtures("small_scans")


def press(shown: ScannerConsole, label: str) -> str:
    """Click a button as the browser does, and return what the console says."""
    todo: list[ipywidgets.Widget] = [shown]
    while todo:
        widget = todo.pop()
        if isinstance(widget, ipywidgets.Button) and widget.description == label:
            widget.click()
            return shown.said
        todo += getattr(widget, "children", ())
    raise AssertionError(f"no button {label!r}")


def test_an_examination_is_done_by_clicks_alone(hospital: Hospital) -> None:
    patient = hospital.his.register_patient()
    order = hospital.his.place_order(patient.patient_id)
    procedure = hospital.ris.schedule(order.placer_order)
    shown = console(hospital.ct)
    assert shown.said == "1 entries."
    [(line, number)] = shown.worklist.options
    assert procedure.accession in line
    shown.worklist.value = (number,)
    assert [press(shown, label) for label in ("Start", "Acquire", "Complete", "Send")] == [
        "Step begun.",
        "4 images acquired.",
        "Step completed.",
        "4 images sent, none waiting.",
    ]
    assert press(shown, "Send again") == "4 images sent, none waiting."
    assert shown.worklist.options == ()
    assert "COMPLETED" in shown.steps.options[0][0]
    assert hospital.ris.procedure(procedure.accession).status == "COMPLETED"
    assert hospital.pacs.count(procedure.study_uid) == 4


def test_an_emergency_is_typed_and_given_up(hospital: Hospital) -> None:
    shown = console(hospital.ct)
    shown.name.value, shown.perform.value = "Unknown^Male", "CTHEAD"
    press(shown, "Start unscheduled")
    shown.reason.value = "110504"
    assert press(shown, "Discontinue") == "Step discontinued."
    [row] = hospital.ris.performed_steps()
    assert (row[3], row[7], row[8]) == ("DISCONTINUED", "CT head", "Patient died")


def test_a_mistake_is_answered_by_a_sentence(hospital: Hospital) -> None:
    shown = console(hospital.ct)
    assert press(shown, "Start").startswith("⚠ No entry of the worklist is chosen.")
    assert press(shown, "Acquire").startswith("⚠ No step is chosen.")
    assert "role='status'" in shown.status.value
    shown.name.value = "<b>"
    press(shown, "Start unscheduled")
    shown.status.value = ""
    shown._say("<b>")
    assert "<b>" not in shown.status.value


def test_every_control_has_a_label(hospital: Hospital) -> None:
    shown = console(hospital.ct)
    todo: list[ipywidgets.Widget] = list(shown.children)
    while todo:
        widget = todo.pop()
        todo += getattr(widget, "children", ())
        if isinstance(widget, (ipywidgets.Button, ipywidgets.Text, ipywidgets.Dropdown)):
            assert widget.description
