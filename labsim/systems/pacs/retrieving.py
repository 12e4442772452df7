"""C-FIND, C-MOVE and C-GET at the PACS (PS3.4 annex C)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID
from pynetdicom import build_context, evt
from pynetdicom.presentation import PresentationContext

from labsim.errors import LabError
from labsim.sop_classes import (
    PATIENT_ROOT_FIND,
    PATIENT_ROOT_GET,
    PATIENT_ROOT_MOVE,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    VERIFICATION,
)
from labsim.systems.facility import System
from labsim.systems.pacs.entities import Entities, Entity
from labsim.systems.pacs.files import FileStore
from labsim.systems.pacs.index import UNIQUE_KEYS, Index, Instance
from labsim.systems.pacs.query import BadIdentifier, answers, level_of
from labsim.wire.dimse import DicomNode
from labsim.wire.matching import values_of
from labsim.wire.network import Address
from labsim.wire.status import failure

# Highest level of each information model (PS3.4 C.6.1, C.6.2)
TOP_LEVEL = {
    PATIENT_ROOT_FIND: "PATIENT",
    PATIENT_ROOT_GET: "PATIENT",
    PATIENT_ROOT_MOVE: "PATIENT",
    STUDY_ROOT_FIND: "STUDY",
    STUDY_ROOT_GET: "STUDY",
    STUDY_ROOT_MOVE: "STUDY",
}
_KEYWORDS = {
    "p.patient_id": "PatientID",
    "p.issuer": "IssuerOfPatientID",
    "st.study_uid": "StudyInstanceUID",
    "se.series_uid": "SeriesInstanceUID",
    "i.sop_uid": "SOPInstanceUID",
}


class Retrieving:
    """Answers queries, and sends what was asked for.

    Parameters
    ----------
    system : System
        The PACS.
    node : DicomNode
        Its DICOM interface.
    index : Index
        Its index.
    files : FileStore
        Its files.
    entities : Entities
        Who may query, and where each is sent to.
    """

    def __init__(
        self,
        system: System,
        node: DicomNode,
        index: Index,
        files: FileStore,
        entities: Entities,
    ) -> None:
        self._system = system
        self._node = node
        self._index = index
        self._files = files
        self._entities = entities

    def find(self, event: evt.Event) -> Iterator[tuple[int | Dataset, Dataset | None]]:
        """Answer a C-FIND."""
        refused = self._entities.refuse(event, "may_query")
        if refused:
            yield refused, None
            return
        try:
            identifier = event.identifier
            level = level_of(identifier, TOP_LEVEL[event.context.abstract_syntax])
            for answer, complete in answers(self._system.db, identifier, level):
                if event.is_cancelled:
                    yield 0xFE00, None
                    return
                answer.RetrieveAETitle = self._node.ae_title
                yield (0xFF00 if complete else 0xFF01), answer
        except BadIdentifier as error:
            yield failure(0xA900, error.what), None

    def move(self, event: evt.Event) -> Iterator[Any]:
        """Answer a C-MOVE: say where to, how many, and hand out each data set."""
        destination = str(event.move_destination or "").strip()
        entity = self._entities.get(destination)
        if self._entities.refuse(event, "may_query"):
            raise LabError("not authorized to retrieve")
        instances = self._wanted(event)
        local = self._try_resolve(entity, destination)
        if local is None:
            yield None, None  # answered with 0xA801 Move destination unknown
            return
        contexts, observers = sending_contexts(instances), self._node.observers()
        yield local.host, local.port, {"contexts": contexts, "evt_handlers": observers}
        yield len(instances)
        yield from self._datasets(event, instances)

    def get(self, event: evt.Event) -> Iterator[Any]:
        """Answer a C-GET: say how many, and hand out each data set."""
        refused = self._entities.refuse(event, "may_query")
        try:
            instances = self._wanted(event) if not refused else []
        except BadIdentifier as error:
            refused, instances = failure(0xA900, error.what), []
        if refused:
            yield 1
            yield refused, None
            return
        yield len(instances)
        yield from self._datasets(event, instances)

    def _wanted(self, event: evt.Event) -> list[Instance]:
        identifier = event.identifier
        level = level_of(identifier, TOP_LEVEL[event.context.abstract_syntax])
        uids = {
            column: values_of(identifier[keyword])
            for column, keyword in _KEYWORDS.items()
            if keyword in identifier
        }
        if not uids.get(UNIQUE_KEYS[level]):
            raise BadIdentifier(f"{_KEYWORDS[UNIQUE_KEYS[level]]} is missing for level {level}")
        instances = self._index.instances(level, uids)
        if level == "PATIENT" and len({instance.patient.issuer for instance in instances}) > 1:
            raise BadIdentifier("several issuers gave this Patient ID: name the issuer")
        return instances

    def _datasets(
        self, event: evt.Event, instances: list[Instance]
    ) -> Iterator[tuple[int, Dataset | None]]:
        for instance in instances:
            if event.is_cancelled:
                yield 0xFE00, None
                return
            yield 0xFF00, self.outgoing(instance)

    def outgoing(self, instance: Instance) -> Dataset:
        """Return an instance as it is sent: the file, under the patient's data as corrected."""
        try:
            dataset = self._files.read(instance.file)
        except (OSError, InvalidDicomError) as error:
            self._system.note(f"file of {instance.sop_uid} cannot be read: {error}", kind="error")
            missing = Dataset()  # counted as a failed sub-operation, by its UID
            missing.SOPInstanceUID = instance.sop_uid
            return missing
        if instance.corrected:
            dataset.decode()  # all text, in sequences too, before its character set changes
            dataset.SpecificCharacterSet = "ISO_IR 192"
            dataset.PatientID = instance.patient.patient_id
            dataset.IssuerOfPatientID = instance.patient.issuer
            dataset.PatientName = instance.patient.name
            dataset.PatientBirthDate = instance.patient.birth_date
            dataset.PatientSex = instance.patient.sex
        return dataset

    def _try_resolve(self, entity: Entity | None, title: str) -> Address | None:
        try:
            if entity is None:
                raise LabError("this destination is not registered")
            return self._system.facility.network.resolve(entity.peer.address)
        except LabError as error:
            self._system.note(f"C-MOVE to {title} refused: {error.what}", kind="error")
            return None


def sending_contexts(instances: list[Instance]) -> list[PresentationContext]:
    """Return what to propose for sending: each SOP class in the syntaxes its instances have."""
    kinds: dict[str, list[str]] = {}
    for instance in instances:
        syntaxes = kinds.setdefault(instance.sop_class, [])
        if instance.transfer_syntax not in syntaxes:
            syntaxes.append(instance.transfer_syntax)
    contexts = [
        build_context(sop_class, syntax)
        for sop_class, syntaxes in kinds.items()
        for syntax in syntaxes
    ]
    for sop_class, syntaxes in kinds.items():
        if any(not UID(syntax).is_compressed for syntax in syntaxes):
            # Uncompressed pixels may be sent in any uncompressed syntax.
            contexts.append(build_context(sop_class))
    return contexts[:128] or [build_context(VERIFICATION)]
