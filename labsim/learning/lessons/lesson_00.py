"""Exercises of ``00_start_here``."""

from __future__ import annotations

from labsim.hospital import Hospital
from labsim.learning.exercise import Task
from labsim.learning.outcome import Outcome, incorrect, not_attempted, passed

_NAME = "Rivera^Alex"


def _judge_own_patient(hospital: Hospital, answer: object) -> Outcome:
    patients = [p for p in hospital.his.patients() if p.name == _NAME]
    if not patients:
        return not_attempted(f"The HIS has no patient {_NAME} yet.")
    patient = patients[-1]
    orders = [o for o in hospital.his.orders() if o.patient_id == patient.patient_id]
    wanted = "a CT head of Rivera^Alex, from order to report"
    if not orders:
        return incorrect("The patient is registered, but nothing is ordered.", wanted, "no order")
    heads = [order for order in orders if order.code == "CTHEAD"]
    if not heads:
        return incorrect(
            "Something else was ordered.", wanted, ", ".join(o.description for o in orders)
        )
    order = heads[-1]
    procedures = [p for p in hospital.ris.procedures() if p.placer_order == order.placer_order]
    if not procedures:
        return incorrect("The order is not scheduled.", wanted, f"order {order.placer_order} waits")
    procedure = procedures[-1]
    images = hospital.pacs.count(procedure.study_uid)
    if not images:
        return incorrect("The PACS has no images.", wanted, f"examination {procedure.status}")
    if order.status != "RESULTED":
        return incorrect("The chart has no report yet.", wanted, f"examination {procedure.status}")
    return passed(
        f"{images} images are in the PACS, and the report is in the chart of {patient.patient_id}."
    )


TASKS = (
    Task(
        title="A patient of your own",
        judge=_judge_own_patient,
        hints=(
            "`hospital.exam(…)` takes one patient from registration to report. "
            "What it can be told, `hospital.exam?` says.",
            'The examination is chosen by its code: `"CTHEAD"` is a CT of the head.',
            'The name is written the way HL7 and DICOM both write it: `name="Rivera^Alex"`.',
        ),
        solution='hospital.exam("CTHEAD", name="Rivera^Alex")',
        explanation="The check looked into the HIS, the RIS and the PACS; "
        "how you got them there is up to you.",
    ),
)
