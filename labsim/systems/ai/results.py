"""What the AI node says of a series: segmentation, presentation state, report of measurements.

The report follows TID 1500 of PS3.16 (Comprehensive 3D SR); each nodule is a
segment of the segmentation (PS3.3 A.51), which has the voxels and so the place.
The presentation state (A.33.1) circles it for readers whose viewer shows no segments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from labsim.imaging.common import stamp
from labsim.imaging.presentation import Annotation, Mark, Text, Window, make
from labsim.systems.ai.nodules import Finding
from labsim.systems.ai.volume import Volume

MANUFACTURER = "labsim"
MODEL = "Nodule finder"
VERSION = "1.0"
_SERIES = {"SEG": 9001, "SR": 9002, "PR": 9003}
_NODULE = Code("27925004", "SCT", "Nodule")
# That there is none is told as computer-aided detection tells it (PS3.16 TID 4100, CID 6047).
_SUMMARY = Code("111017", "DCM", "CAD Processing and Findings Summary")
_NONE = Code("111241", "DCM", "All algorithms succeeded; without findings")
# As computer-aided detection reports it (PS3.16 TID 4104), in percent.
_CERTAINTY = Code("111012", "DCM", "Certainty of Finding")
_LUNG = Window(-600, 1500, name="LUNG")
_AROUND = 3.0  # pixels between a nodule and its circle


def results_of(
    volume: Volume,
    findings: Sequence[Finding],
    uid: Callable[[str], str],
    institution: str,
    now: datetime,
) -> list[Dataset]:
    """Return the objects that tell what was found.

    Parameters
    ----------
    volume : Volume
        What was looked at; its images are the evidence.
    findings : sequence of Finding
        The nodules; with none there is a report alone, which says so.
    uid : callable
        Returns a UID by the name of what it is for.
    institution : str
        Its name.
    now : datetime
        When, by the node's clock.

    Returns
    -------
    list of Dataset
        Segmentation and presentation state, if there is something to show, then the report.
    """
    if not findings:
        return [_identified(_report(volume, [], [], uid, institution), volume, now)]
    segmentation = _segmentation(volume, findings, uid)
    state = _presentation(volume, findings, uid, institution, now)
    groups = _groups(volume, findings, segmentation, uid)
    report = _report(volume, [segmentation, state], groups, uid, institution)
    return [_identified(made, volume, now) for made in (segmentation, state, report)]


def _presentation(
    volume: Volume,
    findings: Sequence[Finding],
    uid: Callable[[str], str],
    institution: str,
    now: datetime,
) -> Dataset:
    marks: list[Annotation] = []
    for number, finding in enumerate(findings, 1):
        marks += _marks(volume, number, finding)
    return make(
        volume.images,
        series_uid=uid("PR series"),
        sop_uid=uid("PR"),
        now=now,
        label="AI NODULES",
        description="Nodules with their certainty",
        institution=institution,
        model=MODEL,
        series_number=_SERIES["PR"],
        series_description="AI: nodules marked",
        window=_LUNG,
        annotations=marks,
    )


def _marks(volume: Volume, number: int, finding: Finding) -> list[Annotation]:
    """Return a circle and its certainty for the slices in which a nodule lies."""
    slices, rows, columns = np.nonzero(finding.mask)
    row, column = rows.mean() + 0.5, columns.mean() + 0.5
    radius = float(np.hypot(rows + 0.5 - row, columns + 0.5 - column).max()) + _AROUND
    width = finding.mask.shape[2]
    # At the right edge of the image the point that gives the radius lies to the left.
    side = column + radius if column + radius <= width else column - radius
    images = [str(volume.images[index].SOPInstanceUID) for index in np.unique(slices)]
    words = f"Nodule {number}: {100 * finding.confidence:.0f} %"
    return [
        Mark("CIRCLE", [(column, row), (side, row)], layer="NODULES", images=images),
        Text(words, at=(min(column + radius, width), row), layer="NODULES", images=images),
    ]


def _segmentation(
    volume: Volume, findings: Sequence[Finding], uid: Callable[[str], str]
) -> Dataset:
    import highdicom.seg as hd  # lazy: it takes half a second
    from highdicom import AlgorithmIdentificationSequence

    algorithm = AlgorithmIdentificationSequence(
        name=MODEL, family=codes.DCM.ArtificialIntelligence, version=VERSION
    )
    descriptions = [
        hd.SegmentDescription(
            segment_number=number,
            segment_label=f"Nodule {number}",
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=_NODULE,
            algorithm_type=hd.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            tracking_uid=uid(f"nodule {number}"),
            tracking_id=f"Nodule {number}",
        )
        for number, _ in enumerate(findings, 1)
    ]
    made: Dataset = hd.Segmentation(
        source_images=list(volume.images),
        pixel_array=np.stack([finding.mask for finding in findings], axis=-1).astype(np.uint8),
        segmentation_type=hd.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=uid("SEG series"),
        series_number=_SERIES["SEG"],
        sop_instance_uid=uid("SEG"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        software_versions=VERSION,
        device_serial_number="1",
        series_description="AI: nodules",
    )
    return made


def _groups(
    volume: Volume, findings: Sequence[Finding], segmentation: Dataset, uid: Callable[[str], str]
) -> list[Any]:
    """Return the measurements of each nodule (TID 1411)."""
    import highdicom.sr as hd  # lazy: it takes half a second

    series_uid = volume.images[0].SeriesInstanceUID
    groups = []
    for number, finding in enumerate(findings, 1):
        measured = [
            (codes.SCT.Diameter, finding.diameter, codes.UCUM.Millimeter),
            (codes.DCM.AttenuationCoefficient, finding.mean, codes.UCUM.HounsfieldUnit),
            (_CERTAINTY, 100 * finding.confidence, codes.UCUM.Percent),
        ]
        groups.append(
            hd.VolumetricROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=hd.TrackingIdentifier(
                    uid=uid(f"nodule {number}"), identifier=f"Nodule {number}"
                ),
                referenced_segment=hd.ReferencedSegment(
                    sop_class_uid=segmentation.SOPClassUID,
                    sop_instance_uid=segmentation.SOPInstanceUID,
                    segment_number=number,
                    source_series=hd.SourceSeriesForSegmentation(series_uid),
                ),
                finding_type=_NODULE,
                measurements=[
                    hd.Measurement(name=name, value=round(value, 1), unit=unit)
                    for name, value, unit in measured
                ],
            )
        )
    return groups


def _nothing(uid: Callable[[str], str]) -> Any:
    """Return the group that says that there is no nodule (TID 1501)."""
    import highdicom.sr as hd  # lazy: it takes half a second

    return hd.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.TrackingIdentifier(uid=uid("lungs"), identifier="Lungs"),
        qualitative_evaluations=[hd.QualitativeEvaluation(_SUMMARY, _NONE)],
    )


def _report(
    volume: Volume,
    results: Sequence[Dataset],
    groups: Sequence[Any],
    uid: Callable[[str], str],
    institution: str,
) -> Dataset:
    import highdicom.sr as hd  # lazy: it takes half a second

    observer = hd.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=hd.DeviceObserverIdentifyingAttributes(
            uid=uid("device"), name=MODEL, manufacturer_name=MANUFACTURER, model_name=MODEL
        ),
    )
    content = hd.MeasurementReport(
        observation_context=hd.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.cid100.CTUnspecifiedBodyRegion,
        imaging_measurements=list(groups) or [_nothing(uid)],
        title=codes.DCM.ImagingMeasurementReport,
    )
    made: Dataset = hd.Comprehensive3DSR(
        evidence=[*volume.images, *results],
        content=content[0],
        series_instance_uid=uid("SR series"),
        series_number=_SERIES["SR"],
        sop_instance_uid=uid("SR"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        institution_name=institution,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description="AI: measurements",
    )
    return made


def _identified(made: Dataset, volume: Volume, now: datetime) -> Dataset:
    """Complete whose it is, as the images say, and of when."""
    stamp(made, now)
    for keyword in ("IssuerOfPatientID", "StudyDescription"):
        if keyword in volume.images[0]:
            setattr(made, keyword, volume.images[0].get(keyword))
    return made
