"""The queue of images on the scanner's disk: sending, trying again, making room (RAD-8)."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pynetdicom import build_context

from labsim.errors import ConfigurationError, LabError, NotFound
from labsim.site import ModalitySite, Site
from labsim.systems.facility import Facility
from labsim.systems.modality.tables import OF_EXAM, ModalityTables, status_of
from labsim.table import Table
from labsim.wire.status import describe_status


@dataclass(frozen=True)
class Sending:
    """What came of an attempt to send images.

    Parameters
    ----------
    sent, waiting : int
        Images that the archive has now, and images that are still here only.
    problem : str
        Why some wait; empty if none do.
    """

    sent: int
    waiting: int
    problem: str = ""

    def __str__(self) -> str:
        if not (self.sent or self.waiting):
            return "Nothing waited to be sent."
        if not self.waiting:
            return f"{self.sent} images sent, none waiting."
        return f"{self.sent} images sent, {self.waiting} waiting: {self.problem}"

    __repr__ = __str__


class SendingImages(ModalityTables):
    """Sends images; what the archive did not take stays in the queue, and is tried again."""

    def __init__(self, site: Site, own: ModalitySite, facility: Facility) -> None:
        super().__init__(site, own, facility)
        self._one_at_a_time = threading.Lock()
        self._timer: Future[None] | None = None
        self._stopping = False

    def configure_sending(
        self, *, auto_send: bool = False, retries: int = 0, interval: float = 60, quota: float = 0
    ) -> None:
        """Set how the scanner sends by itself, and how much it keeps.

        Parameters
        ----------
        auto_send : bool
            Whether images are sent when their step ends; else `send` is called.
        retries : int
            How often what did not go is tried again, without anybody asking.
        interval : float
            Seconds between tries, of the machine's clock.
        quota : float
            Megabytes of images that the disk holds; 0 for no limit.

        Raises
        ------
        ConfigurationError
            If a number cannot be right.
        """
        if not (0 <= retries <= 100 and 0.01 <= interval <= 86400 and quota >= 0):
            raise ConfigurationError(
                f"{retries} retries every {interval:g} s with {quota:g} MB cannot be.",
                "Use 0 to 100 retries, 0.01 to 86400 seconds, and 0 MB or more.",
            )
        values = {
            "auto_send": int(auto_send), "retries": retries, "interval": interval, "quota": quota
        }  # fmt: skip
        for name, value in values.items():
            self.db.upsert("settings", "name", name=name, value=value)
        self.note("sending set: " + ", ".join(f"{k} {v:g}" for k, v in values.items()))

    def send(self, exam: str = "") -> Sending:
        """Send the images that the archive does not have yet (C-STORE, RAD-8).

        Parameters
        ----------
        exam : str
            Only those of this examination, by its accession number or by the
            UID of one of its steps.

        Returns
        -------
        Sending
            How many went; what did not go stays in the queue.
        """
        with self._one_at_a_time:
            sending = self._send(exam)
            self._plan_retry()
        return sending

    def resend(self, exam: str) -> Sending:
        """Send all images of an examination again, also those that were sent.

        Parameters
        ----------
        exam : str
            Its accession number, or the UID of one of its steps.

        Raises
        ------
        NotFound
            If the scanner has no image of it.
        """
        changed = self.db.run(
            "UPDATE images SET state = 'waiting', tries = 0, answer = '' "
            f"WHERE {OF_EXAM} AND deleted = 0 AND state <> 'withheld'",
            exam,
        )
        if not exam or not changed:
            raise NotFound(
                f"{self.ae_title} has no image of {exam!r} to send again.",
                f'hospital.modality("{self.name}").images() lists what it has.',
            )
        return self.send(exam)

    def waiting(self) -> int:
        """Return how many images the archive does not have yet."""
        return len(self._queue(""))

    def images(self, exam: str = "") -> Table:
        """Return every image with its state: waiting, failed, sent or withheld, and why.

        Parameters
        ----------
        exam : str
            Only those of this examination.
        """
        rows = self.db.rows(
            "SELECT file, state, tries, answer, commitment, "
            "CASE deleted WHEN 1 THEN 'deleted' ELSE bytes END "
            f"FROM images WHERE {OF_EXAM} ORDER BY file",
            exam,
        )
        columns = ("image", "state", "tries", "answer", "commitment", "bytes")
        return Table(columns, rows, f"Images of {self.ae_title}")

    def delete_committed(self, exam: str = "") -> int:
        """Delete images from the scanner's disk, but only what the archive has promised to keep.

        Parameters
        ----------
        exam : str
            Only those of this examination.

        Returns
        -------
        int
            How many images went.

        Raises
        ------
        ConfigurationError
            If an examination is named of which some are not committed.
        """
        rows = self.db.rows(
            f"SELECT sop_uid, file, commitment FROM images WHERE {OF_EXAM} AND deleted = 0",
            exam,
        )
        kept = [row for row in rows if row["commitment"] != "committed"]
        if exam and kept:
            raise ConfigurationError(
                f"{len(kept)} images of {exam} are not committed: they may be the only ones.",
                f'Ask with hospital.modality("{self.name}").request_commitment("{exam}").',
            )
        gone = [row for row in rows if row["commitment"] == "committed"]
        self.db.run_many(
            "UPDATE images SET deleted = 1 WHERE sop_uid = ?", [(row["sop_uid"],) for row in gone]
        )
        for row in gone:
            (self._images / row["file"]).unlink(missing_ok=True)
        self.note(
            f"{len(gone)} committed images deleted",
            **self._keys_of(exam),
        )
        return len(gone)

    def stop(self) -> None:
        """Give up the next try; the images stay in the queue."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        super().stop()

    # Sending

    def _send(self, exam: str) -> Sending:
        files = self._queue(exam)
        if not files:
            return Sending(0, 0)
        sent, problem = 0, ""
        classes = sorted({sop_class for _, sop_class, _ in files})
        try:
            with self._dicom.associate(
                self.peer("store"), [build_context(sop_class) for sop_class in classes]
            ) as association:
                for sop_uid, _, name in files:
                    try:
                        image = dcmread(self._images / name)
                    except (OSError, InvalidDicomError) as error:
                        problem = f"{name} cannot be read: {error}"
                        self._mark([sop_uid], "failed", problem)
                        continue
                    code = status_of(association.send_c_store(image), "C-STORE")
                    taken = code == 0x0000 or 0xB000 <= code <= 0xBFFF
                    self._mark([sop_uid], "sent" if taken else "failed", describe_status(code))
                    sent += taken
                    problem = problem if taken else describe_status(code)
        except (LabError, ValueError, RuntimeError) as error:
            # pynetdicom raises ValueError when no accepted context fits the image,
            # and RuntimeError when the association has ended.
            problem = error.what if isinstance(error, LabError) else str(error)
            left = {sop_uid for sop_uid, _, _ in self._queue(exam)}
            self._mark([uid for uid, _, _ in files if uid in left], "failed", problem)
        waiting = len(self._queue(exam))
        self.note(str(Sending(sent, waiting, problem)), **self._keys_of(exam))
        return Sending(sent, waiting, problem)

    def _queue(self, exam: str) -> list[tuple[str, str, str]]:
        rows = self.db.rows(
            "SELECT sop_uid, sop_class, file FROM images "
            f"WHERE state IN ('waiting', 'failed') AND {OF_EXAM} ORDER BY file",
            exam,
        )
        return [(row["sop_uid"], row["sop_class"], row["file"]) for row in rows]

    def _mark(self, sop_uids: list[str], state: str, answer: str) -> None:
        self.db.run_many(
            "UPDATE images SET state = ?, answer = ?, tries = tries + 1 WHERE sop_uid = ?",
            [(state, answer, uid) for uid in sop_uids],
        )

    # Trying again

    def _send_in_background(self) -> None:
        self.worker.submit(self.send)

    def _plan_retry(self) -> None:
        """Set the timer if something waits that has not been tried often enough."""
        again = self.db.value(
            "SELECT COUNT(*) FROM images WHERE state = 'failed' AND tries <= ?",
            self._setting("retries", 0),
        )
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if again and not self._stopping:
            self._timer = self.facility.loop.later(
                self._setting("interval", 60), self._send_in_background
            )
