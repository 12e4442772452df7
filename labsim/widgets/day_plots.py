"""A day of the department in pictures: queues, throughput, waiting times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labsim.day import Day
from labsim.day.records import DayExam, Worked
from labsim.errors import NotFound
from labsim.widgets.picture import BLUE, VERMILION, Picture

# The rest of Okabe and Ito's palette, in an order in which neighbours differ in brightness too.
_COLOURS = (BLUE, "#E69F00", "#009E73", VERMILION, "#56B4E9", "#CC79A7", "#000000")
_DASHES = ("-", "--", "-.", ":")  # who sees no colours tells lines apart by these
_MOMENTS = ("arrived", "completed", "reported")
_HOUR = timedelta(hours=1)


def queues(day: Day) -> Picture:
    """Draw how many people wait for each scanner, over the day.

    Parameters
    ----------
    day : Day
        From `Hospital.day`.

    Returns
    -------
    Picture
        With words that say the same.

    Raises
    ------
    NotFound
        If nobody came.
    """
    used = [scanner for scanner in day.scanners if scanner.busy]
    if not used:
        raise NotFound("Nobody was examined on that day.", "day.outcomes() says why.")
    figure = Figure(figsize=(8, 0.6 + 0.9 * len(used)), layout="constrained")
    rows = figure.subplots(len(used), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for index, (axes, scanner) in enumerate(zip(rows, used, strict=True)):
        times = [_hours(day, time) for time, _ in scanner.queue]
        lengths = [length for _, length in scanner.queue]
        colour = _COLOURS[index % len(_COLOURS)]
        last = _hours(day, day.end)
        axes.step([*times, last], [*lengths, lengths[-1]], where="post", color=colour)
        axes.fill_between(
            [*times, last], [*lengths, lengths[-1]], step="post", color=colour, alpha=0.3
        )
        axes.set_ylabel(scanner.name, rotation=0, ha="right", va="center")
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="x", alpha=0.3)
    rows[0].set_title("People waiting for each scanner", loc="left", fontsize="medium")
    rows[0].set_ylim(bottom=0)
    _clock_axis(rows[-1], day)
    words = "; ".join(_queue_in_words(scanner) for scanner in used)
    return Picture.of(figure, f"People waiting for each scanner over the day. {words}.")


def throughput(day: Day) -> Picture:
    """Draw how many exams arrived, were completed and reported in each hour.

    Parameters
    ----------
    day : Day
        From `Hospital.day`.

    Returns
    -------
    Picture
        With words that say the same.
    """
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    table = day.by_hour()
    totals = []
    for index, moment in enumerate(_MOMENTS):
        column = list(table.columns).index(moment)
        counts = [row[column] for row in table]
        hours = [day.start.hour + n + 0.5 for n in range(len(counts))]
        axes.plot(
            hours, counts, _DASHES[index], color=_COLOURS[index], marker="o", ms=3.5, label=moment
        )
        peak = max(range(len(counts)), key=counts.__getitem__)
        totals.append(
            f"{sum(counts)} {moment}, most of them ({counts[peak]}) from {table.rows[peak][0]}"
        )
    axes.set_title("Exams in each hour", loc="left", fontsize="medium")
    axes.set_ylabel("exams")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, ncols=len(_MOMENTS), loc="upper right")
    _clock_axis(axes, day)
    return Picture.of(figure, f"Exams in each hour: {'; '.join(totals)}.")


def waiting_times(day: Day) -> Picture:
    """Draw how long people waited for each kind of scanner, and how long reports took.

    Parameters
    ----------
    day : Day
        From `Hospital.day`.

    Returns
    -------
    Picture
        Boxes from the first to the third quarter with the median; whiskers to
        the farthest exam.

    Raises
    ------
    NotFound
        If nobody was examined.
    """
    groups: dict[str, list[DayExam]] = {}
    for exam in day.exams:
        if exam.wait is not None:
            groups.setdefault(exam.planned.wanted.modality, []).append(exam)
    if not groups:
        raise NotFound("Nobody was examined on that day.", "day.outcomes() says why.")
    names = sorted(groups)
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    words = [
        _boxes(left, names, [_minutes(e.wait for e in groups[n]) for n in names], "Door to scan"),
        _boxes(
            right,
            names,
            [_minutes(e.turnaround for e in groups[n]) for n in names],
            "Scan to report",
        ),
    ]
    return Picture.of(figure, " ".join(words))


def _boxes(axes: Axes, names: Sequence[str], values: Sequence[list[float]], title: str) -> str:
    """Draw a box for each kind of scanner, and say the medians."""
    boxes = axes.boxplot(
        [list(found) or [float("nan")] for found in values],
        tick_labels=list(names),
        whis=(0, 100),
        patch_artist=True,
        medianprops={"color": "black", "linewidth": 1.5},
    )
    for index, box in enumerate(boxes["boxes"]):
        box.set_facecolor(_COLOURS[index % len(_COLOURS)])
        box.set_alpha(0.55)
    axes.set_title(title, loc="left", fontsize="medium")
    axes.set_ylabel("minutes")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)
    medians = [
        f"{name} {sorted(found)[len(found) // 2]:.0f}"
        for name, found in zip(names, values, strict=True)
        if found
    ]
    return f"{title}, median in minutes: {', '.join(medians) or 'nothing'}."


def _minutes(lengths: Iterable[timedelta | None]) -> list[float]:
    return [length.total_seconds() / 60 for length in lengths if length is not None]


def _queue_in_words(scanner: Worked) -> str:
    longest = max(length for _, length in scanner.queue)
    if not longest:
        return f"{scanner.name}: nobody waited"
    when = next(time for time, length in scanner.queue if length == longest)
    return f"{scanner.name}: at most {longest}, at {when:%H:%M}"


def _hours(day: Day, time: datetime) -> float:
    """Return a time in hours from the midnight before the day."""
    return (time - datetime.combine(day.start, datetime.min.time())) / _HOUR


def _clock_axis(axes: Axes, day: Day) -> None:
    first, last = day.start.hour, max(24, int(_hours(day, day.end) + 0.999))
    ticks = range(first - first % 3, last + 1, 3)
    axes.set_xlim(first, last)
    axes.set_xticks(list(ticks), [f"{hour % 24}:00" for hour in ticks])
    axes.set_xlabel("time of day")
