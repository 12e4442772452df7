"""What the importer sends: images to the archive, and what it does to the RIS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from labsim.errors import DimseFailed, LabError
from labsim.sop_classes import MPPS
from labsim.systems.importer.asking import status_of
from labsim.systems.importer.queue import Queue
from labsim.wire.dimse import DicomNode, Peer
from labsim.wire.status import describe_status

_MOST_CONTEXTS = 128  # an association has no more presentation contexts (PS3.8 9.3.2.2)


class Sending:
    """Stores images, and reports steps.

    Parameters
    ----------
    node : DicomNode
        The importer's DICOM interface.
    peer : callable
        Returns whom to call for a service.
    queue : Queue
        What is to be sent, and what became of it.
    folder : Path
        Where the copies of discs are.
    """

    def __init__(
        self, node: DicomNode, peer: Callable[[str], Peer], queue: Queue, folder: Path
    ) -> None:
        self._node = node
        self._peer = peer
        self._queue = queue
        self._folder = folder

    def store(self, number: int, change: Callable[[Dataset], None]) -> str:
        """Send what the archive does not have of a study (C-STORE).

        Parameters
        ----------
        number : int
            Of the queue.
        change : callable
            Gives each data set its new identity.

        Returns
        -------
        str
            Why some was not taken; empty if the archive has all.
        """
        images = self._queue.images(number, sent=False)
        kinds = dict.fromkeys((image["sop_class"], image["syntax"]) for image in images)
        problem = ""
        for batch in _batches([build_context(*kind) for kind in kinds]):
            accepted = {(c.abstract_syntax, c.transfer_syntax[0]) for c in batch}
            mine = [i for i in images if (i["sop_class"], i["syntax"]) in accepted]
            try:
                with self._node.associate(self._peer("store"), batch) as archive:
                    for image in mine:
                        dataset = dcmread(self._folder / image["file"])
                        change(dataset)
                        problem = self._send_one(archive, image["id"], dataset) or problem
            except (LabError, OSError, RuntimeError) as error:
                # RuntimeError: the association has ended.
                problem = error.what if isinstance(error, LabError) else str(error)
        return problem

    def _send_one(self, archive: Association, image: int, dataset: Dataset) -> str:
        """Send one image, and return why it was not taken; empty if it was."""
        try:
            code = status_of(archive.send_c_store(dataset), "C-STORE")
        except ValueError as error:  # no accepted presentation context fits
            answer, taken = str(error), False
        else:
            answer = describe_status(code)
            taken = code == 0x0000 or 0xB000 <= code <= 0xBFFF
        self._queue.answered(image, taken, answer)
        return "" if taken else answer

    def tell_ris(
        self, request: Callable[[Association], tuple[Dataset, Dataset | None]], name: str
    ) -> None:
        """Send a request about a performed procedure step (MPPS).

        Parameters
        ----------
        request : callable
            Sends it on an association.
        name : str
            What it is called.

        Raises
        ------
        AssociationFailed, DimseFailed
            If the RIS does not take it.
        """
        with self._node.associate(self._peer("mpps"), [build_context(MPPS)]) as ris:
            status, _ = request(ris)
        code = status_of(status, name)
        if code != 0x0000 and not 0x0001 <= code <= 0x00FF and code not in (0x0107, 0x0116):
            comment = f" ({status.ErrorComment})" if "ErrorComment" in status else ""
            raise DimseFailed(f"{name} failed: {describe_status(code)}{comment}.", status=code)


def _batches(contexts: list[PresentationContext]) -> list[list[PresentationContext]]:
    return [
        contexts[first : first + _MOST_CONTEXTS]
        for first in range(0, len(contexts), _MOST_CONTEXTS)
    ]
