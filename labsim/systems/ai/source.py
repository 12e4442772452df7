"""The archive as the AI node calls it: what it has, how it comes here, and where results go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage
from pynetdicom import build_context, build_role, evt

from labsim.errors import AssociationFailed, DimseFailed
from labsim.sop_classes import STUDY_ROOT_FIND, STUDY_ROOT_GET
from labsim.systems.facility import text_of
from labsim.wire.dimse import DicomNode, Peer
from labsim.wire.status import describe_status

_PENDING = (0xFF00, 0xFF01)
_SOME_CAME = (0xA702, 0xB000)  # or none: whoever asked counts them
# A UID that is taken, SOP class, data set: at any time it would be refused so (PS3.4 table B.2-1).
_FOR_GOOD = {0x0111, 0x0122, *range(0xA900, 0xAA00), *range(0xC000, 0xD000)}


class ResultRefused(DimseFailed):
    """A result that the archive will not take at any other time either."""


class Source:
    """The archive.

    Parameters
    ----------
    node : DicomNode
        The interface that calls.
    peer : Peer
        The archive.
    """

    def __init__(self, node: DicomNode, peer: Peer) -> None:
        self._node = node
        self.peer = peer

    def count(self, study_uid: str, series_uid: str) -> int:
        """Return how many images it has of a series; 0 if it does not have it (RAD-14)."""
        return self._series(study_uid, SeriesInstanceUID=series_uid).get(series_uid, 0)

    def ct_series(self, study_uid: str) -> list[str]:
        """Return the CT series that it has of a study (RAD-14)."""
        return sorted(self._series(study_uid, Modality="CT"))

    def fetch(self, study_uid: str, series_uid: str, keep: Callable[[evt.Event], int]) -> None:
        """Have the CT images of a series sent here on the same association (C-GET, RAD-16).

        Parameters
        ----------
        study_uid, series_uid : str
            Which.
        keep : callable
            Answers each C-STORE.

        Raises
        ------
        DimseFailed
            If the archive does not answer or refuses; that images are missing is no error here.
        """
        keys = _keys(study_uid, SeriesInstanceUID=series_uid)
        contexts = [build_context(STUDY_ROOT_GET), build_context(CTImageStorage)]
        roles, handlers = [build_role(CTImageStorage, scp_role=True)], [(evt.EVT_C_STORE, keep)]
        with self._node.associate(
            self.peer, contexts, negotiation=roles, handlers=handlers
        ) as archive:
            for status, _ in archive.send_c_get(keys, STUDY_ROOT_GET):
                code = int(status.get("Status", 0xC000))
                if code not in (0x0000, *_SOME_CAME, *_PENDING):
                    raise DimseFailed(f"C-GET failed: {describe_status(code)}.", status=code)

    def store(self, results: Sequence[Dataset]) -> None:
        """Send results, each only if those before it were taken: the later name the earlier.

        Raises
        ------
        ResultRefused
            If the archive will not take one of them.
        DimseFailed
            If it cannot now.
        """
        kinds = dict.fromkeys((r.SOPClassUID, r.file_meta.TransferSyntaxUID) for r in results)
        try:
            with self._node.associate(self.peer, [build_context(*k) for k in kinds]) as archive:
                taken = {context.abstract_syntax for context in archive.accepted_contexts}
                for result in results:
                    if result.SOPClassUID not in taken:
                        raise _refused(result, "SOP class not supported", 0x0122)
                    _judge(result, archive.send_c_store(result).get("Status"))
        except AssociationFailed as error:
            if error.reason != "no context":
                raise
            raise _refused(results[0], "SOP class not supported", 0x0122) from error

    def _series(self, study_uid: str, **more: str) -> dict[str, int]:
        keys = _keys(study_uid, **{"SeriesInstanceUID": "", **more})
        keys.NumberOfSeriesRelatedInstances = ""
        found: dict[str, int] = {}
        with self._node.associate(self.peer, [build_context(STUDY_ROOT_FIND)]) as archive:
            for status, answer in archive.send_c_find(keys, STUDY_ROOT_FIND):
                code = int(status.get("Status", 0xC000))
                if code in _PENDING and answer is not None:
                    uid = text_of(answer.SeriesInstanceUID)
                    found[uid] = int(answer.NumberOfSeriesRelatedInstances)
                elif code != 0x0000:
                    raise DimseFailed(f"C-FIND failed: {describe_status(code)}.", status=code)
        return found


def references(images: Iterable[Dataset], archive: str) -> list[Dataset]:
    """Return the items that name instances, a series each (PS3.3 table 10-3b).

    Parameters
    ----------
    images : iterable of Dataset
        With SOP class and the UIDs of study, series and instance.
    archive : str
        AE title from which they can be retrieved.
    """
    items: dict[str, Dataset] = {}
    for image in images:
        item = items.get(image.SeriesInstanceUID)
        if item is None:
            item = items[image.SeriesInstanceUID] = Dataset()
            item.TypeOfInstances = "DICOM"
            item.StudyInstanceUID = image.StudyInstanceUID
            item.SeriesInstanceUID = image.SeriesInstanceUID
            item.ReferencedSOPSequence = []
            way = Dataset()
            way.RetrieveAETitle = archive
            item.DICOMRetrievalSequence = [way]
        instance = Dataset()
        instance.ReferencedSOPClassUID = image.SOPClassUID
        instance.ReferencedSOPInstanceUID = image.SOPInstanceUID
        item.ReferencedSOPSequence.append(instance)
    return list(items.values())


def _judge(result: Dataset, code: int | None) -> None:
    """Raise what a C-STORE that failed means."""
    if code is None:
        raise DimseFailed("The archive did not answer the C-STORE.")
    if code in _FOR_GOOD:
        raise _refused(result, describe_status(code), code)
    if code != 0x0000 and not 0xB000 <= code <= 0xBFFF:
        raise DimseFailed(f"C-STORE failed: {describe_status(code)}.", status=code)


def _refused(result: Dataset, words: str, code: int) -> ResultRefused:
    return ResultRefused(f"The archive refused the {result.Modality}: {words}.", status=code)


def _keys(study_uid: str, **more: str) -> Dataset:
    keys = Dataset()
    keys.QueryRetrieveLevel = "SERIES"
    keys.StudyInstanceUID = study_uid
    for keyword, value in more.items():
        setattr(keys, keyword, value)
    return keys
