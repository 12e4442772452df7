from __future__ import annotations

import pytest

from labsim import Hospital
from labsim.errors import ConfigurationError, NotFound, Unreachable


def test_the_desk_calls_a_program_outside_by_its_name(hospital: Hospital) -> None:
    # The PACS as it is seen from outside of the hospital.
    ports = {endpoint.protocol: endpoint.local.port for endpoint in hospital.pacs.endpoints}
    hospital.tools.know(
        "other", ae_title="PACS", dicom_port=ports["dicom"], http_port=ports["dicomweb"]
    )
    assert hospital.tools.echoscu("other") == "0x0000 Success"
    assert hospital.tools.findscu("other", PatientName="") == []
    token = hospital.pacs.web.tokens.issue("desk")
    assert hospital.tools.qido("/studies", token, system="other").datasets == []
    with pytest.raises(NotFound, match="Use ct1, other, pacs, ris"):
        hospital.tools.echoscu("another")


def test_what_has_one_port_only_is_called_there_only(hospital: Hospital) -> None:
    hospital.tools.know("web", ae_title="WEB", http_port=1)
    with pytest.raises(NotFound, match="No system 'web' speaks DICOM"):
        hospital.tools.echoscu("web")
    with pytest.raises(Unreachable):
        hospital.tools.qido("/studies", system="web")


@pytest.mark.parametrize(
    ("name", "title", "port"),
    [
        *(("pacs", "X", 104), ("", "X", 104), ("x", "", 104), ("x", "A\\B", 104)),
        *(("x", "X", 0), ("x", "X", 65536), ("x", "X", -1)),
    ],
)
def test_what_cannot_be_right_is_told(hospital: Hospital, name: str, title: str, port: int) -> None:
    with pytest.raises(ConfigurationError):
        hospital.tools.know(name, ae_title=title, dicom_port=port)
