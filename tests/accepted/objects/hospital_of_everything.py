"""A hospital in which everything happens that makes a DICOM object, once."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.imaging.presentation_parts import Mark, Shutter, Text
from labsim.media import outside_disc
from labsim.systems.catalogue import examinations
from labsim.systems.records import Procedure
from labsim.systems.ris.report_text import ReportText

NOW = datetime(2026, 3, 2, 8, 0)
SYNTAXES = (
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    JPEGLSLossless,
    JPEG2000Lossless,
    RLELossless,
)
TIMEOUT = 60.0
_STUDIES = "SELECT study_uid FROM studies"
_CLASSES = """
SELECT DISTINCT sop_class FROM instances JOIN series ON series.id = instances.series
JOIN studies ON studies.id = series.study WHERE study_uid = ?
"""
# One of each kind of scanner, and of the ultrasound both its kinds of object.
KINDS = ("CTHEAD", "MRKNEEL", "DXHANDL", "CRCHEST", "MGSCREEN", "USABDOMEN", "USHEART")
TEACHING = (
    "retain_modified_dates",
    "clean_descriptors",
    "clean_structured_content",
    "clean_graphics",
)


def everything(folder: Path) -> None:
    """Run the hospital; what its systems keep is in `folder` afterwards, and what left it."""
    left = folder / "left the hospital"
    left.mkdir()
    with Hospital(
        seed=4, site="community", clock=ManualClock(NOW), path=folder / "hospital"
    ) as hospital:
        Story(hospital, left).run()


class Story:
    """What happens, and what is taken out of the hospital.

    Parameters
    ----------
    hospital : Hospital
        A running community hospital.
    left : Path
        Folder for what leaves it.
    """

    def __init__(self, hospital: Hospital, left: Path) -> None:
        self.hospital, self.left = hospital, left

    def run(self) -> None:
        """Let it all happen."""
        self._read_by_ai()
        for scanner in self.hospital.modalities():
            scanner.quick_scans = True
        self._examine()
        self._scan_otherwise()
        self._report()
        self._mark()
        self._reject()
        self._import()
        self._correct()
        assert self.hospital.settle(TIMEOUT)
        assert self.hospital.archive.migrate().wait(TIMEOUT)
        self._rename()
        self._fetch()
        self._release()

    def _exam(self, code: str) -> Procedure:
        exam = self.hospital.exam(code)
        assert exam.problem == ""
        assert exam.procedure is not None
        return exam.procedure

    def _scheduled(self, code: str, name: str = "") -> Procedure:
        patient = self.hospital.his.register_patient(name)
        order = self.hospital.his.place_order(patient.patient_id, code)
        assert self.hospital.settle()
        return self.hospital.ris.schedule(order.placer_order)

    def _scanned(self, procedure: Procedure, times: int = 1) -> None:
        scanner = self.hospital.scanner(procedure.station)
        step = scanner.start_step(scanner.query_worklist(accession=procedure.accession))
        for _ in range(times):
            scanner.acquire(step)
        scanner.complete_step(step)
        assert scanner.send().waiting == 0

    def _read_by_ai(self) -> None:
        """A thorax with a nodule, and one without."""
        self.hospital.pacs.routes.change("ai", quiet=0.05)
        self.hospital.pacs.routes.enable("ai")
        self.nodule = self._exam("CTTHORAX")
        done = self.hospital.journal.wait_for(
            lambda event: event.source == "ai" and "COMPLETED" in event.summary, TIMEOUT
        )
        assert done is not None
        self.hospital.pacs.routes.disable("ai")

    def _examine(self) -> None:
        """Every examination of the catalogue, with its report."""
        self.exams = {one.code: self._exam(one.code) for one in examinations()}

    def _scan_otherwise(self) -> None:
        """Without an order, in one go for two orders, and once more for one that is done."""
        ct, his, ris = self.hospital.ct, self.hospital.his, self.hospital.ris
        patient = his.register_patient("Ångström^Ærø")
        group: list[Procedure] = []
        for code in ("CTTHORAX", "CTHEAD"):
            order = his.place_order(patient.patient_id, code)
            assert self.hospital.settle()
            group.append(ris.schedule(order.placer_order))
        steps = [
            ct.start_unscheduled("Unknown^Male", perform="CTHEAD"),
            ct.start_step([ct.query_worklist(accession=p.accession)[0] for p in group]),
        ]
        for step in steps:
            ct.acquire(step)
            ct.complete_step(step)
        step = ct.append(group[0].accession, perform="CTHEAD")
        ct.acquire(step)
        ct.complete_step(step)
        assert ct.send().waiting == 0

    def _report(self) -> None:
        """Preliminary, final with all sections, and an addendum."""
        ris, exam = self.hospital.ris, self._scheduled("CTHEAD", "Müller-Lüdenscheidt^Åse")
        self._scanned(exam)
        ris.take(exam.accession, "Bianchi^Elena")
        draft = ReportText(history="Cough", findings="Shadow.", impression="Tumour?")
        ris.report(exam.accession, draft, interpreter="Bianchi^Elena", status="P")
        ris.take(exam.accession, "Okafor^Ngozi")
        ris.report(exam.accession, ReportText(history="Cough", findings="Größe 8 mm.\nNo more."))
        ris.addendum(exam.accession, "Unchanged since 2019.", interpreter="Quist^Noah")

    def _mark(self) -> None:
        """Key images and presentation states, of one image of each kind."""
        ws = self.hospital.workstation
        for code in KINDS:
            opened = ws.open(self.exams[code].accession)
            image = next(header for header in opened.study.headers if header.get("Rows"))
            uid, rows, columns = str(image.SOPInstanceUID), int(image.Rows), int(image.Columns)
            ws.mark_key_images(uid, title="teaching", text="Knoten links", user="moritz")
            ws.save_presentation(
                uid,
                label="SEEN",
                window=(40, 400),
                inverse=True,
                rotation=90,
                flip=True,
                shutter=Shutter(rectangle=(2, columns - 2, 2, rows - 2)),
                annotations=[
                    Mark("CIRCLE", ((rows / 2, rows / 2), (rows / 2, rows / 3))),
                    Text("größer", at=(4.0, 5.0)),
                ],
            )
            ws.close()

    def _reject(self) -> None:
        """For each reason of IHE IOCM, and a note that takes one back."""
        pacs = self.hospital.pacs
        for reason in ("quality", "safety", "worklist", "expired"):
            procedure = self._scheduled("DXHANDL")
            self._scanned(procedure)
            modifier = {"modifier": "positioning"} if reason == "quality" else {}
            pacs.reject(procedure.study_uid, reason=reason, text="thumb is off", **modifier)
            if reason == "safety":
                pacs.unreject(procedure.study_uid, reason="was right")

    def _import(self) -> None:
        """Discs of another hospital; the colours of one are kept as they are to be seen."""
        his, ris, importer = self.hospital.his, self.hospital.ris, self.hospital.importer
        for seed, (modality, protocol) in enumerate((("CT", "CHEST"), ("US", "KIDNEY")), 1):
            disc = outside_disc(
                self.left / f"cd {modality}",
                seed=seed,
                modality=modality,
                protocol=protocol,
                images=3 if modality == "CT" else 0,
                snags=["no issuer", "name spelled differently"],
            )
            patient = his.register_patient("Moreau^Céline", "1961-04-17", "F")
            order = his.place_order(patient.patient_id, "IMPORT", "Second opinion")
            assert self.hospital.settle()
            procedure = ris.schedule(order.placer_order)
            (study,) = importer.insert(disc).imports
            importer.reconcile(study.number, accession=procedure.accession)
            ris.report(procedure.accession, "Outside images reviewed. No acute finding.")
        self.hospital.workstation.open(procedure.accession)
        self.hospital.workstation.save_presentation(label="FLOW", flip=True)
        self.hospital.workstation.close()

    def _correct(self) -> None:
        """Split, moved and merged at the archive."""
        pacs, tools = self.hospital.pacs, self.hospital.tools
        vega, moeller, third = (
            self._scheduled("CTHEAD", n) for n in ("Vega^Ines", "Möller^Åke", "Vega^Ines")
        )
        self._scanned(vega, times=2)
        series = tools.findscu(
            level="SERIES", StudyInstanceUID=vega.study_uid, SeriesNumber="2", SeriesInstanceUID=""
        )
        pacs.split_study(
            vega.study_uid,
            series=[str(found.SeriesInstanceUID) for found in series],
            accession=moeller.accession,
            reason="scanned under Vega",
        )
        self._scanned(third)
        pacs.move_study(third.study_uid, vega.patient_id, reason="registered twice")
        pacs.merge_studies(third.study_uid, vega.study_uid, reason="one examination")
        self.split = [vega.study_uid, moeller.study_uid]

    def _rename(self) -> None:
        """Patients are renamed and merged after their images are in both archives."""
        his, exams = self.hospital.his, list(self.exams.values())
        his.update_patient(exams[0].patient_id, name="Łukasiewicz^Zoë", sex="O")
        his.merge_patients(exams[2].patient_id, exams[3].patient_id)
        his.update_patient(self.nodule.patient_id, name="Ødegård^Ćirić")
        assert self.hospital.settle(TIMEOUT)
        self.renamed = [self.nodule, *exams[:1], exams[3]]

    def _fetch(self) -> None:
        """Every study as the archives send it now, and some in every transfer syntax."""
        self.hospital.archive.configure_hierarchy(strict=False)
        wanted = [("pacs", row[0], JPEGLSLossless) for row in self.hospital.pacs.sql(_STUDIES)]
        for procedure in self.renamed:
            wanted.append(("archive", procedure.study_uid, ImplicitVRLittleEndian))
            wanted += [("pacs", procedure.study_uid, syntax) for syntax in SYNTAXES]
        for system, study_uid, syntax in wanted:
            self._got(system, study_uid, syntax)

    def _got(self, system: str, study_uid: str, syntax: UID) -> None:
        """Fetch a study (C-GET), images in one transfer syntax only."""
        into = self.left / f"{system} {syntax.name} {study_uid}"
        into.mkdir(exist_ok=True)

        def keep(event: evt.Event) -> int:
            path = into / f"{event.request.AffectedSOPInstanceUID}.dcm"
            path.write_bytes(event.encoded_dataset())
            return 0x0000

        (place,) = (
            e for e in self.hospital.endpoints() if (e.system, e.protocol) == (system, "dicom")
        )
        classes = [str(row[0]) for row in self.hospital.systems[system].sql(_CLASSES, study_uid)]
        desk = AE("TOOLS")
        desk.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
        for each in classes:
            compressed = syntax.is_compressed and "Image" not in UID(each).name
            desk.add_requested_context(each, ExplicitVRLittleEndian if compressed else syntax)
        association = desk.associate(
            place.local.host,
            place.local.port,
            ae_title=place.title,
            ext_neg=[build_role(each, scp_role=True) for each in classes],
            evt_handlers=[(evt.EVT_C_STORE, keep)],
        )
        assert association.is_established
        keys = Dataset()
        keys.QueryRetrieveLevel, keys.StudyInstanceUID = "STUDY", study_uid
        *_, (status, _) = association.send_c_get(keys, StudyRootQueryRetrieveInformationModelGet)
        association.release()
        assert status.Status == 0x0000, status

    def _release(self) -> None:
        """On a disc, and without names."""
        pacs, tools = self.hospital.pacs, self.hospital.tools
        for procedure in self.renamed:
            uid = procedure.study_uid
            pacs.export(self.left / f"disc of {uid}", study_uids=[uid])
        for name, options in {"basic": (), "teaching": TEACHING}.items():
            for procedure in (self.nodule, *(self.exams[code] for code in KINDS)):
                into = self.left / f"{name} {procedure.code} {procedure.study_uid}"
                tools.deidentify(procedure.study_uid, into, options=options)
