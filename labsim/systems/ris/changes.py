"""What changes before an examination begins: it becomes another, or does not take place."""

from __future__ import annotations

from labsim.errors import ConfigurationError
from labsim.systems.catalogue import examination
from labsim.systems.records import Procedure
from labsim.systems.ris.scheduling import Scheduling


class Changes(Scheduling):
    """Changes and cancels examinations, and tells PACS and HIS."""

    def change(
        self, accession: str, *, code: str = "", reason: str = "", priority: str = ""
    ) -> Procedure:
        """Change an examination that has not begun.

        The PACS hears of it by ORC-1 XO (RAD-13), the HIS by XX (RAD-3). The
        Accession Number stays, because it stands for the order that is being
        filled, and so does the Study Instance UID (IHE RAD TF-2, RAD-13: the
        procedure updated is the one that was scheduled under it).

        Parameters
        ----------
        accession : str
            Which examination.
        code : str
            What is to be done instead; another kind of scanner if need be.
        reason : str
            Reason for the study.
        priority : str
            ``"R"``, ``"A"`` or ``"S"``.

        Raises
        ------
        NotFound
            If examination or code are unknown.
        ConfigurationError
            If it has begun, or this hospital cannot do it.
        DeliveryFailed
            If the PACS was not told; the examination is changed all the same.
        """
        with self.db.transaction():
            self._change(self._not_begun(accession), code, reason, priority)
            self._tell_placer(accession, "XX")
            told = self._tell_archive(accession, "XO")
        told.result()
        return self.procedure(accession)

    def cancel(self, accession: str, reason: str) -> Procedure:
        """Cancel an examination that has not begun, and tell PACS and HIS why.

        The PACS hears of it by ORC-1 CA (RAD-13), the HIS by OC (RAD-3).

        Parameters
        ----------
        accession : str
            Which examination.
        reason : str
            Why (ORC-16).

        Raises
        ------
        NotFound
            If there is no such examination.
        ConfigurationError
            If it has begun.
        DeliveryFailed
            If the PACS was not told; the examination is cancelled all the same.
        """
        if not reason.strip():
            raise ConfigurationError("A cancellation needs a reason.")
        with self.db.transaction():
            procedure = self._not_begun(accession)
            self._set_status(accession, "CANCELLED", "OC", reason)
            told = self._tell_archive(accession, "CA")
        self._note_procedure(procedure, f"cancelled: {reason}")
        told.result()
        return self.procedure(accession)

    def _change(self, procedure: Procedure, code: str, reason: str, priority: str) -> None:
        """Change order and examination; the station too if it cannot do the new one."""
        wanted = examination(code or procedure.code)
        changes = {"code": wanted.code, "description": wanted.description}
        changes["priority"] = priority or procedure.priority
        place = {"modality": wanted.modality, "body_part": wanted.body_part}
        if wanted.modality != procedure.modality:
            station, start = self._place(
                wanted.code, changes["priority"], "", None, leave_out=procedure.accession
            )
            place |= {"station": station, "start": start.isoformat(timespec="seconds")}
        self._update("procedures", "accession", procedure.accession, changes | place)
        if reason:
            changes["reason"] = reason
        self._update("orders", "filler_order", procedure.filler_order, changes)
        self._note_procedure(
            self.procedure(procedure.accession), f"changed to {wanted.description}"
        )

    def _update(self, table: str, key: str, value: str, changes: dict[str, str]) -> None:
        names = ", ".join(f"{name} = ?" for name in changes)
        self.db.run(f"UPDATE {table} SET {names} WHERE {key} = ?", *changes.values(), value)
