"""The administrator's own desk: DICOM tools named as the commands people know.

Each calls over a real socket with the title of the desk (``TOOLS``), and each
says which command of DCMTK does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, AllTransferSyntaxes, CTImageStorage
from pynetdicom import AllStoragePresentationContexts, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from labsim.deid.deidentifier import Deidentifier, PixelCleaner
from labsim.deid.leaks import Leaks, facts_of, find_leaks
from labsim.deid.pixels import blank
from labsim.deid.profile import Option
from labsim.deid.pseudonyms import Pseudonyms
from labsim.deid.release import Release, release
from labsim.deid.values import words_of
from labsim.errors import ConfigurationError, DimseFailed, NotFound
from labsim.journal import Journal
from labsim.media.dicomdir import find_dicomdir
from labsim.media.reading import read_disc
from labsim.sop_classes import (
    MODALITY_WORKLIST,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    VERIFICATION,
)
from labsim.systems.catalogue import texts
from labsim.systems.facility import Endpoint
from labsim.systems.worklist import worklist_keys
from labsim.table import Table
from labsim.web_tools import WebTools
from labsim.wire.dimse import TIMEOUT, DicomNode, Peer
from labsim.wire.network import Network
from labsim.wire.status import describe_status

_DICOMDIR = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage
_TAKEN = ("0x0000", "0xB")  # success, and success with a warning (PS3.4 B.2.3)


@dataclass(frozen=True)
class Import:
    """What became of a folder of files.

    Parameters
    ----------
    stored : int
        Images that the archive took.
    refused : list of (file, reason)
        What it has not, below the folder.
    mismatches : list of (file, reason)
        Where a DICOMDIR and the files do not agree; empty without a DICOMDIR.
    """

    stored: int
    refused: list[tuple[str, str]]
    mismatches: list[tuple[str, str]] = field(default_factory=list)

    def table(self) -> Table:
        """Return the refused files with their reasons, and what a DICOMDIR says wrongly."""
        caption = f"{self.stored} images stored, {len(self.refused)} files refused"
        if self.mismatches:
            caption += f", {len(self.mismatches)} remarks on the DICOMDIR"
        return Table(("file", "reason"), [*self.refused, *self.mismatches], caption)

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


class Tools(WebTools):
    """What you do from your own desk.

    Parameters
    ----------
    ae_title : str
        The title the tools call with.
    host, port
        Where a C-MOVE to that title is sent.
    local_port : int
        The loopback port behind it.
    journal, network
        The hospital's.
    endpoints : callable
        Returns where the systems listen.
    """

    def __init__(
        self,
        ae_title: str,
        local_port: int,
        journal: Journal,
        network: Network,
        endpoints: Callable[[], Sequence[Endpoint]],
    ) -> None:
        super().__init__(journal, network, endpoints)
        self.ae_title = ae_title
        self.local_port = local_port
        self._journal = journal

    def echoscu(
        self, system: str, *, calling: str = "", called: str = "", tls: bool = False
    ) -> str:
        """Verify that a system answers (C-ECHO).

        The same with DCMTK: ``echoscu -aet TOOLS -aec PACS 127.0.0.1 PORT``.

        Parameters
        ----------
        system : str
            ``"pacs"``, ``"ris"``, ``"ct1"`` …
        calling, called : str
            Other AE titles than the right ones, to see what happens.
        tls : bool
            Whether to call by TLS, with the certificate of the desk.

        Returns
        -------
        str
            The status.

        Raises
        ------
        AssociationFailed
            If there is no association.
        """
        contexts = [build_context(VERIFICATION)]
        peer = self._peer(system, called, tls=tls)
        with self._node(calling).associate(peer, contexts) as association:
            return describe_status(_status(association.send_c_echo()))

    def findscu(self, system: str = "pacs", *, level: str = "STUDY", **keys: str) -> list[Dataset]:
        """Query the PACS (C-FIND, study root), or the worklist of the RIS.

        The same with DCMTK: ``findscu -S -aet TOOLS -aec PACS 127.0.0.1 PORT
        -k QueryRetrieveLevel=STUDY -k PatientName=…``.

        Parameters
        ----------
        system : str
            ``"pacs"`` or ``"ris"``.
        level : str
            ``"STUDY"``, ``"SERIES"`` or ``"IMAGE"``; not for the worklist.
        **keys : str
            Matching and return keys by keyword; empty ones are returned only.

        Returns
        -------
        list of Dataset
            The matches.

        Raises
        ------
        ConfigurationError
            If a keyword is not in the DICOM dictionary.
        AssociationFailed, DimseFailed
            If the query is not answered.
        """
        worklist = self._endpoint(system).protocol == "mwl"
        model = MODALITY_WORKLIST if worklist else STUDY_ROOT_FIND
        identifier = _worklist_identifier(keys) if worklist else _identifier(level, keys)
        peer = self._peer(system)
        with self._node().associate(peer, [build_context(model)]) as association:
            return _found(association, peer, identifier, model)

    def getscu(self, study_uid: str, *, system: str = "pacs") -> list[Dataset]:
        """Fetch a study over the association that asks for it (C-GET).

        The same with DCMTK: ``getscu -S -aet TOOLS -aec PACS 127.0.0.1 PORT
        -k QueryRetrieveLevel=STUDY -k StudyInstanceUID=…``.

        Returns
        -------
        list of Dataset
            The images, in the order in which they came.

        Raises
        ------
        AssociationFailed, DimseFailed
            If the request fails, or only some images came.
        """
        received: list[Dataset] = []
        storage = _storage_of(self._images(study_uid, system))
        contexts = [build_context(STUDY_ROOT_GET), *storage]
        roles = [build_role(c.abstract_syntax or "", scp_role=True) for c in storage]
        peer = self._peer(system)
        with self._node().associate(
            peer,
            contexts,
            negotiation=roles,
            handlers=[(evt.EVT_C_STORE, _keeper(received.append))],
        ) as association:
            answers = association.send_c_get(
                _identifier("STUDY", {"StudyInstanceUID": study_uid}),
                STUDY_ROOT_GET,
            )
            _require_complete("C-GET", peer, answers)
        return received

    def movescu(
        self, study_uid: str, *, system: str = "pacs", destination: str = ""
    ) -> list[Dataset]:
        """Have a study sent (C-MOVE), to this desk or to another destination.

        The same with DCMTK: ``movescu -S -aet TOOLS -aec PACS -aem TOOLS
        +P MOVE_PORT 127.0.0.1 PORT -k QueryRetrieveLevel=STUDY -k StudyInstanceUID=…``.

        Returns
        -------
        list of Dataset
            The images that came here; none when sent elsewhere.

        Raises
        ------
        AssociationFailed, DimseFailed
            If the request fails, or only some images were sent.
        PortTaken
            If another program listens on the desk's port.
        """
        received: list[Dataset] = []
        receiver = self._node()
        if destination in ("", self.ae_title):
            contexts = [
                build_context(c.abstract_syntax or "", [*AllTransferSyntaxes])
                for c in AllStoragePresentationContexts
            ]
            handlers = [(evt.EVT_C_STORE, _keeper(received.append))]
            receiver.listen(contexts, handlers, port=self.local_port)
        try:
            self._request_move(study_uid, self._peer(system), destination or self.ae_title)
        finally:
            receiver.close()
        return received

    def storescu(
        self, files: Iterable[Path | str], *, system: str = "pacs"
    ) -> list[tuple[str, str]]:
        """Send files to the PACS (C-STORE).

        The same with DCMTK: ``storescu -aet TOOLS -aec PACS 127.0.0.1 PORT FILE …``.

        Returns
        -------
        list of (file, answer)
            The status of each, or why it was not sent.

        Raises
        ------
        AssociationFailed
            If there is no association.
        """
        return [(file.name, answer) for file, answer in self._store(map(Path, files), system)]

    def import_folder(self, folder: Path | str, *, system: str = "pacs") -> Import:
        """Send every file below a folder to the PACS, whatever it is (C-STORE).

        The same with DCMTK: ``storescu +sd +r -aet TOOLS -aec PACS 127.0.0.1 PORT DIR``.

        Returns
        -------
        Import
            How many images were stored, and which files were refused, and why.

        Raises
        ------
        ConfigurationError
            If there is no such folder.
        AssociationFailed
            If there is no association.
        """
        root = Path(folder)
        if not root.is_dir():
            raise ConfigurationError(f"There is no folder {root}.", "Give a folder of DICOM files.")
        files = sorted(path for path in root.rglob("*") if path.is_file())
        answers = self._store(files, system)
        refused = [
            (file.relative_to(root).as_posix(), answer)
            for file, answer in answers
            if not answer.startswith(_TAKEN)
        ]
        mismatches = read_disc(root).mismatches if find_dicomdir(root) else []
        return Import(len(answers) - len(refused), refused, mismatches)

    def _store(self, files: Iterable[Path], system: str) -> list[tuple[Path, str]]:
        answers: list[tuple[Path, str]] = []
        readable: list[tuple[Path, tuple[str, str]]] = []
        for file in files:
            try:
                readable.append((file, _context_of(file)))
            except Exception as error:  # pydicom has one for each thing that can be wrong
                answers.append((file, f"not sent: {_reason(error)}"))
        kinds = list(dict.fromkeys(kind for _, kind in readable))
        # An association has room for 128 presentation contexts (PS3.8 9.3.2.2). One is for
        # verification, so that there is an association even if nothing else is accepted.
        for first in range(0, len(kinds), 127):
            batch = kinds[first : first + 127]
            proposed = [build_context(VERIFICATION), *(build_context(*kind) for kind in batch)]
            with self._node().associate(self._peer(system), proposed) as association:
                answers += [(file, _send(association, file)) for file, k in readable if k in batch]
        return answers

    def deidentify(
        self,
        study_uid: str,
        into: Path | str,
        *,
        options: Iterable[Option | str] = (),
        pseudonyms: Pseudonyms | None = None,
        pixel_cleaner: PixelCleaner | None = blank,
        system: str = "pacs",
    ) -> Release:
        """Fetch a study (C-GET) and write it de-identified into a folder (PS3.15 Annex E).

        Text that is found in the pixels of ultrasound and the like is blanked. Look at them: who
        leaves the cleaner out gets no such image at all.

        Parameters
        ----------
        study_uid : str
            Which.
        into : Path or str
            A folder that does not exist or is empty.
        options : iterable of Option or str
            Beside the Basic Profile, such as ``"retain_modified_dates"``.
        pseudonyms : Pseudonyms, optional
            The key of the project, so that the patient's next study fits to this one; without it
            nobody will ever know who it was.
        pixel_cleaner : callable or None
            Blanks burned-in text.
        system : str
            Which archive has it.

        Returns
        -------
        Release
            What was done, what was left out, and what still tells who the patient is.

        Raises
        ------
        NotFound
            If the archive has no such study, or nothing of it could be released.
        ConfigurationError
            If the options exclude each other, or the folder is taken.
        AssociationFailed, DimseFailed
            If the study is not sent.
        """
        deidentifier = Deidentifier(
            options,
            pseudonyms=pseudonyms,
            safe_words=words_of(*texts()),
            pixel_cleaner=pixel_cleaner,
        )
        made = release(self._study(study_uid, system), into, deidentifier)
        summary = f"{len(made.files)} images de-identified into {made.path.name}"
        self._journal.record("desk", "state", summary, keys={"study_uid": study_uid})
        return made

    def find_leaks(self, folder: Path | str, study_uid: str, *, system: str = "pacs") -> Leaks:
        """Search a folder for whatever tells whose study it is made of.

        The study is fetched (C-GET) to know what to look for: parts of the name, numbers, birth
        date, institution and UIDs; in sequences, private attributes, file names and other files
        too. Under the options that retain UIDs or the institution these are found as well.

        Returns
        -------
        Leaks
            Each with file, place and what it tells; empty if nothing does.

        Raises
        ------
        NotFound
            If there is no such folder or study.
        """
        return find_leaks(folder, facts_of(self._study(study_uid, system)))

    def _study(self, study_uid: str, system: str) -> list[Dataset]:
        images = self.getscu(study_uid, system=system)
        if not images:
            raise NotFound(f"{system} has no study {study_uid}.", "tools.findscu() lists them.")
        return images

    def dcmdump(self, dataset: Dataset | Path | str, *keywords: str) -> Table:
        """Show the header of a data set or file.

        The same with DCMTK: ``dcmdump FILE``, or ``dcmdump +P KEYWORD FILE``.

        Parameters
        ----------
        dataset : Dataset, Path or str
            What to show.
        *keywords : str
            Only these attributes; all if left out.

        Raises
        ------
        ConfigurationError
            If a file is not DICOM.
        """
        if not isinstance(dataset, Dataset):
            try:
                dataset = dcmread(dataset, stop_before_pixels=True)
            except (InvalidDicomError, OSError) as error:
                raise ConfigurationError(f"{dataset}: {_reason(error)}.") from error
        rows = [
            (f"({e.tag.group:04X},{e.tag.element:04X})", e.VR, e.keyword or e.name, _short(e))
            for e in dataset
            if not keywords or e.keyword in keywords
        ]
        return Table(("tag", "VR", "attribute", "value"), rows, "DICOM header")

    def _images(self, study_uid: str, system: str) -> list[Dataset]:
        """Return what an archive says of each image of a study.

        Series by series, for not every archive takes relational queries (PS3.4 C.4.1.2.1).
        """
        study, peer = {"StudyInstanceUID": study_uid}, self._peer(system)
        wanted = {"SOPClassUID": "", "AvailableTransferSyntaxUID": ""}
        with self._node().associate(peer, [build_context(STUDY_ROOT_FIND)]) as association:
            return [
                image
                for series in _found(association, peer, _identifier("SERIES", study))
                for image in _found(
                    association,
                    peer,
                    _identifier(
                        "IMAGE", study | {"SeriesInstanceUID": series.SeriesInstanceUID} | wanted
                    ),
                )
            ]

    def _request_move(self, study_uid: str, peer: Peer, destination: str) -> None:
        model = STUDY_ROOT_MOVE
        identifier = _identifier("STUDY", {"StudyInstanceUID": study_uid})
        with self._node().associate(peer, [build_context(model)]) as association:
            _require_complete(
                "C-MOVE", peer, association.send_c_move(identifier, destination, model)
            )

    def _node(self, calling: str = "") -> DicomNode:
        return DicomNode("desk", calling or self.ae_title, self._journal, self._network)

    def _endpoint(self, system: str, *, tls: bool = False) -> Endpoint:
        protocols = ("dicom-tls", "mwl-tls") if tls else ("dicom", "mwl")
        for endpoint in self._endpoints():
            if endpoint.system == system and endpoint.protocol in protocols:
                return endpoint
        names = sorted({e.system for e in self._endpoints() if e.protocol in protocols})
        raise NotFound(
            f"No system {system!r} speaks DICOM{' by TLS' * tls}.",
            f"Use {', '.join(names)}." if names else "The site has to have a [tls] block.",
        )

    def _peer(self, system: str, called: str = "", *, tls: bool = False) -> Peer:
        endpoint = self._endpoint(system, tls=tls)
        return Peer(called or endpoint.title, endpoint.address.host, endpoint.address.port, tls)


def _identifier(level: str, keys: dict[str, str]) -> Dataset:
    identifier = Dataset()
    identifier.SpecificCharacterSet = "ISO_IR 192"
    identifier.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        _require_keyword(keyword)
        setattr(identifier, keyword, value)
    unique = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
    if unique.get(level) not in (None, *keys):
        setattr(identifier, unique[level], "")
    return identifier


def _worklist_identifier(keys: dict[str, str]) -> Dataset:
    identifier = worklist_keys("", "", "")
    step = identifier.ScheduledProcedureStepSequence[0]
    for keyword, value in keys.items():
        _require_keyword(keyword)
        setattr(step if keyword in step else identifier, keyword, value)
    return identifier


def _require_keyword(keyword: str) -> None:
    if tag_for_keyword(keyword) is None:
        raise ConfigurationError(
            f"{keyword!r} is no keyword of the DICOM dictionary.", 'For example "PatientName".'
        )


def _found(
    association: Association, peer: Peer, identifier: Dataset, model: UID = STUDY_ROOT_FIND
) -> list[Dataset]:
    """Return the matches of a query.

    Raises
    ------
    DimseFailed
        If it is not answered, or with a failure.
    """
    found: list[Dataset] = []
    for status, entry in association.send_c_find(identifier, model):
        code = _status(status)
        if code in (0xFF00, 0xFF01) and entry is not None:
            found.append(entry)
        elif code != 0x0000:
            raise _failed("C-FIND", peer, status)
    return found


def _storage_of(images: list[Dataset]) -> list[PresentationContext]:
    """Return what to offer for a C-GET: each SOP class in each syntax its images have."""
    kinds = {
        (str(image.SOPClassUID), str(image.get("AvailableTransferSyntaxUID") or "")): None
        for image in images
    }
    classes = dict.fromkeys(sop_class for sop_class, _ in kinds)
    uncompressed = [build_context(sop_class) for sop_class in classes]
    as_stored = [build_context(*kind) for kind in kinds if kind[1]]
    return [*uncompressed, *as_stored][:127] or [build_context(CTImageStorage)]


def _keeper(keep: Callable[[Dataset], None]) -> Callable[[evt.Event], int]:
    def store(event: evt.Event) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        keep(dataset)
        return 0x0000

    return store


def _require_complete(
    request: str, peer: Peer, answers: Iterable[tuple[Dataset, Dataset | None]]
) -> None:
    for status, _ in answers:
        code = _status(status)
        if code not in (0x0000, 0xFF00):
            raise _failed(request, peer, status)


def _context_of(file: Path) -> tuple[str, str]:
    """Return SOP class and transfer syntax of a file.

    Raises
    ------
    ValueError
        If it lacks what a C-STORE request names.
    """
    header = dcmread(file, stop_before_pixels=True)
    if header.file_meta.get("MediaStorageSOPClassUID") == _DICOMDIR:
        raise ValueError("a DICOMDIR, the index of a medium; its images are files of their own")
    for place, keyword in (
        (header, "SOPClassUID"),
        (header, "SOPInstanceUID"),
        (header.file_meta, "TransferSyntaxUID"),
    ):
        if not place.get(keyword):
            raise ValueError(f"{keyword} is missing")
    return str(header.SOPClassUID), str(header.file_meta.TransferSyntaxUID)


def _send(association: Association, file: Path) -> str:
    try:
        return describe_status(_status(association.send_c_store(dcmread(file))))
    except (ValueError, RuntimeError, OSError) as error:
        # ValueError: no accepted presentation context fits. RuntimeError: the association ended.
        return f"not sent: {error}"


def _short(element: DataElement) -> str:
    if element.VR == "SQ":
        return f"{len(element.value)} item(s)"
    text = "\\".join(map(str, element.value)) if element.VM > 1 else str(element.value)
    return text if len(text) <= 72 else text[:71] + "…"


def _reason(error: Exception) -> str:
    return "not a DICOM file" if isinstance(error, InvalidDicomError) else str(error)


def _status(status: Dataset) -> int:
    if "Status" not in status:
        raise DimseFailed(f"No answer within {TIMEOUT:g} s.")
    return int(status.Status)


def _failed(request: str, peer: Peer, status: Dataset) -> DimseFailed:
    comment = f" ({status.ErrorComment})" if "ErrorComment" in status else ""
    words = describe_status(int(status.Status))
    failed = status.get("NumberOfFailedSuboperations")
    some = f", {failed} images failed" if failed else ""
    return DimseFailed(
        f"{peer.ae_title} answered the {request} with {words}{comment}{some}.",
        "The journal of the hospital has the details.",
        status=int(status.Status),
    )
