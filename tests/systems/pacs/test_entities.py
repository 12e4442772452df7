from __future__ import annotations

from pathlib import Path

import pytest

from labsim import Hospital
from labsim.errors import ConfigurationError, NotFound
from labsim.systems.pacs.entities import Entity


def test_a_new_archive_knows_scanner_ris_desk_and_workstation(clinic: Hospital) -> None:
    assert [tuple(row) for row in clinic.pacs.ae_titles()] == [
        ("CT1", "ct1", 104, "yes", "yes", "as stored", "yes", "no"),
        ("RIS", "ris", 104, "yes", "yes", "as stored", "yes", "no"),
        ("TOOLS", "desk", 11112, "yes", "yes", "as stored", "yes", "no"),
        ("WS1", "ws1", 104, "yes", "yes", "as stored", "yes", "no"),
    ]


@pytest.mark.parametrize(
    "title",
    ["", " ", " " * 16, "x" * 17, "A\\B", "A\nB", "A\tB", "CTÄ", "CT\N{NO-BREAK SPACE}1", "CT\x7f"],
)
def test_what_is_no_title_is_refused(clinic: Hospital, title: str) -> None:
    before = [tuple(row) for row in clinic.pacs.ae_titles()]
    with pytest.raises(ConfigurationError, match="is no AE title"):
        clinic.pacs.register_ae(title, host="ct9", port=104)
    assert [tuple(row) for row in clinic.pacs.ae_titles()] == before


@pytest.mark.parametrize(("host", "port"), [("", 104), ("ct9", 0), ("ct9", 65536), ("ct9", -1)])
def test_what_is_no_address_is_refused(clinic: Hospital, host: str, port: int) -> None:
    with pytest.raises(ConfigurationError, match="is no address"):
        clinic.pacs.register_ae("CT9", host=host, port=port)
    assert clinic.pacs.known_ae("CT9") is None


@pytest.mark.parametrize("title", ["x" * 16, "ct9", "CT 9", "CT-9/[a]"])
def test_a_title_is_known_letter_for_letter(clinic: Hospital, title: str) -> None:
    entity = clinic.pacs.register_ae(title, host="ct9", port=104, may_query=False)
    assert clinic.pacs.known_ae(title) == entity == Entity(title, "ct9", 104, True, False)
    assert clinic.pacs.known_ae(title.swapcase()) is None
    assert clinic.pacs.remove_ae(title) == entity


def test_spaces_around_a_title_do_not_count(clinic: Hospital) -> None:  # PS3.5 6.2, VR AE
    clinic.pacs.register_ae(" CT9 ", host="ct9", port=104)
    assert clinic.pacs.known_ae("CT9") == Entity("CT9", "ct9", 104)
    clinic.pacs.remove_ae("CT9")


def test_the_same_title_again_is_a_change(clinic: Hospital) -> None:
    clinic.pacs.register_ae("CT9", host="ct9", port=104)
    clinic.pacs.register_ae("CT9", host="attic", port=11112, may_store=False)
    assert clinic.pacs.known_ae("CT9") == Entity("CT9", "attic", 11112, False, True)
    clinic.pacs.remove_ae("CT9")


def test_what_is_not_registered_cannot_be_removed(clinic: Hospital) -> None:
    with pytest.raises(NotFound, match=r"No AE title 'CT9' .*Registered: CT1, RIS, TOOLS, WS1"):
        clinic.pacs.remove_ae("CT9")


def test_registrations_are_kept_over_a_restart(tmp_path: Path) -> None:
    with Hospital(path=tmp_path) as hospital:
        hospital.pacs.register_ae("CT9", host="ct9", port=104, may_store=False)
        hospital.pacs.remove_ae("TOOLS")
    with Hospital(path=tmp_path) as hospital:
        assert [row[0] for row in hospital.pacs.ae_titles()] == ["CT1", "CT9", "RIS", "WS1"]
        assert hospital.pacs.known_ae("CT9") == Entity("CT9", "ct9", 104, False, True)
