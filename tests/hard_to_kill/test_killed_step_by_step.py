"""Hospitals that die just before one of the steps in which they change what is on disk.

Who sends something and hears nothing sends it again after the restart, and then all is as if
nothing had happened.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from images import Ledger, make, send_one
from victims import Victim, Victims, die_in_between, require_whole

from labsim import Hospital


@pytest.mark.parametrize("rule", ["listed", "held"])
def test_an_image_is_checked_and_routed_once(
    tmp_path: Path, victims: Victims, times: int, rule: str
) -> None:
    image = make("image", random.Random(1))
    with Hospital(path=tmp_path / "fresh") as hospital:
        hospital.pacs.register_ae("AWAY", host="127.0.0.1", port=9)
        hospital.pacs.routes.add("all", "AWAY", calling="TOOLS")
        hospital.pacs.qc.set_rule("unannounced", hold=rule == "held")
    ledger = Ledger()

    def work(victim: Victim) -> None:
        ledger.acknowledged.clear()
        send_one(victim, ledger, image)

    for folder in die_in_between(victims, tmp_path / "fresh", work, times=5 * times):
        with Hospital(path=folder) as hospital:
            require_whole(hospital)
            ledger.require_kept(folder)
            # Whether or not it comes again, nobody sees it unchecked.
            assert len(hospital.pacs.qc.table()) == hospital.pacs.count(image.StudyInstanceUID)
            assert send_one(hospital, ledger, image)
            assert hospital.pacs.count(image.StudyInstanceUID) == 1
            require_whole(hospital)
            routed = [row[5] for row in hospital.pacs.queue()]
            assert (folder, routed) == (folder, [] if rule == "held" else ["waiting"])
            assert len(hospital.pacs.qc.table()) == 1
