r"""Rules for ORM^O01 and ORR^O02 of HL7 v2.3.1, written from its chapters 2 to 4.

hl7apy cannot judge them: of the choice between OBR, RQD, RQ1, RXO, ODS and ODT it wants all six
at once (crs4/hl7apy issue 151). Nothing here is of labsim, so that it can contradict it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

_DETAIL = r"(OBR|RQD|RQ1|RXO|ODS|ODT) (NTE )*(DG1 )*(OBX (NTE )*)*"
_STRUCTURES = {  # chapter 4.2.1 and 4.2.2; ZDS is what IHE adds (RAD TF-2, RAD-4)
    "ORM^O01^ORM_O01": re.compile(
        r"MSH (NTE )*(PID (PD1 )?(NTE )*(PV1 (PV2 )?)?(IN1 (IN2 )?(IN3 )?)*(GT1 )?(AL1 )*)?"
        rf"(ORC ({_DETAIL})?(CTI )*(BLG )?)+(ZDS )?"
    ),
    "ORR^O02^ORR_O02": re.compile(
        r"MSH MSA (ERR )?(NTE )*((PID (NTE )*)?(ORC ((OBR|RQD|RQ1|RXO|ODS|ODT) )?(NTE )*)+)?"
    ),
}
_REQUIRED = (
    *("MSH-1", "MSH-2", "MSH-9", "MSH-10", "MSH-11", "MSH-12", "MSA-1", "MSA-2"),
    *("PID-3", "PID-5", "PV1-2", "ORC-1", "OBR-4", "ZDS-1"),
)
_LENGTHS: Mapping[str, int] = {
    "MSH-10": 20, "MSA-3": 80, "PID-1": 4, "PID-5": 48, "PID-7": 26, "PID-8": 1,
    "PV1-1": 4, "PV1-2": 1, "PV1-3": 80, "PV1-7": 60, "PV1-19": 20,
    "ORC-1": 2, "ORC-2": 22, "ORC-3": 22, "ORC-5": 2, "ORC-7": 200, "ORC-9": 26, "ORC-12": 120,
    "ORC-16": 200,
    "OBR-1": 4, "OBR-2": 22, "OBR-3": 22, "OBR-4": 200, "OBR-16": 80, "OBR-18": 60, "OBR-19": 60,
    "OBR-20": 60, "OBR-22": 26, "OBR-24": 10, "OBR-25": 1, "OBR-27": 200, "OBR-31": 300,
}  # fmt: skip
_TABLES: Mapping[str, frozenset[str]] = {
    name: frozenset(values.split())
    for name, values in {
        "MSH-11": "D P T",  # 0103
        "MSA-1": "AA AE AR CA CE CR",  # 0008
        "PID-8": "F M O U",  # 0001
        "PV1-2": "E I O P R B N",  # 0004, user-defined; IHE's N is for no visit
        "ORC-1": "NW OK UA CA OC CR UC DC OD DR UD DF HD OH UH HR RL OE OR UR RP RU RO RQ RR PA CH "
        "XO XX UX XR DE RE AF FU OF UF NA CN SS SC SN SR",  # 0119
        "ORC-5": "A CA CM DC ER HD IP RP SC",  # 0038
        "OBR-24": "CT MR DX CR US MG",  # 0074; IHE wants the modality as DICOM writes it (RAD-4)
        "OBR-25": "O I S A P C R F X Y Z",  # 0123
    }.items()
}
_TIMES = ("MSH-7", "PID-7", "PV1-44", "PV1-45", "ORC-9", "OBR-22")
_SET_IDS = ("PID-1", "PV1-1", "OBR-1")
_CODED = ("OBR-4", "ORC-16", "OBR-31")
_TIME = re.compile(r"(\d{4})(\d\d)?(\d\d)?(\d{4}(\d\d(\.\d{1,4})?)?)?([+-]\d{4})?")
_ESCAPE = re.compile(r"\\([FSTREHN]|\.[a-z]{2}[+-]?\d*|X([0-9A-F]{2})+|[CMZ][0-9A-F]+)\\")
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
# The numbers of an order that a control needs; the other side may not have given its own yet.
_NEEDED = {"SN": "3", "SC": "3", "XX": "3", "OC": "3", "NA": "23"}


def problems(text: str) -> list[str]:
    """Return what is wrong with a message, empty if nothing is."""
    lines = text.split("\r")
    if lines.pop() != "":
        return ["the last segment has no carriage return"]
    segments = [line.split("|") for line in lines]
    segments[0].insert(1, "|")
    return list(_problems(segments))


def _problems(segments: list[list[str]]) -> Iterator[str]:
    fields = {
        f"{names[0]}-{number}": text
        for names in segments
        for number, text in enumerate(names)
        if number and text
    }
    present = [names[0] for names in segments]
    structure = _STRUCTURES.get(fields.get("MSH-9", ""))
    if structure is None:
        yield f"MSH-9 {fields.get('MSH-9', '')} is not of these rules"
    elif not structure.fullmatch(" ".join(present) + " "):
        yield f"the segments {' '.join(present)} are not in this order"
    for name in _REQUIRED:
        if name[:3] in present and name not in fields:
            yield f"{name} is required"
    for name, text in fields.items():
        yield from _field(name, text)
    yield from _numbers(fields)


def _field(name: str, text: str) -> Iterator[str]:
    if len(text) > _LENGTHS.get(name, 65536) and "~" not in text:
        yield f"{name} is longer than {_LENGTHS[name]}"
    if name in _TABLES and text not in _TABLES[name]:
        yield f"{name} {text} is not of its table"
    if name in _TIMES and not _is_time(text):
        yield f"{name} {text} is no time"
    if name in _SET_IDS and not text.isdigit():
        yield f"{name} {text} is no set ID"
    if name == "MSH-12" and text != "2.3.1":
        yield f"MSH-12 {text} is not the version of these rules"
    if name != "MSH-2" and "\\" in _ESCAPE.sub("", text):
        yield f"{name} has an escape that is none"
    parts = text.split("^")
    if name in _CODED and (len(parts) > 6 or not "".join(parts[:2])):
        yield f"{name} is no CE"
    if name in ("ORC-7", "OBR-27"):
        yield from _timing(name, [*parts, *[""] * 6])
    if name in ("ORC-12", "OBR-16", "PV1-7") and not "".join(parts[:2]):
        yield f"{name} names nobody"
    if name == "ZDS-1" and (not _UID.fullmatch(parts[0]) or len(parts[0]) > 64):
        yield "ZDS-1 has no UID"
    if name == "ZDS-1" and parts[1:] != ["100", "Application", "DICOM"]:
        yield "ZDS-1 is not as IHE has it"


def _timing(name: str, parts: list[str]) -> Iterator[str]:
    if parts[0] and not parts[0].isdigit():
        yield f"{name} has no quantity"
    if parts[3] and not _is_time(parts[3]):
        yield f"{name} starts at {parts[3]}, which is no time"
    if parts[5] and not re.fullmatch(r"[SARPCT]|T[SMHDWL]\d+|PRN", parts[5]):
        yield f"{name} has the priority {parts[5]}"


def _numbers(fields: Mapping[str, str]) -> Iterator[str]:
    for number, meaning in (("2", "placer"), ("3", "filler"), ("12", "provider"), ("7", "timing")):
        other = {"12": "16", "7": "27"}.get(number, number)
        one, two = fields.get(f"ORC-{number}"), fields.get(f"OBR-{other}")
        if one and two and one != two:
            yield f"the {meaning} differs between ORC-{number} and OBR-{other}"
    given = {name[-1] for name in ("ORC-2", "ORC-3", "OBR-2", "OBR-3") if name in fields}
    for number in _NEEDED.get(fields.get("ORC-1", ""), ""):
        if number not in given:
            yield f"neither ORC-{number} nor OBR-{number} is there"
    if not given:
        yield "the order has no number"


def _is_time(text: str) -> bool:
    if not _TIME.fullmatch(text):
        return False
    digits = re.split(r"[.+-]", text)[0]
    form = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
    try:
        datetime.strptime(digits, form[len(digits)])
    except (ValueError, KeyError):
        return False
    return True
