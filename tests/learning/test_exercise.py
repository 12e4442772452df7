from typing import Any

import pytest

from labsim import Hospital
from labsim.errors import LabError
from labsim.learning.exercise import Exercise, Task
from labsim.learning.outcome import Outcome, Verdict, passed


def exercise(judge: Any, hospital: Hospital, **more: Any) -> Exercise:
    task = Task("t", judge, hints=("one", "two"), solution="x = 1", explanation="Why.", **more)
    return Exercise(3, task, hospital)


def test_check_hands_hospital_and_answer_to_the_judge(hospital: Hospital) -> None:
    seen: list[object] = []

    def judge(where: Hospital, answer: object) -> Outcome:
        seen.extend((where, answer))
        return passed("Yes.")

    assert exercise(judge, hospital).check(42).passed
    assert seen == [hospital, 42]


@pytest.mark.parametrize("error", [LabError("The PACS is away."), ZeroDivisionError("0")])
def test_check_never_raises(hospital: Hospital, error: Exception) -> None:
    def judge(where: Hospital, answer: object) -> Outcome:
        raise error

    outcome = exercise(judge, hospital).check()
    assert outcome.verdict is Verdict.CANNOT_CHECK
    assert str(error) in outcome.reason


def test_check_of_a_stopped_hospital_says_so() -> None:
    hospital = Hospital(seed=7)
    outcome = exercise(lambda where, answer: passed("?"), hospital).check()
    assert outcome.verdict is Verdict.CANNOT_CHECK
    assert "not running" in outcome.reason


def test_hints_come_one_after_the_other_and_the_last_one_stays() -> None:
    asked = exercise(lambda where, answer: passed(""), Hospital())
    texts = [str(asked.hint()) for _ in range(3)]
    assert texts == ["**Hint 1 of 2.** one", "**Hint 2 of 2.** two", "**Hint 2 of 2.** two"]


def test_solution_is_code_with_its_explanation() -> None:
    text = str(exercise(lambda where, answer: passed(""), Hospital()).solution())
    assert text == "```python\nx = 1\n```\n\nWhy."


def test_begin_sets_the_scene(hospital: Hospital) -> None:
    begun = exercise(lambda w, a: passed(""), hospital, begin=lambda where: where.seed)
    assert begun.begin() == 7


def test_begin_of_an_exercise_without_one_says_so(hospital: Hospital) -> None:
    with pytest.raises(LabError, match="begins as the hospital is"):
        exercise(lambda where, answer: passed(""), hospital).begin()
