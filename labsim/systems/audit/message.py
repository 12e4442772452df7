"""Audit messages: who did what to whom, and when (PS3.15 A.5.1, the schema that ITI-20 sends)."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field

from labsim.errors import LabError

DCM = "DCM"


class NotAnAuditMessage(LabError):
    """Text that is no audit message at all."""


@dataclass(frozen=True)
class Code:
    """A coded value (CodedValueType of the schema).

    Parameters
    ----------
    value, system, meaning : str
        ``csd-code``, ``codeSystemName`` and ``originalText``.
    """

    value: str
    system: str
    meaning: str

    def _element(self, parent: ET.Element, tag: str) -> None:
        attributes = {"csd-code": self.value, "codeSystemName": self.system}
        ET.SubElement(parent, tag, attributes | {"originalText": self.meaning})


APPLICATION = Code("110150", DCM, "Application")
LAUNCHER = Code("110151", DCM, "Application Launcher")
DESTINATION = Code("110152", DCM, "Destination Role ID")
SOURCE = Code("110153", DCM, "Source Role ID")
DESTINATION_MEDIA = Code("110154", DCM, "Destination Media")
SOURCE_MEDIA = Code("110155", DCM, "Source Media")
STUDY_UID = Code("110180", DCM, "Study Instance UID")
SOP_CLASS_UID = Code("110181", DCM, "SOP Class UID")
NODE_ID = Code("110182", DCM, "Node ID")
PATIENT_NUMBER = Code("2", "RFC-3881", "Patient Number")
REPORT_NUMBER = Code("9", "RFC-3881", "Report Number")
URI = Code("12", "RFC-3881", "URI")
MEDIA_TYPES = {
    "USB": Code("110030", DCM, "USB Disk Emulation"),
    "CD": Code("110032", DCM, "CD"),
    "DVD": Code("110033", DCM, "DVD"),
    "URI": Code("110037", DCM, "URI"),
}
# What XML 1.0 has no place for, such as the NUL in a broken patient name.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Participant:
    """A person or a process that took part (ActiveParticipant).

    Parameters
    ----------
    user_id : str
        ``login@domain`` of a person, the node's name of a process (A.5.2.1).
    alternative : str
        Of a DICOM application ``AETITLES=…`` (A.5.2.2).
    name : str
        For a human reader.
    requestor : bool
        Whether it began the event.
    role : Code, optional
        Its part in the event.
    host : str
        Network access point, a host name.
    media : Code, optional
        Type of the media that this participant stands for.
    """

    user_id: str
    alternative: str = ""
    name: str = ""
    requestor: bool = False
    role: Code | None = None
    host: str = ""
    media: Code | None = None

    def _element(self, parent: ET.Element) -> None:
        attributes = {"UserID": self.user_id, "UserIsRequestor": str(self.requestor).lower()}
        optional = {"AlternativeUserID": self.alternative, "UserName": self.name}
        if self.host:
            optional |= {"NetworkAccessPointID": self.host, "NetworkAccessPointTypeCode": "1"}
        attributes |= {name: value for name, value in optional.items() if value}
        element = ET.SubElement(parent, "ActiveParticipant", attributes)
        if self.role is not None:
            self.role._element(element, "RoleIDCode")
        if self.media is not None:
            self.media._element(ET.SubElement(element, "MediaIdentifier"), "MediaType")


@dataclass(frozen=True)
class Subject:
    """What it was done to (ParticipantObjectIdentification).

    Parameters
    ----------
    identifier : str
        Its ID.
    kind : Code
        What the ID is.
    type_code, role : str
        A.5.1.2: ``"1"`` a person, ``"2"`` a system object; ``"1"`` the
        patient, ``"3"`` a report …
    name : str
        For a human reader; left out if there is a query.
    query : bytes
        The query itself.
    detail : mapping of str to bytes
        More, by type.
    sop_classes : mapping of str to int
        How many instances of each SOP class.
    accession : str
        Accession Number.
    life_cycle : str
        A.5.1.2.3, such as ``"15"`` permanent erasure.
    """

    identifier: str
    kind: Code
    type_code: str = "2"
    role: str = "3"
    name: str = ""
    query: bytes = b""
    detail: Mapping[str, bytes] = field(default_factory=dict)
    sop_classes: Mapping[str, int] = field(default_factory=dict)
    accession: str = ""
    life_cycle: str = ""

    def _element(self, parent: ET.Element) -> None:
        attributes = {
            "ParticipantObjectID": self.identifier,
            "ParticipantObjectTypeCode": self.type_code,
            "ParticipantObjectTypeCodeRole": self.role,
        }
        if self.life_cycle:
            attributes["ParticipantObjectDataLifeCycle"] = self.life_cycle
        element = ET.SubElement(parent, "ParticipantObjectIdentification", attributes)
        self.kind._element(element, "ParticipantObjectIDTypeCode")
        if self.query:
            ET.SubElement(element, "ParticipantObjectQuery").text = _base64(self.query)
        else:  # the schema has either of them
            ET.SubElement(element, "ParticipantObjectName").text = self.name or self.identifier
        for kind, value in self.detail.items():
            pair = {"type": kind, "value": _base64(value)}
            ET.SubElement(element, "ParticipantObjectDetail", pair)
        if self.sop_classes or self.accession:
            self._describe(ET.SubElement(element, "ParticipantObjectDescription"))

    def _describe(self, element: ET.Element) -> None:
        if self.accession:
            ET.SubElement(element, "Accession", {"Number": self.accession})
        for uid, count in self.sop_classes.items():
            attributes = {"UID": uid, "NumberOfInstances": str(count)}
            ET.SubElement(element, "SOPClass", attributes)


@dataclass(frozen=True)
class AuditMessage:
    """One event of interest.

    Parameters
    ----------
    event : Code
        What kind of event (A.5.3).
    action : str
        ``C``, ``R``, ``U``, ``D`` or ``E``.
    time : str
        When, with its time zone (A.5.2.5).
    outcome : str
        ``"0"`` success, ``"4"``, ``"8"``, ``"12"`` minor, serious, major failure.
    source : str
        The system that noticed it.
    site : str
        The hospital.
    participants : tuple of Participant
        At least one; at most one is the requestor.
    subjects : tuple of Subject
        What it was done to.
    types : tuple of Code
        Event type codes.
    text : str
        Of a failure, in words.
    """

    event: Code
    action: str
    time: str
    outcome: str
    source: str
    site: str
    participants: tuple[Participant, ...]
    subjects: tuple[Subject, ...] = ()
    types: tuple[Code, ...] = ()
    text: str = ""

    def xml(self) -> str:
        """Return the message in the order of the schema."""
        root = ET.Element("AuditMessage")
        attributes = {
            "EventActionCode": self.action,
            "EventDateTime": self.time,
            "EventOutcomeIndicator": self.outcome,
        }
        event = ET.SubElement(root, "EventIdentification", attributes)
        self.event._element(event, "EventID")
        for code in self.types:
            code._element(event, "EventTypeCode")
        if self.text:
            ET.SubElement(event, "EventOutcomeDescription").text = self.text
        for participant in self.participants:
            participant._element(root)
        attributes = {"AuditEnterpriseSiteID": self.site, "AuditSourceID": self.source}
        source = ET.SubElement(root, "AuditSourceIdentification", attributes)
        ET.SubElement(source, "AuditSourceTypeCode", {"csd-code": "4"})  # application server
        for subject in self.subjects:
            subject._element(root)
        body = _NOT_XML.sub("\ufffd", ET.tostring(root, encoding="unicode"))
        return f'<?xml version="1.0" encoding="UTF-8"?>{body}'


def read(text: str) -> ET.Element:
    """Return the root of an audit message.

    Raises
    ------
    NotAnAuditMessage
        If it is not XML, brings a document type, or has another root.
    """
    if "<!DOCTYPE" in text:  # whose entities may grow without end, or name a file
        raise NotAnAuditMessage("A document type is not taken.")
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise NotAnAuditMessage(f"It is not XML: {error}.") from error
    if root.tag != "AuditMessage":
        raise NotAnAuditMessage(f"Its root is {root.tag}, not AuditMessage.")
    return root


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
