"""What a PACS administrator does with studies: route, prefetch, check, correct, reject.

IHE actors: Image Manager of Patient Information Reconciliation, and Change
Requester and Image Manager of Imaging Object Change Management.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from labsim.systems.facility import System
from labsim.systems.pacs import (
    announced,
    ledger,
    overlay,
    prefetch,
    quality,
    rejection,
    routes,
    send_queue,
    visibility,
)
from labsim.systems.pacs.access import needs
from labsim.systems.pacs.announced import Announced
from labsim.systems.pacs.corrections import Corrections
from labsim.systems.pacs.entities import Entities
from labsim.systems.pacs.files import FileStore
from labsim.systems.pacs.index import Index
from labsim.systems.pacs.ledger import Correction, Ledger
from labsim.systems.pacs.prefetch import Prefetch
from labsim.systems.pacs.quality import QualityControl
from labsim.systems.pacs.refiling import Refiling
from labsim.systems.pacs.rejection import Rejections
from labsim.systems.pacs.routes import Routes
from labsim.systems.pacs.send_queue import SendQueue
from labsim.systems.pacs.sending import Sending
from labsim.systems.pacs.storing import Storing
from labsim.systems.pacs.visibility import Visibility
from labsim.systems.records import Patient
from labsim.table import Table
from labsim.wire.dimse import DicomNode
from labsim.wire.hl7 import Message

SCHEMA = (
    visibility.SCHEMA
    + announced.SCHEMA
    + send_queue.SCHEMA
    + routes.SCHEMA
    + prefetch.SCHEMA
    + ledger.SCHEMA
    + overlay.SCHEMA
    + rejection.SCHEMA
    + quality.SCHEMA
)


class Stewardship(System):
    """The archive's part for its administrator.

    Attributes
    ----------
    routes : Routes
        Auto-routing rules.
    prefetch : Prefetch
        Rules for priors.
    qc : QualityControl
        The quality-control queue.
    visibility : Visibility
        Who sees what is held or rejected.
    prefetched : list of callables
        Each is called with the Study Instance UID of a prior that an order
        wants, to bring it from slow storage.
    """

    routes: Routes
    prefetch: Prefetch
    qc: QualityControl
    visibility: Visibility
    prefetched: list[Callable[[str], None]]

    def _steward(
        self,
        own_title: str,
        node: DicomNode,
        index: Index,
        files: FileStore,
        entities: Entities,
        storing: Storing,
        sending: Sending,
    ) -> None:
        """Put the parts together, and let them look at what comes in."""
        shown = self.visibility
        self._announced = Announced(self.db, self.facility.issuer)
        self._queue = SendQueue(self, node, entities, shown.sendable, sending)
        self.routes = Routes(self, own_title, entities, self._queue, shown, sending)
        self.prefetched = []
        self.prefetch = Prefetch(
            *(self, own_title, entities, self._queue, shown, self._announced, self.prefetched)
        )
        self._ledger = Ledger(self, self._queue)
        self._corrections = Corrections(self, self._announced, self._ledger)
        self._rejections = Rejections(
            *(self, own_title, index, storing, self._queue, shown, sending)
        )
        self._refiling = Refiling(
            *(self, own_title, index, self._announced, self._ledger),
            *(shown, sending, storing, self._rejections),
        )
        self.qc = QualityControl(
            *(self, index, files, self._announced, self._corrections, self._ledger),
            *(self._rejections, sending, self.routes),
        )
        storing.on_indexed += [self._rejections.arrived, self.qc.arrived, self.routes.arrived]
        storing.on_again.append(self._rejections.came_again)
        storing.on_refused.append(self.qc.refused)

    def _take_up(self) -> None:
        """Finish corrections, and send what waited at the last stop."""
        self._refiling.resume()
        self._queue.resume()

    def _ordered(self, message: Message, patient: Patient) -> None:
        """Take note of whom an order is for, and fetch the priors."""
        self._announced.remember(patient)
        self.prefetch.ordered(message, patient.patient_id, patient.issuer)

    # Sending

    def queue(self) -> Table:
        """Return what routes, prefetches and rejection notes send, and how far it is."""
        return self._queue.table()

    def retry(self, destination: str = "") -> int:
        """Send what waits or has failed, now, and return how many images went.

        Parameters
        ----------
        destination : str
            AE title; every one if left out.
        """
        return self._queue.retry(destination)

    def prefetches(self) -> Table:
        """Return which priors each order has brought, and if none, why."""
        return self.prefetch.prefetches()

    # Corrections

    @needs("correct")
    def move_study(
        self,
        study_uid: str,
        to_patient_id: str,
        *,
        reason: str,
        who: str = "administrator",
        dry_run: bool = False,
    ) -> Correction:
        """File a study under another patient; see `Corrections.move`.

        The archive does not know whether a report on it is signed: ask the RIS
        first.

        Parameters
        ----------
        study_uid : str
            Which study.
        to_patient_id : str
            Whose it is: ``"NUMBER"``, or ``"NUMBER^^^ISSUER"``.
        reason, who : str
            Why, and who says so.
        dry_run : bool
            Only say what would move.
        """
        correction = self._corrections.move(
            study_uid, to_patient_id, reason=reason, who=who, dry_run=dry_run
        )
        if correction.number:
            self.qc.look_again(study_uid)
        return correction

    @needs("correct")
    def split_study(
        self,
        study_uid: str,
        *,
        series: Sequence[str] = (),
        instances: Sequence[str] = (),
        accession: str = "",
        to_patient_id: str = "",
        reason: str,
        who: str = "administrator",
        dry_run: bool = False,
    ) -> Correction:
        """Take series or images out of a study, into one of their own.

        They become new instances with new UIDs; the originals are rejected as
        "Incorrect Modality Worklist Entry".

        Parameters
        ----------
        study_uid : str
            Which study.
        series, instances : sequence of str
            Series and SOP Instance UIDs of what goes.
        accession : str
            The order that they belong to. If one was announced, they get its
            study and its patient.
        to_patient_id : str
            Whose they are, if not the same patient's.
        reason, who : str
            Why, and who says so.
        dry_run : bool
            Only say what would happen.

        Returns
        -------
        Correction
            Whose ``into_uid`` is the other study.

        Raises
        ------
        NotFound
            If the study, a part of it or the patient is not known.
        ConfigurationError
            If there is no reason, it would be the whole study, or patient and
            accession number do not belong together.
        """
        return self._refiling.split(
            *(study_uid, list(series), list(instances), accession, to_patient_id),
            *(reason, who, dry_run),
        )

    @needs("correct")
    def merge_studies(
        self,
        study_uid: str,
        into_study_uid: str,
        *,
        reason: str,
        who: str = "administrator",
        dry_run: bool = False,
    ) -> Correction:
        """Put all images of a study into another one of the same patient.

        They become new instances with new UIDs; the originals are rejected as
        "Incorrect Modality Worklist Entry".

        Raises
        ------
        NotFound
            If a study is not known.
        ConfigurationError
            If there is no reason, or the studies are of two patients.
        """
        return self._refiling.merge(study_uid, into_study_uid, reason, who, dry_run)

    @needs("correct")
    def undo_correction(self, number: int, *, reason: str, who: str = "administrator") -> None:
        """Take a correction back.

        Raises
        ------
        NotFound
            If there is none of that number.
        ConfigurationError
            If it is taken back already, or a later one has to be taken back first.
        """
        row = self._ledger.get(number)
        if row["into_uid"]:
            self._ledger.require(reason)
            self._refiling.undo(number, row, reason, who)
        else:
            self._corrections.undo(number, reason=reason, who=who)

    def corrections(self) -> Table:
        """Return every correction: what, who, when, why, and whether it was taken back."""
        return self._ledger.table()

    # Rejection and key images

    @needs("correct")
    def reject(
        self, *uids: str, reason: str = "quality", text: str = "", modifier: str = ""
    ) -> list[str]:
        """Reject studies, series or images with a rejection note; see `Rejections.reject`.

        Parameters
        ----------
        *uids : str
            Study, Series or SOP Instance UIDs.
        reason : str
            ``"quality"``, ``"safety"``, ``"worklist"`` or ``"expired"`` (IHE
            Imaging Object Change Management).
        text : str
            In your own words.
        modifier : str
            What was wrong with the quality, such as ``"positioning"`` (PS3.16 CID 7011).

        Returns
        -------
        list of str
            SOP Instance UID of each note, one a study.
        """
        return self._rejections.reject(*uids, reason=reason, text=text, modifier=modifier)

    @needs("correct")
    def unreject(self, *uids: str, reason: str) -> int:
        """Show again what was rejected, and hide the note; see `Rejections.take_back`."""
        return self._rejections.take_back(*uids, reason=reason)

    def rejected(self) -> Table:
        """Return everything that was rejected, by whom and why."""
        return self._rejections.table()

    def show_rejected(self, reason: str, *, hide: bool) -> None:
        """Say whether images rejected for a reason are hidden from ordinary callers."""
        self._rejections.policy(reason, hide=hide)

    def key_images(
        self, study_uid: str, sop_uids: Sequence[str], title: str = "interest", text: str = ""
    ) -> str:
        """Point images out with a key image note (PS3.3 A.35.4), and return its SOP Instance UID.

        Parameters
        ----------
        study_uid : str
            Of which study.
        sop_uids : sequence of str
            Which images.
        title : str
            ``"interest"``, ``"referrer"``, ``"surgery"``, ``"teaching"`` or ``"conference"``.
        text : str
            In your own words.
        """
        return self._rejections.point_out(study_uid, list(sop_uids), title, text)
