"""What the scanner tells the RIS of its work: the messages of a performed step (RAD-6, RAD-7)."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence
from datetime import datetime

from pynetdicom import build_context

from labsim.imaging.scanners import SCANNERS
from labsim.sop_classes import MPPS
from labsim.systems.modality.dose import radiation
from labsim.systems.modality.tables import ModalityTables, require_success
from labsim.systems.performed_step import PerformedSeries, PerformedStep, mpps_create, mpps_set


class Telling(ModalityTables):
    """Tells the RIS of steps, now or when it answers again."""

    def tell_ris(self) -> int:
        """Tell the RIS of the steps that were begun or ended while it did not answer.

        Returns
        -------
        int
            How many steps it has been told of.

        Raises
        ------
        AssociationFailed, DimseFailed
            If the RIS still does not take it.
        """
        rows = self.db.rows("SELECT * FROM steps WHERE told <> status ORDER BY rowid")
        for row in rows:
            step = self._step(row["mpps_uid"])
            if not row["told"]:
                self._send_create(step)
                self.db.run(
                    "UPDATE steps SET told = 'IN PROGRESS' WHERE mpps_uid = ?", step.mpps_uid
                )
            if row["status"] != "IN PROGRESS":
                self._send_set(step, row["status"], row["reason"], row["ended"])
                self._mark_told(step, row["status"])
            self._note_step(step, f"the RIS has been told that the step is {row['status']}")
        return len(rows)

    def _mark_told(self, step: PerformedStep, status: str) -> None:
        self.db.run("UPDATE steps SET told = ? WHERE mpps_uid = ?", status, step.mpps_uid)

    def _send_create(self, step: PerformedStep) -> None:
        request = mpps_create(step, self.ae_title, self.modality)
        with self._dicom.associate(self.peer("mpps"), [build_context(MPPS)]) as association:
            status, _ = association.send_n_create(request, MPPS, step.mpps_uid)
        require_success(status, "MPPS N-CREATE")

    def _send_set(
        self, step: PerformedStep, status: str, reason: str = "", ended: str = ""
    ) -> None:
        now = datetime.fromisoformat(ended) if ended else self.facility.clock.now()
        rows = self.db.rows("SELECT * FROM images WHERE mpps_uid = ? ORDER BY file", step.mpps_uid)
        changes = mpps_set(status, now, self._performed(rows), reason)
        changes.update(
            radiation([self._images / row["file"] for row in rows if not row["deleted"]])
        )
        with self._dicom.associate(self.peer("mpps"), [build_context(MPPS)]) as association:
            answer, _ = association.send_n_set(changes, MPPS, step.mpps_uid)
        require_success(answer, "MPPS N-SET")

    def _performed(self, rows: Sequence[sqlite3.Row]) -> list[PerformedSeries]:
        series = []
        for series_uid, group in itertools.groupby(rows, lambda row: str(row["series_uid"])):
            images = list(group)
            protocol = SCANNERS[self.modality].protocols[images[0]["protocol"]]
            names = (protocol.name, protocol.series_description)
            uids = tuple((row["sop_class"], row["sop_uid"]) for row in images)
            series.append(PerformedSeries(series_uid, *names, uids))
        return series
