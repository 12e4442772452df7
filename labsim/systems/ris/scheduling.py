"""What the clerk does: an order becomes an examination with a station, a time and numbers."""

from __future__ import annotations

from datetime import datetime

from labsim.errors import ConfigurationError
from labsim.ids import make_uid
from labsim.systems.catalogue import IMPORT, examination
from labsim.systems.messages import patient_segments, provider_field
from labsim.systems.records import Procedure
from labsim.systems.ris.tables import RisTables, patient_of_row
from labsim.wire.hl7 import Message, segment, timestamp


class Scheduling(RisTables):
    """Schedules examinations, and tells the PACS what will come."""

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

    def _station(self, modality: str, wanted: str) -> str:
        able = [m.ae_title for m in self._site.modalities if m.kind == modality]
        if modality == IMPORT.modality and self._site.importer:
            able.append(self._site.importer.ae_title)
        if wanted and wanted not in able:
            raise ConfigurationError(
                f"{wanted!r} is no {modality} station of this hospital.",
                f"Use {', '.join(able) or 'another examination'}.",
            )
        if not able:
            raise ConfigurationError(f"This hospital has no {modality} station.")
        return wanted or able[0]

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
            *patient_segments(patient_of_row(row), row["visit"]),
            segment("ORC", fields | {7: f"1^^^{start}^^R", 12: provider_field(row["provider"])}),
            segment("OBR", self._obr(row) | {24: procedure.modality, 27: f"1^^^{start}^^R"}),
            segment("ZDS", {1: f"{procedure.study_uid}^100^Application^DICOM"}),
        )
