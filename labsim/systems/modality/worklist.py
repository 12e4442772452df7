"""What the scanner is to do: asked of the RIS, and kept for when the RIS does not answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import overload

from pydicom.dataset import Dataset
from pynetdicom import build_context

from labsim.errors import AssociationFailed, DimseFailed
from labsim.sop_classes import MODALITY_WORKLIST
from labsim.systems.modality.tables import ModalityTables, status_of
from labsim.systems.worklist import worklist_keys
from labsim.table import Table
from labsim.wire.matching import matches
from labsim.wire.status import describe_status


@dataclass(frozen=True)
class Worklist(Sequence[Dataset]):
    """The entries that a scanner was offered.

    Parameters
    ----------
    station : str
        AE title of the scanner.
    entries : tuple of Dataset
        In the order of the RIS.
    read_at : str
        When they were read, hospital time; empty if never.
    problem : str
        Why they are old ones; empty if the RIS has just answered.
    age : int
        How old they are, in minutes.
    """

    station: str
    entries: tuple[Dataset, ...]
    read_at: str
    problem: str = ""
    age: int = 0

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Dataset]:
        return iter(self.entries)

    @overload
    def __getitem__(self, index: int) -> Dataset: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Dataset, ...]: ...
    def __getitem__(self, index: int | slice) -> Dataset | tuple[Dataset, ...]:
        return self.entries[index]

    @property
    def caption(self) -> str:
        """What the list is, and how old."""
        if not self.problem:
            return f"Worklist of {self.station}, read at {self.read_at[11:16]}"
        kept = (
            f"kept from {self.read_at[11:16]}, {self.age} minutes ago"
            if self.read_at
            else "nothing kept"
        )
        return f"Worklist of {self.station}, {kept}. The RIS does not answer: {self.problem}"

    def table(self) -> Table:
        """Return the entries as the console shows them."""
        columns = (
            "accession", "patient ID", "name", "born", "sex", "examination", "date", "time",
            "priority",
        )  # fmt: skip
        return Table(columns, [_shown(entry) for entry in self.entries], self.caption)

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


class WorklistUser(ModalityTables):
    """Asks for the worklist (RAD-5), and keeps what it was last offered."""

    def query_worklist(
        self,
        *,
        date: str = "",
        accession: str = "",
        patient_id: str = "",
        name: str = "",
        station: str | None = None,
        modality: str | None = None,
    ) -> list[Dataset]:
        """Ask the RIS what this scanner is to do (C-FIND, RAD-5).

        Parameters
        ----------
        date : str
            ``"YYYYMMDD"`` or a range of two; today if left out.
        accession, patient_id : str
            Only this examination, only this patient.
        name : str
            Only patients of this name; ``*`` and ``?`` are wild cards.
        station, modality : str, optional
            Scheduled station and modality; the scanner's own if left out,
            all of them if empty.

        Returns
        -------
        list of Dataset
            Worklist entries; they are also kept on the scanner's disk.

        Raises
        ------
        AssociationFailed, DimseFailed
            If the RIS does not answer, or answers with a failure.
        """
        keys = self._keys(date, accession, patient_id, name, station, modality)
        entries = self._ask(keys)
        self._keep(keys, entries)
        return entries

    def worklist(
        self,
        *,
        date: str = "",
        accession: str = "",
        patient_id: str = "",
        name: str = "",
        station: str | None = None,
        modality: str | None = None,
    ) -> Worklist:
        """Return the worklist as the console shows it: fresh, or else what was kept.

        Parameters
        ----------
        date, accession, patient_id, name, station, modality
            As of `query_worklist`.

        Returns
        -------
        Worklist
            Which says how old it is, and why.
        """
        keys = self._keys(date, accession, patient_id, name, station, modality)
        try:
            entries = self._ask(keys)
        except (AssociationFailed, DimseFailed) as error:
            return self._kept(keys, error.what)
        self._keep(keys, entries)
        return Worklist(self.ae_title, tuple(entries), self.now())

    def kept_worklist(self) -> Worklist:
        """Return what was last offered and has not been begun, without asking again."""
        everything = worklist_keys("", "", "")
        return self._kept(everything, "")

    def _keys(
        self,
        date: str,
        accession: str,
        patient_id: str,
        name: str,
        station: str | None,
        modality: str | None,
    ) -> Dataset:
        today = self.facility.clock.now().strftime("%Y%m%d")
        keys = worklist_keys(
            self.modality if modality is None else modality,
            self.ae_title if station is None else station,
            date or today,
            accession,
        )
        keys.PatientID, keys.PatientName = patient_id, name
        return keys

    def _ask(self, keys: Dataset) -> list[Dataset]:
        contexts = [build_context(MODALITY_WORKLIST)]
        entries: list[Dataset] = []
        with self._dicom.associate(self.peer("worklist"), contexts) as association:
            for status, entry in association.send_c_find(keys, MODALITY_WORKLIST):
                code = status_of(status, "C-FIND")
                if code in (0xFF00, 0xFF01) and entry is not None:
                    entries.append(entry)
                elif code != 0x0000:
                    words = describe_status(code)
                    raise DimseFailed(f"The worklist query failed: {words}.", status=code)
        return entries

    def _keep(self, keys: Dataset, entries: list[Dataset]) -> None:
        """Let what was answered take the place of what was kept for the same question."""
        gone = [
            row["step_id"]
            for row in self.db.rows("SELECT step_id, item FROM worklist")
            if matches(keys, Dataset.from_json(row["item"]))
        ]
        with self.db.transaction():
            self.db.run_many("DELETE FROM worklist WHERE step_id = ?", [(uid,) for uid in gone])
            self.db.run_many(
                "INSERT OR REPLACE INTO worklist VALUES (?, ?, ?)",
                [(_step_id(entry), entry.to_json(), self.now()) for entry in entries],
            )

    def _kept(self, keys: Dataset, problem: str) -> Worklist:
        rows = self.db.rows(
            "SELECT item, read_at FROM worklist WHERE step_id NOT IN "
            "(SELECT step_id FROM step_entries JOIN steps USING (mpps_uid) "
            "WHERE status <> 'DISCONTINUED') ORDER BY rowid"
        )
        kept = [(Dataset.from_json(row["item"]), row["read_at"]) for row in rows]
        found = [(entry, read_at) for entry, read_at in kept if matches(keys, entry)]
        read_at = min((read_at for _, read_at in found), default="")
        passed = self.facility.clock.now() - datetime.fromisoformat(read_at or self.now())
        entries = tuple(entry for entry, _ in found)
        return Worklist(
            self.ae_title, entries, read_at, problem, max(0, round(passed.total_seconds() / 60))
        )


def _step_id(entry: Dataset) -> str:
    return str(entry.ScheduledProcedureStepSequence[0].get("ScheduledProcedureStepID") or "")


def _shown(entry: Dataset) -> tuple[str, ...]:
    step = entry.ScheduledProcedureStepSequence[0]
    return (
        str(entry.get("AccessionNumber") or ""),
        str(entry.get("PatientID") or ""),
        str(entry.get("PatientName") or ""),
        str(entry.get("PatientBirthDate") or ""),
        str(entry.get("PatientSex") or ""),
        str(entry.get("RequestedProcedureDescription") or ""),
        str(step.get("ScheduledProcedureStepStartDate") or ""),
        str(step.get("ScheduledProcedureStepStartTime") or "")[:4],
        str(entry.get("RequestedProcedurePriority") or ""),
    )
