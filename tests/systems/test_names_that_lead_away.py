"""Names that would lead out of a folder lead nowhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import CTImageStorage
from pynetdicom.association import Association

from labsim import Hospital

Dial = Callable[..., AbstractContextManager[Association]]
Image = Callable[..., FileDataset]


@pytest.mark.filterwarnings("ignore:Invalid value")
@pytest.mark.filterwarnings("ignore:The value length")
@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("name", ["../../../x", "/x", "..\\..\\x", "CON", "1" * 300])
def test_an_image_with_such_a_uid_is_not_stored(
    dial: Dial, image: Image, tmp_path: Path, keyword: str, name: str
) -> None:
    with Hospital(seed=7, path=tmp_path / "a" / "b") as hospital:
        sent = image(**{keyword: name})
        with dial(hospital, "pacs", CTImageStorage) as association:
            assert association.send_c_store(sent).Status >= 0xA700
        assert not list((tmp_path / "a" / "b").rglob("*.dcm"))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
