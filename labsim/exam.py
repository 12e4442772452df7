"""One exam from order to report, driven by what people do at each system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset

from labsim.errors import DeliveryFailed, LabError
from labsim.systems.catalogue import examination
from labsim.systems.modality import Modality
from labsim.systems.records import Order, Patient, Procedure
from labsim.transcript import Transcript
from labsim.wire.mllp import TIMEOUT

if TYPE_CHECKING:
    from labsim.hospital import Hospital


@dataclass
class Exam:
    """An exam and how far it came.

    Parameters
    ----------
    hospital : Hospital
        Where it takes place.
    patient, order, procedure
        What the HIS and the RIS made of it.
    mpps_uid : str
        The performed procedure step.
    images : list of Dataset
        As the reader fetched them from the PACS.
    problem : str
        Why it stopped; empty if it went through.
    """

    hospital: Hospital
    patient: Patient | None = None
    order: Order | None = None
    procedure: Procedure | None = None
    mpps_uid: str = ""
    images: list[Dataset] = field(default_factory=list)
    problem: str = ""

    @property
    def accession(self) -> str:
        """The accession number, empty before the exam is scheduled."""
        return self.procedure.accession if self.procedure else ""

    @property
    def complete(self) -> bool:
        """Whether the report has reached the chart."""
        if self.patient is None or self.order is None:
            return False
        chart = self.hospital.his.chart(self.patient.patient_id)
        return any(result.placer_order == self.order.placer_order for result in chart)

    def run(self, code: str, name: str = "", reason: str = "") -> Exam:
        """Take the exam from registration to report; stop where a system fails.

        Parameters
        ----------
        code : str
            Examination to order.
        name : str
            The patient's name; invented if left out.
        reason : str
            Reason for the study.
        """
        steps: list[tuple[str, Callable[[], None]]] = [
            ("registration", lambda: self._register(name)),
            ("order", lambda: self._order(code, reason)),
            ("scheduling", self._schedule),
            ("acquisition", self._acquire),
            ("sending of the images", self._send),
            ("storage commitment", self._commit),
            ("reading", self._read),
            ("report", self._report),
        ]
        for step, action in steps:
            try:
                action()
            except LabError as error:
                self.problem = f"The exam stopped at the {step}. {error}"
                break
        return self

    def transcript(self) -> Transcript:
        """Return everything the journal has of this exam, in order."""
        return self.hospital.journal.exam(self.accession)

    def _scanner(self) -> Modality:
        assert self.procedure is not None
        return self.hospital.scanner(self.procedure.station)

    def _register(self, name: str) -> None:
        self.patient = self.hospital.his.register_patient(name)

    def _order(self, code: str, reason: str) -> None:
        assert self.patient is not None
        self.order = self.hospital.his.place_order(self.patient.patient_id, code, reason)

    def _schedule(self) -> None:
        assert self.order is not None
        self.procedure = self.hospital.ris.schedule(self.order.placer_order)

    def _acquire(self) -> None:
        scanner = self._scanner()
        entries = scanner.query_worklist(accession=self.accession)
        if not entries:
            raise LabError(
                f"The worklist of {scanner.ae_title} has no entry for {self.accession}.",
                "Compare hospital.ris.procedures() with what the scanner asks for.",
            )
        self.mpps_uid = scanner.start_step(entries[0])
        scanner.acquire(self.mpps_uid)

    def _send(self) -> None:
        sending = self._scanner().send(self.accession)
        self._scanner().complete_step(self.mpps_uid)
        if sending.waiting:
            name = self._scanner().name
            raise LabError(
                str(sending),
                f'Repair the cause; hospital.modality("{name}").send() sends what still waits.',
            )

    def _commit(self) -> None:
        uid = self._scanner().request_commitment(self.accession)
        if not self._scanner().wait_for_commitment(uid):
            raise LabError("The archive did not report on the storage commitment in time.")

    def _read(self) -> None:
        tools = self.hospital.tools
        found = tools.findscu("pacs", AccessionNumber=self.accession, StudyInstanceUID="")
        if not found:
            raise LabError(f"The PACS has no study with accession number {self.accession}.")
        self.images = tools.getscu(str(found[0].StudyInstanceUID))

    def _report(self) -> None:
        assert self.procedure is not None
        text = examination(self.procedure.code).report
        middle = self.images[len(self.images) // 2].SOPInstanceUID
        self.hospital.ris.report(self.accession, text, key_images=[str(middle)])
        self.procedure = self.hospital.ris.procedure(self.accession)
        # An engine may bring it later than it thanks for it.
        if not self.hospital.wait_until(lambda: self.complete, TIMEOUT):
            raise DeliveryFailed(
                f"The report of {self.accession} did not reach the HIS within {TIMEOUT:g} s.",
                "hospital.engine.errors() and hospital.engine.statistics() say where it is.",
            )

    def __str__(self) -> str:
        lines = [self._heading()]
        if self.accession:
            lines.append(str(self.transcript().journey()))
        return "\n".join([*lines, self.problem] if self.problem else lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = [f"<p>{escape(self._heading())}</p>"]
        if self.accession:
            parts.append(self.transcript().journey()._repr_html_())
        if self.problem:
            parts.append(f"<p role='alert'>⚠ {escape(self.problem)}</p>")
        return "".join(parts)

    def _heading(self) -> str:
        who = self.patient.name.replace("^", ", ") if self.patient else "nobody"
        what = self.order.description if self.order else "nothing ordered"
        return f"Exam {self.accession or '(no accession number)'}: {what} of {who}"
