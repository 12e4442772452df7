"""What the desk does with an archive that insists on hierarchical queries."""

from __future__ import annotations

from collections.abc import Callable

from pydicom.dataset import FileDataset

from labsim import Hospital

Put = Callable[..., list[int]]


def test_the_desk_fetches_a_study_of_several_series(
    town: Hospital, put: Put, image: Callable[..., FileDataset]
) -> None:
    first = image()
    second = image(StudyInstanceUID=first.StudyInstanceUID, PatientID=first.PatientID)
    assert put(town, first, second) == [0x0000, 0x0000]
    came = town.tools.getscu(str(first.StudyInstanceUID), system="archive")
    assert {each.SOPInstanceUID for each in came} == {first.SOPInstanceUID, second.SOPInstanceUID}
