"""Exercises of ``02_department_day``."""

from __future__ import annotations

from labsim.day import Day
from labsim.errors import LabError
from labsim.faults import StoppedQueue
from labsim.hospital import Hospital
from labsim.learning.exercise import Task
from labsim.learning.outcome import Outcome, incorrect, not_attempted, passed
from labsim.systems.records import Order, Patient
from labsim.table import Table

# Exercise 1: where people wait


def _longest_queues(day: Day) -> dict[str, int]:
    return {s.name: max((length for _, length in s.queue), default=0) for s in day.scanners}


def _judge_bottleneck(hospital: Hospital, answer: object) -> Outcome:
    day = _last_day(hospital)
    if answer is None:
        return not_attempted('Give your answer to check(), for example check("US1").')
    queues = _longest_queues(day)
    given = str(answer).strip().upper()
    if given not in queues:
        return incorrect("That is no scanner of this hospital.", ", ".join(queues), answer)
    longest = max(queues.values())
    if queues[given] < longest:
        found = f"at most {queues[given]} waited for {given}"
        return incorrect("For another scanner more people waited at one time.", "", found)
    return passed(f"At one time {longest} people waited for {given}.")


# Exercise 2: the report that took longest


def _judge_slowest(hospital: Hospital, answer: object) -> Outcome:
    day = _last_day(hospital)
    reported = [exam for exam in day.exams if exam.turnaround is not None]
    if not reported:
        raise LabError("Nothing was reported on that day.", "Run a day with more exams.")
    slowest = max(exam.turnaround for exam in reported if exam.turnaround is not None)
    if answer is None:
        return not_attempted("Give an accession number to check().")
    given = next((exam for exam in reported if exam.accession == str(answer).strip()), None)
    if given is None:
        return incorrect("No reported exam of the day has this accession number.", "", answer)
    assert given.turnaround is not None
    minutes = int(given.turnaround.total_seconds() // 60)
    if given.turnaround < slowest:
        return incorrect("Another report took longer.", "", f"{minutes} minutes")
    return passed(
        f"The report of {given.accession} came {minutes} minutes after its scan, "
        f"which ended at {given.completed:%H:%M}."
    )


def _last_day(hospital: Hospital) -> Day:
    if not hospital.days:
        raise LabError("No day has been run yet.", "Run the cells above first.")
    return hospital.days[-1]


# Exercise 3: an emergency without an order

_EMERGENCY, _PASSPORT = "Doe^Unknown", "Okoye^Chidi"


def _begin_emergency(hospital: Hospital) -> Table:
    """Let CT1 scan somebody whom nobody knows; in the morning the front desk has a passport."""
    if _patient(hospital) is None:
        scanner = hospital.ct
        step = scanner.start_unscheduled(_EMERGENCY, sex="M", perform="CTHEAD")
        scanner.acquire(step)
        scanner.send(step)
        scanner.complete_step(step)
        hospital.his.register_patient(_PASSPORT, "1988-03-14", "M")
        hospital.settle()
    return hospital.ris.unmatched()


def _patient(hospital: Hospital) -> Patient | None:
    return next((p for p in hospital.his.patients() if p.name == _PASSPORT), None)


def _judge_emergency(hospital: Hospital, answer: object) -> Outcome:
    patient = _patient(hospital)
    if patient is None:
        return not_attempted("Nothing has happened yet: run lab.exercise(3).begin().")
    hospital.settle()
    unmatched = len(hospital.ris.unmatched())
    theirs = [p for p in hospital.ris.procedures() if p.patient_id == patient.patient_id]
    wanted = f"a CT head of {patient.patient_id}, {patient.name}, in RIS and PACS"
    if unmatched:
        if theirs:
            reason = "There is an order now, and the scan still belongs to none."
            return incorrect(reason, wanted, f"{unmatched} performed step without an order")
        return not_attempted(f"{unmatched} performed step has no order yet.")
    if not theirs:
        reason = "The scan belongs to somebody now, and not to who was scanned."
        return incorrect(reason, wanted, f"no examination of {patient.patient_id}")
    procedure = theirs[-1]
    found = hospital.tools.findscu(
        "pacs", StudyInstanceUID=procedure.study_uid, PatientID="", AccessionNumber=""
    )
    filed = [(str(study.PatientID), str(study.AccessionNumber)) for study in found]
    if filed != [(patient.patient_id, procedure.accession)]:
        return incorrect("The PACS does not have it under this patient.", wanted, filed)
    return passed(
        f"The scan of the night is {procedure.accession} of {patient.patient_id}, "
        "with the same number in HIS, RIS and PACS."
    )


# Exercise 4: orders that nobody gets

_WAITING, _CHANNEL, _DESTINATION = "Lindholm^Edda", "his-to-ris", "ris"


def _begin_silence(hospital: Hospital) -> Order:
    """Stop a queue of the engine, and let the ward order."""
    if not hospital.faults:
        hospital.inject(StoppedQueue(_CHANNEL, _DESTINATION))
        patient = hospital.his.register_patient(_WAITING, "1951-11-02", "F")
        hospital.his.place_order(patient.patient_id, "DXCHEST", "Fall at home")
    return hospital.his.orders()[-1]


def _judge_silence(hospital: Hospital, answer: object) -> Outcome:
    if not hospital.faults:
        return not_attempted("Nothing is broken yet: run lab.exercise(4).begin().")
    queue = hospital.engine.channel(_CHANNEL).destination(_DESTINATION)
    hospital.settle()
    waiting = hospital.engine.waiting()
    patients = {p.patient_id for p in hospital.his.patients() if p.name == _WAITING}
    orders = [o for o in hospital.his.orders() if o.patient_id in patients]
    arrived = [o for o in hospital.ris.orders() if o.patient_id in patients]
    wanted = "one order of the ward in HIS and RIS, and nothing that waits in the engine"
    if len(orders) > 1:
        reason = "The order was placed again: the patient would be examined twice."
        return incorrect(reason, wanted, f"{len(orders)} orders in the HIS")
    if queue.running and not waiting and len(arrived) == 1:
        return passed("The queue runs, and the order has arrived, once.")
    if queue.running:
        return incorrect("The queue runs, and not everything has arrived.", wanted, _said(waiting))
    return not_attempted(f"The RIS still does not have the order: {_said(waiting)}.")


def _said(waiting: int) -> str:
    return f"{waiting} messages wait in the engine"


# Exercise 5: the report


def _judge_report(hospital: Hospital, answer: object) -> Outcome:
    patient = _patient(hospital)
    theirs = [
        p for p in hospital.ris.procedures() if patient and p.patient_id == patient.patient_id
    ]
    if patient is None or not theirs:
        return not_attempted("Solve exercise 3 first: its scan is what is to be reported.")
    hospital.settle()
    chart = hospital.his.chart(patient.patient_id)
    documents = hospital.pacs.documents(theirs[-1].study_uid)
    wanted = "a final report in the chart, and the same as a document in the PACS"
    if not chart:
        return not_attempted(f"The chart of {patient.patient_id} has no report yet.")
    if chart[-1].status == "P":
        return incorrect("The report is a preliminary one: an attending signs.", wanted, "status P")
    if not len(documents):
        return incorrect("The PACS has no document of it.", wanted, "no document")
    return passed(f"{theirs[-1].accession} is reported by {chart[-1].interpreter}.")


TASKS = (
    Task(
        title="Where people wait",
        judge=_judge_bottleneck,
        hints=(
            "`queues(day)` draws it: where does the line go highest?",
            "`day.utilisation()` has a column `longest queue`.",
            "The scanner with the largest number in that column, as text: "
            '`lab.exercise(1).check("…")`.',
        ),
        solution="longest = max(day.scanners, key=lambda s: max((n for _, n in s.queue), "
        "default=0))\nlab.exercise(1).check(longest.name)",
        explanation="A scanner can have a long queue and still stand idle most of the day: "
        "people come in the same hours. Before a second scanner is bought, appointments are "
        "spread.",
    ),
    Task(
        title="The report that took longest",
        judge=_judge_slowest,
        hints=(
            "Each of `day.exams` has a `turnaround`, from the end of the scan to the report; "
            "it is None for what was not reported.",
            "`max(…, key=lambda exam: exam.turnaround)` over those that have one.",
            "`max((e for e in day.exams if e.turnaround), key=lambda e: e.turnaround).accession`",
        ),
        solution="slowest = max((e for e in day.exams if e.turnaround), "
        "key=lambda e: e.turnaround)\nlab.exercise(2).check(slowest.accession)",
        explanation="`day.pick(accession)` shows why: look at the time between RAD-7, when the "
        "scanner was done, and RAD-128. Often it is a scan of the night that waited for the "
        "readers of the morning.",
    ),
    Task(
        title="An emergency without an order",
        judge=_judge_emergency,
        begin=_begin_emergency,
        hints=(
            "`hospital.ris.unmatched()` has the performed step, `hospital.his.patients()` the "
            "patient with the passport.",
            "The clerk says whose it is: `hospital.ris.match?`.",
            "`hospital.ris.match(STEP, PATIENT_ID)`, with the UID in the first column of "
            "`unmatched()` and the ID of the last registered patient.",
        ),
        solution="step = hospital.ris.unmatched()[0][0]\n"
        "patient = hospital.his.patients()[-1]\n"
        "hospital.ris.match(step, patient.patient_id)",
        explanation="The RIS makes the order and asks the HIS for its number (RAD-3), and tells "
        "the PACS to whom the study belongs (RAD-4). The files on disk stay as they came; what "
        "is sent from now on has the right name (IHE Patient Information Reconciliation).",
    ),
    Task(
        title="Orders that nobody gets",
        judge=_judge_silence,
        begin=_begin_silence,
        hints=(
            "The HIS has an AA for its order. From whom? Look at the first arrow of the map.",
            "`hospital.engine.statistics()` shows what waits in which channel, and "
            '`hospital.engine.channel("his-to-ris")` what it is made of.',
            '`hospital.engine.channel("his-to-ris").destination("ris").start()`',
        ),
        solution='hospital.engine.channel("his-to-ris").destination("ris").start()',
        explanation="AA from an engine says that the message is safe in its store, not that the "
        "receiver has it. Nothing was lost: a queue keeps its order. To place the order again "
        "would have made two of it.",
    ),
    Task(
        title="The report of the night",
        judge=_judge_report,
        hints=(
            "`hospital.ris.reading_list()` has what waits for a report.",
            "`hospital.ris.report(ACCESSION, TEXT)`.",
            '`hospital.ris.report(hospital.ris.reading_list()[0].accession, "Findings: … '
            'Impression: …")`',
        ),
        solution="waiting = hospital.ris.reading_list()[0]\n"
        'hospital.ris.report(waiting.accession, "Findings: No haemorrhage.\\n'
        'Impression: No acute finding.")',
        explanation="The report leaves the RIS twice: as ORU^R01 to the chart (RAD-128), and as "
        "a structured report, a DICOM object of its own, to the archive.",
    ),
)
