"""A PACS that is killed while images come in: what it acknowledged is there, and all agrees."""

from __future__ import annotations

import random
from pathlib import Path

from images import Ledger, Sender, WebSender, endless, kill_while_sending
from victims import Victim, Victims, require_whole

from labsim import Hospital
from labsim.ids import make_uid

KILLS = 20


def test_nothing_acknowledged_is_lost_at_random_moments(
    tmp_path: Path, victims: Victims, times: int
) -> None:
    ledger, chance, mine = Ledger(), random.Random("ingest"), set[str]()
    for kill in range(KILLS * times):
        victim = victims(tmp_path)  # on what the one before it has left
        assert victim.ask("require_whole(hospital)")
        ledger.require_kept(tmp_path, mine)
        before = set(ledger.sent)
        _send_until_killed(victim, ledger, kill, chance.uniform(0, 0.3))
        mine = ledger.sent.keys() - before
    with Hospital(path=tmp_path) as hospital:
        require_whole(hospital)
        ledger.require_kept(tmp_path)
        for kill in range(KILLS * times):
            study_uid = make_uid("killed study", kill)
            if hospital.pacs.count(study_uid):
                _require_retrievable(hospital, study_uid, ledger)
        assert hospital.exam().problem == ""
    assert KILLS < len(ledger.acknowledged) < len(ledger.sent)  # else the moments tell nothing


def _send_until_killed(victim: Victim, ledger: Ledger, kill: int, seconds: float) -> None:
    token = victim.ask("hospital.pacs.tokens.issue('outside', ('write',))")
    senders = [
        Sender(victim, ledger),
        Sender(victim, ledger, calling="CT1"),
        WebSender(victim, ledger, token),
    ]
    images = [endless(f"{kill} {number}", study=kill) for number in range(len(senders))]
    kill_while_sending(victim, senders, images, seconds)


def _require_retrievable(hospital: Hospital, study_uid: str, ledger: Ledger) -> None:
    """Fetch a study (C-GET) and compare it, pixel for pixel; no more is there than was sent."""
    for image in hospital.tools.getscu(study_uid):
        assert ledger.sent[str(image.SOPInstanceUID)].endswith(image.PixelData)
