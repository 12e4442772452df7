"""Whether an audit message is as PS3.15 A.5 asks: its schema, and the table of its event."""

from __future__ import annotations

import base64
import binascii
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from labsim.systems.audit.message import DCM, Code, NotAnAuditMessage, read


@dataclass(frozen=True)
class Rule:
    """What the table of one event demands (PS3.15 A.5.3).

    Parameters
    ----------
    name : str
        Meaning of its Event ID.
    actions : str
        Event action codes that it may have.
    types : mapping of str to str
        Event type codes, one of which it must have; empty if none is asked for.
    roles : tuple of str
        Role ID codes that a participant must have.
    subjects : tuple of str
        Participant object ID type codes that an object must have.
    """

    name: str
    actions: str
    types: Mapping[str, str] = field(default_factory=dict)
    roles: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()

    def type_code(self, value: str) -> Code:
        """Return one of its event type codes."""
        return Code(value, DCM, self.types[value])


_STUDY_AND_PATIENT = ("110180", "2")
_SOURCE_AND_DESTINATION = ("110153", "110152")
RULES: Mapping[str, Rule] = {
    "110100": Rule(
        "Application Activity", "E", {"110120": "Application Start", "110121": "Application Stop"}
    ),
    "110101": Rule("Audit Log Used", "R", subjects=("12",)),
    "110102": Rule(
        "Begin Transferring DICOM Instances",
        "E",
        roles=_SOURCE_AND_DESTINATION,
        subjects=_STUDY_AND_PATIENT,
    ),
    "110103": Rule("DICOM Instances Accessed", "CRUD", subjects=_STUDY_AND_PATIENT),
    "110104": Rule(
        "DICOM Instances Transferred",
        "CRU",
        roles=_SOURCE_AND_DESTINATION,
        subjects=_STUDY_AND_PATIENT,
    ),
    "110105": Rule("DICOM Study Deleted", "D", subjects=_STUDY_AND_PATIENT),
    "110106": Rule("Export", "R", roles=("110153", "110154"), subjects=_STUDY_AND_PATIENT),
    "110107": Rule("Import", "C", roles=("110152", "110155"), subjects=_STUDY_AND_PATIENT),
    "110108": Rule("Network Entry", "E", {"110124": "Attach", "110125": "Detach"}),
    "110109": Rule("Order Record", "CRUD", subjects=("2",)),
    "110110": Rule("Patient Record", "CRUD", subjects=("2",)),
    "110111": Rule("Procedure Record", "CRUD", subjects=("2",)),
    "110112": Rule("Query", "E", roles=_SOURCE_AND_DESTINATION, subjects=("110181",)),
    "110113": Rule(
        "Security Alert",
        "E",
        {
            "110126": "Node Authentication",
            "110127": "Emergency Override Started",
            "110128": "Network Configuration",
            "110129": "Security Configuration",
            "110130": "Hardware Configuration",
            "110131": "Software Configuration",
            "110132": "Use of Restricted Function",
            "110133": "Audit Recording Stopped",
            "110134": "Audit Recording Started",
            "110135": "Object Security Attributes Changed",
            "110136": "Security Roles Changed",
            "110137": "User security Attributes Changed",
            "110138": "Emergency Override Stopped",
        },
    ),
    "110114": Rule("User Authentication", "E", {"110122": "Login", "110123": "Logout"}),
}

_ORDER = (  # of the children of each element; a star may be repeated, a question mark left out
    ("AuditMessage", "EventIdentification ActiveParticipant+ AuditSourceIdentification "
     "ParticipantObjectIdentification*"),
    ("EventIdentification", "EventID EventTypeCode* EventOutcomeDescription? PurposeOfUse*"),
    ("ActiveParticipant", "RoleIDCode* MediaIdentifier? UserIDTypeCode?"),
    ("MediaIdentifier", "MediaType"),
    ("AuditSourceIdentification", "AuditSourceTypeCode*"),
    ("ParticipantObjectIdentification", "ParticipantObjectIDTypeCode ParticipantObjectName? "
     "ParticipantObjectQuery? ParticipantObjectDetail* ParticipantObjectDescription*"),
    ("ParticipantObjectDescription", "MPPS* Accession* SOPClass* ParticipantObjectContainsStudy? "
     "Encrypted? Anonymized?"),
)  # fmt: skip
_CHILDREN = {tag: re.sub(r"(\w+)([+*?]?) ?", r"(?:\1 )\2", order) for tag, order in _ORDER}
_CODED = ("csd-code", "codeSystemName", "originalText")
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "EventIdentification": ("EventDateTime", "EventOutcomeIndicator"),
    "ActiveParticipant": ("UserID", "UserIsRequestor"),
    "AuditSourceIdentification": ("AuditSourceID",),
    "AuditSourceTypeCode": ("csd-code",),
    "ParticipantObjectIdentification": ("ParticipantObjectID",),
    "ParticipantObjectDetail": ("type", "value"),
    "Accession": ("Number",),
    "MPPS": ("UID",),
    "SOPClass": ("NumberOfInstances",),
    **dict.fromkeys(
        ("EventID", "EventTypeCode", "RoleIDCode", "MediaType", "ParticipantObjectIDTypeCode"),
        _CODED,
    ),
}


def _up_to(last: int) -> set[str]:
    return {str(number) for number in range(1, last + 1)}


_VALUES: Mapping[str, set[str]] = {
    "EventActionCode": set("CRUDE"),
    "EventOutcomeIndicator": {"0", "4", "8", "12"},
    "UserIsRequestor": {"true", "false", "0", "1"},
    "NetworkAccessPointTypeCode": _up_to(5),
    "ParticipantObjectTypeCode": _up_to(4),
    "ParticipantObjectTypeCodeRole": _up_to(26),
    "ParticipantObjectDataLifeCycle": _up_to(15),
}
_TIME = re.compile(r"-?\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def problems_of(text: str) -> list[str]:
    """Return what is wrong with an audit message; nothing if it is right.

    Parameters
    ----------
    text : str
        The XML.
    """
    try:
        root = read(text)
    except NotAnAuditMessage as error:
        return [error.what]
    return [*_schema_problems(root), *_event_problems(root)]


def _schema_problems(root: ET.Element) -> Iterator[str]:
    for element in root.iter():
        tag = element.tag
        children = "".join(f"{child.tag} " for child in element)
        if tag in _CHILDREN and not re.fullmatch(_CHILDREN[tag], children):
            yield f"{tag} has the children {children.strip() or 'none'}."
        for name in _REQUIRED.get(tag, ()):
            if not element.get(name):
                yield f"{tag} has no {name}."
        for name, allowed in _VALUES.items():
            if element.get(name) not in (None, *allowed):
                yield f"{name} of {tag} is {element.get(name)!r}."
    yield from _value_problems(root)


def _value_problems(root: ET.Element) -> Iterator[str]:
    event = root.find("EventIdentification")
    time = event.get("EventDateTime", "") if event is not None else ""
    if time and not _TIME.fullmatch(time):
        yield f"EventDateTime {time} has not the form of a time with its zone."
    requestors = [p for p in root.findall("ActiveParticipant") if p.get("UserIsRequestor") in
                  ("true", "1")]  # fmt: skip
    if len(requestors) > 1:
        yield f"{len(requestors)} participants are the requestor, and only one may be."
    encoded = [e.text or "" for e in root.iter("ParticipantObjectQuery")]
    encoded += [e.get("value", "") for e in root.iter("ParticipantObjectDetail")]
    for value in encoded:
        try:
            base64.b64decode("".join(value.split()), validate=True)
        except binascii.Error:
            yield f"{value[:20]!r} is not base 64."


def _event_problems(root: ET.Element) -> Iterator[str]:
    event = root.find("EventIdentification")
    code = event.find("EventID") if event is not None else None
    if event is None or code is None:
        return  # the schema has said so
    rule = RULES.get(code.get("csd-code", ""))
    if rule is None or code.get("codeSystemName") != DCM:
        return  # an event that somebody else has defined
    action = event.get("EventActionCode", "")
    if action not in rule.actions or not action:
        yield f"{rule.name} has the action {action or 'none'}, not {' or '.join(rule.actions)}."
    types = {kind.get("csd-code") for kind in event.findall("EventTypeCode")}
    if rule.types and not types & set(rule.types):
        yield f"{rule.name} has none of its event type codes {', '.join(rule.types)}."
    for wanted, path, what in (
        (rule.roles, "ActiveParticipant/RoleIDCode", "participant with role"),
        (
            rule.subjects,
            "ParticipantObjectIdentification/ParticipantObjectIDTypeCode",
            "object with ID type",
        ),
    ):
        there = {element.get("csd-code") for element in root.findall(path)}
        for value in wanted:
            if value not in there:
                yield f"{rule.name} has no {what} {value}."
