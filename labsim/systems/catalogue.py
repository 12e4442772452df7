"""The examinations that can be ordered."""

from __future__ import annotations

from dataclasses import dataclass

from labsim.errors import NotFound
from labsim.imaging import ct, mr
from labsim.imaging.scanners import SCANNERS

CODING_SCHEME = "99LABSIM"


@dataclass(frozen=True)
class Examination:
    """One entry of the catalogue.

    Parameters
    ----------
    code, description : str
        As ordered (OBR-4), in the coding scheme `CODING_SCHEME`.
    modality : str
        What does it.
    body_part : str
        Body Part Examined (0018,0015).
    series : tuple of str
        Protocols of the scanner, one for each series, in the order of its work.
    report : str
        What a reader writes when there is nothing to find.
    minutes : int
        How long the room is taken.
    """

    code: str
    description: str
    modality: str
    body_part: str
    series: tuple[str, ...]
    report: str
    minutes: int = 15


_LUNGS = (
    "Findings: Lungs clear as far as shown. No pleural effusion. Heart not enlarged.\n"
    "Impression: No acute finding."
)
_BRAIN = (
    "Findings: No haemorrhage, no mass effect. Ventricles of normal width.\n"
    "Impression: No acute finding."
)
_ABDOMEN = (
    "Findings: Liver, spleen and kidneys of normal size. No free fluid.\n"
    "Impression: Normal abdomen."
)
_KNEE = "Findings: Joint surfaces smooth. No effusion.\nImpression: Normal knee."
_HAND = "Findings: No fracture. Joints in place.\nImpression: Normal hand."
_SPINE = (
    "Findings: Vertebrae in line and of normal height. No narrowing of the canal.\n"
    "Impression: Normal lumbar spine."
)
_BREAST = "Findings: No mass, no suspicious calcification.\nImpression: BI-RADS 1, both sides."
_HEART = (
    "Findings: Chambers of normal size. Good function of the left ventricle.\n"
    "Impression: Normal echocardiogram."
)

_EXAMINATIONS = {
    examination.code: examination
    for examination in (
        Examination("CTTHORAX", "CT thorax", "CT", "CHEST", ("CHEST",), _LUNGS),
        Examination("CTHEAD", "CT head", "CT", "HEAD", ("HEAD",), _BRAIN),
        Examination("CTLUNG", "CT thorax, lung", "CT", "CHEST", ct.STUDIES["CHEST"], _LUNGS),
        Examination(
            "CTABDOMEN", "CT abdomen", "CT", "ABDOMEN", ct.STUDIES["ABDOMEN"], _ABDOMEN, 20
        ),
        Examination("MRHEAD", "MR head", "MR", "HEAD", mr.STUDIES["HEAD"], _BRAIN, 30),
        Examination("MRKNEEL", "MR knee left", "MR", "KNEE", mr.STUDIES["KNEE_LEFT"], _KNEE, 30),
        Examination("MRKNEER", "MR knee right", "MR", "KNEE", mr.STUDIES["KNEE_RIGHT"], _KNEE, 30),
        Examination(
            "MRLSPINE", "MR lumbar spine", "MR", "LSPINE", mr.STUDIES["LSPINE"], _SPINE, 30
        ),
        Examination("DXCHEST", "Chest PA and lateral", "DX", "CHEST", ("CHEST",), _LUNGS, 10),
        Examination("DXHANDL", "Left hand", "DX", "HAND", ("HAND_LEFT",), _HAND, 10),
        Examination("DXHANDR", "Right hand", "DX", "HAND", ("HAND_RIGHT",), _HAND, 10),
        Examination("DXKNEEL", "Left knee", "DX", "KNEE", ("KNEE_LEFT",), _KNEE, 10),
        Examination("DXKNEER", "Right knee", "DX", "KNEE", ("KNEE_RIGHT",), _KNEE, 10),
        Examination("CRCHEST", "Chest PA on a plate", "CR", "CHEST", ("CHEST",), _LUNGS, 10),
        Examination("CRBED", "Chest in bed", "CR", "CHEST", ("CHEST_BED",), _LUNGS, 10),
        Examination("MGSCREEN", "Screening mammography", "MG", "BREAST", ("SCREENING",), _BREAST),
        Examination("USABDOMEN", "Ultrasound abdomen", "US", "ABDOMEN", ("ABDOMEN",), _ABDOMEN, 20),
        Examination("USHEART", "Echocardiogram", "US", "HEART", ("HEART",), _HEART, 30),
    )
}


# An order to take images in that were made elsewhere (IHE IRWF): no scanner does it.
IMPORT = Examination("IMPORT", "Import of outside images", "OT", "", (), "Outside images.")


def examinations() -> list[Examination]:
    """Return what scanners can do; `IMPORT` can be ordered too."""
    return list(_EXAMINATIONS.values())


def examination(code: str) -> Examination:
    """Return one entry.

    Raises
    ------
    NotFound
        If the catalogue has no such code.
    """
    try:
        return IMPORT if code == IMPORT.code else _EXAMINATIONS[code]
    except KeyError:
        raise NotFound(
            f"No examination has the code {code!r}.",
            f"The catalogue has {', '.join(_EXAMINATIONS)}, {IMPORT.code}.",
        ) from None


def texts() -> list[str]:
    """Return what the department says of anybody: its examinations, protocols, normal reports."""
    said = [text for e in examinations() for text in (e.description, e.report)]
    protocols = [p for scanner in SCANNERS.values() for p in scanner.protocols.values()]
    return said + [text for p in protocols for text in (p.name, p.series_description)]
