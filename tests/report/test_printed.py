"""Reports printed by Chromium: a ticket takes two pages, and three where there is much of everything."""

import re
from functools import partial

import pytest

from driftgauge.report.document import render_report
from tests.builders.page import record_tree
from tests.builders.reports import STREAM, report_on, results_of
from tests.builders.truth import TrueResults, configure
from tests.page.browser import chromium

pytestmark = pytest.mark.stack

LONG = "a-name-that-is-as-long-as-some-names-are"


def of_truth(folder, stream):
    settings = configure(folder)
    report = report_on(TrueResults(settings, stream), settings=settings, shows_examples=True)
    return render_report(report)


def much_of_everything(_):
    """A thousand windows, 300 clusters and 200 segments with long names, and 60 other streams that drift."""
    results = results_of(*["ok"] * 500, *["drift"] * 498)
    tree = record_tree()
    cluster, segment = tree["clusters"][0], tree["segments"][0]
    events = [f"{LONG}{number}" for number in range(3)]
    changes = {
        "baseline": f"sha256:{'1' * 64}",
        "clusters": [{**cluster, "id": each, "name": LONG, "share": 1 / 300} for each in range(300)],
        "segments": [{**segment, "key": LONG, "value": f"{LONG}{each}"} for each in range(200)],
        "examples": [
            {"cluster": each, "event_ids": events, "baseline_event_ids": events} for each in range(300)
        ],
        "incomplete": [{"topic": LONG, "partition": each} for each in range(100)],
    }
    results.publish(**{"number": 998, "verdict": "ok", **changes, "segments": []})
    for number in range(999, 1_004):
        results.publish(number, "drift", **changes)
    for each in range(60):
        results.publish(0, "drift", stream=f"{LONG}-{each}")
    return render_report(
        report_on(results, (f"Refused events of {LONG}, undecodable: 3.",) * 60, stream=STREAM)
    )


@pytest.mark.parametrize(
    ("build", "most"),
    [
        pytest.param(partial(of_truth, stream="images"), 2, id="camera that drifts"),
        pytest.param(partial(of_truth, stream="texts"), 2, id="topic that grows"),
        (much_of_everything, 3),
    ],
)
def test_report_takes_two_printed_pages(tmp_path, build, most):
    html = build(tmp_path)
    assert html.index("Next steps") < html.index("<b>Evidence</b>") < html.index("Compared with")
    assert len(html.encode()) < 1_000_000
    with chromium() as browser:
        page = browser.new_page()
        page.set_content(html)
        printed = page.pdf(format="A4")
    # Chromium writes the objects of pages as they are.
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= most
