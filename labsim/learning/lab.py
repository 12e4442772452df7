"""A lesson that is under way: its hospital and its exercises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labsim.errors import NotFound
from labsim.hospital import Hospital
from labsim.learning.exercise import Exercise, Task
from labsim.learning.lessons import lesson_00, lesson_01, lesson_02
from labsim.table import Table


@dataclass(frozen=True)
class Lesson:
    """What a lesson needs.

    Parameters
    ----------
    tasks : sequence of Task
        Its exercises.
    site : str
        The hospital in which it takes place.
    """

    tasks: Sequence[Task]
    site: str = "clinic"


_LESSONS: Mapping[str, Lesson] = {
    "00_start_here": Lesson(lesson_00.TASKS),
    "01_one_exam": Lesson(lesson_01.TASKS),
    "02_department_day": Lesson(lesson_02.TASKS, "community"),
}
_RUNNING: dict[str, Lab] = {}


class Lab:
    """A lesson with a hospital of its own.

    Parameters
    ----------
    name : str
        Its name.
    lesson : Lesson
        Its exercises and its site.
    seed : int
        Of the hospital.
    """

    def __init__(self, name: str, lesson: Lesson, seed: int) -> None:
        self.lesson = name
        self.hospital = Hospital(seed=seed, site=lesson.site)
        self._exercises = [
            Exercise(number, task, self.hospital)
            for number, task in enumerate(lesson.tasks, start=1)
        ]

    def exercise(self, number: int) -> Exercise:
        """Return one exercise, counted from 1.

        Raises
        ------
        NotFound
            If the lesson has no such number.
        """
        if not 1 <= number <= len(self._exercises):
            raise NotFound(
                f"This lesson has no exercise {number}.", f"It has 1 to {len(self._exercises)}."
            )
        return self._exercises[number - 1]

    @property
    def complete(self) -> bool:
        """Whether the last check of every exercise passed."""
        return all(e.outcome is not None and e.outcome.passed for e in self._exercises)

    def progress(self) -> Table:
        """Return every exercise with the outcome of its last check."""
        rows = [
            (e.number, e.title, e.outcome.verdict.value if e.outcome else "not checked yet")
            for e in self._exercises
        ]
        return Table(("exercise", "title", "outcome"), rows, f"Lesson {self.lesson}")

    def stop(self) -> None:
        """Stop the hospital; `start` makes a fresh one."""
        self.hospital.stop()
        _RUNNING.pop(self.lesson, None)

    def _repr_html_(self) -> str:
        return self.hospital._repr_html_()


def start(lesson: str, seed: int = 7) -> Lab:
    """Start a lesson, or return it if it runs already.

    Parameters
    ----------
    lesson : str
        Name of its notebook, such as ``"00_start_here"``.
    seed : int
        Another number gives other patients.

    Raises
    ------
    NotFound
        If there is no such lesson.
    """
    if lesson not in _LESSONS:
        raise NotFound(f"There is no lesson {lesson!r}.", f"There are {', '.join(_LESSONS)}.")
    lab = _RUNNING.get(lesson)
    if lab is None or not lab.hospital.running:
        lab = _RUNNING[lesson] = Lab(lesson, _LESSONS[lesson], seed)
        lab.hospital.start()
    return lab
