"""Which images may show text: by what the header says, and by what it leaves out."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

# Where text is often in the pixels and the header may not say so (PS3.15 E.3.1).
_OFTEN_BURNED_IN = {"US", "IVUS", "XA", "RF", "ES", "XC", "GM", "OP", "OT", "SC"}


def may_be_burned_in(image: Dataset) -> bool:
    """Tell whether an image may have text in its pixels, by what its header says or leaves out.

    Burned In Annotation (0028,0301) YES says so; where text is usual, only NO says that there
    is none.
    """
    if "PixelData" not in image:
        return False
    said = str(image.get("BurnedInAnnotation") or "")
    usual = (
        image.get("Modality") in _OFTEN_BURNED_IN
        or image.get("SOPClassUID") == SecondaryCaptureImageStorage
    )
    return said == "YES" or (usual and said != "NO")
