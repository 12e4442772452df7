"""Plain text and sections."""

from __future__ import annotations

import pytest

from labsim.systems.ris.report_text import ReportText


def test_sections_are_found_by_their_headings() -> None:
    text = "HISTORY: cough\nFindings:\nLungs clear.\nNo effusion.\n\nImpression: normal"
    assert ReportText.of(text) == ReportText(
        history="cough", findings="Lungs clear.\nNo effusion.", impression="normal"
    )


@pytest.mark.parametrize("text", ["No fracture.", "The impression: normal", "  \n"])
def test_what_stands_under_no_heading_is_a_finding(text: str) -> None:
    assert ReportText.of(text) == ReportText(findings=text.strip())


def test_text_that_begins_without_a_heading_keeps_its_start() -> None:
    assert ReportText.of("Old man.\nImpression: normal") == ReportText(
        findings="Old man.", impression="normal"
    )


def test_the_text_has_each_section_under_its_heading() -> None:
    text = ReportText(findings="Clear.", impression="Normal.").text
    assert text == "Findings: Clear.\nImpression: Normal."
    assert ReportText.of(text).text == text
