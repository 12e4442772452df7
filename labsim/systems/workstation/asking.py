"""What a workstation asks of the archive: query, retrieve and store (PS3.4 annexes B and C)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import build_context, build_role, evt
from pynetdicom.association import Association

from labsim.errors import DimseFailed
from labsim.sop_classes import STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE
from labsim.systems.facility import text_of
from labsim.wire.dimse import TIMEOUT, DicomNode, Peer
from labsim.wire.status import describe_status

_PENDING = (0xFF00, 0xFF01)
_STUDY_KEYS = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "StudyDescription",
    "ModalitiesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
)  # fmt: skip
_SERIES_KEYS = ("SeriesInstanceUID", "Modality", "BodyPartExamined", "SeriesDescription")
_IMAGE_KEYS = ("SOPInstanceUID", "SOPClassUID", "AvailableTransferSyntaxUID")


@dataclass(frozen=True)
class Outcome:
    """How a retrieve ended (PS3.4 C.4.2.1.6 to C.4.2.1.8).

    Parameters
    ----------
    status : int
        Of the last answer.
    completed, failed, warnings : int
        Sub-operations.
    """

    status: int
    completed: int
    failed: int
    warnings: int


class Asking:
    """The requests of a workstation.

    Parameters
    ----------
    node : DicomNode
        Its DICOM interface.
    peer : callable
        Returns the archive.
    """

    def __init__(self, node: DicomNode, peer: Callable[[], Peer]) -> None:
        self._node = node
        self._peer = peer

    def studies(self, *searches: dict[str, str]) -> list[Dataset]:
        """Return the archive's studies that match one of the searches (C-FIND)."""
        found: dict[str, Dataset] = {}
        with self._finding() as association:
            for keys in searches:
                asked = dict.fromkeys(_STUDY_KEYS, "") | keys
                for answer in self._answers(association, "STUDY", asked):
                    found[str(answer.StudyInstanceUID)] = answer
        return list(found.values())

    def series(self, study_uids: Iterable[str]) -> dict[str, list[Dataset]]:
        """Return the series of studies (C-FIND), by their Study Instance UID."""
        with self._finding() as association:
            return {uid: self._series(association, uid) for uid in study_uids}

    def images(self, study_uid: str) -> list[Dataset]:
        """Return what the archive has of a study, instance by instance (C-FIND)."""
        with self._finding() as association:
            return [
                image
                for each in self._series(association, study_uid)
                for image in self._answers(
                    association,
                    "IMAGE",
                    {
                        "StudyInstanceUID": study_uid,
                        "SeriesInstanceUID": str(each.SeriesInstanceUID),
                        **dict.fromkeys(_IMAGE_KEYS, ""),
                    },
                )
            ]

    def move(self, study_uid: str, series_uids: Sequence[str], destination: str) -> Outcome:
        """Have series of a study sent to a destination (C-MOVE)."""
        identifier = _wanted(study_uid, series_uids)
        with self._node.associate(self._peer(), [build_context(STUDY_ROOT_MOVE)]) as association:
            answers = association.send_c_move(identifier, destination, STUDY_ROOT_MOVE)
            return self._outcome("C-MOVE", answers)

    def get(
        self,
        study_uid: str,
        images: Sequence[Dataset],
        take: Callable[[evt.Event], int | Dataset],
    ) -> Outcome:
        """Fetch series of a study over the association that asks for them (C-GET).

        Parameters
        ----------
        study_uid : str
            Which study.
        images : sequence of Dataset
            Answers of `images`: their series are fetched, and their SOP classes
            and transfer syntaxes offered.
        take : callable
            Answers each C-STORE that comes back.
        """
        series_uids = list(dict.fromkeys(str(image.SeriesInstanceUID) for image in images))
        kinds = dict.fromkeys((str(i.SOPClassUID), _syntax(i)) for i in images)
        classes = dict.fromkeys(sop_class for sop_class, _ in kinds)
        contexts = [build_context(STUDY_ROOT_GET), *map(build_context, classes)]
        contexts += [build_context(*kind) for kind in kinds if UID(kind[1]).is_compressed]
        with self._node.associate(
            self._peer(),
            contexts[:128],  # an association has room for no more (PS3.8 9.3.2.2)
            negotiation=[build_role(sop_class, scp_role=True) for sop_class in classes],
            handlers=[(evt.EVT_C_STORE, take)],
        ) as association:
            answers = association.send_c_get(_wanted(study_uid, series_uids), STUDY_ROOT_GET)
            return self._outcome("C-GET", answers)

    def store(self, document: Dataset) -> None:
        """Send an instance to the archive (C-STORE).

        Raises
        ------
        AssociationFailed, DimseFailed
            If it is not taken.
        """
        context = build_context(document.SOPClassUID, document.file_meta.TransferSyntaxUID)
        with self._node.associate(self._peer(), [context]) as association:
            status = association.send_c_store(document)
            code = self._code("C-STORE", status)
            if code != 0x0000 and not 0xB000 <= code <= 0xBFFF:
                raise self._failed("C-STORE", status)

    # How

    def _finding(self) -> AbstractContextManager[Association]:
        return self._node.associate(self._peer(), [build_context(STUDY_ROOT_FIND)])

    def _series(self, association: Association, study_uid: str) -> list[Dataset]:
        keys = {"StudyInstanceUID": study_uid, **dict.fromkeys(_SERIES_KEYS, "")}
        return self._answers(association, "SERIES", keys)

    def _answers(self, association: Association, level: str, keys: dict[str, str]) -> list[Dataset]:
        identifier = Dataset()
        identifier.SpecificCharacterSet = "ISO_IR 192"
        identifier.QueryRetrieveLevel = level
        for keyword, value in keys.items():
            setattr(identifier, keyword, value)
        found: list[Dataset] = []
        for status, answer in association.send_c_find(identifier, STUDY_ROOT_FIND):
            code = self._code("C-FIND", status)
            if code in _PENDING and answer is not None:
                found.append(answer)
            elif code != 0x0000:
                raise self._failed("C-FIND", status)
        return found

    def _outcome(self, request: str, answers: Iterable[tuple[Dataset, Dataset | None]]) -> Outcome:
        last = Dataset()
        for last, _ in answers:
            self._code(request, last)
        code = self._code(request, last)
        if code not in (0x0000, 0xB000):  # with 0xB000 a part of it has come
            raise self._failed(request, last)
        completed, failed, warnings = (
            int(last.get(f"NumberOf{what}Suboperations") or 0)
            for what in ("Completed", "Failed", "Warning")
        )
        return Outcome(code, completed, failed, warnings)

    def _code(self, request: str, status: Dataset) -> int:
        if "Status" not in status:
            raise DimseFailed(
                f"{self._peer().ae_title} did not answer the {request} within {TIMEOUT:g} s."
            )
        return int(status.Status)

    def _failed(self, request: str, status: Dataset) -> DimseFailed:
        comment = f" ({status.ErrorComment})" if status.get("ErrorComment") else ""
        failed = status.get("NumberOfFailedSuboperations")
        some = f", {failed} images failed" if failed else ""
        words = describe_status(int(status.Status))
        return DimseFailed(
            f"{self._peer().ae_title} answered the {request} with {words}{comment}{some}.",
            "The journal of the hospital has the details.",
            status=int(status.Status),
        )


def _wanted(study_uid: str, series_uids: Sequence[str]) -> Dataset:
    """Return the Identifier that names series of a study (PS3.4 C.4.2.2.1)."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "SERIES"
    identifier.StudyInstanceUID = study_uid
    identifier.SeriesInstanceUID = list(series_uids)
    return identifier


def _syntax(image: Dataset) -> str:
    """Return the transfer syntax in which the archive has an image, as far as it says so."""
    return text_of(image.get("AvailableTransferSyntaxUID")) or "1.2.840.10008.1.2.1"
