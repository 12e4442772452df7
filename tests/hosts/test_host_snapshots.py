"""Snapshots of a host: what came after one is really lost when it is reverted to."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from labsim import Hospital
from labsim.errors import ConfigurationError, LabError, NotFound

pytestmark = pytest.mark.usefixtures("small_scans")


def found(hospital: Hospital) -> set[str]:
    """Ask the archive for all studies, with nothing of labsim in between."""
    place = next(e for e in hospital.endpoints() if (e.system, e.protocol) == ("pacs", "dicom"))
    entity = AE(ae_title="TOOLS")
    entity.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    association = entity.associate(place.local.host, place.local.port, ae_title="PACS")
    assert association.is_established
    keys = Dataset()
    keys.QueryRetrieveLevel, keys.StudyInstanceUID = "STUDY", ""
    answers = list(association.send_c_find(keys, StudyRootQueryRetrieveInformationModelFind))
    association.release()
    association.join(5)
    association.dul.join(5)
    return {str(each.StudyInstanceUID) for _, each in answers if each is not None}


def files(hospital: Hospital) -> set[str]:
    return {path.name for path in (hospital.path / "pacs" / "files").rglob("*.dcm")}


def test_a_reverted_archive_has_lost_what_came_after(hospital: Hospital) -> None:
    assert hospital.exam().problem == ""
    studies, kept = found(hospital), files(hospital)
    assert len(studies) == 1
    hospital.host("pacs").snapshot("before-upgrade")
    assert found(hospital) == studies
    assert hospital.exam().problem == ""
    assert len(found(hospital)) == 2
    assert files(hospital) > kept
    hospital.host("pacs").revert("before-upgrade")
    assert found(hospital) == studies
    assert files(hospital) == kept
    assert hospital.pacs.sql("SELECT count(*) FROM studies")[0][0] == 1
    assert len(hospital.ris.sql("SELECT * FROM orders")) == 2  # the RIS knows what the PACS lost
    last = hospital.journal.events(source="pacs", kind="state")[-1].summary
    assert last.startswith("reverted to snapshot before-upgrade")
    assert hospital.exam().problem == ""


def test_the_firewall_goes_back_too(hospital: Hospital) -> None:
    host = hospital.host("pacs")
    host.firewall.add("reject", "desk", 104)
    host.snapshot("closed")
    host.firewall.remove(1)
    host.revert("closed")
    assert [tuple(row[1:4]) for row in host.firewall.table()] == [("reject", "desk", 104)]


def test_a_snapshot_outlives_the_hospital_and_can_be_reverted_to_twice(tmp_path: Path) -> None:
    with Hospital(seed=7, path=tmp_path / "h") as hospital:
        hospital.host("his").snapshot("empty")
        hospital.his.register_patient()
    with Hospital(path=tmp_path / "h") as hospital:
        assert [row[0] for row in hospital.host("his").snapshots()] == ["empty"]
        for _ in range(2):
            hospital.his.register_patient()
            hospital.host("his").revert("empty")
            assert len(hospital.his.sql("SELECT * FROM patients")) == 0
    left = {path.name for path in (tmp_path / "h").iterdir()}
    assert not {name for name in left if name.endswith((".old", ".fresh"))}


def test_a_host_that_is_off_stays_off(hospital: Hospital) -> None:
    host = hospital.host("pacs")
    host.shut_down()
    host.snapshot("cold")
    host.revert("cold")
    assert not host.running
    host.boot()
    assert found(hospital) == set()


def test_names_are_checked_and_known(hospital: Hospital) -> None:
    host = hospital.host("ris")
    with pytest.raises(ConfigurationError, match="no name"):
        host.snapshot("../ris")
    host.snapshot("one")
    with pytest.raises(ConfigurationError, match="already"):
        host.snapshot("one")
    with pytest.raises(NotFound, match=r"'two'.*one"):
        host.revert("two")
    with pytest.raises(LabError, match="desk"):
        hospital.host("desk").snapshot("mine")
