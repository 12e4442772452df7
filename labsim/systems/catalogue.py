"""The examinations that can be ordered."""

from __future__ import annotations

from dataclasses import dataclass

from labsim.errors import NotFound

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
    """

    code: str
    description: str
    modality: str
    body_part: str


_EXAMINATIONS = {
    examination.code: examination
    for examination in (
        Examination("CTTHORAX", "CT thorax", "CT", "CHEST"),
        Examination("CTHEAD", "CT head", "CT", "HEAD"),
    )
}


def examinations() -> list[Examination]:
    """Return the whole catalogue."""
    return list(_EXAMINATIONS.values())


def examination(code: str) -> Examination:
    """Return one entry.

    Raises
    ------
    NotFound
        If the catalogue has no such code.
    """
    try:
        return _EXAMINATIONS[code]
    except KeyError:
        raise NotFound(
            f"No examination has the code {code!r}.",
            f"The catalogue has {', '.join(_EXAMINATIONS)}.",
        ) from None
