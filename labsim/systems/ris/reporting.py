"""What the radiologist does: preliminary reports, final ones, addenda.

Each goes to the HIS as text and to the archive as a structured report.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from concurrent.futures import Future, wait
from typing import Any

from pydicom.dataset import Dataset, FileDataset

from labsim.errors import ConfigurationError, NotFound
from labsim.ids import make_uid
from labsim.systems.messages import patient_segments
from labsim.systems.records import Result
from labsim.systems.ris.documents import Documents
from labsim.systems.ris.evidence import Evidence
from labsim.systems.ris.reading import Reading
from labsim.systems.ris.report_document import (
    Signature,
    addendum_document,
    follow,
    report_document,
    sign,
)
from labsim.systems.ris.report_header import document_header, procedure_code
from labsim.systems.ris.report_text import ReportText
from labsim.systems.ris.tables import patient_of_row, visit_of_row
from labsim.systems.ris.telling import Telling
from labsim.wire.hl7 import Message, escape, segment, timestamp


class Reporting(Reading, Telling):
    """Signs reports, and sends them to the HIS and to the archive.

    Attributes
    ----------
    documents : Documents
        The structured reports, and which of them the archive has.
    """

    documents: Documents
    _evidence: Evidence

    def report(
        self,
        accession: str,
        text: str | ReportText,
        *,
        interpreter: str = "Okafor^Ngozi",
        status: str = "F",
        key_images: Collection[str] = (),
    ) -> Result:
        """Sign the report of an examination.

        It goes to the HIS (ORU^R01, RAD-128) and to the archive (Basic Text
        SR, RAD-25).

        Parameters
        ----------
        accession : str
            Which examination.
        text : str or ReportText
            The report; sections of plain text are found by their headings.
        interpreter : str
            Who signs, one of `readers`.
        status : str
            Result status (HL7 table 0123): ``"F"`` final, which an attending
            signs, ``"P"`` preliminary.
        key_images : collection of str
            SOP Instance UIDs of the images that show the findings best.

        Raises
        ------
        NotFound
            If there is no such examination, reader or image.
        ConfigurationError
            If it is not completed or signed already, the report is empty, somebody else is
            reading the examination, or a resident would sign a final report.
        DeliveryFailed
            If the HIS did not take the result; it waits in the outbox.
        AssociationFailed, DimseFailed
            If the archive did not take the document; it waits in `documents`.
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
        written = ReportText.of(text) if isinstance(text, str) else text
        plain = text if isinstance(text, str) else text.text
        if not plain.strip():
            raise ConfigurationError("A report needs text.")
        evidence = self._evidence.of(accession)
        strange = set(key_images) - {image.sop_uid for image in evidence}
        if strange:
            raise NotFound(f"Examination {accession} has no image {min(strange)}.")
        self._require_unread(accession, interpreter)
        signature = self._signature(interpreter, status)
        document = report_document(
            self._document_header(row),
            written,
            signature,
            procedure_code(row),
            evidence,
            key_images,
        )
        return self._sign(row, plain, signature, status, document)

    def addendum(self, accession: str, text: str, *, interpreter: str = "Okafor^Ngozi") -> Result:
        """Add to a signed report, and send it again (ORU^R01, RAD-128; RAD-25).

        The signed text stays; the result goes out as a correction, status
        ``"C"`` (HL7 table 0123), and as a new document that names the old one.

        Parameters
        ----------
        accession : str
            Which examination.
        text : str
            What is added.
        interpreter : str
            Who adds it, an attending of `readers`.

        Raises
        ------
        NotFound
            If there is no such examination or reader.
        ConfigurationError
            If it has no signed report, the addendum is empty, or a resident would sign it.
        DeliveryFailed
            If the HIS did not take the result; it waits in the outbox.
        AssociationFailed, DimseFailed
            If the archive did not take the document; it waits in `documents`.
        """
        row = self._full(accession)
        signed = self.db.value(
            "SELECT text FROM reports WHERE accession = ? AND status != 'P'", accession
        )
        if signed is None:
            raise ConfigurationError(f"Examination {accession} has no signed report yet.")
        if not text.strip():
            raise ConfigurationError("An addendum needs text.")
        signature = self._signature(interpreter, "C")
        predecessor = self.documents.latest(accession)
        assert predecessor is not None  # what is signed has a document
        document = addendum_document(self._document_header(row), predecessor, text, signature)
        whole = f"{signed}\n\nAddendum {self.now().replace('T', ' ')}: {text}"
        return self._sign(row, whole, signature, "C", document)

    def _signature(self, interpreter: str, status: str) -> Signature:
        role = self.role(interpreter)
        if status != "P" and role != "attending":
            raise ConfigurationError(
                f"{interpreter} is {role}: only an attending signs a final report.",
                'Sign a preliminary one, with status="P".',
            )
        return Signature(interpreter, role, self.facility.institution, self.facility.clock.now())

    def _document_header(self, row: sqlite3.Row) -> Dataset:
        seed, accession = self.facility.seed, row["accession"]
        number = self.documents.count(accession) + 1
        return document_header(
            row,
            self._evidence.started(accession),
            self.facility.institution,
            series_uid=make_uid("reports", seed, accession),
            sop_uid=make_uid("report", seed, accession, number),
            number=number,
        )

    def _sign(
        self,
        row: sqlite3.Row,
        text: str,
        signature: Signature,
        status: str,
        document: FileDataset,
    ) -> Result:
        accession, interpreter = row["accession"], signature.name
        sign(document, signature, final=status != "P")
        predecessor = self.documents.latest(accession)
        if predecessor is not None:
            follow(document, predecessor)
        with self.db.transaction():  # signed, and on its way to both, or not at all
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
                self.db.run("UPDATE procedures SET flag = '' WHERE accession = ?", accession)
            self._put_back(accession)
            sent: list[Future[Any]] = [
                self._post_result(row, text, interpreter, status),
                self.documents.post(document, accession, status, interpreter),
            ]
        what = {"P": "preliminary report", "F": "report signed", "C": "addendum signed"}[status]
        self._note_procedure(self.procedure(accession), f"{what} by {interpreter}")
        wait(sent)
        for delivery in sent:
            delivery.result()
        return Result(
            row["placer_order"],
            accession,
            row["patient_id"],
            row["study_uid"],
            status,
            text,
            interpreter,
        )

    def _post_result(
        self, row: sqlite3.Row, text: str, interpreter: str, status: str
    ) -> Future[Message | None]:
        now = timestamp(self.facility.clock.now())
        header = self.outbox.header("ORU^R01", self._site.his.application, "2.5.1")
        family, _, given = interpreter.partition("^")
        orc = {
            1: "RE",
            2: f"{row['placer_order']}^{self._site.his.application}",
            3: f"{row['filler_order']}^{self._site.ris.application}",
        }
        obr = self._obr(row) | {22: now, 24: row["modality"], 25: status}
        message = Message.build(
            header,
            *patient_segments(patient_of_row(row), visit_of_row(row)),
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
        return self.outbox.post(message, self._his, "RAD-128")
