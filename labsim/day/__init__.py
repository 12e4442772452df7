"""A day of the department: who came, waited, was examined and reported."""

from labsim.day.result import Day
from labsim.day.run import run_day

__all__ = ["Day", "run_day"]
