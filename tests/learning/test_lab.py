import threading
from collections.abc import Iterator

import pytest

import labsim
from labsim.errors import NotFound
from labsim.learning.lab import Lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    started = labsim.start("00_start_here")
    yield started
    started.stop()


def test_starting_again_returns_the_running_lesson_and_leaks_nothing(lab: Lab) -> None:
    threads = threading.active_count()
    again = labsim.start("00_start_here")
    assert again is lab
    assert threading.active_count() == threads


def test_after_stop_a_fresh_hospital_starts(lab: Lab) -> None:
    lab.hospital.his.register_patient("Old^Patient")
    lab.stop()
    fresh = labsim.start("00_start_here")
    try:
        assert fresh is not lab
        assert fresh.hospital.his.patients() == []
    finally:
        fresh.stop()


def test_a_lesson_whose_hospital_was_stopped_starts_anew(lab: Lab) -> None:
    lab.hospital.stop()
    fresh = labsim.start("00_start_here")
    try:
        assert fresh.hospital.running
    finally:
        fresh.stop()


def test_unknown_lesson_is_named_and_the_known_ones_too() -> None:
    with pytest.raises(NotFound, match=r"'99_nowhere'.*00_start_here"):
        labsim.start("99_nowhere")


def test_unknown_exercise_is_named(lab: Lab) -> None:
    with pytest.raises(NotFound, match="no exercise 7"):
        lab.exercise(7)


def test_progress_follows_the_checks(lab: Lab) -> None:
    assert [row[2] for row in lab.progress()] == ["not checked yet"]
    lab.exercise(1).check()
    assert [row[2] for row in lab.progress()] == ["not attempted"]
    assert not lab.complete
