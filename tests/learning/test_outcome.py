import pytest

from labsim.learning.outcome import Verdict, cannot_check, incorrect, not_attempted, passed


def test_only_passed_counts_as_passed() -> None:
    outcomes = [passed("a"), not_attempted("b"), incorrect("c"), cannot_check("d")]
    assert [outcome.passed for outcome in outcomes] == [True, False, False, False]
    assert [outcome.verdict for outcome in outcomes] == list(Verdict)


def test_text_sets_desired_against_actual() -> None:
    text = str(incorrect("Wrong title.", "CT1", "ct1", 12, 15))
    assert text.splitlines() == [
        "✘ Incorrect. Wrong title.",
        "  Wanted: CT1",
        "  Found: ct1",
        "  Journal events: 12, 15",
    ]


@pytest.mark.parametrize("verdict", Verdict)
def test_html_says_the_verdict_in_words_not_in_colour_alone(verdict: Verdict) -> None:
    make = dict(zip(Verdict, (passed, not_attempted, incorrect, cannot_check), strict=True))
    html = make[verdict]("Because.")._repr_html_()
    assert verdict.value.capitalize() in html
    assert "role='status'" in html


def test_html_shows_what_a_learner_wrote_as_text() -> None:
    html = incorrect("No.", "CT1", "<script>alert(1)</script>")._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
