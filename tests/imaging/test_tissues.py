"""What a sequence makes of a tissue: the contrasts that textbooks promise."""

from __future__ import annotations

from itertools import pairwise

import pytest

from labsim.errors import NotFound
from labsim.imaging.tissues import TISSUES, Sequence, Tissue

T1 = Sequence("SE", 500, 11).signals()
T2 = Sequence("SE", 4800, 102).signals()
FLAIR = Sequence("IR", 9000, 108, inversion=2450).signals()
PROTON = Sequence("SE", 3000, 28).signals()


@pytest.mark.parametrize(
    ("signals", "order"),
    [
        (T1, ["fat", "white", "cortex", "muscle", "water", "air"]),
        (T2, ["water", "cortex", "white", "muscle", "bone", "air"]),
        (FLAIR, ["plaque", "cortex", "white", "water"]),
        (PROTON, ["fat", "marrow", "cartilage", "meniscus", "tendon"]),
    ],
    ids=["T1", "T2", "FLAIR", "PD"],
)
def test_tissues_are_bright_in_the_order_of_the_weighting(
    signals: dict[str, float], order: list[str]
) -> None:
    assert all(signals[brighter] > signals[darker] for brighter, darker in pairwise(order))


def test_a_worn_disc_is_dark_in_t2_and_hardly_so_in_t1() -> None:
    assert T2["dry disc"] < 0.5 * T2["disc"]
    assert T1["dry disc"] > 0.5 * T1["disc"]


def test_inversion_makes_water_vanish_at_its_null_point_only() -> None:
    water = TISSUES["water"]
    at_null = Sequence("IR", 9000, 108, inversion=2450).signal(water)
    assert at_null < 0.02
    assert Sequence("IR", 9000, 108, inversion=800).signal(water) > 10 * at_null


def test_water_that_is_given_time_is_full() -> None:
    assert Sequence("SE", 1e6, 0).signal(Tissue(1.0, 4000, 2000)) == pytest.approx(1)
    assert Sequence("GR", 1e6, 0, flip=90).signal(Tissue(1.0, 4000, 2000)) == pytest.approx(1)
    assert Sequence("GR", 1e6, 0, flip=30).signal(Tissue(1.0, 4000, 2000)) == pytest.approx(0.5)


def test_a_sequence_that_nobody_invented_is_refused() -> None:
    with pytest.raises(NotFound, match="'XX'"):
        Sequence("XX", 500, 10).signals()
