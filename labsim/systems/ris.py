"""RIS, the radiology information system.

IHE actors: Order Filler (Department System Scheduler), Performed Procedure
Step Manager, Report Creator.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime

from pydicom.dataset import Dataset
from pynetdicom import build_context, evt

from labsim.errors import ConfigurationError, Hl7Error, NotFound
from labsim.ids import make_uid
from labsim.site import Site
from labsim.sop_classes import MODALITY_WORKLIST, MPPS, VERIFICATION
from labsim.systems import outbox, step_manager
from labsim.systems.catalogue import CODING_SCHEME, examination
from labsim.systems.facility import Facility, System
from labsim.systems.messages import (
    patient_of,
    patient_segments,
    prior_of,
    provider_field,
    provider_of,
)
from labsim.systems.outbox import Outbox
from labsim.systems.records import Order, Patient, Procedure, Result
from labsim.systems.step_manager import StepManager
from labsim.systems.worklist import worklist_entry
from labsim.table import Table
from labsim.wire.dimse import DicomNode
from labsim.wire.hl7 import Message, escape, segment, timestamp
from labsim.wire.matching import matches, project, unsupported
from labsim.wire.mllp import MllpEndpoint, Taken
from labsim.wire.network import Address

_SCHEMA = (
    outbox.SCHEMA
    + step_manager.SCHEMA
    + """
CREATE TABLE IF NOT EXISTS patients (
    patient_id TEXT PRIMARY KEY,
    issuer     TEXT NOT NULL,
    name       TEXT NOT NULL,
    birth_date TEXT NOT NULL,
    sex        TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS orders (
    placer_order TEXT PRIMARY KEY,
    visit        TEXT NOT NULL,
    patient_id   TEXT NOT NULL REFERENCES patients,
    code         TEXT NOT NULL,
    description  TEXT NOT NULL,
    reason       TEXT NOT NULL,
    provider     TEXT NOT NULL,
    status       TEXT NOT NULL      -- RECEIVED, SCHEDULED, CANCELLED
);
CREATE TABLE IF NOT EXISTS procedures (
    accession    TEXT PRIMARY KEY,
    study_uid    TEXT NOT NULL UNIQUE,
    procedure_id TEXT NOT NULL,
    step_id      TEXT NOT NULL UNIQUE,
    filler_order TEXT NOT NULL,
    placer_order TEXT NOT NULL REFERENCES orders,
    patient_id   TEXT NOT NULL REFERENCES patients,
    code         TEXT NOT NULL,
    description  TEXT NOT NULL,
    modality     TEXT NOT NULL,
    body_part    TEXT NOT NULL,
    station      TEXT NOT NULL,     -- AE title
    start        TEXT NOT NULL,     -- ISO 8601
    status       TEXT NOT NULL      -- as in records.Procedure
);
CREATE TABLE IF NOT EXISTS reports (
    accession   TEXT PRIMARY KEY REFERENCES procedures,
    text        TEXT NOT NULL,
    interpreter TEXT NOT NULL,
    status      TEXT NOT NULL,
    signed_at   TEXT NOT NULL
);
"""
)
_FULL = (
    "SELECT pr.*, o.visit, o.reason, o.provider, p.name, p.issuer, p.birth_date, p.sex "
    "FROM procedures pr JOIN orders o USING (placer_order) "
    "JOIN patients p ON p.patient_id = pr.patient_id "
)


class Ris(System):
    """Schedules examinations, serves the worklist, follows the scanners, reports.

    Parameters
    ----------
    site : Site
        Its own entry, the scanners, and whom it sends to.
    facility : Facility
        What it shares with the others.

    Attributes
    ----------
    schedules_at_once : bool
        Whether an order is scheduled, for now, when it comes; else it waits
        until a clerk calls `schedule`.
    """

    def __init__(self, site: Site, facility: Facility) -> None:
        super().__init__("ris", facility, _SCHEMA)
        self._site = site
        self._hl7 = MllpEndpoint(
            self.name, facility.journal, facility.clock, facility.network, facility.loop
        )
        self._dicom = DicomNode(self.name, site.ris.ae_title, facility.journal, facility.network)
        self.outbox = Outbox(self, self._hl7, site.ris.application)
        self._steps = StepManager(self, self._follow)
        self.schedules_at_once = False
        self._pacs = Address(site.pacs.host, site.pacs.hl7_port)
        self._his = Address(site.his.host, site.his.hl7_port)

    def start(self) -> None:
        """Listen for orders, worklist queries and performed procedure steps."""
        own = self._site.ris
        port = self._hl7.listen(
            {
                "ADT^A04": Taken("RAD-1", self._take_patient),
                "ADT^A08": Taken("RAD-12", self._take_update),
                "ADT^A40": Taken("RAD-12", self._take_merge),
                "ORM^O01": Taken("RAD-2", self._take_order),
            },
            self.fixed_port("mllp"),
        )
        self.published("mllp", Address(own.host, own.hl7_port), port, own.application)
        port = self._dicom.listen(
            [
                build_context(uid)
                for uid in (
                    VERIFICATION,
                    MODALITY_WORKLIST,
                    MPPS,
                )
            ],
            [
                (evt.EVT_C_ECHO, lambda event: 0x0000),
                (evt.EVT_C_FIND, self._answer_worklist),
                (evt.EVT_N_CREATE, self._steps.created),
                (evt.EVT_N_SET, self._steps.changed),
            ],
            port=self.fixed_port("dicom"),
        )
        self.published("mwl", Address(own.host, own.dicom_port), port, own.ae_title)

    def resume(self) -> None:
        """Send what waited."""
        self.outbox.resume()

    def stop(self) -> None:
        """Stop listening and sending."""
        self._hl7.close()
        self._dicom.close()
        super().stop()

    # What the clerk and the radiologist do

    def schedule(
        self, placer_order: str, *, station: str = "", start: datetime | None = None
    ) -> Procedure:
        """Schedule an order and tell the PACS what will come (ORM^O01, RAD-4).

        Gives the Accession Number and the Study Instance UID.

        Parameters
        ----------
        placer_order : str
            Which order.
        station : str
            AE title of the scanner; the first that can do it if left out.
        start : datetime, optional
            When; now if left out.

        Raises
        ------
        NotFound
            If the RIS has no such order.
        ConfigurationError
            If it is scheduled already, or no such scanner does it.
        DeliveryFailed
            If the PACS was not told; the examination is scheduled all the same.
        """
        procedure = self._enter(placer_order, station, start)
        self.outbox.send(self._procedure_message(procedure, "NW"), self._pacs, "RAD-4")
        return procedure

    def _enter(
        self, placer_order: str, station: str = "", start: datetime | None = None
    ) -> Procedure:
        """Make an examination of an order."""
        order = self._order(placer_order)
        if order.status != "RECEIVED":
            raise ConfigurationError(f"Order {placer_order} is {order.status} already.")
        wanted = examination(order.code)
        number = self.db.next("procedure")
        procedure = Procedure(
            accession=f"A{number:07d}",
            study_uid=make_uid("study", self.facility.seed, number),
            procedure_id=f"RP{number:06d}",
            step_id=f"SPS{number:06d}",
            filler_order=f"FIL{number:06d}",
            placer_order=placer_order,
            patient_id=order.patient_id,
            code=order.code,
            description=order.description,
            modality=wanted.modality,
            body_part=wanted.body_part,
            station=self._station(wanted.modality, station),
            start=(start or self.facility.clock.now()).isoformat(timespec="seconds"),
            status="SCHEDULED",
        )
        with self.db.transaction():
            self.db.insert("procedures", **vars(procedure))
            self.db.run(
                "UPDATE orders SET status = 'SCHEDULED' WHERE placer_order = ?", placer_order
            )
        self._note_procedure(procedure, f"{procedure.description} scheduled on {procedure.station}")
        return procedure

    def report(
        self, accession: str, text: str, *, interpreter: str = "Okafor^Ngozi", status: str = "F"
    ) -> Result:
        """Sign the report of an examination and send it to the HIS (ORU^R01, RAD-128).

        Parameters
        ----------
        accession : str
            Which examination.
        text : str
            The report.
        interpreter : str
            Who signs, ``"Family^Given"``.
        status : str
            Result status (HL7 table 0123): ``"F"`` final, ``"P"`` preliminary.

        Raises
        ------
        NotFound
            If there is no such examination.
        ConfigurationError
            If it is not completed or signed already, or the report is empty.
        DeliveryFailed
            If the HIS did not take the result; it waits in the outbox.
        """
        row = self._full(accession)
        if status not in ("F", "P"):
            raise ConfigurationError(f"{status!r} is no status of a report.", "Use F or P.")
        if row["status"] not in ("COMPLETED", "REPORTED"):
            raise ConfigurationError(
                f"Examination {accession} is {row['status']}: there is nothing to report yet.",
                "hospital.ris.reading_list() has what waits for a report.",
            )
        if row["status"] == "REPORTED":
            raise ConfigurationError(
                f"The report of {accession} is signed.", "Add to it with hospital.ris.addendum(…)."
            )
        return self._sign(row, text, interpreter, status)

    def addendum(self, accession: str, text: str, *, interpreter: str = "Okafor^Ngozi") -> Result:
        """Add to a signed report, and send it to the HIS again (ORU^R01, RAD-128).

        The signed text stays; the result goes out as a correction, status
        ``"C"`` (HL7 table 0123).

        Parameters
        ----------
        accession : str
            Which examination.
        text : str
            What is added.
        interpreter : str
            Who adds it, ``"Family^Given"``.

        Raises
        ------
        NotFound
            If there is no such examination.
        ConfigurationError
            If it has no signed report, or the addendum is empty.
        DeliveryFailed
            If the HIS did not take the result; it waits in the outbox.
        """
        row = self._full(accession)
        signed = self.db.value(
            "SELECT text FROM reports WHERE accession = ? AND status != 'P'", accession
        )
        if signed is None:
            raise ConfigurationError(f"Examination {accession} has no signed report yet.")
        if not text.strip():
            raise ConfigurationError("An addendum needs text.")
        whole = f"{signed}\n\nAddendum {self.now().replace('T', ' ')}: {text}"
        return self._sign(row, whole, interpreter, "C")

    def _sign(self, row: sqlite3.Row, text: str, interpreter: str, status: str) -> Result:
        if not text.strip():
            raise ConfigurationError("A report needs text.")
        accession = row["accession"]
        with self.db.transaction():
            self.db.upsert(
                "reports",
                "accession",
                accession=accession,
                text=text,
                interpreter=interpreter,
                status=status,
                signed_at=self.now(),
            )
            if status != "P":
                self._set_status(accession, "REPORTED")
        what = {"P": "preliminary report", "F": "report signed", "C": "addendum signed"}[status]
        self._note_procedure(self.procedure(accession), what)
        return self._send_result(row, text, interpreter, status)

    # What the RIS knows

    def orders(self) -> list[Order]:
        """Return all orders received, oldest first."""
        rows = self.db.rows("SELECT * FROM orders ORDER BY placer_order")
        return [Order(**dict(row)) for row in rows]

    def procedures(self) -> list[Procedure]:
        """Return all examinations, in the order of their accession numbers."""
        rows = self.db.rows("SELECT * FROM procedures ORDER BY accession")
        return [Procedure(**dict(row)) for row in rows]

    def procedure(self, accession: str) -> Procedure:
        """Return one examination.

        Raises
        ------
        NotFound
            If there is none of that accession number.
        """
        row = self.db.row("SELECT * FROM procedures WHERE accession = ?", accession)
        if row is None:
            raise NotFound(
                f"The RIS has no examination {accession!r}.",
                "hospital.ris.procedures() lists them.",
            )
        return Procedure(**dict(row))

    def patient(self, patient_id: str) -> Patient:
        """Return a patient as the RIS knows them.

        Raises
        ------
        NotFound
            If it does not.
        """
        row = self.db.row("SELECT * FROM patients WHERE patient_id = ?", patient_id)
        if row is None:
            raise NotFound(f"The RIS has no patient {patient_id!r}.")
        return Patient(**dict(row))

    def reading_list(self) -> list[Procedure]:
        """Return the examinations that are completed and not reported."""
        return [procedure for procedure in self.procedures() if procedure.status == "COMPLETED"]

    def performed_steps(self) -> Table:
        """Return what the scanners have told of their work (MPPS)."""
        return self._steps.table()

    def table(self) -> Table:
        """Return every examination with its patient and status."""
        columns = ("accession", "patient_id", "name", "description", "station", "start", "status")
        rows = self.db.rows(_FULL + "ORDER BY pr.accession")
        return Table(
            columns, [[row[c] for c in columns] for row in rows], "Examinations of the RIS"
        )

    # HL7

    def _take_patient(self, message: Message) -> None:
        """Take in ADT^A04 (RAD-1)."""
        patient = self._keep_patient(message)
        keys = {"patient_id": patient.patient_id, "visit": message["PV1-19.1"]}
        self.note(f"patient {patient.patient_id} received", **keys)

    def _take_update(self, message: Message) -> None:
        """Take in ADT^A08 (RAD-12), and pass it on to the PACS."""
        patient = self._keep_patient(message)
        self.note(f"patient {patient.patient_id} updated", patient_id=patient.patient_id)
        self._pass_on(message)

    def _take_merge(self, message: Message) -> None:
        """Take in ADT^A40 (RAD-12), and pass it on to the PACS."""
        kept = patient_of(message, self.facility.issuer)
        prior, _ = prior_of(message, kept)
        with self.db.transaction():
            self._keep_patient(message)
            for table in ("orders", "procedures"):
                self.db.run(
                    f"UPDATE {table} SET patient_id = ? WHERE patient_id = ?",
                    kept.patient_id,
                    prior,
                )
            self.db.run("DELETE FROM patients WHERE patient_id = ?", prior)
        self.note(f"patient {prior} merged into {kept.patient_id}", patient_id=kept.patient_id)
        self._pass_on(message)

    def _pass_on(self, message: Message) -> None:
        """Send a message about a patient to the PACS, under a header of our own."""
        header = self.outbox.header(message.type, self._site.pacs.application)
        rest = [line for line in message.text.split("\r")[1:] if line]
        self.outbox.post(Message.build(header, *rest), self._pacs, "RAD-12")

    def _take_order(self, message: Message) -> None:
        """Take in ORM^O01 (RAD-2): a new order, or that one is cancelled."""
        number, control = message["ORC-2.1"], message["ORC-1"]
        if not number:
            raise Hl7Error("ORC-2 Placer Order Number is empty.")
        if control == "CA":
            self._cancel(number, message["PID-3.1"])
        elif control == "NW":
            self._receive(number, message)
        else:
            raise Hl7Error(f"Order control {control!r} (ORC-1) is not taken, only NW and CA.")

    def _cancel(self, number: str, patient_id: str) -> None:
        row = self.db.row("SELECT * FROM orders WHERE placer_order = ?", number)
        if row is None or row["patient_id"] != patient_id:
            raise Hl7Error(f"Patient {patient_id} has no order {number!r}.")
        procedures = [p for p in self.procedures() if p.placer_order == number]
        begun = [p for p in procedures if p.status not in ("SCHEDULED", "CANCELLED")]
        if begun:
            raise Hl7Error(f"Too late: examination {begun[0].accession} is {begun[0].status}.")
        with self.db.transaction():
            self.db.run("UPDATE orders SET status = 'CANCELLED' WHERE placer_order = ?", number)
            for procedure in procedures:
                self._set_status(procedure.accession, "CANCELLED")
        self.note(f"order {number} cancelled", placer_order=number, patient_id=patient_id)
        for procedure in procedures:
            self.outbox.post(self._procedure_message(procedure, "CA"), self._pacs, "RAD-13")

    def _receive(self, number: str, message: Message) -> None:
        code = message["OBR-4.1"]
        try:
            wanted = examination(code)
        except NotFound as error:
            raise Hl7Error(f"OBR-4: {error.what}") from error
        with self.db.transaction():
            patient = self._keep_patient(message)
            known = self.db.value("SELECT patient_id FROM orders WHERE placer_order = ?", number)
            if known not in (None, patient.patient_id):
                raise Hl7Error(f"Order {number} is known for another patient.")
            if known is None:  # the same order again is no new one
                order = Order(
                    placer_order=number,
                    visit=message["PV1-19.1"],
                    patient_id=patient.patient_id,
                    code=code,
                    description=wanted.description,
                    reason=message["OBR-31.2"] or message["OBR-31.1"],
                    provider=provider_of(message, "ORC-12"),
                    status="RECEIVED",
                )
                self.db.insert("orders", **vars(order))
        self.note(
            f"order {number} received: {wanted.description}",
            placer_order=number,
            patient_id=patient.patient_id,
            visit=message["PV1-19.1"],
        )
        if known is None and self.schedules_at_once:
            self._schedule_at_once(number)

    def _schedule_at_once(self, number: str) -> None:
        try:
            procedure = self._enter(number)
        except ConfigurationError as error:
            self.note(f"order {number} waits for a clerk: {error.what}", placer_order=number)
            return
        self.outbox.post(self._procedure_message(procedure, "NW"), self._pacs, "RAD-4")

    def _keep_patient(self, message: Message) -> Patient:
        patient = patient_of(message, self.facility.issuer)
        number = patient.patient_id
        known = self.db.value("SELECT issuer FROM patients WHERE patient_id = ?", number)
        if known not in (None, patient.issuer):
            # Two people may have one number, of two issuers; neither gets the name of the other.
            raise Hl7Error(f"Patient ID {number} is one of {known} here, not of {patient.issuer}.")
        self.db.upsert("patients", "patient_id", **vars(patient))
        return patient

    def _procedure_message(self, procedure: Procedure, control: str) -> Message:
        """Return what the PACS is told of an examination: NW that it comes, CA that it does not."""
        row = self._full(procedure.accession)
        fields = {
            1: control,
            2: f"{procedure.placer_order}^{self._site.his.application}",
            3: f"{procedure.filler_order}^{self._site.ris.application}",
            5: {"NW": "SC", "CA": "CA"}[control],
        }
        start = timestamp(datetime.fromisoformat(procedure.start))
        return Message.build(
            self.outbox.header("ORM^O01", self._site.pacs.application),
            *patient_segments(_patient(row), row["visit"]),
            segment("ORC", fields | {7: f"1^^^{start}^^R", 12: provider_field(row["provider"])}),
            segment("OBR", self._obr(row) | {24: procedure.modality, 27: f"1^^^{start}^^R"}),
            segment("ZDS", {1: f"{procedure.study_uid}^100^Application^DICOM"}),
        )

    def _send_result(self, row: sqlite3.Row, text: str, interpreter: str, status: str) -> Result:
        now = timestamp(self.facility.clock.now())
        header = self.outbox.header("ORU^R01^ORU_R01", self._site.his.application, "2.5.1")
        family, _, given = interpreter.partition("^")
        orc = {
            1: "RE",
            2: f"{row['placer_order']}^{self._site.his.application}",
            3: f"{row['filler_order']}^{self._site.ris.application}",
        }
        obr = self._obr(row) | {22: now, 24: row["modality"], 25: status}
        message = Message.build(
            header,
            *patient_segments(_patient(row), row["visit"]),
            segment("ORC", orc),
            segment("OBR", obr | {32: f"&{escape(family)}&{escape(given)}"}),
            segment(
                "OBX",
                {1: "1", 2: "HD", 3: "113014^DICOM Study^DCM", 5: row["study_uid"], 11: "O"},
            ),
            segment(
                "OBX",
                {
                    1: "2",
                    2: "TX",
                    3: "18782-3^Radiology Study observation (narrative)^LN",
                    5: escape(text),
                    11: status,
                },
            ),
        )
        self.outbox.send(message, self._his, "RAD-128")
        return Result(
            row["placer_order"],
            row["accession"],
            row["patient_id"],
            row["study_uid"],
            status,
            text,
            interpreter,
        )

    def _obr(self, row: sqlite3.Row) -> dict[int, str]:
        """Return the OBR fields where IHE puts the RIS's numbers (RAD TF-2, RAD-4)."""
        return {
            1: "1",
            2: f"{row['placer_order']}^{self._site.his.application}",
            3: f"{row['filler_order']}^{self._site.ris.application}",
            4: f"{row['code']}^{escape(row['description'])}^{CODING_SCHEME}",
            18: row["accession"],
            19: row["procedure_id"],
            20: row["step_id"],
            31: f"^{escape(row['reason'])}" if row["reason"] else "",
        }

    # DICOM

    def _answer_worklist(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        """Answer a Modality Worklist query (RAD-5, PS3.4 K.4.1)."""
        identifier = event.identifier
        rows = self.db.rows(_FULL + "WHERE pr.status = 'SCHEDULED' ORDER BY pr.start, pr.accession")
        for row in rows:
            if event.is_cancelled:
                yield 0xFE00, None
                return
            entry = worklist_entry(row)
            if matches(identifier, entry):
                answer = project(identifier, entry)
                answer.SpecificCharacterSet = entry.SpecificCharacterSet
                yield (0xFF01 if unsupported(identifier, entry) else 0xFF00), answer

    def _follow(self, mpps_uid: str, step_id: str, status: str) -> None:
        """Give the examination the status of its performed step."""
        accession = self.db.value("SELECT accession FROM procedures WHERE step_id = ?", step_id)
        if accession is None:
            self.note(f"performed step {status} without a scheduled one", mpps_uid=mpps_uid)
            return
        if self.procedure(accession).status == "REPORTED":  # a signed report is not taken back
            what = f"performed step {status} after the report"
        else:
            self._set_status(accession, status)
            what = f"examination {status}"
        self._note_procedure(self.procedure(accession), what, mpps_uid=mpps_uid)

    # Rows

    def _order(self, placer_order: str) -> Order:
        row = self.db.row("SELECT * FROM orders WHERE placer_order = ?", placer_order)
        if row is None:
            raise NotFound(
                f"The RIS has no order {placer_order!r}.", "hospital.ris.orders() lists them."
            )
        return Order(**dict(row))

    def _full(self, accession: str) -> sqlite3.Row:
        self.procedure(accession)
        row = self.db.row(_FULL + "WHERE pr.accession = ?", accession)
        assert row is not None
        return row

    def _set_status(self, accession: str, status: str) -> None:
        self.db.run("UPDATE procedures SET status = ? WHERE accession = ?", status, accession)

    def _station(self, modality: str, wanted: str) -> str:
        able = [m.ae_title for m in self._site.modalities if m.kind == modality]
        if wanted and wanted not in able:
            raise ConfigurationError(
                f"{wanted!r} is no {modality} station of this hospital.",
                f"Use {', '.join(able) or 'another examination'}.",
            )
        if not able:
            raise ConfigurationError(f"This hospital has no {modality} station.")
        return wanted or able[0]

    def _note_procedure(self, procedure: Procedure, what: str, **keys: str) -> None:
        self.note(
            f"{procedure.accession}: {what}",
            accession=procedure.accession,
            study_uid=procedure.study_uid,
            placer_order=procedure.placer_order,
            filler_order=procedure.filler_order,
            patient_id=procedure.patient_id,
            visit=self._order(procedure.placer_order).visit,
            **keys,
        )


def _patient(row: sqlite3.Row) -> Patient:
    return Patient(row["patient_id"], row["issuer"], row["name"], row["birth_date"], row["sex"])
