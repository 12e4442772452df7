"""The chart: results with all their versions, and what happened to a patient when.

This is the side of an electronic medical record.
"""

from __future__ import annotations

from labsim.errors import Hl7Error
from labsim.systems.his.filling import Filling
from labsim.systems.messages import patient_of
from labsim.systems.records import Result, record_of
from labsim.table import Table
from labsim.wire.hl7 import Message

_KINDS = {"P": "preliminary report", "F": "final report", "C": "corrected report"}


class Chart(Filling):
    """Files results, and shows a patient's chart."""

    def chart(self, patient_id: str) -> list[Result]:
        """Return a patient's results, each in its latest version, oldest first.

        Parameters
        ----------
        patient_id : str
            Whose; ``versions`` has what an order's result was before.

        Raises
        ------
        NotFound
            If there is no such patient.
        """
        patient = self.patient(patient_id)
        rows = self.db.rows(
            "SELECT * FROM results WHERE id IN "
            "(SELECT MAX(id) FROM results WHERE patient_id = ? AND issuer = ? "
            "GROUP BY placer_order) ORDER BY received_at, placer_order",
            patient.patient_id,
            patient.issuer,
        )
        return [record_of(Result, row) for row in rows]

    def versions(self, placer_order: str) -> list[Result]:
        """Return every version of an order's result: preliminary, final, corrected.

        Raises
        ------
        NotFound
            If there is no such order.
        """
        self.order(placer_order)
        rows = self.db.rows(
            "SELECT * FROM results WHERE placer_order = ? ORDER BY id", placer_order
        )
        return [record_of(Result, row) for row in rows]

    def timeline(self, patient_id: str) -> Table:
        """Return what happened to a patient: visits, orders, every version of every result.

        Raises
        ------
        NotFound
            If there is no such patient.
        """
        patient = self.patient(patient_id)
        whose = (patient.patient_id, patient.issuer)
        rows = []
        for visit in self.registry.visits(patient):
            name = f"{visit.patient_class} {visit.location}"
            rows.append((visit.admitted, "visit begins", visit.visit, name, ""))
            if visit.discharged:
                rows.append((visit.discharged, "visit ends", visit.visit, name, ""))
        mine = "WHERE patient_id = ? AND issuer = ? ORDER BY rowid"
        for order in self.db.rows(f"SELECT * FROM orders {mine}", *whose):
            what = f"{order['description']}: {order['status']}"
            rows.append((order["placed_at"], "order", order["placer_order"], what, ""))
        for result in self.db.rows(f"SELECT * FROM results {mine}", *whose):
            first = result["text"].splitlines()[-1] if result["text"] else ""
            kind = _KINDS.get(result["status"], "result")
            number = result["placer_order"]
            rows.append((result["received_at"], kind, number, first, result["study_uid"]))
        rows.sort(key=lambda row: row[0])  # what happened at once stays in this order
        columns = ("time", "what", "number", "details", "Study Instance UID")
        return Table(columns, rows, f"{patient.name.replace('^', ', ')}, {patient.patient_id}")

    def table(self) -> Table:
        """Return every order with its patient, and what became of it."""
        rows = self.db.rows(
            "SELECT o.placer_order, o.patient_id, p.name, o.description, o.status "
            "FROM orders o JOIN patients p USING (patient_id, issuer) ORDER BY o.placer_order"
        )
        return Table(
            ("order", "patient ID", "name", "examination", "status"), rows, "Orders of the HIS"
        )

    def _take_result(self, message: Message) -> None:
        """Take in ORU^R01 (RAD-128)."""
        patient = patient_of(message, self.facility.issuer)
        whose = self.registry.resolve(patient.patient_id, patient.issuer)
        order = self._order_in(message, whose)
        number = order["placer_order"]
        values = list(zip(message.all("OBX-2"), message.all("OBX-5"), strict=True))
        result = Result(
            placer_order=number,
            accession=message["OBR-18"],
            patient_id=whose[0],
            study_uid=next((value for kind, value in values if kind == "HD"), ""),
            status=message["OBR-25"],
            text="\n".join(value for kind, value in values if kind in ("TX", "FT", "ST")),
            interpreter="^".join(message["OBR-32.1"].split("&")[1:3]),
            received_at=self.now(),
        )
        kept = [version.status for version in self.versions(number)]
        if result.status == "P" and set(kept) & {"F", "C"}:
            raise Hl7Error(f"Order {number} has a final report: a preliminary one comes too late.")
        with self.db.transaction():
            self.db.insert("results", **vars(result), issuer=whose[1])
            status = "PRELIMINARY" if result.status == "P" else "RESULTED"
            self.db.run("UPDATE orders SET status = ? WHERE placer_order = ?", status, number)
        self.note(
            f"result of order {number} filed in the chart of {whose[0]}",
            placer_order=number,
            accession=result.accession,
            patient_id=whose[0],
        )
