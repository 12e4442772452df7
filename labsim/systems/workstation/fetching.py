"""How a workstation finds studies in the archive, and how they come into its cache."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from sqlite3 import OperationalError

from pydicom.dataset import Dataset
from pydicom.uid import UID, AllTransferSyntaxes
from pynetdicom import AllStoragePresentationContexts, build_context, evt

from labsim.errors import ConfigurationError, NotFound
from labsim.site import Site, WorkstationSite
from labsim.sop_classes import VERIFICATION
from labsim.systems.facility import Facility, text_of
from labsim.systems.records import Record
from labsim.systems.workstation import cache
from labsim.systems.workstation.asking import Asking, Outcome
from labsim.systems.workstation.cache import Cache, CacheFull, has_its_uids
from labsim.systems.workstation.configured import Configured
from labsim.table import Table
from labsim.wire.dimse import DicomNode
from labsim.wire.matching import values_of
from labsim.wire.network import Address
from labsim.wire.status import describe_status, failure


@dataclass(frozen=True)
class Retrieved(Record):
    """What came of fetching a study.

    Parameters
    ----------
    study_uid, accession : str
        Which study.
    method : str
        ``"C-MOVE"``, ``"C-GET"``, or empty if all of it was here already.
    expected : int
        How many instances the archive has of it.
    here : int
        How many of them are on the workstation's disk now.
    completed, failed, warnings : int
        Sub-operations, as the archive counts them.
    status : str
        Of the archive's last answer.
    """

    study_uid: str
    accession: str
    method: str
    expected: int
    here: int
    completed: int = 0
    failed: int = 0
    warnings: int = 0
    status: str = ""

    @property
    def complete(self) -> bool:
        """Whether all of it is here."""
        return self.here == self.expected


class Fetching(Configured):
    """A system that fetches studies, and takes in what the archive sends.

    Parameters
    ----------
    site : Site
        Where the archive is.
    own : WorkstationSite
        Its own entry.
    facility : Facility
        What it shares with the others.
    schema : str
        Its other tables.

    Attributes
    ----------
    cache : Cache
        The images on its disk.
    """

    def __init__(self, site: Site, own: WorkstationSite, facility: Facility, schema: str) -> None:
        super().__init__(own.name, facility, cache.SCHEMA + schema)
        self.ae_title = own.ae_title
        self._own = own
        self.cache = Cache(self)
        self._dicom = DicomNode(self.name, own.ae_title, facility.journal, facility.network)
        self._asking = Asking(self._dicom, self._archive)
        with self.db.transaction():  # who is cut off here begins anew
            if self.db.next("configured") == 1:
                self._begin(own.ae_title, (site.pacs, site.desk))

    def _listen(self) -> None:
        storage = [
            build_context(context.abstract_syntax or "", [*AllTransferSyntaxes])
            for context in AllStoragePresentationContexts
        ]
        listen = partial(
            self._dicom.listen,
            [build_context(VERIFICATION), *storage],
            [(evt.EVT_C_ECHO, lambda event: 0x0000), (evt.EVT_C_STORE, self._store)],
            admit=self._admit,
        )
        address = Address(self._own.host, self._own.dicom_port)
        self.serve("dicom", address, self.ae_title, listen, self._dicom.close)

    def find(
        self,
        *,
        name: str = "",
        patient_id: str = "",
        accession: str = "",
        date: str = "",
        modality: str = "",
    ) -> Table:
        """Search the archive for studies (C-FIND, RAD-14).

        Parameters
        ----------
        name : str
            How the patient's name begins, or with wild cards of one's own.
        patient_id, accession : str
            Whole, or with wild cards.
        date : str
            ``"20260302"``, or a range such as ``"20260301-20260307"``.
        modality : str
            Modalities in Study (0008,0061).

        Returns
        -------
        Table
            A study a row, with how many of its images are here.

        Raises
        ------
        AssociationFailed, DimseFailed
            If the archive does not answer.
        """
        found = self._asking.studies(
            {
                "PatientName": f"{name}*" if name and not set(name) & set("*?") else name,
                "PatientID": patient_id,
                "AccessionNumber": accession,
                "StudyDate": date,
                "ModalitiesInStudy": modality,
            }
        )
        rows = [
            (
                *(text_of(study.get(keyword)) for keyword in (
                    "PatientName", "PatientID", "PatientBirthDate", "StudyDate", "AccessionNumber",
                )),
                "\\".join(values_of(study["ModalitiesInStudy"])),
                text_of(study.get("StudyDescription")),
                text_of(study.get("NumberOfStudyRelatedInstances")),
                len(self.cache.uids(str(study.StudyInstanceUID))),
                str(study.StudyInstanceUID),
            )
            for study in found
        ]  # fmt: skip
        columns = ("name", "patient ID", "born", "date", "accession", "modalities", "description")
        caption = f"{len(rows)} studies at {self.setting('archive')}"
        return Table((*columns, "images", "here", "study"), rows, caption)

    def retrieve(self, study: str, *, method: str = "C-MOVE") -> Retrieved:
        """Fetch a study into the cache, as far as it is not here (RAD-16).

        Parameters
        ----------
        study : str
            Accession number or Study Instance UID.
        method : str
            ``"C-MOVE"`` to itself, for which the archive must know it, or
            ``"C-GET"`` over the association that asks.

        Raises
        ------
        NotFound
            If the archive has no such study.
        ConfigurationError
            If the method is none of the two, or several studies have the accession number.
        AssociationFailed, DimseFailed
            If the archive does not answer, or refuses; what came before is kept.
        """
        return self._fetch(self._study(study), method)[0]

    def _study(self, study: str) -> Dataset:
        """Return what the archive says of one study."""
        keyword = "StudyInstanceUID" if is_uid(study) else "AccessionNumber"
        found = self._asking.studies({keyword: study}) if study else []
        archive = self.setting("archive")
        if not found:
            raise NotFound(
                f"{archive} has no study {study!r}.",
                "find(…) shows what it has; give an accession number or a Study Instance UID.",
            )
        if len(found) > 1:
            uids = ", ".join(str(each.StudyInstanceUID) for each in found)
            raise ConfigurationError(
                f"{archive} has {len(found)} studies of accession number {study!r}.",
                f"Name one of them: {uids}.",
            )
        return found[0]

    def _fetch(self, study: Dataset, method: str) -> tuple[Retrieved, set[str]]:
        """Fetch what is missing of a study; return that, and what the archive has of it."""
        if method not in ("C-MOVE", "C-GET"):
            raise ConfigurationError(
                f"Studies are not fetched by {method!r}.", 'Use "C-MOVE" or "C-GET".'
            )
        uid = str(study.StudyInstanceUID)
        images = self._asking.images(uid)
        listed = {str(image.SOPInstanceUID) for image in images}
        here = self.cache.uids(uid)
        missing = [image for image in images if str(image.SOPInstanceUID) not in here]
        self.cache.use(uid)
        outcome: Outcome | None = None
        if missing and method == "C-GET":
            outcome = self._asking.get(uid, missing, self._store)
        elif missing:
            series = list(dict.fromkeys(str(image.SeriesInstanceUID) for image in missing))
            outcome = self._asking.move(uid, series, self.setting("destination"))
        here = self.cache.uids(uid) & listed
        accession = text_of(study.get("AccessionNumber"))
        retrieved = Retrieved(uid, accession, "", len(images), len(here))
        if outcome:
            retrieved = replace(
                retrieved,
                method=method,
                completed=outcome.completed,
                failed=outcome.failed,
                warnings=outcome.warnings,
                status=describe_status(outcome.status),
            )
            self.note(
                f"study fetched by {method}: {retrieved.here} of {retrieved.expected} are here",
                kind="state" if retrieved.complete else "error",
                study_uid=uid,
                accession=retrieved.accession,
                patient_id=text_of(study.get("PatientID")),
            )
        return retrieved, listed

    def _fetch_to_show(self, study: Dataset) -> tuple[set[str], str]:
        """Fetch a study, and say what is not right; what came before an error is shown."""
        retrieved, listed = self._fetch(study, "C-MOVE")
        if retrieved.complete:
            return listed, ""
        return listed, f"only {retrieved.here} of {retrieved.expected} images came."

    # What comes in

    def _store(self, event: evt.Event) -> int | Dataset:
        """Answer a C-STORE; what is answered with success is on disk."""
        header = event.dataset
        if not has_its_uids(header):
            return failure(0xA900, "an image without its UIDs")
        try:
            self.cache.keep(event.encoded_dataset(), header)
        except (CacheFull, OSError, OperationalError) as error:
            why = error.what if isinstance(error, CacheFull) else str(error)
            self.note(f"image not taken: {why}", kind="error", sop_uid=str(header.SOPInstanceUID))
            return failure(0xA700, "no room for the image")
        return 0x0000


def is_uid(text: str) -> bool:
    """Tell a Study Instance UID from an accession number."""
    return "." in text and UID(text).is_valid
