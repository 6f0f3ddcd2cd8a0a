"""What metrics, status and page must say at any time, by the published results alone."""

from driftgauge.core.durations import format_duration
from tests.simulation.page import Samples, read_metrics
from tests.simulation.run import CONCLUSIVE, Run

_ALARMS = ("warning", "drift")


def check_view(run: Run) -> None:
    """Check what somebody sees who looks now."""
    check_metrics(run, read_metrics(replica.telemetry for replica in run.replicas))
    check_status(run)


def check_metrics(run: Run, samples: Samples) -> None:
    """The gauges are those of the newest results, and the totals those of all."""
    shown = {
        (labels["stream"], labels["window"]): labels for labels in map(dict, samples.get("alarm_active", {}))
    }
    late = run.late
    for stream, window in shown:
        size_ms = _sizes(run)[window]
        newest = run.newest(stream, size_ms)
        of_window = _reader(samples, stream=stream, window=window)
        # A stream that retired begins without results; those of before are on the page alone.
        if "retired" in run.plan.features and "/" in stream:
            continue
        assert of_window("alarm_active") == run.has_alarm(stream, size_ms), f"alarm of {stream} {window}"
        assert of_window("drifts_passed_total") == run.passed[stream, size_ms], f"drifts of {stream} {window}"
        assert of_window("late_events_total") == late[stream, size_ms], f"late of {stream} {window}"
        verdicts = {dict(key)["verdict"] for key in samples["windows_closed_total"]}
        for verdict in verdicts:
            of_verdict = _reader(samples, stream=stream, window=window, verdict=verdict)
            closed = run.closed[stream, size_ms, verdict]
            assert of_verdict("windows_closed_total") == closed, (
                f"windows closed: {stream} {window} {verdict}"
            )
            if newest is not None:
                is_own = verdict == newest["verdict"]
                assert of_verdict("window_verdict") == is_own, f"verdict of {stream} {window}: {newest}"
        events = of_window("window_events")
        assert events == (newest and newest["count"]), f"events of {stream} {window}: {events}, {newest}"
        if newest is not None:
            p_value = of_window("window_p_value")
            assert p_value == newest["p_value"], f"p-value of {stream} {window}"
    applied = run.applied
    for labels, value in samples.get("applied_events_total", {}).items():
        assert value == applied[dict(labels)["stream"]], f"applied: {labels}"


def check_status(run: Run) -> None:
    """The states are those of the results; what is green was seen a short while ago."""
    deployment = run.replicas[0].deployment
    visit = run.page.visit(deployment.settings)
    statuses = visit.statuses()
    for stream, status in statuses.items():
        spec = run.spec_of(deployment, stream)
        sizes = {each["window"]: each for each in status["sizes"]}
        has_drift = False
        for size_ms in spec.sizes_ms:
            window = format_duration(size_ms)
            newest, concluded = run.newest(stream, size_ms), run.newest(stream, size_ms, *CONCLUSIVE)
            assert (newest is None) == (window not in sizes), f"page: {stream} {window}"
            if newest is None:
                continue
            for name in ("start", "count", "verdict", "revision", "events_lost"):
                assert sizes[window]["newest"][name] == newest[name], f"page: {name} of {stream} {window}"
            start = concluded and concluded["start"]
            assert sizes[window]["concluded"] == start, f"page: conclusion of {stream} {window}"
            alarms = [each["verdict"] for each in status["alarms"] if each["window"] == window]
            verdict = concluded and concluded["verdict"]
            assert (verdict in _ALARMS) == any(each in _ALARMS for each in alarms), (
                f"page: alarms of {stream}"
            )
            has_drift |= verdict == "drift"
            if status["state"] == "ok":
                is_faulty = newest["verdict"] == "incomplete" or newest["incomplete"] or newest["events_lost"]
                assert not is_faulty, f"green, but {stream} {window} lacks events"
                assert verdict in ("ok", None), f"green, but {stream} {window} says {verdict}"
        assert has_drift == (status["state"] == "drift"), f"page: {stream} is {status['state']}"
        if status["state"] == "ok" and not status["old"]:
            seen = [
                run.newest(stream, size_ms, "ok")["published"] + _overdue_ms(spec, size_ms) >= run.now_ms
                for size_ms in spec.sizes_ms
                if run.newest(stream, size_ms, "ok")
            ]
            assert any(seen), f"green, but not seen: {stream}"
    if run.is_settled:
        assert b"driftgauge" in visit.get("/")
        for stream, status in statuses.items():
            for each in status["sizes"]:
                body = visit.get("/", stream=stream, window=each["window"]).decode()
                state = "old" if status["old"] else status["state"]
                assert f'<section class="verdict v-{state}"' in body, f"page of {stream}: not {state}"


def _overdue_ms(spec, size_ms):
    """By the documents: two windows, `allowed_disorder`, and the longer of two timeouts."""
    return 2 * size_ms + spec.disorder_ms + max(spec.idle_ms, spec.incomplete_ms)


def _sizes(run: Run) -> dict[str, int]:
    return {
        format_duration(size_ms): size_ms
        for each in run.deployments
        for spec in each.specs
        for size_ms in spec.sizes_ms
    }


def _reader(samples: Samples, **labels: str):
    return lambda name: samples.get(name, {}).get(frozenset(labels.items()))
