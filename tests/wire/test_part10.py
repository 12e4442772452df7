"""The file of an instance, beside the one that pynetdicom writes."""

from __future__ import annotations

from io import BytesIO
from types import SimpleNamespace

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless
from pynetdicom import build_context, evt
from pynetdicom.dimse_primitives import C_STORE

from labsim.wire.part10 import file_of


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEG2000Lossless])
@pytest.mark.parametrize("uid", ["1.2.3", "1.2.34"], ids=["odd", "even"])
def test_a_file_is_what_pynetdicom_would_write(uid: str, syntax: str) -> None:
    request = C_STORE()
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = CTImageStorage, uid
    request.DataSet = BytesIO(b"\x08\0\x60\0CS\x02\0CT")
    context = build_context(CTImageStorage, syntax)
    context.context_id = 1
    about = {"request": request, "context": context.as_tuple}
    event = evt.Event(SimpleNamespace(), evt.EVT_C_STORE, about)  # type: ignore[arg-type]
    assert file_of(event) == event.encoded_dataset()
