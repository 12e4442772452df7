"""Command line: ``python -m labsim up``, ``exam`` and ``import``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import labsim
from labsim.errors import LabError
from labsim.hospital import Hospital
from labsim.systems.ai import AiNode
from labsim.systems.catalogue import examinations
from labsim.systems.facility import Endpoint
from labsim.systems.importer.discs import Reading
from labsim.systems.pacs import Pacs
from labsim.tools import Import


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 not understood."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m labsim", description=labsim.__doc__)
    parser.add_argument("--version", action="version", version=labsim.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="keep a hospital running until Ctrl-C")
    _add_hospital_options(up)
    up.add_argument(
        "--port",
        action="append",
        default=[],
        metavar="PLACE=PORT",
        help="a fixed loopback port, such as pacs.dicom=11112; may be repeated",
    )
    up.add_argument(
        "--orders",
        type=int,
        default=3,
        metavar="N",
        help="examinations to order at the start, so that the worklist is not empty; 3 if left out",
    )
    up.add_argument(
        "--tokens",
        action="store_true",
        help="issue and print a bearer token for each DICOMweb interface",
    )
    up.add_argument(
        "--loopback",
        choices=("shared", "per-host"),
        default="shared",
        help="per-host: each host listens at an address of its own (127.x.y.z), at true ports "
        "where it may",
    )
    up.set_defaults(command=_up)

    exam = commands.add_parser("exam", help="run one exam and print its journey")
    _add_hospital_options(exam)
    exam.add_argument("--code", default="CTTHORAX", help="examination to order")
    exam.set_defaults(command=_exam)

    taken = commands.add_parser("import", help="store a folder of DICOM files in the PACS")
    taken.add_argument("folder", type=Path, metavar="DIR", help="folder of DICOM files")
    taken.add_argument(
        "--outside",
        action="store_true",
        help="a disc of another hospital: into the importer's queue, where a clerk reconciles it",
    )
    _add_hospital_options(taken)
    taken.set_defaults(command=_import)
    return parser


def _add_hospital_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, help="decides everything invented; 1 if left out")
    parser.add_argument("--site", default="clinic", help="name of a site, or a TOML file")
    parser.add_argument("--path", type=Path, help="folder that keeps the state")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


def _hospital(options: argparse.Namespace, ports: dict[str, int] | None = None) -> Hospital:
    loopback: Any = getattr(options, "loopback", "shared")
    return Hospital(
        options.seed, site=options.site, path=options.path, ports=ports, loopback=loopback
    )


def _up(options: argparse.Namespace) -> int:
    ended = threading.Event()
    # Both are set, because a shell starts background jobs with Ctrl-C ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with _hospital(options, dict(map(_place_and_port, options.port))) as hospital:
        hospital.ris.schedules_at_once = True  # no clerk is there to do it
        _fill_worklist(hospital, options.orders)
        hospital.settle()  # through an engine an order arrives later than it is acknowledged
        tokens = _tokens(hospital) if options.tokens else {}
        if options.json:
            told = {**describe(hospital), **({"tokens": tokens} if tokens else {})}
            print(json.dumps(told), flush=True)
        else:
            print(_welcome(hospital, tokens), flush=True)
        while not ended.wait(0.5):  # without a time-out Windows would not see Ctrl-C
            pass
    print("stopped", file=sys.stderr)
    return 0


def _tokens(hospital: Hospital) -> dict[str, str]:
    """Issue a token to read and write at each system that speaks DICOMweb, by its name."""
    offered = (e.system for e in hospital.endpoints() if e.protocol.startswith("dicomweb"))
    return {
        name: cast(Pacs | AiNode, hospital.systems[name]).tokens.issue(
            "command line", ("read", "write"), hours=24 * 30
        )
        for name in offered
    }


def _fill_worklist(hospital: Hospital, count: int) -> None:
    """Order what the site's scanners can do, unless something is scheduled already."""
    if any(procedure.status == "SCHEDULED" for procedure in hospital.ris.procedures()):
        return
    kinds = {scanner.modality for scanner in hospital.modalities()}
    able = [entry.code for entry in examinations() if entry.modality in kinds]
    for number in range(count):
        patient = hospital.his.register_patient()
        hospital.his.place_order(patient.patient_id, able[number % len(able)])


def _exam(options: argparse.Namespace) -> int:
    with _hospital(options) as hospital:
        print(f"running one exam in {hospital.site.institution} …", file=sys.stderr)
        exam = hospital.exam(options.code)
        complete = exam.complete
        if not options.json:
            print(exam)
        else:
            steps = exam.transcript().steps() if exam.accession else []
            print(
                json.dumps(
                    {
                        "accession": exam.accession,
                        "complete": complete,
                        "problem": exam.problem,
                        "steps": [_step(vars(step)) for step in steps],
                    }
                )
            )
    return 0 if complete else 1


def _import(options: argparse.Namespace) -> int:
    if options.path is None:
        raise LabError("An import needs a hospital that is kept.", "Say where with --path DIR.")
    with _hospital(options) as hospital:
        print(f"importing {options.folder} into {hospital.path} …", file=sys.stderr)
        taken: Import | Reading
        if options.outside:
            taken = hospital.importer.insert(options.folder)
            done: dict[str, Any] = {"waiting": [study.number for study in taken.imports]}
        else:
            taken = hospital.tools.import_folder(options.folder)
            done = {"stored": taken.stored}
    if options.json:
        refused = [{"file": file, "reason": reason} for file, reason in taken.refused]
        mismatches = [{"file": file, "reason": reason} for file, reason in taken.mismatches]
        print(json.dumps({**done, "refused": refused, "dicomdir": mismatches}))
    else:
        print(taken)
    return 1 if taken.refused else 0


def _step(step: dict[str, Any]) -> dict[str, Any]:
    names = {"sender": "from", "receiver": "to"}
    return {names.get(key, key): value for key, value in step.items()}


def describe(hospital: Hospital) -> dict[str, Any]:
    """Return where a hospital listens and who may call, as JSON values.

    Parameters
    ----------
    hospital : Hospital
        A running one.
    """
    return {
        "systems": [
            {
                "name": endpoint.system,
                "protocol": endpoint.protocol,
                "ae_title"
                if endpoint.protocol.removesuffix("-tls") in ("dicom", "mwl")
                else "application": endpoint.title,
                "host": endpoint.local.host,
                "port": endpoint.local.port,
                **({"url": url} if (url := url_of(endpoint)) else {}),
                "tls": endpoint.tls,
            }
            for endpoint in hospital.endpoints()
        ],
        "caller": hospital.tools.ae_title,
        "move_port": hospital.tools.local_port,
        "path": str(hospital.path),
        # What a program from outside has to trust to call by TLS.
        "ca": str(hospital.ca.root) if any(e.tls for e in hospital.endpoints()) else "",
    }


def url_of(endpoint: Endpoint) -> str:
    """Return where a browser or a monitor finds an endpoint, empty for what is not HTTP."""
    paths = {"dicomweb": "", "metrics": "/metrics"}
    path = paths.get(endpoint.protocol.removesuffix("-tls"))
    scheme = "https" if endpoint.tls else "http"
    return "" if path is None else f"{scheme}://{endpoint.local}{path}"


def _welcome(hospital: Hospital, tokens: Mapping[str, str]) -> str:
    places = {
        (e.system, e.protocol): f"{e.local.host} {e.local.port}" for e in hospital.endpoints()
    }
    titles = {(e.system, e.protocol): e.title for e in hospital.endpoints()}
    caller, move_port = hospital.tools.ae_title, hospital.tools.local_port
    pacs = f"-aet {caller} -aec {titles['pacs', 'dicom']}"
    at_pacs = places["pacs", "dicom"]
    ris = f"-aet {caller} -aec {titles['ris', 'mwl']} {places['ris', 'mwl']}"
    study = "-k QueryRetrieveLevel=STUDY -k StudyInstanceUID"
    keys = '-k "ScheduledProcedureStepSequence[0].Modality=CT" -k PatientName -k AccessionNumber'
    lines = [
        str(hospital.table()),
        "",
        str(hospital.pacs.ae_titles()),
        "",
        f"Any title may verify (C-ECHO). Call with {caller} to store, query and retrieve.",
        "An order that comes by HL7 (ORM^O01 to the RIS) is on the worklist at once.",
        "",
        "To try with DCMTK (set TCP_NODELAY=1 in the environment, or each image waits 40 ms):",
        f"  echoscu {pacs} {at_pacs}",
        f"  storescu {pacs} {at_pacs} FILE …",
        f"  findscu -S {pacs} {at_pacs} {study} -k PatientName -k AccessionNumber",
        f"  getscu -S {pacs} {at_pacs} {study}=UID",
        f"  movescu -S {pacs} -aem {caller} +P {move_port} {at_pacs} {study}=UID",
        f"  findscu -W {ris} {keys}",
        "",
        *_over_the_web(hospital, tokens),
        f"State is kept in {hospital.path}. Press Ctrl-C to stop.",
    ]
    return "\n".join(lines)


def _over_the_web(hospital: Hospital, tokens: Mapping[str, str]) -> list[str]:
    if not tokens:
        return []
    lines = [f"  TOKEN={tokens['pacs']}", f"  {hospital.tools.curl('pacs', '/studies')}"]
    others = [f"  {name} takes {token}" for name, token in tokens.items() if name != "pacs"]
    return ["To search over the web with curl:", *lines, *others, ""]


def _place_and_port(text: str) -> tuple[str, int]:
    place, _, port = text.partition("=")
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise LabError(
            f"--port {text} is not of the form PLACE=PORT.", "For example pacs.dicom=11112."
        )
    return place, int(port)


if __name__ == "__main__":
    sys.exit(main())
