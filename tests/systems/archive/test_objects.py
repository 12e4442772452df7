"""Objects are written once, and lie with their checksum."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydicom.dataset import FileDataset

from labsim import Hospital
from labsim.errors import ConfigurationError, LabError, NotFound

Image = Callable[..., FileDataset]
Put = Callable[..., list[int]]


def test_a_stored_image_is_an_object_with_checksum_size_and_time(
    town: Hospital, image: Image, put: Put
) -> None:
    one = image()
    put(town, one)
    (row,) = town.archive.objects.list("online")
    (path,) = town.archive.paths(str(one.StudyInstanceUID))
    assert town.archive.objects.get("online", row[0]) == path.read_bytes()
    assert str(one.SOPInstanceUID) in row[0]
    (indexed,) = town.archive.sql("SELECT bytes, sha256 FROM instances")
    assert tuple(row[1:]) == (*indexed, "2026-03-02T10:30:00")


def test_a_damaged_object_is_not_given_out(town: Hospital, image: Image, put: Put) -> None:
    one = image()
    put(town, one)
    (path,) = town.archive.paths(str(one.StudyInstanceUID))
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    (row,) = town.archive.objects.list()
    with pytest.raises(LabError, match="damaged"):
        town.archive.objects.get("online", row[0])


def test_other_content_never_takes_the_place_of_an_object(
    town: Hospital, image: Image, put: Put
) -> None:
    town.archive.configure_duplicates("replace")
    one = image()
    put(town, one)
    before = town.archive.paths(str(one.StudyInstanceUID))[0].read_bytes()
    uids = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "PatientID")
    other = image(**{keyword: one[keyword].value for keyword in uids}, PixelData=bytes(8))
    assert put(town, other) == [0xA700]
    assert town.archive.paths(str(one.StudyInstanceUID))[0].read_bytes() == before
    (row,) = town.archive.objects.list()
    town.archive.delete_study(str(one.StudyInstanceUID), reason="wrong pixels")
    with pytest.raises(NotFound):
        town.archive.objects.head("online", row[0])
    assert put(town, other) == [0x0000]


def test_objects_of_other_kinds_have_buckets_of_their_own(town: Hospital) -> None:
    objects = town.archive.objects
    head = objects.put("letters", "2026/a.pdf", b"one")
    assert (head.size, objects.get("letters", "2026/a.pdf")) == (3, b"one")
    assert objects.put("letters", "2026/a.pdf", b"one") == head
    with pytest.raises(ConfigurationError, match="never written over"):
        objects.put("letters", "2026/a.pdf", b"two")
    by_content = objects.put("letters", "", b"two")
    assert by_content.key == by_content.sha256
    assert [row[0] for row in objects.list("letters", "2026/")] == ["2026/a.pdf"]


def test_names_lead_nowhere_else(town: Hospital) -> None:
    for bucket, key in (("letters", "../x"), ("..", "x"), ("letters", "/etc/x"), ("a/b", "x")):
        with pytest.raises(ConfigurationError, match="cannot name"):
            town.archive.objects.put(bucket, key, b"")
    with pytest.raises(ConfigurationError, match="C-STORE only"):
        town.archive.objects.put("online", "x", b"")
    with pytest.raises(NotFound):
        town.archive.objects.get("letters", "none")
