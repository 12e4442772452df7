"""What the RIS tells HIS and PACS of its examinations."""

from __future__ import annotations

import sqlite3
from concurrent.futures import Future
from datetime import datetime

from labsim.systems.catalogue import CODING_SCHEME
from labsim.systems.messages import patient_segments, provider_field
from labsim.systems.order_messages import (
    OMG,
    ORM,
    StudyNumbers,
    Timing,
    order_header,
    order_segments,
    reason_field,
)
from labsim.systems.ris.tables import RisTables, visit_of_row
from labsim.wire.hl7 import Header, Message, escape, timestamp

# What a procedure's status is called in ORC-5 (HL7 table 0038).
_ORDER_STATUS = {
    "SCHEDULED": "SC",
    "IN PROGRESS": "IP",
    "COMPLETED": "CM",
    "DISCONTINUED": "DC",
    "CANCELLED": "CA",
}
_ORDER_CONTROL_STATUS = {"NW": "SC", "XO": "SC", "CA": "CA"}


class Telling(RisTables):
    """Tells the HIS what becomes of its orders, and the PACS what will come."""

    def _set_status(
        self, accession: str, status: str, control: str = "SC", reason: str = ""
    ) -> None:
        """Give an examination and its order a status, and tell the HIS (RAD-3).

        The one place where a status changes. The message is kept in the same
        transaction, so neither is there without the other. `control` and
        `reason` are as for `_tell_placer`.
        """
        with self.db.transaction():
            before = self.procedure(accession).status
            self.db.run("UPDATE procedures SET status = ? WHERE accession = ?", status, accession)
            self.db.run(
                "UPDATE orders SET status = ? WHERE filler_order = "
                "(SELECT filler_order FROM procedures WHERE accession = ?)",
                status,
                accession,
            )
            # Of a report the HIS hears by the report itself (RAD-128).
            if status in _ORDER_STATUS and status != before:
                self._tell_placer(accession, control, reason)

    def _tell_placer(self, accession: str, control: str, reason: str = "") -> None:
        """Tell the HIS what became of its order (RAD-3).

        Parameters
        ----------
        accession : str
            The examination.
        control : str
            ORC-1: ``"SN"`` a new order of ours, ``"SC"`` another status,
            ``"XX"`` changed by us, ``"OC"`` cancelled by us.
        reason : str
            Why (ORC-16).
        """
        row = self._full(accession)
        if row["placer"] != self._site.his.application:  # whoever placed it, it was not our HIS
            return
        kind = ORM if self.order_message == ORM else OMG
        status = _ORDER_STATUS.get(row["status"], "")
        orc = {1: control, 5: status, 9: timestamp(self.facility.clock.now())}
        header = order_header(self.outbox, kind, self._site.his.application)
        message = self._order_message(kind, header, row, orc | {16: reason_field(reason)})
        self.outbox.post(message, self._his, "RAD-3", accession=accession)

    def _order_message(
        self, kind: str, header: Header, row: sqlite3.Row, orc: dict[int, str]
    ) -> Message:
        """Write what is about a scheduled examination; `orc` has what this message adds."""
        start = timestamp(datetime.fromisoformat(row["start"]))
        numbers = self._order_numbers(row)
        fields = numbers | orc | {12: provider_field(row["provider"])}
        fields = {number: text for number, text in fields.items() if text}
        return Message.build(
            header,
            *patient_segments(
                self.registry.patient(row["patient_id"], row["issuer"]), visit_of_row(row)
            ),
            *order_segments(
                kind,
                fields,
                numbers | _service(row),
                Timing(start, row["priority"]),
                StudyNumbers(
                    row["accession"],
                    row["procedure_id"],
                    row["study_uid"],
                    row["step_id"],
                    row["modality"],
                    row["performed_code"] or row["code"],
                    row["description"],
                    CODING_SCHEME,
                    row["station"],
                ),
            ),
        )

    def _order_numbers(self, row: sqlite3.Row) -> dict[int, str]:
        """Return placer and filler order number, fields 2 and 3 of both ORC and OBR."""
        return {
            2: f"{row['placer_order']}^{row['placer']}" if row["placer_order"] else "",
            3: f"{row['filler_order']}^{self._site.ris.application}",
        }

    def _obr(self, row: sqlite3.Row) -> dict[int, str]:
        """Return the OBR fields where IHE puts the RIS's numbers (RAD TF-2, RAD-4)."""
        numbers = {18: row["accession"], 19: row["procedure_id"], 20: row["step_id"]}
        return self._order_numbers(row) | _service(row) | numbers

    def _tell_archive(self, accession: str, control: str) -> Future[Message | None]:
        """Tell the PACS of an examination: NW it comes (RAD-4), XO changed, CA not (RAD-13)."""
        row = self._full(accession)
        header = order_header(self.outbox, self.order_message, self._site.pacs.application)
        orc = {1: control, 5: _ORDER_CONTROL_STATUS[control]}
        message = self._order_message(self.order_message, header, row, orc)
        return self.outbox.post(message, self._pacs, "RAD-4" if control == "NW" else "RAD-13")


def _service(row: sqlite3.Row) -> dict[int, str]:
    """Return the OBR fields that say what is to be done, and why."""
    return {
        1: "1",
        4: f"{row['performed_code'] or row['code']}^{escape(row['description'])}^{CODING_SCHEME}",
        31: reason_field(row["reason"]),
    }
