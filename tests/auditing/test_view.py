"""What the page shows of an audit."""

from __future__ import annotations

import numpy as np
import pytest

from immersion.auditing import view
from immersion.auditing.result import Audit
from immersion.report.view import ReportView


def shown(result: Audit, *, images: bool = True) -> ReportView:
    return view.report_view(
        result.findings,
        result.checks,
        result.accuracy,
        result.evidence,
        result.skipped,
        result.provenance,
        images=images,
    )


def test_all_samples_are_shown_when_they_fit(faulty_audit: Audit) -> None:
    page = shown(faulty_audit)
    assert page.n == 5000
    assert page.thumbnails is not None
    assert not any("are on this page" in note.en for note in page.notes)
    assert [m.layer for m in page.maps] == [g.name for g in faulty_audit.evidence.everywhere]


def test_a_page_that_would_be_too_large_is_cut_and_says_so(
    faulty_audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = len(faulty_audit.evidence.everywhere)
    monkeypatch.setattr(view, "_MAP_BYTES", 5.2 * 800 * layers)
    page = shown(faulty_audit)
    assert page.n == 800
    assert page.notes[0].en.startswith("800 of the 5,000 audited samples are on this page")
    whole = {f.id: f for f in faulty_audit.findings}
    data = faulty_audit.evidence
    for finding in page.findings:
        # What the findings are about stays, under its new row.
        samples = {int(page.sample_ids[row]) for row in finding.samples}
        assert samples <= set(whole[finding.id].samples)
    labels = next(f for f in page.findings if f.id == "wrong_labels")
    assert len(labels.samples) == len(whole["wrong_labels"].samples)
    for suspect in page.suspects:
        assert data.labels is not None
        assert data.labels[page.sample_ids[suspect.sample]] == suspect.label
    assert page.labels is not None
    np.testing.assert_array_equal(page.labels, data.labels[page.sample_ids])
    full = view.quantised(data.layers[2].map)
    cut = page.maps[3].xy
    assert cut.shape == (800, 2)
    # The same arrangement, up to the scale of the samples that are left.
    here = np.corrcoef(cut[:, 0], full[page.sample_ids][:, 0])[0, 1]
    assert here == pytest.approx(1, abs=1e-6)
    assert faulty_audit.html().count("800") >= 1


@pytest.mark.parametrize(("n", "most"), [(10, 10), (10, 30), (1000, 7), (50, 49)])
def test_shown_rows(n: int, most: int) -> None:
    first = [3, 3, 9]
    rows = view.shown_rows(n, first, most)
    assert len(rows) == len(set(rows)) <= most or n <= most
    assert (np.diff(rows) > 0).all()
    assert {3, 9} <= set(rows.tolist())
    assert rows.max() < n


def test_maps_keep_their_aspect() -> None:
    xy = np.array([[0.0, 0.0], [10.0, 5.0]])
    np.testing.assert_array_equal(view.quantised(xy), [[0, 16384], [65535, 49151]])
    assert (view.quantised(np.ones((3, 2))) == 32768).all()
