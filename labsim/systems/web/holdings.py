"""What a store gives out over the web, to each caller no more than C-MOVE would send."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.filewriter import correct_ambiguous_vr
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_context
from pynetdicom.dsutils import create_file_meta, encode_file_meta

from labsim.errors import LabError
from labsim.imaging.common import IMPLEMENTATION_NAME, IMPLEMENTATION_UID
from labsim.systems.audit.message import Participant
from labsim.systems.audit.trail import MINOR_FAILURE, SUCCESS
from labsim.systems.facility import System
from labsim.systems.pacs.auditing import Auditing
from labsim.systems.pacs.entities import Entity
from labsim.systems.pacs.files import FileStore
from labsim.systems.pacs.index import UNIQUE_KEYS, Index, Instance
from labsim.systems.pacs.sending import CannotSend, Sending
from labsim.systems.pacs.transcoding import CannotTranscode, candidates, encoded_as
from labsim.wire.charset import UNICODE, readable

AS_STORED = "*"
DEFAULT = str(ExplicitVRLittleEndian)
_LEVELS = ("STUDY", "SERIES", "IMAGE")
_NEVER = {ImplicitVRLittleEndian, ExplicitVRBigEndian}  # on the web (PS3.18 8.7.3)
_CALLER = Entity("", "", 0)  # transcodes, prefers nothing


class Holdings:
    """Finds instances, and makes them ready for the web.

    Parameters
    ----------
    system : System
        The store.
    index : Index
        As outsiders see it: nothing rejected, nothing held.
    files : FileStore
        Its files.
    sending : Sending
        What lays corrections over them.
    fetch : callable
        Brings instances within reach, and returns them.
    auditing : Auditing
        Hears who took what.
    """

    def __init__(
        self,
        system: System,
        index: Index,
        files: FileStore,
        sending: Sending,
        fetch: Callable[[list[Instance]], list[Instance]],
        auditing: Auditing,
    ) -> None:
        self._system = system
        self._index = index
        self._files = files
        self._sending = sending
        self.fetch = fetch
        self._auditing = auditing

    def find(self, uids: Sequence[str]) -> list[Instance]:
        """Return the instances of a study, of a series in it, or the one instance in that.

        Parameters
        ----------
        uids : sequence of str
            Of study, series and instance, as many as are asked for.
        """
        keys = {UNIQUE_KEYS[level]: [uid] for level, uid in zip(_LEVELS, uids, strict=False)}
        return self._index.instances(_LEVELS[len(uids) - 1], keys)

    def accession(self, study_uid: str) -> str:
        """Return the accession number of a study."""
        row = self._system.db.row("SELECT accession FROM studies WHERE study_uid = ?", study_uid)
        return str(row["accession"]) if row is not None else ""

    def there(self, instances: Iterable[Instance]) -> list[Instance]:
        """Return those whose file is there."""
        return [instance for instance in instances if self._files.holds(instance.file)]

    def file(self, instance: Instance, syntaxes: Iterable[str]) -> tuple[UID, bytes]:
        """Return an instance as a file (PS3.10), in the first of some syntaxes that is possible.

        Parameters
        ----------
        instance : Instance
            Which.
        syntaxes : iterable of str
            UIDs, and ``"*"`` for as it is stored; what has no pixels to compress is never.

        Raises
        ------
        CannotSend, CannotTranscode
            If none is.
        """
        failed: LabError = CannotSend("no transfer syntax is accepted")
        for syntax in syntaxes:
            try:
                return self._file(instance, _target(instance, syntax))
            except (CannotSend, CannotTranscode) as error:
                failed = error
        if "PixelData" not in self.dataset(instance):
            return self._file(instance, ExplicitVRLittleEndian)
        raise failed

    def dataset(self, instance: Instance) -> FileDataset:
        """Return the data set of an instance as it is now.

        Raises
        ------
        CannotSend
            If its file cannot be read.
        """
        return self._sending.dataset(instance)

    def encoded(self, instance: Instance, syntax: str = DEFAULT) -> FileDataset:
        """Return the same in a transfer syntax.

        Raises
        ------
        CannotSend, CannotTranscode
            If its file cannot be read, or its pixels cannot be brought there.
        """
        dataset = self.dataset(instance)
        encoded_as(dataset, UID(syntax))  # which changes it on the way
        return dataset

    def described(self, instance: Instance) -> FileDataset:
        """Return the same with its text in Unicode, and its bytes in the order of the web.

        Raises
        ------
        CannotSend, CannotTranscode
            If its file cannot be read.
        """
        swapped = instance.transfer_syntax == ExplicitVRBigEndian
        dataset = self.encoded(instance) if swapped else self.dataset(instance)
        unreadable_as_unknown(dataset)
        correct_ambiguous_vr(dataset, True)
        readable(dataset)
        dataset.decode()
        if "SpecificCharacterSet" in dataset:
            dataset.SpecificCharacterSet = UNICODE
        return dataset

    def taken(self, who: Participant, sop_uids: Iterable[str], problem: str = "") -> None:
        """Report in the audit trail what somebody took (PS3.15 A.5.3.7).

        Parameters
        ----------
        who : Participant
            Who.
        sop_uids : iterable of str
            The instances.
        problem : str
            What went wrong, if not all of them arrived.
        """
        self._auditing.taken(who, sop_uids, MINOR_FAILURE if problem else SUCCESS, problem)

    def _file(self, instance: Instance, target: UID) -> tuple[UID, bytes]:
        stored = UID(instance.transfer_syntax)
        if not candidates(stored, [target]):
            raise CannotTranscode(f"{stored.name} to {target.name}: no codec here writes it")
        accepted = [build_context(instance.sop_class, target)]
        outgoing = self._sending.outgoing(instance, _CALLER, accepted)
        meta = create_file_meta(
            sop_class_uid=UID(instance.sop_class),
            sop_instance_uid=UID(instance.sop_uid),
            transfer_syntax=target,
            implementation_uid=UID(IMPLEMENTATION_UID),
            implementation_version=IMPLEMENTATION_NAME,
        )
        return target, b"\0" * 128 + b"DICM" + encode_file_meta(meta) + outgoing.data


def _target(instance: Instance, syntax: str) -> UID:
    stored = UID(instance.transfer_syntax)
    if syntax != AS_STORED:
        return UID(syntax)
    return ExplicitVRLittleEndian if stored in _NEVER else stored


def unreadable_as_unknown(dataset: Dataset) -> None:
    """Give what is not of the length or form of its VR the VR UN, in sequences too (PS3.5 6.2.2).

    A sender may have written it so; the rest of the object can be shown all the same.
    """
    for tag in list(dataset.keys()):
        if tag.group == 0xFFFE:  # a delimiter without its sequence, which is no data element (7.5)
            del dataset[tag]
            continue
        raw = dataset.get_item(tag)
        try:
            element = dataset[tag]
        except Exception:  # each VR fails in its own way
            value = raw.value if isinstance(raw.value, bytes) else b""
            dataset[tag] = DataElement(tag, "UN", value)
            continue
        if element.VR == "SQ":
            for item in element.value:
                unreadable_as_unknown(item)
