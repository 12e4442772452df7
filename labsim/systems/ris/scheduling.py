"""What the clerk does: an order becomes an examination with a station, a time and numbers."""

from __future__ import annotations

from datetime import datetime

from labsim.errors import ConfigurationError
from labsim.ids import make_uid
from labsim.systems.catalogue import examination
from labsim.systems.records import Procedure
from labsim.systems.ris.placing import Placing


class Scheduling(Placing):
    """Gives orders a station, a time and their numbers."""

    def schedule(
        self, placer_order: str, *, station: str = "", start: datetime | None = None
    ) -> Procedure:
        """Schedule an order and tell the PACS what will come (ORM^O01 or OMI^O23, RAD-4).

        Gives the Accession Number and the Study Instance UID. No station does
        two things at once; an emergency (priority ``"S"``) takes the place of
        routine examinations that have not begun, which move on.

        Parameters
        ----------
        placer_order : str
            Which order; an order of the RIS that has no such number yet by
            its filler order number.
        station : str
            AE title of the scanner; if left out, the first that is free of
            those that can do it.
        start : datetime, optional
            When; if left out, as soon as the station is free: now, if it is.

        Raises
        ------
        NotFound
            If the RIS has no such order.
        ConfigurationError
            If it is scheduled already, no such scanner does it, or the station
            is taken or closed then.
        DeliveryFailed
            If the PACS was not told; the examination is scheduled all the same.
        """
        self.wait_for_order(placer_order)
        with self.db.transaction():
            procedure = self._enter(placer_order, station, start)
            told = self._tell_archive(procedure.accession, "NW")
        told.result()
        return procedure

    def reschedule(
        self, accession: str, *, start: datetime | None = None, station: str = ""
    ) -> Procedure:
        """Move an examination that has not begun, and tell the PACS (ORC-1 XO, RAD-13).

        Parameters
        ----------
        accession : str
            Which examination.
        start : datetime, optional
            When; the next free time if left out.
        station : str
            AE title; any that can do it if left out.

        Raises
        ------
        NotFound
            If there is no such examination.
        ConfigurationError
            If it has begun, or the station is taken or closed then.
        DeliveryFailed
            If the PACS was not told; the examination is moved all the same.
        """
        with self.db.transaction():
            procedure = self._not_begun(accession)
            if start is not None and not station:
                station = procedure.station
            moved, told = self._move(procedure, station, start)
        told.result()
        return moved

    # For the other parts

    def _enter(
        self,
        number: str,
        station: str = "",
        start: datetime | None = None,
        *,
        study_uid: str = "",
        status: str = "SCHEDULED",
    ) -> Procedure:
        """Make an examination of an order; one with a Study Instance UID is done already."""
        order = self._order_row(number)
        if order["status"] != "RECEIVED":
            raise ConfigurationError(f"Order {number} is {order['status']} already.")
        wanted = examination(order["code"])
        count = self.db.next("procedure")
        if study_uid:
            place = self._station(wanted.modality, station), start or self.facility.clock.now()
        else:
            place = self._place(order["code"], order["priority"], station, start)
        procedure = Procedure(
            accession=f"A{count:07d}",
            study_uid=study_uid or make_uid("study", self.facility.seed, count),
            procedure_id=f"RP{count:06d}",
            step_id=f"SPS{count:06d}",
            filler_order=order["filler_order"],
            placer_order=order["placer_order"],
            patient_id=order["patient_id"],
            code=order["code"],
            description=order["description"],
            modality=wanted.modality,
            body_part=wanted.body_part,
            station=place[0],
            start=place[1].isoformat(timespec="seconds"),
            status="",
            priority=order["priority"],
            issuer=order["issuer"],
        )
        with self.db.transaction():
            self.db.insert("procedures", **vars(procedure))
            # Of an order of ours the HIS hears by this for the first time.
            self._set_status(procedure.accession, status, "SC" if order["placer_order"] else "SN")
        procedure = self.procedure(procedure.accession)
        self._note_procedure(procedure, f"{procedure.description} scheduled on {procedure.station}")
        return procedure

    def _not_begun(self, accession: str) -> Procedure:
        procedure = self.procedure(accession)
        if procedure.status != "SCHEDULED":
            raise ConfigurationError(
                f"Too late: examination {accession} is {procedure.status}.",
                "Only what has not begun can be changed.",
            )
        return procedure
