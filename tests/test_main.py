from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hl7.client import MLLPClient
from pydicom.dataset import Dataset
from pynetdicom import AE

from labsim import Hospital, __version__
from labsim.__main__ import describe, main
from labsim.media import outside_disc
from labsim.sop_classes import MODALITY_WORKLIST

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-W", "error", "-m", "labsim"]
STEPS = ["1", "2", "3", "4", "5", "6", "8", "7", "10", "14", "16", "128", "25"]

Up = Callable[..., "subprocess.Popen[str]"]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=30
    )


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """Start ``python -m labsim up``; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path) -> subprocess.Popen[str]:
        program = subprocess.Popen(
            [*COMMAND, "up", *map(str, arguments)],
            cwd=ROOT,
            # One that is killed cannot clean up after itself.
            env=os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(tmp_path)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        return program

    yield start
    for program in started:
        program.kill()
        program.communicate()


def first_line(program: subprocess.Popen[str]) -> str:
    assert program.stdout is not None
    line = program.stdout.readline()
    assert line, program.communicate()[1]
    return line


def end(program: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    """Send a signal; return the exit code and what was said on stderr."""
    begun = time.monotonic()
    program.send_signal(number)
    _, errors = program.communicate(timeout=10)
    assert time.monotonic() - begun < 5
    return program.returncode, errors


def listens(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((host, port)) == 0


def test_the_version_is_told() -> None:
    assert run("--version").stdout.strip() == __version__


@pytest.mark.parametrize("arguments", [[], ["down"], ["exam", "--seed", "seven"]])
def test_what_is_not_understood_ends_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m labsim")


def test_up_tells_where_the_engine_is(up: Up) -> None:
    program = up("--json", "--site", "community")
    told: dict[str, Any] = json.loads(first_line(program))
    places = [place for place in told["systems"] if place["name"] == "engine"]
    [engine] = [place for place in places if place["protocol"] == "mllp"]
    assert (engine["protocol"], engine["application"]) == ("mllp", "ENGINE")
    archive = {p["protocol"] for p in told["systems"] if p["name"] == "archive"}
    assert {"dicom", "mllp"} <= archive
    assert listens(engine["port"])


def test_up_tells_programs_where_everything_is(up: Up) -> None:
    program = up("--json", "--seed", "7")
    told: dict[str, Any] = json.loads(first_line(program))
    assert set(told) == {"systems", "caller", "move_port", "path", "ca"}
    assert (told["caller"], isinstance(told["move_port"], int)) == ("TOOLS", True)
    assert Path(told["path"]).is_dir()
    places = {(s["name"], s["protocol"]): s for s in told["systems"]}
    assert set(places) == {
        ("his", "mllp"),
        ("ris", "mllp"),
        ("ris", "mwl"),
        ("pacs", "dicom"),
        ("pacs", "mllp"),
        ("pacs", "dicomweb"),
        ("ct1", "dicom"),
        ("ws1", "dicom"),
        *((name, "metrics") for name in ("his", "ris", "pacs", "ct1", "ws1")),
    }
    monitored = places["pacs", "metrics"]
    assert monitored["url"] == f"http://127.0.0.1:{monitored['port']}/metrics"
    assert "url" not in places["pacs", "dicom"]
    for (_, protocol), place in places.items():
        title = "ae_title" if protocol in ("dicom", "mwl") else "application"
        url = {"url"} if protocol in ("dicomweb", "metrics") else set()
        assert set(place) == {"name", "protocol", "tls", title, "host", "port", *url}
        assert place["host"] == "127.0.0.1"
        assert listens(place["port"])
    assert places["pacs", "dicom"]["ae_title"] == "PACS"
    assert end(program, signal.SIGINT) == (0, "stopped\n")
    assert not any(listens(place["port"]) for place in places.values())
    assert not Path(told["path"]).exists()


def test_up_gives_tokens_if_it_is_asked_to(up: Up) -> None:
    program = up("--json", "--tokens", "--site", "community")
    told: dict[str, Any] = json.loads(first_line(program))
    places = {s["name"]: s["url"] for s in told["systems"] if s["protocol"] == "dicomweb"}
    assert set(told["tokens"]) == set(places)
    for name in ("pacs", "archive"):
        headers = {"Authorization": f"Bearer {told['tokens'][name]}"}
        url = f"{places[name]}/dicom-web/studies"
        assert httpx.get(url, headers=headers, trust_env=False).status_code == 204


def test_up_shows_a_search_with_the_token(up: Up) -> None:
    program = up("--tokens")
    lines = [first_line(program)]
    while not lines[-1].startswith("State is kept in"):
        lines.append(first_line(program))
    at = lines.index("To search over the web with curl:\n")
    assert lines[at + 1].startswith("  TOKEN=")
    assert "/dicom-web/studies" in lines[at + 2]


def test_up_tells_people_where_everything_is(up: Up, tmp_path: Path) -> None:
    program = up("--path", tmp_path)
    assert first_line(program) == "Riverside Clinic, seed 1\n"
    assert program.stdout is not None
    lines = []
    while not lines or not lines[-1].startswith("State is kept in"):
        lines.append(first_line(program))
    text = "".join(lines)
    assert "echoscu -aet TOOLS -aec PACS 127.0.0.1 " in text
    assert f"State is kept in {tmp_path}. Press Ctrl-C to stop." in text
    assert end(program, signal.SIGTERM) == (0, "stopped\n")
    assert (tmp_path / "hospital.sqlite").is_file()


def test_up_at_a_fixed_port(up: Up) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = json.loads(first_line(up("--json", "--port", f"pacs.dicom={port}")))
    assert ("pacs", port) in [(place["name"], place["port"]) for place in told["systems"]]


def test_a_taken_port_ends_with_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = run("up", "--json", "--port", f"pacs.dicom={port}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: Port {port} for DICOM of pacs is taken")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("port", ["pacs.dicom", "pacs.dicom=x", "pacs.dicom=70000", "pasc=104"])
def test_a_port_that_cannot_be_ends_with_1(
    port: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)  # pytest keeps its Ctrl-C
    assert main(["up", "--port", port]) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("error: ")
    assert len(errors.splitlines()) == 1


def test_a_wrong_site_ends_with_1() -> None:
    done = run("exam", "--site", "clinik")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: There is no site 'clinik'.")


def test_a_folder_in_use_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Hospital(path=tmp_path):
        assert main(["exam", "--path", str(tmp_path)]) == 1
    assert "error: Another running hospital keeps its state in" in capsys.readouterr().err


def test_an_exam_for_programs(tmp_path: Path) -> None:
    done = run("exam", "--json", "--seed", "7", "--path", tmp_path)
    told = json.loads(done.stdout)
    assert (done.returncode, told["complete"], told["problem"]) == (0, True, "")
    assert told["accession"] == "A0000001"
    assert [step["transaction"] for step in told["steps"]] == [f"RAD-{n}" for n in STEPS]
    images = told["steps"][6]
    assert (images["from"], images["to"], images["messages"]) == ("ct1", "pacs", 24)
    with Hospital(path=tmp_path) as hospital:
        assert [row[0] for row in hospital.ct.table()] == ["A0000001"]


def test_an_exam_for_people() -> None:
    done = run("exam", "--code", "CTHEAD")
    assert done.returncode == 0
    assert "CT head of " in done.stdout.splitlines()[0]
    for number in STEPS:
        assert f"RAD-{number} " in done.stdout


def test_an_exam_that_stops_ends_with_1() -> None:
    done = run("exam", "--json", "--code", "MRKNEE")
    told = json.loads(done.stdout)
    assert (done.returncode, told["complete"], told["steps"]) == (1, False, [])
    assert told["problem"].startswith("The exam stopped at the order.")


def test_an_interrupted_exam_ends_with_130(tmp_path: Path) -> None:
    program = subprocess.Popen(
        [*COMMAND, "exam", "--path", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stderr is not None
    assert program.stderr.readline().startswith("running one exam")
    program.send_signal(signal.SIGINT)
    output, errors = program.communicate(timeout=10)
    assert (program.returncode, output, errors) == (130, "", "stopped\n")


def test_the_description_is_json(hospital: Hospital) -> None:
    assert json.loads(json.dumps(describe(hospital))) == describe(hospital)


def test_import_fills_a_hospital_that_is_kept(tmp_path: Path) -> None:
    datasets = Path(__file__).parents[1] / "datasets"
    done = run("import", str(datasets), "--path", str(tmp_path / "kept"), "--json")
    told = json.loads(done.stdout)
    images = sorted(path.name for path in datasets.glob("*.dcm"))
    assert told["stored"] == len(images)
    assert {entry["file"] for entry in told["refused"]} >= {"README.md", "make.py"}
    assert done.returncode == 1  # not everything in the folder is an image
    with Hospital(path=tmp_path / "kept") as hospital:
        assert sum(row[6] for row in hospital.pacs.table()) == len(images)


def test_import_without_a_place_to_keep_it_says_so() -> None:
    done = run("import", ".")
    assert done.returncode == 1
    assert "--path" in done.stderr


def test_up_has_a_worklist_to_show_to_real_programs(up: Up, peer: Callable[[str], Path]) -> None:
    told = json.loads(first_line(up("--json", "--orders", "2")))
    [ris] = [s for s in told["systems"] if s["protocol"] == "mwl"]
    asked = subprocess.run(
        [
            *(peer("findscu"), "-W", "-aet", told["caller"], "-aec", ris["ae_title"]),
            *(ris["host"], str(ris["port"])),
            *("-k", "ScheduledProcedureStepSequence[0].Modality=CT", "-k", "AccessionNumber"),
        ],
        capture_output=True,
        timeout=20,
    )
    assert (asked.stdout + asked.stderr).count(b"(Pending)") == 2


def test_an_order_from_outside_is_on_the_worklist_at_once(up: Up) -> None:
    told = json.loads(first_line(up("--json", "--orders", "0")))
    [mllp] = [s for s in told["systems"] if (s["name"], s["protocol"]) == ("ris", "mllp")]
    order = (
        "MSH|^~\\&|OUTSIDE|X|RIS|RIVERSIDE|20260101120000||ORM^O01|X1|P|2.3.1\r"
        "PID|1||77^^^OUTSIDE^PI||Doe^Jane||19700101|F\r"
        "ORC|NW|O77^OUTSIDE\rOBR|1|O77^OUTSIDE||CTHEAD^CT head^99LABSIM\r"
    )
    with MLLPClient(mllp["host"], mllp["port"]) as client:
        assert b"MSA|AA|X1" in client.send(b"\x0b" + order.encode() + b"\x1c\r")
    [ris] = [s for s in told["systems"] if s["protocol"] == "mwl"]
    entity = AE("OUTSIDE")
    entity.add_requested_context(MODALITY_WORKLIST)
    association = entity.associate(ris["host"], ris["port"], ae_title=ris["ae_title"])
    asked = Dataset()
    asked.PatientName = "DOE*"
    asked.AccessionNumber = ""
    found = [entry for _, entry in association.send_c_find(asked, MODALITY_WORKLIST) if entry]
    association.release()
    assert [str(entry.PatientName) for entry in found] == ["Doe^Jane"]
    assert found[0].AccessionNumber


def test_a_disc_from_outside_waits_in_the_importer(tmp_path: Path) -> None:
    disc = outside_disc(tmp_path / "cd", images=1)
    kept = tmp_path / "kept"
    done = run("import", disc, "--outside", "--site", "community", "--path", kept, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"waiting": [1], "refused": [], "dicomdir": []}
    with Hospital(site="community", path=kept) as hospital:
        assert hospital.importer.study(1).state == "WAITING"
        assert len(hospital.pacs.table()) == 0


def test_up_spreads_the_hosts_over_addresses_where_it_is_told_to(up: Up) -> None:
    if sys.platform == "darwin":
        pytest.skip("macOS has 127.0.0.1 only, until somebody adds more")
    told: dict[str, Any] = json.loads(first_line(up("--json", "--loopback", "per-host")))
    hosts = {place["name"]: place["host"] for place in told["systems"]}
    assert len(set(hosts.values())) == len(hosts)
    assert all(listens(p["port"], p["host"]) for p in told["systems"])
