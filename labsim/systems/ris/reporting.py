"""What the radiologist does: preliminary reports, final ones, addenda."""

from __future__ import annotations

import sqlite3

from labsim.errors import ConfigurationError
from labsim.systems.messages import patient_segments
from labsim.systems.records import Result
from labsim.systems.ris.tables import patient_of_row, visit_of_row
from labsim.systems.ris.telling import Telling
from labsim.wire.hl7 import Message, escape, segment, timestamp


class Reporting(Telling):
    """Signs reports and sends them to the HIS."""

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
                self.db.run("UPDATE procedures SET flag = '' WHERE accession = ?", accession)
        what = {"P": "preliminary report", "F": "report signed", "C": "addendum signed"}[status]
        self._note_procedure(self.procedure(accession), what)
        return self._send_result(row, text, interpreter, status)

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
