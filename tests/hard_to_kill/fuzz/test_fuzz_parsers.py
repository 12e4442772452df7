"""What is true of every parser, whatever it is given."""

from __future__ import annotations

import contextlib
import itertools
import re
from datetime import datetime

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mutation import rounds

from labsim.errors import Hl7Error
from labsim.systems.web.media_types import acceptable
from labsim.systems.web.multipart_reading import boundary_of, read_parts
from labsim.wire.hl7 import Message, acknowledge, escape, unescape
from labsim.wire.http import HttpError
from labsim.wire.matching import name_key, range_of, wild_card

much = settings(
    max_examples=rounds(300),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
MSH = "MSH|^~\\&|HIS|H|RIS|H|20260302103000||ADT^A04|1|P|2.5.1\r"
PLAIN = st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]))
DATES = st.dates(min_value=datetime(1900, 1, 1).date()).map(lambda day: day.strftime("%Y%m%d"))


@much
@given(PLAIN)
@example("\\")
@example("\\.br\\")
def test_what_is_escaped_comes_back_and_has_no_separator(text: str) -> None:
    written = escape(text)
    assert not set(written) & set("|^~&\r\n")
    assert unescape(written) == text


@much
@given(st.text())
def test_unescaping_never_raises(text: str) -> None:
    assert isinstance(unescape(text), str)


@much
@given(st.binary() | st.binary().map(lambda rest: MSH.encode() + rest))
def test_bytes_are_a_message_that_encodes_to_themselves_or_an_hl7_error(data: bytes) -> None:
    try:
        message = Message.decode(data)
    except Hl7Error:
        return
    assert message.encode().rstrip(b"\r") == data.rstrip(b"\r")
    # Whatever could be read can be answered, and the answer be read by the sender.
    answer = acknowledge(message, "AA", "1", datetime(2026, 3, 2))
    assert Message.decode(answer.encode())["MSA-2"] == message.control_id


@much
@given(st.text(max_size=60), st.text(max_size=60))
def test_an_accept_header_is_media_ranges_in_order_of_their_weight(header: str, query: str) -> None:
    found = acceptable(header, query)
    assert all(0 < one.weight <= 1 for one in found)


@much
@given(st.lists(st.text('/;=,*q.019 "a', max_size=12), max_size=5).map(",".join))
def test_an_accept_header_of_its_own_letters_never_raises(header: str) -> None:
    assert all(0 < one.weight <= 1 for one in acceptable(header))


@much
@given(
    st.lists(st.binary(max_size=80).filter(lambda part: b"--xyz" not in part), min_size=1),
)
def test_the_parts_of_a_body_come_back(contents: list[bytes]) -> None:
    body = b"".join(b"--xyz\r\n\r\n" + content + b"\r\n" for content in contents) + b"--xyz--"
    assert [part.content for part in read_parts(body, b"xyz", "a/b")] == contents


@much
@given(
    st.lists(
        st.sampled_from([b"--xyz", b"--", b"\r\n", b"\r\n--xyz", b": ", b"\0", b"Content-Type"])
        | st.binary(max_size=5)
    ).map(b"".join)
)
def test_a_body_is_parts_of_itself_or_an_http_error(body: bytes) -> None:
    try:
        parts = read_parts(body, b"xyz", "a/b")
    except HttpError:
        return
    assert all(part.content in body for part in parts)


@much
@given(st.text(max_size=80) | st.text(max_size=40).map("multipart/related; boundary=".__add__))
def test_a_boundary_is_of_70_characters_or_the_error_is_the_callers(header: str) -> None:
    with contextlib.suppress(HttpError):
        assert re.fullmatch(rb"[ -~]{1,70}", boundary_of(header, "application/dicom"))


@much
@given(DATES, DATES, DATES)
def test_a_range_of_dates_has_what_lies_between(first: str, middle: str, last: str) -> None:
    first, middle, last = sorted((first, middle, last))
    low, high = range_of("DA", f"{first}-{last}")
    assert low <= middle <= high
    assert range_of("DA", middle) == (middle, middle)


@much
@given(st.sampled_from(["DA", "TM", "DT"]), st.text(max_size=30))
def test_any_range_has_two_ends(vr: str, wanted: str) -> None:
    assert len(range_of(vr, wanted)) == 2


@much
@given(st.text(max_size=12), st.lists(st.integers(0, 12), max_size=4))
def test_a_wild_card_matches_what_it_was_made_of(text: str, places: list[int]) -> None:
    letters = list(text)
    for place in places:
        if place < len(letters):
            letters[place] = "?"
    assert wild_card("".join(letters)).fullmatch(text)
    assert wild_card("*" + text + "*").fullmatch(f"before {text} after")


@pytest.mark.parametrize("pattern", ["".join(p) for p in itertools.product("*?a", repeat=3)])
def test_a_wild_card_is_quick(pattern: str) -> None:
    assert not wild_card(pattern * 4 + "b").fullmatch("a" * 60)


@much
@given(st.text(max_size=30))
def test_a_name_is_compared_by_a_form_that_is_its_own(name: str) -> None:
    assert name_key(name_key(name)) == name_key(name)
