from __future__ import annotations

import _thread
import gc
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom.dul import DULServiceProvider

from labsim import Hospital, LabError
from labsim.errors import ConfigurationError, DeliveryFailed, HospitalInUse, PortTaken
from labsim.faults import UnknownAeTitle
from labsim.journal import Event
from labsim.wire.network import Address

ROOT = Path(__file__).parents[1]
Script = Callable[..., "subprocess.Popen[str]"]
THORAX = ROOT / "datasets" / "thorax-1.dcm"


def descriptors() -> int:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("open files can be counted only where /proc is")
    gc.collect()
    return len(list(folder.iterdir()))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made: a place of this test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def script() -> Iterator[Script]:
    """Start Python programs, with warnings as errors; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(text: str, *arguments: str | Path) -> subprocess.Popen[str]:
        program = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(text), *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        return program

    yield start
    for program in started:
        if program.poll() is None:
            program.kill()
            program.communicate()


def line_of(program: subprocess.Popen[str]) -> str:
    assert program.stdout is not None
    line = program.stdout.readline()
    assert line, program.communicate(timeout=10)[1]
    return line.strip()


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


# Start and stop


def test_an_engine_listens_at_a_port_of_its_own_and_for_nobody_where_there_is_none(
    taken_port: int,
) -> None:
    with Hospital(site="community") as hospital:
        places = {(e.system, e.protocol): str(e.address) for e in hospital.endpoints()}
        assert places["engine", "mllp"] == "engine:2575"
    with pytest.raises(PortTaken, match=f"{taken_port} for HL7 of engine"):
        Hospital(site="community", ports={"engine.mllp": taken_port}).start()
    with pytest.raises(ConfigurationError, match=r"no place 'engine\.mllp'"):
        Hospital(ports={"engine.mllp": 2575})


def test_waiting_for_something_ends_when_it_is_true_or_time_is_over(hospital: Hospital) -> None:
    assert hospital.wait_until(lambda: True, 0)
    assert not hospital.wait_until(lambda: False, 0.05)
    later = threading.Timer(0.05, hospital.his.register_patient)
    later.start()
    assert hospital.wait_until(lambda: bool(hospital.his.patients()))
    later.join()


def test_settling_waits_for_what_the_systems_still_send(hospital: Hospital) -> None:
    patient = hospital.his.register_patient()
    order = hospital.his.place_order(patient.patient_id)
    hospital.ris.schedule(order.placer_order)
    hospital.his.update_patient(patient.patient_id, name="Roe^Jane")
    assert hospital.settle()
    assert {row[3] for row in hospital.ris.outbox.table()} == {"delivered"}


def test_twenty_starts_leave_nothing(temporary: Path) -> None:
    with Hospital():
        pass  # what is opened once stays open: time zones, the codecs of pydicom
    threads, files = threading.active_count(), descriptors()
    for _ in range(20):
        with Hospital() as hospital:
            hospital.his.register_patient()
            assert list(temporary.iterdir()) == [hospital.path]
    assert threading.active_count() == threads
    assert descriptors() == files
    assert list(temporary.iterdir()) == []


def test_start_and_stop_may_be_said_twice() -> None:
    hospital = Hospital()
    assert hospital.start().start() is hospital
    ports = {endpoint.local.port for endpoint in hospital.endpoints()}
    hospital.stop()
    hospital.stop()
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1).close()


def test_a_stopped_hospital_starts_again_from_nothing() -> None:
    hospital = Hospital()
    for _ in range(2):
        with hospital:
            assert hospital.his.register_patient().patient_id == "P000001"


def test_a_stopped_hospital_says_so() -> None:
    hospital = Hospital()
    assert repr(hospital) == "Hospital clinic, not running"
    for ask in (
        lambda: hospital.pacs,
        lambda: hospital.ct,
        hospital.exam,
        lambda: hospital.inject(UnknownAeTitle("CT1")),
    ):
        with pytest.raises(LabError, match="not running"):
            ask()


def test_a_script_that_never_stops_ends_without_a_word(script: Script) -> None:
    program = script(
        """
        import sys
        from labsim import Hospital
        hospital = Hospital().start()
        patient = hospital.his.register_patient()
        hospital.his.place_order(patient.patient_id)
        (answer,) = hospital.tools.storescu([sys.argv[1]])
        assert answer[1] == "0x0000 Success", answer
        print(hospital.path)
        """,
        THORAX,
    )
    output, errors = program.communicate(timeout=30)
    assert (program.returncode, errors) == (0, "")
    assert not Path(output.strip()).exists()


def test_a_script_that_fails_ends_with_its_own_error(script: Script) -> None:
    program = script(
        """
        from labsim import Hospital
        hospital = Hospital().start()
        raise ZeroDivisionError(hospital.path)
        """
    )
    _, errors = program.communicate(timeout=30)
    assert program.returncode == 1
    last = errors.splitlines()[-1]
    assert last.startswith("ZeroDivisionError: ")
    assert not Path(last.partition(": ")[2]).exists()


# State on disk


@pytest.mark.usefixtures("small_scans")
def test_a_hospital_comes_back_with_what_it_knew(tmp_path: Path) -> None:
    with Hospital(seed=11, path=tmp_path) as hospital:
        exam = hospital.exam()
        assert exam.complete
        assert exam.procedure is not None
        assert exam.patient is not None
        events = len(hospital.journal.all())
    with Hospital(path=tmp_path) as hospital:
        assert hospital.seed == 11
        assert hospital.his.patients() == [exam.patient]
        assert hospital.ris.procedure(exam.accession) == exam.procedure
        assert hospital.pacs.count(exam.procedure.study_uid) == 4
        assert len(hospital.his.chart(exam.patient.patient_id)) == 1
        assert list(next(iter(hospital.ct.table())))[2:5] == [4, 4, 4]
        assert [event.seq for event in hospital.journal.all()[:events]] == list(
            range(1, events + 1)
        )
        second = hospital.exam()
        assert second.complete
        assert second.patient is not None
        assert second.procedure is not None
        assert second.patient.patient_id == "P000002"
        assert second.accession == "A0000002"
        assert second.procedure.study_uid != exam.procedure.study_uid
        assert len(hospital.pacs.table()) == 2


@pytest.mark.parametrize("change", [{"seed": 12}, {"site": "other.toml"}])
def test_a_folder_keeps_its_site_and_seed(tmp_path: Path, change: dict[str, object]) -> None:
    state = tmp_path / "state"
    text = (ROOT / "labsim" / "sites" / "clinic.toml").read_text(encoding="utf-8")
    (tmp_path / "other.toml").write_text(text.replace('"clinic"', '"other"'), encoding="utf-8")
    if "site" in change:
        change = {"site": tmp_path / str(change["site"])}
    with Hospital(seed=11, path=state):
        pass
    with pytest.raises(ConfigurationError, match="holds a hospital of site 'clinic' with seed 11"):
        Hospital(path=state, **change).start()  # type: ignore[arg-type]
    with Hospital(seed=11, path=state) as hospital:
        assert hospital.seed == 11


def test_two_hospitals_work_side_by_side() -> None:
    with Hospital(seed=1) as first, Hospital(seed=2) as second:
        for hospital in (first, second):
            patient = hospital.his.register_patient("Silva^Ines")
            hospital.his.place_order(patient.patient_id)
            hospital.tools.storescu([THORAX])
        first.pacs.remove_ae("CT1")
        assert second.ct.echo() == "0x0000 Success"
        assert {e.local.port for e in first.endpoints()}.isdisjoint(
            e.local.port for e in second.endpoints()
        )
        assert len(first.ris.orders()) == len(second.ris.orders()) == 1
        assert len(first.pacs.table()) == len(second.pacs.table()) == 1


def test_one_folder_is_for_one_running_hospital(tmp_path: Path, script: Script) -> None:
    with Hospital(path=tmp_path) as first:
        with pytest.raises(HospitalInUse, match="Stop it, or choose another folder"):
            Hospital(path=tmp_path).start()
        program = script(
            """
            import sys
            from labsim import Hospital
            Hospital(path=sys.argv[1]).start()
            """,
            tmp_path,
        )
        assert "HospitalInUse" in program.communicate(timeout=30)[1]
        assert first.his.register_patient().patient_id == "P000001"  # unharmed
    with Hospital(path=tmp_path) as again:
        assert len(again.his.patients()) == 1


def test_a_damaged_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "hospital.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(ConfigurationError, match=r"hospital\.sqlite cannot be used"):
        Hospital(path=tmp_path).start()


def test_a_damaged_database_of_a_system_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "pacs").mkdir()
    (tmp_path / "pacs" / "pacs.sqlite").write_bytes(b"not a database" * 100)
    files = descriptors()
    with pytest.raises(ConfigurationError, match=r"pacs\.sqlite cannot be used"):
        Hospital(path=tmp_path).start()
    assert descriptors() == files
    (tmp_path / "pacs" / "pacs.sqlite").unlink()
    with Hospital(path=tmp_path) as hospital:
        assert hospital.ct.echo() == "0x0000 Success"


def test_a_path_that_is_a_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    with pytest.raises(ConfigurationError, match=r"notes\.txt"):
        Hospital(path=file).start()
    assert file.read_text() == "mine"


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_read_only_folder_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="Permission denied"):
        Hospital(path=tmp_path).start()


def test_the_folder_of_a_killed_hospital_is_cleared_later(
    temporary: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(temporary))
    program = script(
        """
        import os, sys
        from labsim import Hospital
        print(Hospital().start().path, flush=True)
        sys.stdin.read()
        """
    )
    left = Path(line_of(program))
    program.kill()
    program.communicate(timeout=10)
    assert left.is_dir()
    os.utime(left, (0, 0))
    with Hospital() as running:
        assert not left.exists()
        os.utime(running.path, (0, 0))  # as if it had been running for a long time
        with Hospital():
            assert running.path.is_dir()


# Ports


def test_fixed_ports_are_taken() -> None:
    with Hospital() as hospital:
        free = {f"{e.system}.{e.protocol}": e.local.port for e in hospital.endpoints()}
    ports = {
        place.replace("mwl", "dicom").replace("dicomweb", "http"): port
        for place, port in free.items()
    }
    with Hospital(ports=ports) as hospital:
        assert {f"{e.system}.{e.protocol}": e.local.port for e in hospital.endpoints()} == free


@pytest.mark.parametrize(
    "place", ["his.mllp", "ris.mllp", "ris.dicom", "pacs.mllp", "pacs.dicom", "ct1.dicom"]
)
def test_a_taken_port_is_told_and_leaves_nothing(
    place: str, taken_port: int, temporary: Path
) -> None:
    files, threads = descriptors(), threading.active_count()
    with pytest.raises(PortTaken, match=f"Port {taken_port} for .* is taken") as caught:
        Hospital(ports={place: taken_port}).start()
    assert place.split(".")[0] in str(caught.value)
    assert list(temporary.iterdir()) == []
    assert threading.active_count() == threads
    del caught
    assert descriptors() == files


def test_a_taken_port_of_the_desk_is_told_when_it_is_needed(taken_port: int) -> None:
    with Hospital(ports={"desk.dicom": taken_port}) as hospital:
        hospital.tools.storescu([THORAX])
        with pytest.raises(PortTaken, match=f"Port {taken_port}"):
            hospital.tools.movescu(str(dcmread(THORAX).StudyInstanceUID))


@pytest.mark.parametrize("ports", [{"pacs.gopher": 70}, {"pacs.dicom": 70000}, {"pacs.dicom": -1}])
def test_a_place_or_port_that_cannot_be_is_refused(ports: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError):
        Hospital(ports=ports)


# Sites


def test_a_site_with_two_scanners_has_both(tmp_path: Path) -> None:
    site = tmp_path / "two.toml"
    text = (ROOT / "labsim" / "sites" / "clinic.toml").read_text(encoding="utf-8")
    second = text[text.index("[[modalities]]") : text.index("# Where a radiologist")]
    site.write_text(text + second.replace("ct1", "ct2").replace("CT1", "CT2"), encoding="utf-8")
    with Hospital(site=site) as hospital:
        assert list(hospital.systems) == ["his", "ris", "pacs", "ct1", "ct2", "ws1"]
        assert hospital.tools.echoscu("ct2") == "0x0000 Success"
        assert hospital.pacs.known_ae("CT2") is not None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = clinic", "is not TOML"),
        ('name = "clinic"', "is not right"),
    ],
)
def test_a_bad_site_is_told_in_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    site = tmp_path / "bad.toml"
    site.write_text(text)
    with pytest.raises(ConfigurationError, match=words) as caught:
        Hospital(site=site)
    assert "\n" not in str(caught.value)


# Faults


@pytest.mark.usefixtures("small_scans")
def test_a_fault_is_taken_back_at_the_end(hospital: Hospital) -> None:
    hospital.inject(UnknownAeTitle("CT1"))
    stopped = hospital.exam()
    assert "not recognized (1/1/3)" in stopped.problem
    hospital.heal()
    assert hospital.ct.send().waiting == 0
    assert hospital.faults == []


# Interrupts


def once(source: str, words: str, act: Callable[[], None]) -> Callable[[Event], None]:
    """Return a subscriber that acts on the first event with these words."""
    done: list[int] = []

    def look(event: Event) -> None:
        if not done and event.source == source and words in event.summary:
            done.append(event.seq)
            act()

    return look


def interrupt_here() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("source", "words", "act"),
    [
        ("his", "registered", interrupt_here),
        ("ris", "ORM^O01 RIS", _thread.interrupt_main),
        ("ct1", "A-ASSOCIATE accepted", interrupt_here),
        ("ct1", "C-STORE-RQ", interrupt_here),
        ("ct1", "association released", interrupt_here),
        ("pacs", "storage commitment reported", _thread.interrupt_main),
        ("desk", "C-GET-RQ", interrupt_here),
        ("pacs", "C-GET-RQ", _thread.interrupt_main),
    ],
)
@pytest.mark.usefixtures("small_scans")
def test_an_interrupted_exam_leaves_the_hospital_usable(
    hospital: Hospital, source: str, words: str, act: Callable[[], None]
) -> None:
    unsubscribe = hospital.journal.subscribe(once(source, words, act))
    with pytest.raises(KeyboardInterrupt):
        hospital.exam()
    unsubscribe()
    open_still = [t for t in threading.enumerate() if isinstance(t, DULServiceProvider)]
    for thread in open_still:
        thread.join(2)
    assert [thread.name for thread in open_still if thread.is_alive()] == []
    exam = hospital.exam()
    assert exam.problem == ""
    assert exam.complete


# Death


@pytest.mark.usefixtures("small_scans")
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, script: Script) -> None:
    program = script(
        """
        import sys
        from pydicom import dcmread
        from labsim import Hospital
        from labsim.ids import make_uid
        from pynetdicom import AE

        hospital = Hospital(path=sys.argv[1]).start()
        port = next(e.local.port for e in hospital.endpoints() if e.title == "PACS")
        image = dcmread(sys.argv[2])
        entity = AE(ae_title="TOOLS")
        entity.add_requested_context(image.SOPClassUID, image.file_meta.TransferSyntaxUID)
        association = entity.associate("127.0.0.1", port, ae_title="PACS")
        number = 0
        while True:
            number += 1
            image.SOPInstanceUID = make_uid("killed", number)
            if association.send_c_store(image).Status == 0x0000:
                print(image.SOPInstanceUID, flush=True)
        """,
        tmp_path,
        THORAX,
    )
    acknowledged = [line_of(program) for _ in range(15)]
    program.kill()
    acknowledged += program.communicate(timeout=10)[0].split()
    assert len(set(acknowledged)) >= 15
    study = str(dcmread(THORAX).StudyInstanceUID)
    with Hospital(path=tmp_path) as hospital:
        kept = {dcmread(path).SOPInstanceUID for path in hospital.pacs.paths(study)}
        assert set(acknowledged) <= kept
        fetched = hospital.tools.getscu(study)
        assert {image.SOPInstanceUID for image in fetched} == kept
        assert list((tmp_path / "pacs" / "incoming").iterdir()) == []
        events = hospital.journal.all()
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert hospital.exam().complete


def test_an_order_that_waited_survives_a_kill(tmp_path: Path, script: Script) -> None:
    program = script(
        """
        import sys
        from labsim import Hospital
        from labsim.errors import DeliveryFailed
        from labsim.wire.network import Address

        hospital = Hospital(path=sys.argv[1]).start()
        patient = hospital.his.register_patient()
        hospital.network.withdraw(Address("ris", 2575))
        try:
            hospital.his.place_order(patient.patient_id)
        except DeliveryFailed:
            print("waiting", flush=True)
        sys.stdin.read()
        """,
        tmp_path,
    )
    assert line_of(program) == "waiting"
    program.kill()
    program.communicate(timeout=10)
    with Hospital(path=tmp_path) as hospital:
        hospital.his.outbox.resend()
        assert [order.placer_order for order in hospital.ris.orders()] == ["ORD000001"]


def test_stopping_ends_a_wait_for_a_silent_system(
    hospital: Hospital, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labsim.wire.mllp.TIMEOUT", 1.0)
    hospital.network.publish(Address("ris", 2575), silent_port)
    caught: list[BaseException] = []

    def register() -> None:
        try:
            hospital.his.register_patient()
        except BaseException as error:
            caught.append(error)

    clerk = threading.Thread(target=register)
    clerk.start()
    assert hospital.journal.wait_for(lambda event: event.kind == "hl7", 5)
    hospital.stop()
    clerk.join(5)
    assert not clerk.is_alive()
    (error,) = caught
    assert isinstance(error, DeliveryFailed)


def test_a_hospital_with_work_at_hand_has_not_settled(hospital: Hospital) -> None:
    done = threading.Event()
    hospital.ris.worker.submit(done.wait, 5)
    try:
        assert not hospital.settle(timeout=0.1)
    finally:
        done.set()
    assert hospital.settle()


def test_time_goes_on_where_a_hospital_stopped(tmp_path: Path) -> None:
    with Hospital(seed=1, path=tmp_path) as hospital:
        day = hospital.day(1, progress=False)
        assert hospital.clock.now() >= day.end
    with Hospital(path=tmp_path) as again:
        assert again.clock.now() >= day.end
        again.his.register_patient()
        times = [event.hospital_time for event in again.journal.all() if event.kind == "state"]
        assert times == sorted(times)
