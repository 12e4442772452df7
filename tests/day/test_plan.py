"""Who comes on a day: plausible, and decided by the seed."""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime, timedelta

import pytest

from labsim.day.plan import Planned, plan
from labsim.day.staff import shifts
from labsim.site import Site

MONDAY = datetime(2026, 3, 2)
COMMUNITY = Site.load("community")


def drawn(exams: int = 600, seed: int = 1, emergencies: float = 0.1) -> list[Planned]:
    return plan(COMMUNITY, exams, MONDAY, emergencies, random.Random(seed))


def test_a_seed_decides_who_comes() -> None:
    assert drawn(seed=1) == drawn(seed=1)
    assert drawn(seed=1) != drawn(seed=2)


def test_outpatients_come_by_day_and_emergencies_at_any_time() -> None:
    hours: dict[str, Counter[int]] = {}
    for planned in drawn(2000):
        hours.setdefault(planned.kind, Counter())[planned.arrives.hour] += 1
    assert set(hours["outpatient"]) == set(range(8, 17))
    assert len(hours["emergency"]) == 24
    morning, afternoon = (
        sum(hours["outpatient"][h] for h in block) for block in ((9, 10), (15, 16))
    )
    assert morning > afternoon


def test_by_night_there_are_only_x_rays_and_ct() -> None:
    night = {
        planned.wanted.modality for planned in drawn(2000) if planned.arrives.hour in (22, 23, 0, 3)
    }
    assert night == {"CT", "DX"}


def test_emergencies_are_stat_and_none_stays_away() -> None:
    urgent = [planned for planned in drawn() if planned.kind == "emergency"]
    assert 30 < len(urgent) < 100
    assert {planned.priority for planned in urgent} == {"S"}
    assert {planned.fate for planned in urgent} == {"completed"}
    assert all(planned.ordered == planned.arrives for planned in urgent)
    assert {planned.kind for planned in drawn(50, emergencies=1.0)} == {"emergency"}


def test_mammograms_are_of_women_with_an_appointment() -> None:
    screened = [planned for planned in drawn() if planned.wanted.modality == "MG"]
    assert {(planned.sex, planned.kind) for planned in screened} == {("F", "outpatient")}
    assert all(planned.ordered < planned.arrives for planned in screened)


def test_everything_is_within_the_day_and_in_order() -> None:
    planned = drawn()
    assert [entry.ordered for entry in planned] == sorted(entry.ordered for entry in planned)
    assert all(
        MONDAY <= entry.ordered <= entry.arrives < MONDAY + timedelta(1) for entry in planned
    )
    assert all(timedelta(minutes=1) < entry.scan < timedelta(hours=1) for entry in planned)


def test_a_day_may_begin_late() -> None:
    start = MONDAY + timedelta(hours=20, minutes=30)
    planned = plan(COMMUNITY, 100, start, 0.1, random.Random(1))
    assert all(start <= entry.arrives < MONDAY + timedelta(1) for entry in planned)


def test_a_site_with_one_scanner_does_everything_with_it() -> None:
    clinic = plan(Site.load("clinic"), 200, MONDAY, 0.2, random.Random(1))
    assert {planned.wanted.modality for planned in clinic} == {"CT"}


@pytest.mark.parametrize("hour", [7, 12, 16, 22])
def test_attendings_are_there_from_morning_to_night(hour: int) -> None:
    staff = [("A", "attending"), ("B", "attending"), ("C", "resident")]
    found = shifts(staff, MONDAY)
    at = MONDAY + timedelta(hours=hour)
    assert any(shift.covers(at) for shift in found if shift.role == "attending")


@pytest.mark.parametrize("hour", [0, 6, 23])
def test_a_resident_is_there_by_night(hour: int) -> None:
    found = shifts([("A", "attending"), ("C", "resident")], MONDAY)
    at = MONDAY + timedelta(hours=hour)
    assert [shift.reader for shift in found if shift.covers(at)] == ["C"]
