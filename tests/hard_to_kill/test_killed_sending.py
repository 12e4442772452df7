"""A PACS that is killed while it sends: the send queue goes on, and nothing is left out."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from images import Ledger, encoded, make, send_one
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt
from victims import Victims, require_whole

from labsim import Hospital
from labsim.ids import make_uid

KILLS = 6
IMAGES = 12
WAIT = 30.0


class Station:
    """Takes what it is sent, and says when it has enough."""

    def __init__(self) -> None:
        self.came: list[str] = []
        self._grown = threading.Condition()

    def store(self, event: evt.Event) -> int:
        with self._grown:
            self.came.append(str(event.request.AffectedSOPInstanceUID))
            self._grown.notify_all()
        return 0x0000

    def wait_for(self, count: int) -> None:
        with self._grown:
            assert self._grown.wait_for(lambda: len(self.came) >= count, WAIT)


@contextmanager
def station(*syntaxes: str) -> Iterator[tuple[Station, int]]:
    """Run a station on a port of its own, that takes some transfer syntaxes, else all usual."""
    kept, entity = Station(), AE(ae_title="AWAY")
    entity.network_timeout = 5  # whoever was killed says no more
    entity.supported_contexts = [
        build_context(context.abstract_syntax or "", [*syntaxes] or None)
        for context in AllStoragePresentationContexts
    ]
    handlers = [(evt.EVT_C_STORE, kept.store)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    try:
        yield kept, server.server_address[1]
    finally:
        left = server.active_associations
        server.shutdown()
        for association in left:
            association.join(10)


def test_the_send_queue_goes_on(tmp_path: Path, victims: Victims, times: int) -> None:
    ledger, chance = Ledger(), random.Random("sending")
    images: list[FileDataset] = []
    with station(JPEGLSLossless, ExplicitVRLittleEndian) as (away, port):
        with Hospital(path=tmp_path) as hospital:
            hospital.pacs.register_ae(  # the PACS has to compress
                "AWAY", host="127.0.0.1", port=port, preferred_syntax=JPEGLSLossless
            )
            hospital.pacs.routes.add("all", "AWAY", Modality="CT")
        for kill in range(KILLS * times):
            victim = victims(tmp_path)
            assert victim.ask("require_whole(hospital)")
            before = len(away.came)
            for number in range(IMAGES):
                images.append(make(f"{kill} {number}", chance, study=kill))
                assert send_one(victim, ledger, images[-1])
            away.wait_for(before + chance.randint(1, IMAGES // 2))
            victim.kill()
        with Hospital(path=tmp_path) as hospital:
            assert hospital.settle(WAIT)
            require_whole(hospital)
            ledger.require_kept(tmp_path)
            assert {row[5] for row in hospital.pacs.queue()} == {"sent"}
    assert set(away.came) == {str(image.SOPInstanceUID) for image in images}
    # What was on its way may come twice, once for each kill; more would be sent anew.
    assert len(away.came) <= len(images) + KILLS * times


def test_a_killed_retrieval_harms_nothing(tmp_path: Path, victims: Victims, times: int) -> None:
    ledger, chance = Ledger(), random.Random("retrieving")
    study = make_uid("killed study", 1)
    images = [make(number, chance) for number in range(IMAGES)]
    with Hospital(path=tmp_path) as hospital:
        for image in images:
            assert send_one(hospital, ledger, image)
    for _ in range(4 * times):
        victim = victims(tmp_path)
        victim.tell(f"len(hospital.tools.getscu({study!r}))")
        assassin = threading.Timer(chance.uniform(0, 0.2), victim.kill)
        assassin.start()
        assassin.join()
    with Hospital(path=tmp_path) as hospital:
        require_whole(hospital)
        ledger.require_kept(tmp_path)
        assert len(hospital.tools.getscu(study)) == IMAGES
    assert ledger.acknowledged == {str(i.SOPInstanceUID): encoded(i) for i in images}
