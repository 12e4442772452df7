"""The archive as a caller: what another archive has, and how its studies come here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import build_context, build_role, evt
from pynetdicom.association import Association

from labsim.errors import DimseFailed
from labsim.sop_classes import STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE
from labsim.systems.facility import text_of
from labsim.wire.dimse import DicomNode, Peer, instance_of
from labsim.wire.status import describe_status

Kind = tuple[str, str]  # SOP class and transfer syntax

_PENDING = (0xFF00, 0xFF01)
_BULK = ("PixelData", "FloatPixelData", "DoubleFloatPixelData", "EncapsulatedDocument")


class Source:
    """Another archive, seen over DICOM.

    Parameters
    ----------
    node : DicomNode
        The interface that calls.
    peer : Peer
        The other archive.
    """

    def __init__(self, node: DicomNode, peer: Peer) -> None:
        self._node = node
        self._peer = peer

    def studies(self, keys: dict[str, str]) -> list[Dataset]:
        """Return its studies that match, with the number of their instances (C-FIND)."""
        asked = {"PatientID": "", "AccessionNumber": "", "StudyInstanceUID": ""}
        asked["NumberOfStudyRelatedInstances"] = ""
        with self._finding() as association:
            return self._found(association, "STUDY", asked | keys)

    def instances(self, study_uid: str) -> dict[str, Kind]:
        """Return the SOP Instance UIDs that it has of a study, series by series (C-FIND).

        With each, its SOP class and transfer syntax; where it does not say that, Explicit VR
        Little Endian.
        """
        study = {"StudyInstanceUID": study_uid}
        kind = {"SOPClassUID": "", "AvailableTransferSyntaxUID": ""}
        with self._finding() as association:
            series = self._found(association, "SERIES", study | {"SeriesInstanceUID": ""})
            keys = [
                study | kind | {"SeriesInstanceUID": each.SeriesInstanceUID, "SOPInstanceUID": ""}
                for each in series
            ]
            images = [image for each in keys for image in self._found(association, "IMAGE", each)]
        return {text_of(image.SOPInstanceUID): _kind(image) for image in images}

    def move(self, study_uid: str, destination: str) -> str:
        """Have a study sent somewhere (C-MOVE), and return what went wrong, empty for nothing."""
        contexts = [build_context(STUDY_ROOT_MOVE)]
        identifier = _identifier("STUDY", {"StudyInstanceUID": study_uid})
        with self._node.associate(self._peer, contexts) as association:
            answers = association.send_c_move(identifier, destination, STUDY_ROOT_MOVE)
            return self._outcome("C-MOVE", answers)

    def checksums(self, study_uid: str, kinds: set[Kind]) -> dict[str, tuple[Kind, str]]:
        """Return the SHA-256 of the pixel data of a study, by SOP Instance UID (C-GET).

        With each, its SOP class and the transfer syntax in which it came.

        Parameters
        ----------
        study_uid : str
            Which study.
        kinds : set of Kind
            Of what is wanted.
        """
        found: dict[str, tuple[Kind, str]] = {}

        def take(event: evt.Event) -> int:
            kind = str(event.context.abstract_syntax), str(event.context.transfer_syntax)
            found[instance_of(event)] = kind, checksum(event.dataset)
            return 0x0000

        roles = [build_role(sop_class, scp_role=True) for sop_class in {kind for kind, _ in kinds}]
        contexts = [build_context(STUDY_ROOT_GET), *(build_context(*kind) for kind in kinds)]
        handlers = [(evt.EVT_C_STORE, take)]
        identifier = _identifier("STUDY", {"StudyInstanceUID": study_uid})
        with self._node.associate(
            self._peer, contexts, negotiation=roles, handlers=handlers
        ) as association:
            # What does not come is missing in the answer, and counted there.
            self._outcome("C-GET", association.send_c_get(identifier, STUDY_ROOT_GET))
        return found

    @contextmanager
    def _finding(self) -> Iterator[Association]:
        with self._node.associate(self._peer, [build_context(STUDY_ROOT_FIND)]) as association:
            yield association

    def _found(self, association: Association, level: str, keys: dict[str, str]) -> list[Dataset]:
        found: list[Dataset] = []
        for status, answer in association.send_c_find(_identifier(level, keys), STUDY_ROOT_FIND):
            code = self._code("C-FIND", status)
            if code in _PENDING and answer is not None:
                found.append(answer)
            elif code != 0x0000:
                words = describe_status(code)
                raise DimseFailed(f"{self._peer.ae_title} answered C-FIND: {words}.", status=code)
        return found

    def _outcome(self, request: str, answers: Iterable[tuple[Dataset, Dataset | None]]) -> str:
        why = ""
        for status, _ in answers:
            code = self._code(request, status)
            if code not in (0x0000, *_PENDING):
                failed = status.get("NumberOfFailedSuboperations") or 0
                comment = f" ({status.ErrorComment})" if status.get("ErrorComment") else ""
                why = f"{request}: {describe_status(code)}{comment}, {failed} images failed"
        return why

    def _code(self, request: str, status: Dataset) -> int:
        if "Status" not in status:
            raise DimseFailed(f"{self._peer.ae_title} did not answer the {request}.")
        return int(status.Status)


def checksum(dataset: Dataset) -> str:
    """Return the SHA-256 of the pixels of an instance, or of the document within it."""
    digest = hashlib.sha256()
    for keyword in _BULK:
        digest.update(dataset.get(keyword) or b"")
    return digest.hexdigest()


def _kind(image: Dataset) -> Kind:
    syntax = text_of(image.get("AvailableTransferSyntaxUID")) or ExplicitVRLittleEndian
    return text_of(image.get("SOPClassUID")), syntax


def _identifier(level: str, keys: dict[str, str]) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return identifier
