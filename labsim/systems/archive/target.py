"""Where a migration brings studies: to the archive itself, or to another archive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pydicom.uid import ExplicitVRLittleEndian

from labsim.systems.archive.source import Kind, Source, checksum
from labsim.systems.pacs.files import FileStore
from labsim.systems.pacs.index import Index
from labsim.wire.dimse import DicomNode, Peer


class Target(Protocol):
    """What takes studies in, and says what has arrived."""

    @property
    def ae_title(self) -> str:
        """Where the source is told to send them."""
        ...

    def arrived(self, study_uid: str, wanted: Mapping[str, Kind]) -> dict[str, tuple[Kind, str]]:
        """Return what has arrived of what is wanted, by SOP Instance UID.

        Parameters
        ----------
        study_uid : str
            Of which study.
        wanted : mapping of str to Kind
            What the source has of it.

        Returns
        -------
        dict of str to (Kind, str)
            Of each SOP class and transfer syntax, and the SHA-256 of its pixel data in that
            syntax, which is empty if it could not be had.
        """
        ...


class Here:
    """The archive itself, whose files are read.

    Parameters
    ----------
    ae_title : str
        Its own.
    index, files
        Parts of it.
    """

    def __init__(self, ae_title: str, index: Index, files: FileStore) -> None:
        self.ae_title = ae_title
        self._index = index
        self._files = files

    def arrived(self, study_uid: str, wanted: Mapping[str, Kind]) -> dict[str, tuple[Kind, str]]:
        """See `Target`."""
        found = ((uid, self._index.find(uid)) for uid in wanted)
        return {
            uid: ((it.sop_class, it.transfer_syntax), checksum(self._files.read(it.file)))
            for uid, it in found
            if it is not None
        }


class There:
    """Another archive, which is asked by C-FIND and C-GET.

    Parameters
    ----------
    node : DicomNode
        The interface that calls.
    peer : Peer
        The other archive.
    """

    def __init__(self, node: DicomNode, peer: Peer) -> None:
        self.ae_title = peer.ae_title
        self._other = Source(node, peer)

    def arrived(self, study_uid: str, wanted: Mapping[str, Kind]) -> dict[str, tuple[Kind, str]]:
        """See `Target`."""
        listed = self._other.instances(study_uid).keys() & wanted.keys()
        came = self._came(study_uid, {wanted[uid] for uid in listed})
        if late := listed - came.keys():
            # It may have been decompressed on its way, if that archive takes nothing else.
            plain: set[Kind] = {(wanted[uid][0], ExplicitVRLittleEndian) for uid in late}
            came |= {uid: it for uid, it in self._came(study_uid, plain).items() if uid in late}
        return {uid: came.get(uid, (wanted[uid], "")) for uid in listed}

    def _came(self, study_uid: str, kinds: set[Kind]) -> dict[str, tuple[Kind, str]]:
        return self._other.checksums(study_uid, kinds) if kinds else {}
