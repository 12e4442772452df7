"""Who comes on a day, for what, and what becomes of it: drawn before the day begins.

Everything that chance decides is decided here, so that the course of the day
has no influence on it: the same seed gives the same people.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from labsim.errors import ConfigurationError
from labsim.site import Site
from labsim.systems.catalogue import Examination, examinations

OUTPATIENT, INPATIENT, EMERGENCY, WALK_IN = "outpatient", "inpatient", "emergency", "walk-in"
COMPLETED, NO_SHOW, CANCELLED, DISCONTINUED = "completed", "no show", "cancelled", "discontinued"
PRIORITIES = {OUTPATIENT: "R", INPATIENT: "A", EMERGENCY: "S", WALK_IN: "R"}
_SHARES = {OUTPATIENT: 60, INPATIENT: 25, WALK_IN: 15}  # of those who are no emergencies
_FATES = {COMPLETED: 91, NO_SHOW: 4, CANCELLED: 3, DISCONTINUED: 2}
# How many arrive in each hour from midnight, in proportion.
_ARRIVALS = {
    OUTPATIENT: (0,) * 8 + (10, 14, 13, 10, 5, 8, 9, 7, 4) + (0,) * 7,
    INPATIENT: (0,) * 7 + (5, 8, 8, 8, 7, 5, 6, 6, 5, 4, 3, 2, 1) + (0,) * 4,
    EMERGENCY: (2, 2, 1, 1, 1, 1, 2, 3, 4, 5, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 5, 5, 4, 3),
    WALK_IN: (0,) * 8 + (5, 7, 7, 6, 4, 6, 6, 5, 3, 1) + (0,) * 6,
}


@dataclass(frozen=True)
class _Kind:
    """How a kind of scanner is used: its share of the work, how many minutes reading takes."""

    share: int
    read: tuple[float, float, float]  # shortest, longest, most often
    for_whom: tuple[str, ...] = (OUTPATIENT, INPATIENT, EMERGENCY, WALK_IN)
    at_night: bool = False


_KINDS = {
    "CT": _Kind(24, (6, 20, 10), at_night=True),
    "MR": _Kind(12, (9, 28, 14), (OUTPATIENT, INPATIENT)),
    "DX": _Kind(32, (1, 5, 2), at_night=True),
    "CR": _Kind(10, (1, 5, 2), (INPATIENT, EMERGENCY)),
    "US": _Kind(16, (2, 8, 4), (OUTPATIENT, INPATIENT, WALK_IN)),
    "MG": _Kind(8, (2, 8, 4), (OUTPATIENT,)),
}
_SCAN = (0.5, 1.5, 0.9)  # of the time that the catalogue gives an examination
_LATE = (-12, 18, -3)  # minutes after the appointment
_WITHOUT_ORDER = 0.15  # which part of the emergencies is examined before anybody orders it
_NIGHT = (*range(7), *range(21, 24))
_REASONS = {
    "CT": ("Fall from a ladder", "Abdominal pain", "Cough for three weeks", "Headache"),
    "MR": ("Headache", "Pain when walking", "Follow-up"),
    "DX": ("Fall", "Cough and fever", "Pain"),
    "CR": ("Position of a catheter", "Fever", "Dyspnoea"),
    "US": ("Pain below the ribs", "Dyspnoea", "Follow-up"),
    "MG": ("Screening",),
}


@dataclass(frozen=True)
class Planned:
    """One examination that is going to be ordered.

    Parameters
    ----------
    number : int
        Counts the examinations of the day.
    kind : str
        ``"outpatient"``, ``"inpatient"``, ``"emergency"`` or ``"walk-in"``.
    ordered, arrives : datetime
        When it is ordered, and when the patient comes; with an appointment
        that is the time asked for.
    wanted : Examination
        What is ordered.
    reason : str
        Why.
    fate : str
        ``"completed"``, ``"no show"``, ``"cancelled"`` or ``"discontinued"``.
    returns : float
        From 0 to 1: how likely this is somebody whom the hospital knows; see
        `labsim.day.run`.
    sex : str
        Of a new patient.
    scan, read : timedelta
        How long the scanner and the reader need.
    late : timedelta
        How long after the appointment the patient comes.
    without_order : bool
        Whether the scanner begins before there is an order.
    """

    number: int
    kind: str
    ordered: datetime
    arrives: datetime
    wanted: Examination
    reason: str
    fate: str
    returns: float
    sex: str
    scan: timedelta
    read: timedelta
    late: timedelta = timedelta()
    without_order: bool = False

    @property
    def by_appointment(self) -> bool:
        """Whether the patient comes at a time of the department's."""
        return self.kind in (OUTPATIENT, INPATIENT)

    @property
    def priority(self) -> str:
        """As ordered: ``"S"`` stat, ``"A"`` as soon as possible, ``"R"`` routine."""
        return PRIORITIES[self.kind]


def plan(
    site: Site, exams: int, start: datetime, emergencies: float, rng: random.Random
) -> list[Planned]:
    """Draw the examinations of a day.

    Parameters
    ----------
    site : Site
        Whose scanners there are.
    exams : int
        How many.
    start : datetime
        When the day begins.
    emergencies : float
        Which part of them, 0 to 1, are emergencies.
    rng : Random
        Where chance comes from.

    Returns
    -------
    list of Planned
        In the order in which they are ordered.

    Raises
    ------
    ConfigurationError
        If a number makes no sense.
    """
    if exams < 1 or not 0 <= emergencies <= 1:
        raise ConfigurationError(
            f"A day of {exams} exams, {emergencies} of them emergencies, cannot be.",
            "Use 1 exam or more, and a part from 0 to 1.",
        )
    drawn = [_draw(number, site, start, emergencies, rng) for number in range(1, exams + 1)]
    return sorted(drawn, key=lambda planned: (planned.ordered, planned.number))


def _draw(
    number: int, site: Site, start: datetime, emergencies: float, rng: random.Random
) -> Planned:
    kind = EMERGENCY if rng.random() < emergencies else _choose(_SHARES, rng)
    arrives = _arrival(kind, start, rng)
    if kind in (OUTPATIENT, INPATIENT):  # nobody asks for an appointment at 9:13:42
        arrives = max(
            start, arrives - timedelta(minutes=arrives.minute % 5, seconds=arrives.second)
        )
    modality = _modality(site, kind, arrives.hour in _NIGHT, rng)
    wanted = rng.choice([entry for entry in examinations() if entry.modality == modality])
    fate = COMPLETED if kind == EMERGENCY else _choose(_FATES, rng)
    if kind == WALK_IN and fate == NO_SHOW:  # who walks in is there
        fate = COMPLETED
    ahead = timedelta(minutes=rng.uniform(30, 240))
    length = rng.triangular(*_SCAN) * wanted.minutes
    return Planned(
        number=number,
        kind=kind,
        ordered=max(start, arrives - ahead) if kind in (OUTPATIENT, INPATIENT) else arrives,
        arrives=arrives,
        wanted=wanted,
        reason=rng.choice(_REASONS[modality]),
        fate=fate,
        returns=rng.random(),
        sex="F" if modality == "MG" else rng.choice("FM"),
        scan=_minutes(length),
        read=_minutes(rng.triangular(*_KINDS[modality].read)),
        late=_minutes(rng.triangular(*_LATE)),
        without_order=kind == EMERGENCY and rng.random() < _WITHOUT_ORDER,
    )


def _arrival(kind: str, start: datetime, rng: random.Random) -> datetime:
    """Draw a time between the start and midnight."""
    hours = range(start.hour, 24)
    weights = _ARRIVALS[kind][start.hour :]
    if not any(weights):  # too late for such a visit, but somebody comes all the same
        weights = (1,) * len(hours)
    midnight = datetime.combine(start, datetime.min.time())
    hour = rng.choices(hours, weights)[0]
    return max(start, midnight + timedelta(hours=hour, seconds=rng.randrange(3600)))


def _modality(site: Site, kind: str, night: bool, rng: random.Random) -> str:
    """Draw a kind of scanner: of those that the site has, for this patient, at this time."""
    there: set[str] = {scanner.kind for scanner in site.modalities}
    able = {name: use for name, use in _KINDS.items() if name in there}
    fitting = {name: use for name, use in able.items() if kind in use.for_whom} or able
    awake = {name: use for name, use in fitting.items() if use.at_night >= night} or fitting
    return _choose({name: use.share for name, use in awake.items()}, rng)


def _choose(weights: dict[str, int], rng: random.Random) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _minutes(count: float) -> timedelta:
    return timedelta(seconds=round(60 * count))
