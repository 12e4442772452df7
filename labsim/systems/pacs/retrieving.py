"""C-FIND, C-MOVE and C-GET at the PACS (PS3.4 annex C)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from pydicom.dataset import Dataset
from pynetdicom import evt

from labsim.sop_classes import (
    PATIENT_ROOT_FIND,
    PATIENT_ROOT_GET,
    PATIENT_ROOT_MOVE,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
)
from labsim.systems.facility import System
from labsim.systems.pacs import hierarchy
from labsim.systems.pacs.entities import Entities, Entity
from labsim.systems.pacs.index import UNIQUE_KEYS, Instance
from labsim.systems.pacs.negotiation import agreed
from labsim.systems.pacs.query import KEYWORDS, answers
from labsim.systems.pacs.sending import Sending, sending_contexts
from labsim.systems.pacs.settings import Settings
from labsim.systems.pacs.visibility import Visibility
from labsim.wire.charset import readable
from labsim.wire.dimse import DicomNode
from labsim.wire.matching import values_of
from labsim.wire.retrieve import Retrieval, RetrieveRefused
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

    Attributes
    ----------
    fetch : callable
        Brings instances within reach before they are sent, and returns them.

    Parameters
    ----------
    system : System
        The PACS.
    node : DicomNode
        Its DICOM interface.
    visibility : Visibility
        What each caller sees of its index.
    entities : Entities
        Who may query, and where each is sent to.
    settings : Settings
        Whether it insists on the hierarchy.
    sending : Sending
        What makes its instances ready.
    """

    def __init__(
        self,
        system: System,
        node: DicomNode,
        visibility: Visibility,
        entities: Entities,
        settings: Settings,
        sending: Sending,
    ) -> None:
        self._system = system
        self._node = node
        self._visibility = visibility
        self._entities = entities
        self._settings = settings
        self._sending = sending
        self.fetch: Callable[[list[Instance]], list[Instance]] = lambda instances: instances

    def find(self, event: evt.Event) -> Iterator[tuple[int | Dataset, Dataset | None]]:
        """Answer a C-FIND."""
        refused = self._entities.refuse(event, "may_query")
        if refused:
            yield refused, None
            return
        try:
            identifier, level = self._asked(event)
            combined = agreed(event).combined
            seen = self._visibility.database(event.assoc.requestor.ae_title.strip())
            found = answers(seen, identifier, level, combined=combined)
            for answer, complete in found:
                if event.is_cancelled:
                    yield 0xFE00, None
                    return
                answer.RetrieveAETitle = self._node.ae_title
                yield (0xFF00 if complete else 0xFF01), answer
        except hierarchy.BadIdentifier as error:
            yield failure(0xA900, error.what), None

    def retrieve(self, event: evt.Event) -> Retrieval:
        """Say what a C-MOVE or C-GET comes to; refusals are journaled."""
        try:
            return self._planned(event)
        except RetrieveRefused as error:
            asked = "C-GET"
            if event.event == evt.EVT_C_MOVE:
                asked = f"C-MOVE to {str(event.move_destination or '').strip()}"
            self._system.note(f"{asked} refused: {error.what}", kind="error")
            raise

    def _planned(self, event: evt.Event) -> Retrieval:
        self._require_right(event)
        entity = self._entities.get(event.assoc.requestor.ae_title.strip())
        peer = None
        if event.event == evt.EVT_C_MOVE:
            entity = self._destination(str(event.move_destination or "").strip())
            peer = entity.peer
        assert entity is not None  # who has a right is registered
        try:
            instances = self._wanted(event)
        except hierarchy.BadIdentifier as error:
            raise RetrieveRefused(error.what, 0xA900) from error
        return Retrieval(
            self._sending.prepared(instances, entity),
            peer,
            sending_contexts(instances, entity) if peer else (),
            functools.partial(self._not_sent, entity.ae_title),
        )

    def _wanted(self, event: evt.Event) -> list[Instance]:
        identifier, level = self._asked(event)
        uids = {
            column: values_of(identifier[keyword])
            for column, keyword in _KEYWORDS.items()
            if keyword in identifier
        }
        if not uids.get(UNIQUE_KEYS[level]):
            raise hierarchy.BadIdentifier(
                f"{_KEYWORDS[UNIQUE_KEYS[level]]} is missing for level {level}"
            )
        seen = self._visibility.index(event.assoc.requestor.ae_title.strip())
        instances = seen.instances(level, uids)
        if level == "PATIENT" and len({instance.patient.issuer for instance in instances}) > 1:
            raise hierarchy.BadIdentifier("several issuers gave this Patient ID: name the issuer")
        return self.fetch(instances)

    def _asked(self, event: evt.Event) -> tuple[Dataset, str]:
        """Return the Identifier of a request, with text that can be read, and its level."""
        identifier = event.identifier
        for wrong in readable(identifier):
            self._system.note(f"Identifier of a request: {wrong}", kind="error")
        top = TOP_LEVEL[event.context.abstract_syntax]
        level = hierarchy.level_of(identifier, top)
        if self._settings.get("strict_hierarchy") == "yes" and not agreed(event).relational:
            hierarchy.require_hierarchy(identifier, level, top, KEYWORDS)
        return identifier, level

    def _require_right(self, event: evt.Event) -> None:
        refused = self._entities.refuse(event, "may_query")
        if refused:
            raise RetrieveRefused(refused.ErrorComment, refused.Status)

    def _destination(self, title: str) -> Entity:
        entity = self._entities.get(title)
        if entity is None:
            raise RetrieveRefused("this destination is not registered", 0xA801)
        return entity

    def _not_sent(self, title: str, sop_uid: str, why: str) -> None:
        self._system.note(f"{sop_uid} not sent to {title}: {why}", kind="error", sop_uid=sop_uid)
