"""Orders that begin at the RIS: what was done before anybody ordered it."""

from __future__ import annotations

from datetime import datetime

from labsim.errors import ConfigurationError, Hl7Error, NotFound
from labsim.systems.catalogue import examination
from labsim.systems.messages import number_of
from labsim.systems.records import Procedure
from labsim.systems.ris.changes import Changes
from labsim.wire.hl7 import Message


class FillerOrders(Changes):
    """Makes orders of its own, and asks the HIS for their numbers (RAD-3)."""

    def request_order(
        self,
        patient_id: str,
        code: str,
        *,
        reason: str = "",
        provider: str = "",
        priority: str = "R",
        station: str = "",
        start: datetime | None = None,
        study_uid: str = "",
        status: str = "SCHEDULED",
    ) -> Procedure:
        """Make an order at the RIS, schedule it, and ask the HIS for a placer order number.

        The HIS hears of it by ORM^O01 or OMG^O19 with ORC-1 SN and answers NA
        (RAD-3); until then the examination has no placer order number. The
        PACS hears of it as of any other (RAD-4). Both are told in the
        background, so a handler may call this.

        Parameters
        ----------
        patient_id : str
            For whom; the RIS must know the patient.
        code : str
            An examination of `labsim.systems.catalogue`.
        reason, provider : str
            Why, and who takes responsibility, ``"Family^Given"``.
        priority : str
            ``"R"``, ``"A"`` or ``"S"``.
        station : str
            AE title of the scanner; chosen if left out.
        start : datetime, optional
            When; as soon as possible, or now, if left out.
        study_uid : str
            Study Instance UID of images that exist already. No free time is
            looked for then.
        status : str
            What the examination is at, ``"IN PROGRESS"`` or ``"COMPLETED"``
            for one that was not scheduled.

        Returns
        -------
        Procedure
            With a new Accession Number.

        Raises
        ------
        NotFound
            If patient or examination are unknown.
        ConfigurationError
            If no station does it, or an examination has this study.
        """
        patient = self.registry.patient(*number_of(patient_id, self.facility.issuer))
        wanted = examination(code)
        if self.db.row("SELECT 1 FROM procedures WHERE study_uid = ?", study_uid):
            raise ConfigurationError(f"Study {study_uid} has an examination already.")
        visit = self.registry.current_visit(patient)
        with self.db.transaction():
            filler_order = self._next_filler_order()
            self.db.insert(
                "orders",
                filler_order=filler_order,
                placer_order="",
                placer=self._site.his.application,
                visit=visit.visit if visit else "",
                patient_id=patient.patient_id,
                issuer=patient.issuer,
                code=code,
                description=wanted.description,
                reason=reason,
                provider=provider,
                priority=priority,
                status="RECEIVED",
            )
            procedure = self._enter(
                filler_order, station, start, study_uid=study_uid, status=status
            )
            self._tell_archive(procedure.accession, "NW")
        return procedure

    def _next_filler_order(self) -> str:
        return f"FIL{self.db.next('filler_order'):06d}"

    def _take_number(self, message: Message) -> None:
        """Take in the HIS's answer to a new order of ours: its number (RAD-3, ORC-1 NA)."""
        if message["ORC-1"] != "NA":
            raise Hl7Error(f"Order control {message['ORC-1']!r} (ORC-1) is not taken, only NA.")
        filler_order, placer_order = message["ORC-3.1"], message["ORC-2.1"]
        try:
            order = self._order_row(filler_order)
        except NotFound as error:
            raise Hl7Error(f"ORC-3: {error.what}") from error
        if not placer_order:
            raise Hl7Error("ORC-2 Placer Order Number is empty.")
        with self.db.transaction():
            for table in ("orders", "procedures"):
                self.db.run(
                    f"UPDATE {table} SET placer_order = ? WHERE filler_order = ?",
                    placer_order,
                    filler_order,
                )
        self.note(
            f"order {filler_order} has number {placer_order} at the HIS",
            filler_order=filler_order,
            placer_order=placer_order,
            patient_id=order["patient_id"],
        )
