from __future__ import annotations

import pytest

from labsim.systems.web import multipart_reading
from labsim.systems.web.multipart_reading import Part, boundary_of, read_parts
from labsim.wire.http import HttpError

DICOM = "application/dicom"


def test_the_boundary_is_read_with_and_without_quotes() -> None:
    assert boundary_of(f"multipart/related; type={DICOM}; boundary=abc", DICOM) == b"abc"
    given = f'Multipart/Related; boundary="a b?c";\r\n type="{DICOM}"'
    assert boundary_of(given, DICOM) == b"a b?c"


def test_a_boundary_of_two_uuids_is_taken_though_it_is_too_long() -> None:
    long = "955b29f0-0617-436e-8546-7e4f5788a6a6-955b29f0-0617-436e-8546-7e4f5788a6a6"
    given = f'multipart/related; type="{DICOM}"; boundary={long}'
    assert boundary_of(given, DICOM) == long.encode()


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("", 415),
        ("application/dicom", 415),
        ("multipart/form-data; boundary=x", 415),
        ('multipart/related; type="application/dicom+json"; boundary=x', 415),
        (f"multipart/related; type={DICOM}", 400),
        (f'multipart/related; type={DICOM}; boundary=""', 400),
        (f"multipart/related; type={DICOM}; boundary={'x' * 201}", 400),
        (f'multipart/related; type={DICOM}; boundary="ends with a space "', 400),
        (f"multipart/related; type={DICOM}; boundary*=utf-8''%C3%A4", 400),
    ],
)
def test_what_is_no_multipart_of_dicom_is_refused(given: str, status: int) -> None:
    with pytest.raises(HttpError) as refused:
        boundary_of(given, DICOM)
    assert refused.value.status == status


def test_parts_are_taken_apart_whatever_is_in_them() -> None:
    body = (
        b"a preamble that nobody reads\r\n--b \t\r\n"
        b"Content-Type: Application/DICOM; transfer-syntax=*\r\nX: y\r\n\r\n"
        b"\r\n--a\r\n\0\r\n\r\n"
        b"\r\n--b\r\n\r\nno header fields"
        b"\r\n--b\r\n\r\n"
        b"\r\n--b--\r\nan epilogue"
    )
    assert read_parts(body, b"b", DICOM) == [
        Part(DICOM, b"\r\n--a\r\n\0\r\n\r\n"),
        Part(DICOM, b"no header fields"),
        Part(DICOM, b""),
    ]


def test_the_type_of_a_part_is_told() -> None:
    assert read_parts(b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--", b"b", DICOM) == [
        Part("text/plain", b"x")
    ]


def test_a_body_without_parts_has_none() -> None:
    assert read_parts(b"--b--", b"b", DICOM) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing",
        b"--b",
        b"--b\r\n",
        b"--b\r\n--b--",
        b"--b\r\n\r\ncut off",
        b"--b\r\n\r\ncut off\r\n--",
        b"--b\r\n\r\nx\r\n--b",
        b"--bc\r\n\r\nx\r\n--b--",
        b"--b\r\nContent-Type: application/dicom\r\n--b--",
        b"--b\r\nno colon\r\n\r\nx\r\n--b--",
        b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n--b--",
        b"--b\r\nX: " + b"y" * 9000 + b"\r\n\r\nx\r\n--b--",
    ],
)
def test_a_malformed_body_is_refused(body: bytes) -> None:
    with pytest.raises(HttpError, match="malformed") as refused:
        read_parts(body, b"b", DICOM)
    assert refused.value.status == 400


def test_no_more_parts_are_read_than_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart_reading, "MOST_PARTS", 2)
    body = b"--b\r\n\r\nx\r\n" * 3 + b"--b--"
    with pytest.raises(HttpError) as refused:
        read_parts(body, b"b", DICOM)
    assert refused.value.status == 413
