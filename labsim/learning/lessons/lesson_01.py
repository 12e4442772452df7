"""Exercises of ``01_one_exam``."""

from __future__ import annotations

from datetime import timedelta

from pydicom import dcmread

from labsim.errors import LabError
from labsim.exam import Exam
from labsim.faults import UnknownAeTitle
from labsim.hospital import Hospital
from labsim.learning.exercise import Task
from labsim.learning.outcome import Outcome, incorrect, not_attempted, passed
from labsim.systems.catalogue import examination
from labsim.systems.records import Procedure

# Exercise 1: RAD-12

_CORRECT_NAME = "Novák^Ada"


def _judge_name(hospital: Hospital, answer: object) -> Outcome:
    if not hospital.his.patients():
        return not_attempted("No patient is registered yet: run the cells above first.")
    patient = hospital.his.patients()[0]
    in_ris = hospital.ris.patient(patient.patient_id).name
    archived = hospital.pacs.patient(patient.patient_id)
    in_pacs = archived.name if archived else "(not there)"
    found = f"HIS {patient.name}, RIS {in_ris}, PACS {in_pacs}"
    names = {patient.name, in_ris, in_pacs}
    if names == {_CORRECT_NAME}:
        update = hospital.journal.events(transaction="RAD-12", patient_id=patient.patient_id)
        return passed(
            f"HIS, RIS and PACS agree on {_CORRECT_NAME}.", *[event.seq for event in update[:2]]
        )
    if _CORRECT_NAME not in names and not hospital.journal.events(transaction="RAD-12"):
        return not_attempted(f"Patient {patient.patient_id} is still {patient.name} everywhere.")
    return incorrect("The systems do not all have the right name.", _CORRECT_NAME, found)


# Exercise 2: scheduling, RAD-5


def _judge_tomorrow(hospital: Hospital, answer: object) -> Outcome:
    tomorrow = hospital.journal.now() + timedelta(days=1)
    date = tomorrow.strftime("%Y%m%d")
    entries = hospital.tools.findscu(
        "ris", ScheduledStationAETitle=hospital.ct.ae_title, ScheduledProcedureStepStartDate=date
    )
    heads = [p for p in hospital.ris.procedures() if p.code == "CTHEAD"]
    ordered = [o for o in hospital.his.orders() if o.code == "CTHEAD"]
    wanted = f"one CT head on the worklist of {hospital.ct.ae_title}, {date} at 083000"
    if not ordered and not entries:
        return not_attempted("No CT head is ordered yet.")
    if not heads:
        return incorrect("The order has not been scheduled.", wanted, "an order in the RIS")
    if len(entries) != 1:
        days = ", ".join(p.start for p in heads)
        return incorrect(
            f"The worklist of tomorrow has {len(entries)} entries.", wanted, f"scheduled for {days}"
        )
    step = entries[0].ScheduledProcedureStepSequence[0]
    what, time = str(entries[0].RequestedProcedureDescription), step.ScheduledProcedureStepStartTime
    if what != "CT head" or not str(time).startswith("0830"):
        return incorrect("Not the right examination or time.", wanted, f"{what} at {time}")
    return passed(f"The scanner will be offered {entries[0].AccessionNumber} at half past eight.")


# Exercise 3: RAD-7


def _judge_given_up(hospital: Hospital, answer: object) -> Outcome:
    started = [p for p in hospital.ris.procedures() if p.status in ("IN PROGRESS", "DISCONTINUED")]
    wanted = "an examination DISCONTINUED in the RIS, with no images in the PACS"
    if not started:
        return not_attempted("No examination has been begun and given up.")
    given_up = [p for p in started if p.status == "DISCONTINUED"]
    if not given_up:
        found = f"{started[-1].accession} is {started[-1].status}"
        return incorrect("The RIS still thinks that the scan is running.", wanted, found)
    images = hospital.pacs.count(given_up[-1].study_uid)
    if images:
        return incorrect("Images were sent all the same.", wanted, f"{images} images in the PACS")
    return passed(f"The RIS knows that {given_up[-1].accession} was given up.")


# Exercise 4: stored values and Hounsfield units

ROW, COLUMN = 128, 60


def _judge_hounsfield(hospital: Hospital, answer: object) -> Outcome:
    procedure = _first_reported(hospital)
    first = hospital.pacs.paths(procedure.study_uid)[0]
    image = dcmread(first)
    stored = int(image.pixel_array[ROW, COLUMN])
    wanted = stored * float(image.RescaleSlope) + float(image.RescaleIntercept)
    if answer is None:
        return not_attempted("Give your answer to check(), for example check(40).")
    try:
        given = float(str(answer))
    except ValueError:
        return incorrect("The answer is no number.", "a number in HU", repr(answer))
    if given == wanted:
        return passed(
            f"{stored} × {image.RescaleSlope} + ({image.RescaleIntercept}) = {wanted:g} HU."
        )
    if given == stored:
        return incorrect(
            "That is the value as stored. What turns it into Hounsfield units?",
            "a value in HU",
            given,
        )
    if given == int(image.pixel_array[COLUMN, ROW]) + float(image.RescaleIntercept):
        return incorrect("Row and column are exchanged: pixel_array[row, column].", "", given)
    return incorrect("Not the value of that pixel.", "stored value × slope + intercept", given)


def _first_reported(hospital: Hospital) -> Procedure:
    for procedure in hospital.ris.procedures():
        if procedure.status == "REPORTED":
            return procedure
    raise LabError("No exam is complete yet: run the cells above first.")


# Exercise 5: the addendum


def _judge_addendum(hospital: Hospital, answer: object) -> Outcome:
    procedure = _first_reported(hospital)
    hospital.settle()
    chart = hospital.his.chart(procedure.patient_id)
    result = next(r for r in chart if r.accession == procedure.accession)
    documents = len(hospital.pacs.documents(procedure.study_uid))
    signed = examination(procedure.code).report
    wanted = "the signed text with an addendum that names the cyst, in chart and archive"
    if result.status != "C":
        return not_attempted(f"The report of {procedure.accession} is as it was signed.")
    if signed not in result.text:
        return incorrect("The signed text is no longer in it.", wanted, result.text[:60])
    if "cyst" not in result.text.removeprefix(signed).lower():
        return incorrect("The addendum does not name the finding.", wanted, result.text[-60:])
    if documents < 2:
        return incorrect("The archive has only the first document.", wanted, f"{documents}")
    return passed(
        f"The chart has the corrected result (status C), the archive {documents} documents, "
        "the second of which names the first as its predecessor."
    )


# Exercise 6: append


def _judge_append(hospital: Hospital, answer: object) -> Outcome:
    steps: dict[str, list[str]] = {}
    for row in hospital.ris.performed_steps():
        if row[1]:
            steps.setdefault(row[1], []).append(row[3])
    twice = {step: states for step, states in steps.items() if len(states) > 1}
    wanted = "two completed steps of one exam, with the images of both in the archive"
    if not twice:
        return not_attempted("Every exam has one performed step so far.")
    step_id, states = list(twice.items())[-1]
    if set(states) != {"COMPLETED"}:
        return incorrect("The second step has not come to its end.", wanted, ", ".join(states))
    procedure = next(p for p in hospital.ris.procedures() if p.step_id == step_id)
    unsent = hospital.ct.waiting()
    if unsent:
        return incorrect("Not all images are sent.", wanted, f"{unsent} images wait")
    found = hospital.tools.findscu(
        "pacs", level="SERIES", StudyInstanceUID=procedure.study_uid, Modality="CT"
    )
    if len(found) < 2:
        return incorrect("The archive has no second series.", wanted, f"{len(found)} series")
    return passed(f"{procedure.accession} has {len(found)} series in one study, from two steps.")


# Exercise 7: the unknown AE title


def _begin_unknown_title(hospital: Hospital) -> Exam:
    if not hospital.faults:
        hospital.inject(UnknownAeTitle(hospital.ct.ae_title))
    return hospital.exam(reason="Follow-up")


def _judge_title(hospital: Hospital, answer: object) -> Outcome:
    if not hospital.faults:
        return not_attempted("Nothing is broken yet: run lab.exercise(7).begin().")
    scanner = hospital.ct
    title, own = scanner.ae_title, scanner.endpoints[0].address
    rejected = [
        event.seq
        for event in hospital.journal.events(source="pacs", kind="association")
        if "rejected" in event.detail
    ]
    known = hospital.pacs.known_ae(title)
    unsent = scanner.waiting()
    if known is None:
        return _without_title(hospital, title, rejected)
    wanted = f"{title} at {own}, and every image of {title} in the PACS"
    if (known.host, known.port) != (own.host, own.port):
        found = f"{title} at {known.host}:{known.port}"
        reason = "The title is right, but results for the scanner would go to the wrong address."
        return incorrect(reason, wanted, found)
    if not known.may_store:
        return incorrect("The scanner is known, but may not store.", wanted, "may store: no")
    if unsent:
        reason = "The cause is repaired. The images of the meantime still wait at the scanner."
        return incorrect(reason, wanted, f"{unsent} images wait", *rejected[-1:])
    return passed(
        f"{title} is registered, and every image that waited is in the PACS.", *rejected[-1:]
    )


def _without_title(hospital: Hospital, title: str, rejected: list[int]) -> Outcome:
    alike = [
        row[0]
        for row in hospital.pacs.ae_titles()
        if row[0].lower().strip() == title.lower().strip()
    ]
    if alike:
        return incorrect(
            "An AE title must be equal letter for letter: case counts.",
            title,
            alike[0],
            *rejected[-1:],
        )
    known = [row[0] for row in hospital.pacs.ae_titles()]
    own = {getattr(part, "ae_title", "") for part in hospital.site.parts().values()}
    strangers = sorted(set(known) - own)
    if strangers:
        found = ", ".join(strangers)
        return incorrect("You let somebody in, but not the scanner.", title, found, *rejected[-1:])
    return not_attempted(f"The PACS still rejects {title}. What does its journal say?")


TASKS = (
    Task(
        title="Correct a name where it comes from",
        judge=_judge_name,
        hints=(
            "Three systems have the name. Which one do the other two have it from? "
            "Look at the arrows of the map.",
            "The HIS is the source. What it can do with a patient: `hospital.his.update_patient?`.",
            '`hospital.his.update_patient(PATIENT_ID, name="Novák^Ada")`, with the ID of '
            "`exam.patient`.",
        ),
        solution='hospital.his.update_patient(exam.patient.patient_id, name="Novák^Ada")',
        explanation="The HIS sends ADT^A08 to the RIS, and the RIS to the PACS "
        "(Patient Update, RAD-12). Had you changed one of the two others by hand, the next "
        "message from the HIS would have brought the old name back.",
    ),
    Task(
        title="On the worklist of tomorrow",
        judge=_judge_tomorrow,
        hints=(
            "It takes two systems: one orders, the other schedules.",
            "`hospital.his.place_order(…)` returns an order with a `placer_order` number; "
            "`hospital.ris.schedule(…)` takes that number, and a `start`.",
            "`start=datetime.combine(date.today() + timedelta(days=1), time(8, 30))`, "
            "with `from datetime import date, datetime, time, timedelta`.",
        ),
        solution="from datetime import date, datetime, time, timedelta\n\n"
        'order = hospital.his.place_order(exam.patient.patient_id, "CTHEAD")\n'
        "half_past_eight = datetime.combine(date.today() + timedelta(days=1), time(8, 30))\n"
        "hospital.ris.schedule(order.placer_order, start=half_past_eight)",
        explanation="The scanner asks for its own title, its modality and a date "
        "(PS3.4 K.6.1.2.2); tomorrow it will find this entry, today it does not.",
    ),
    Task(
        title="A scan that is given up",
        judge=_judge_given_up,
        hints=(
            "Order and schedule another CT, and let the scanner ask for its worklist.",
            "`hospital.ct.start_step(entry)` begins a step and returns its UID. The patient now "
            "feels ill: which method of `hospital.ct` tells the RIS?",
            "`hospital.ct.discontinue_step(uid)`.",
        ),
        solution="order = hospital.his.place_order(exam.patient.patient_id)\n"
        "procedure = hospital.ris.schedule(order.placer_order)\n"
        "[entry] = hospital.ct.query_worklist(accession=procedure.accession)\n"
        "uid = hospital.ct.start_step(entry)\n"
        "hospital.ct.discontinue_step(uid)",
        explanation="The MPPS N-SET carries the status DISCONTINUED (PS3.4 F.7.2.2). Without it "
        "the examination would stay IN PROGRESS in the RIS for ever.",
    ),
    Task(
        title="What is that in Hounsfield units?",
        judge=_judge_hounsfield,
        hints=(
            "`exam.images[0].pixel_array[128, 60]` is the value as it is stored.",
            "The header says how a stored value becomes a Hounsfield unit: "
            "`RescaleSlope` (0028,1053) and `RescaleIntercept` (0028,1052).",
            "HU = stored value × slope + intercept (PS3.3 C.11.1).",
        ),
        solution="image = exam.images[0]\n"
        "stored = int(image.pixel_array[128, 60])\n"
        "answer = stored * image.RescaleSlope + image.RescaleIntercept\n"
        "lab.exercise(4).check(answer)",
        explanation="Water is 0, air -1000; what is between them holds some of both, as lung "
        "and its edges do. Viewers apply the same two steps: first the rescale, then the window.",
    ),
    Task(
        title="There is something to add",
        judge=_judge_addendum,
        hints=(
            "Who signs a report also adds to it: look at what `hospital.ris` can do.",
            "`hospital.ris.addendum?`.",
            '`hospital.ris.addendum(exam.accession, "…")`, with the radiologist\'s words.',
        ),
        solution='hospital.ris.addendum(exam.accession, "Small cyst of the liver, harmless.")',
        explanation="The result goes to the chart again, with status C (HL7 table 0123), and a "
        "new document to the archive: an SR is never changed, a later one names it in its "
        "Predecessor Documents Sequence (PS3.3 C.17.2).",
    ),
    Task(
        title="More images, please",
        judge=_judge_append,
        hints=(
            "The scanner begins a step of its own for them: `hospital.ct.append?`.",
            "`hospital.ct.append(procedure.accession)` returns the UID of the new step; then "
            "`acquire`, `send` and `complete_step`, as with any other.",
            "Four lines: `more = hospital.ct.append(procedure.accession)`, "
            "`hospital.ct.acquire(more)`, `hospital.ct.send()`, "
            "`hospital.ct.complete_step(more)`.",
        ),
        solution="more = hospital.ct.append(procedure.accession)\n"
        "hospital.ct.acquire(more)\nhospital.ct.send()\nhospital.ct.complete_step(more)",
        explanation="Both steps name the same Scheduled Procedure Step and the same study, so "
        "the RIS knows that they belong together. Had you begun a new exam, the two series would "
        "lie in two studies, and the reader would see half of it.",
    ),
    Task(
        title="The scanner that nobody knows",
        judge=_judge_title,
        begin=_begin_unknown_title,
        hints=(
            "The last line of the exam has a code: 1/1/3. What the PACS wrote when it rejected: "
            '`hospital.journal.events(source="pacs", kind="association")`.',
            "Compare `hospital.pacs.ae_titles()` with the title that the scanner calls with.",
            "`hospital.pacs.register_ae(…)` with title, host and port of the scanner; "
            "`print(hospital)` shows them. And then the images that wait: `hospital.ct.send()`.",
        ),
        solution='hospital.pacs.register_ae("CT1", host="ct1", port=104)\nhospital.ct.send()',
        explanation="The association was rejected with result 1, source 1, reason 3: calling AE "
        "title not recognized (PS3.8 9.3.4). A C-ECHO worked all the time, because the PACS "
        "answers that to anybody. Nothing was lost: a scanner keeps its images until the archive "
        "has them.",
    ),
)
