"""One exercise: something to do in the hospital, and how to tell that it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labsim.errors import LabError
from labsim.hospital import Hospital
from labsim.learning.outcome import Outcome, cannot_check


@dataclass(frozen=True)
class Text:
    """A piece of Markdown to read."""

    markdown: str

    def __str__(self) -> str:
        return self.markdown

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return self.markdown


@dataclass(frozen=True)
class Task:
    """What an exercise is, apart from the hospital it is done in.

    Parameters
    ----------
    title : str
        A few words.
    judge : callable
        Looks at the hospital, and at an answer if one is asked for; returns
        an `Outcome`.
    hints : sequence of str
        Each says more than the one before.
    solution : str
        Python that solves it.
    explanation : str
        Why that solves it.
    begin : callable, optional
        What happens before: the thing that breaks.
    """

    title: str
    judge: Callable[[Hospital, object], Outcome]
    hints: Sequence[str]
    solution: str
    explanation: str
    begin: Callable[[Hospital], object] | None = None


class Exercise:
    """A task in a running hospital.

    Parameters
    ----------
    number : int
        Its number in the lesson.
    task : Task
        What it is.
    hospital : Hospital
        Where it is done.
    """

    def __init__(self, number: int, task: Task, hospital: Hospital) -> None:
        self.number = number
        self.outcome: Outcome | None = None
        self._task = task
        self._hospital = hospital
        self._hints_given = 0

    @property
    def title(self) -> str:
        """A few words."""
        return self._task.title

    def begin(self) -> object:
        """Set the scene; return what there is to see of it.

        Raises
        ------
        LabError
            If the exercise needs no beginning.
        """
        if self._task.begin is None:
            raise LabError(f"Exercise {self.number} begins as the hospital is.")
        return self._task.begin(self._hospital)

    def check(self, answer: object = None) -> Outcome:
        """Look at the hospital and say whether the exercise is done; never raises.

        Parameters
        ----------
        answer : object, optional
            For an exercise that asks a question.
        """
        self.outcome = self._judge(answer)
        return self.outcome

    def hint(self) -> Text:
        """Return the next hint; after the last one, the last one again."""
        hints = self._task.hints
        self._hints_given = min(self._hints_given + 1, len(hints))
        return Text(f"**Hint {self._hints_given} of {len(hints)}.** {hints[self._hints_given - 1]}")

    def solution(self) -> Text:
        """Return code that solves the exercise, and why it does."""
        return Text(f"```python\n{self._task.solution.strip()}\n```\n\n{self._task.explanation}")

    def _judge(self, answer: object) -> Outcome:
        if not self._hospital.running:
            return cannot_check("The hospital is not running: run the first code cell again.")
        try:
            return self._task.judge(self._hospital, answer)
        except LabError as error:
            return cannot_check(str(error))
        except Exception as error:  # a learner must get a sentence, whatever the check ran into
            return cannot_check(f"The check itself failed ({type(error).__name__}: {error}).")
