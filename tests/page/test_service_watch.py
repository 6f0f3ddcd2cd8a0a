"""What heartbeats and brokers say: whose records are refused, and what holds up the service."""

import json
from dataclasses import replace

import pytest

from driftgauge.events.records import StoredRecord
from driftgauge.kafka.cluster import TopicFaults
from driftgauge.page.service_watch import ServiceWatch
from driftgauge.page.story import tell_service_fault
from driftgauge.records.heartbeat import decode_heartbeat, encode_heartbeat
from driftgauge.report.document import render_report, report_record
from tests.builders.clocks import HOUR_MS, MINUTE_MS, MONDAY_MS, SECOND_MS
from tests.builders.heartbeats import HEARTBEAT, beat, build_watch
from tests.builders.html import Elements
from tests.builders.page import MadeResults, MadeSource, get, serving
from tests.builders.reports import report_on

NOW_MS = MONDAY_MS + 30 * MINUTE_MS


def refused(number, stream="s", topic="embeddings", reason="invalid"):
    return {(topic, stream, reason): number}


@pytest.mark.parametrize(
    ("accepted", "number", "is_told"),
    [
        (950, 50, False),
        (949, 51, True),
        # A backfill of six days in an hour.
        (35_963, 37, False),
        # A few records say little, unless they are half.
        (81, 19, False),
        (80, 20, True),
        (2, 1, False),
        (1, 1, True),
        (0, 1, True),
    ],
)
@pytest.mark.parametrize("stream", ["s", ""])
def test_refused_records_are_compared_with_records(accepted, number, is_told, stream):
    watch = build_watch(
        read={"embeddings": accepted + number}, accepted={"s": accepted}, refused=refused(number, stream)
    )
    status = watch.status(NOW_MS)
    extent = f"{number:,} of {accepted + number:,}"
    many = [each.extent for each in status.refusals.values() if each.is_many]
    assert many == [extent] * (is_told and stream == "s")
    # What names no stream is told of the topic.
    assert [tell_service_fault(each) for each in status.faults if each.name == "refused"] == [
        f"of the records of the topic embeddings read in the last hour, {extent} were refused and name no "
        "stream, most as invalid"
    ] * (is_told and not stream)


def test_refused_records_count_for_an_hour_by_the_brokers_clock():
    watch = ServiceWatch()
    for age_minutes, number in ((59, 60), (0, 30)):
        beat(watch, NOW_MS - age_minutes * MINUTE_MS, accepted={"s": 30}, refused=refused(number))
    (whole,) = watch.status(NOW_MS).refusals.values()
    assert (whole.records, whole.read) == (90, 150)
    (fresh,) = watch.status(NOW_MS + 2 * MINUTE_MS).refusals.values()
    assert (fresh.records, fresh.read) == (30, 60)
    assert watch.status(NOW_MS + HOUR_MS).refusals == {}


def test_condition_is_one_fault_whatever_replicas_say_of_it():
    """The clock's reason names its offset, which is another with each heartbeat."""
    watch = ServiceWatch()
    for age_s, replica, offset_ms in ((30, "a", 830), (15, "a", 820), (0, "b", 640)):
        beat(watch, NOW_MS - age_s * SECOND_MS, replica, reasons={"clock": f"differ by {offset_ms} ms"})
    (fault,) = (each for each in watch.status(NOW_MS).faults if each.name == "not_ready")
    assert (fault.subject, fault.detail, fault.replicas) == ("clock", "differ by 640 ms", "a, b")
    assert fault.since_ms == NOW_MS - 30 * SECOND_MS


def test_replicas_streams_and_topics_are_added_up_apart():
    watch = ServiceWatch()
    both = refused(30) | refused(10, reason="past") | refused(30, "cam-*", "clicks")
    for replica in "ab":
        beat(watch, replica=replica, accepted={"s": 40, "other": 500}, read={"clicks": 600}, refused=both)
    status = watch.status(NOW_MS)
    assert {name: (each.extent, each.reason) for name, each in status.refusals.items()} == {
        "s": ("80 of 160", "invalid"),
        "cam-*": ("60 of 60", "invalid"),
    }
    assert [each.name for each in status.faults if each.name == "refused"] == []


PARTITIONS = ("embeddings[3]", "embeddings[1]")
REPORTED = {
    "transaction": "a transaction does not end, and records after it are not read: ",
    "schema": "partitions wait for a schema: ",
    "unwritable": "partitions take no records: ",
    "stopped": "partitions are stopped, because their state, offset and log do not match: ",
    "restore": "the start of partitions is not known yet: ",
}


@pytest.mark.parametrize("name", REPORTED)
def test_partitions_that_replicas_cannot_work_on_are_told_with_their_replicas(name):
    watch = build_watch(blocked={name: PARTITIONS[:1]})
    beat(watch, NOW_MS, "a", blocked={name: PARTITIONS})
    beat(watch, NOW_MS, "b", blocked={name: PARTITIONS[:1], "a_later_reason": PARTITIONS})
    (fault,) = watch.status(NOW_MS).faults
    assert (fault.name, fault.since_ms) == (name, MONDAY_MS)
    assert tell_service_fault(fault) == f"{REPORTED[name]}embeddings[1], embeddings[3] (replica a, b)"
    for replica in "ab":
        beat(watch, NOW_MS, replica)
    assert watch.status(NOW_MS).faults == ()


def test_why_a_replica_is_not_ready_is_told_until_it_is_or_ends():
    watch = build_watch(reasons={"count": "no right; grant Read", "windows": "no right; grant Read"})
    beat(watch, replica="b")
    assert [tell_service_fault(each) for each in watch.status(MONDAY_MS).faults] == [
        f"{role}: no right; grant Read (replica a)" for role in ("count", "windows")
    ]
    beat(watch, NOW_MS, "b")
    assert watch.status(NOW_MS).faults == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, ["no replica is known to serve count, windows"]),
        ({"error": "no right"}, ["no replica is known to serve count, windows: no right"]),
        ({"has_caught_up": False}, []),
        ({"missing": ("clicks",)}, ["the topic clicks does not exist"]),
    ],
)
def test_silence_of_replicas_is_told_once_their_topic_is_read(change, told):
    watch = build_watch()
    watch.source.error, watch.source.has_caught_up = change.get("error"), change.get("has_caught_up", True)
    watch.look(TopicFaults(change.get("missing", ())))
    assert watch.status(MONDAY_MS + 59 * SECOND_MS).faults == watch.status(MONDAY_MS).faults
    faults = watch.status(MONDAY_MS + 60 * SECOND_MS).faults
    assert [tell_service_fault(each) for each in faults] == told
    assert [each.since_ms for each in faults if each.name == "no_heartbeat"] == [MONDAY_MS] * (
        "serve" in "".join(told)
    )
    beat(watch, MONDAY_MS + 60 * SECOND_MS, "b", roles=("count",))
    if change == {}:
        (fault,) = watch.status(MONDAY_MS + 60 * SECOND_MS).faults
        assert fault.subject == "windows"


@pytest.mark.parametrize("ahead_ms", [-10 * MINUTE_MS, 0, 50 * SECOND_MS, 10 * MINUTE_MS])
def test_silence_is_judged_by_the_brokers_clock(ahead_ms):
    """Two replicas send, whose brokers have another clock than the page; one ends, then the other."""
    watch = ServiceWatch()
    watch.source = MadeSource()
    for age_s, replicas in ((120, "ab"), (60, "b")):
        for replica in replicas:
            time_ms = NOW_MS - age_s * SECOND_MS
            blocked = {"stopped": (f"embeddings[{ord(replica)}]",)}
            beat(watch, time_ms, replica, arrived_ms=time_ms + ahead_ms, blocked=blocked)
    for later_ms, told in (
        (-70 * SECOND_MS, [("stopped", "a, b")]),
        (-1, [("stopped", "b")]),
        (0, [("no_heartbeat", "")]),
    ):
        faults = watch.status(NOW_MS + ahead_ms + later_ms).faults
        assert [(each.name, each.replicas) for each in faults] == told


@pytest.mark.parametrize("ahead_ms", [0, 10 * MINUTE_MS])
def test_heartbeats_that_come_late_change_no_clock(ahead_ms):
    """The page cannot read for ten minutes: then it reads the last heartbeats before, and none follow."""
    watch = ServiceWatch()
    watch.source = MadeSource()
    for age_s in (120, 105, 90):
        time_ms = NOW_MS - age_s * SECOND_MS
        beat(watch, time_ms, arrived_ms=time_ms + ahead_ms)
    for age_s in (75, 60, 45):
        beat(watch, NOW_MS - age_s * SECOND_MS, arrived_ms=NOW_MS + 9 * MINUTE_MS + ahead_ms)
    faults = watch.status(NOW_MS + 9 * MINUTE_MS + ahead_ms).faults
    assert [each.name for each in faults] == ["no_heartbeat"]


@pytest.mark.parametrize(
    ("accepted", "number", "reason", "is_said"),
    [(0, 10, "future", True), (0, 10, "past", True), (30, 10, "future", False), (10, 90, "invalid", True)],
)
def test_gaps_are_those_of_accepted_records_and_of_those_refused_for_their_time(
    accepted, number, reason, is_said
):
    of_stream = {("s", -4): 10}
    watch = build_watch(accepted={"s": accepted}, refused=refused(number, reason=reason), gaps=of_stream)
    said = "in 10 of 10 records the event time is 2h after the record's time: "
    assert [each.startswith(said) for each in watch.status(NOW_MS).gaps.values()] == [True] * is_said


def test_clock_of_the_page_is_not_compared_with_heartbeats_of_before():
    """A page that starts an hour after the last replica has ended says so at once."""
    watch = ServiceWatch()
    watch.source = MadeSource()
    watch.source.has_caught_up = False
    beat(watch, NOW_MS - 50 * MINUTE_MS, arrived_ms=NOW_MS)
    watch.source.has_caught_up = True
    assert [each.name for each in watch.status(NOW_MS).faults] == ["no_heartbeat"]


def test_heartbeat_of_the_future_does_not_outlive_the_others():
    watch = ServiceWatch()
    watch.source = MadeSource()
    beat(watch, NOW_MS + HOUR_MS, "wrong", arrived_ms=NOW_MS)
    beat(watch, NOW_MS, "a", arrived_ms=NOW_MS)
    assert watch.status(NOW_MS).faults == ()
    assert [each.name for each in watch.status(NOW_MS + 2 * MINUTE_MS).faults] == ["no_heartbeat"]


def test_role_that_hangs_is_told_with_its_age():
    watch = build_watch(NOW_MS, unpolled_ms={"count": 5 * MINUTE_MS})
    beat(watch, NOW_MS, "b")
    (fault,) = watch.status(NOW_MS + MINUTE_MS - 1).faults
    assert tell_service_fault(fault) == "the role count hangs: it does not poll Kafka (replica a)"
    assert fault.since_ms == NOW_MS - 5 * MINUTE_MS


def test_number_of_partitions_that_are_not_named_is_told():
    named = tuple(f"embeddings[{number}]" for number in range(20))
    watch = build_watch(NOW_MS, blocked={"unwritable": named}, more_blocked={"unwritable": 27_980})
    beat(watch, NOW_MS, "b", blocked={"unwritable": named[:1]})
    (fault,) = watch.status(NOW_MS).faults
    assert fault.subject == "embeddings[0], embeddings[10], embeddings[11] and 27,997 more"
    assert fault.topics == frozenset(), "of what topics the others are is not known"


def test_lag_of_a_topic_is_known_where_all_who_hold_it_know_it():
    watch = build_watch(NOW_MS)
    assert watch.status(NOW_MS).unread == {}
    for replica in "bc":
        beat(watch, NOW_MS, replica, unread={"embeddings": 40} if replica == "b" else {})
    assert watch.status(NOW_MS).unread == {"embeddings": 40}
    beat(watch, NOW_MS, "c", unread={"embeddings": 2, "clicks": 0})
    assert watch.status(NOW_MS).unread == {"embeddings": 42, "clicks": 0}
    beat(watch, NOW_MS, "d", unread={"embeddings": None})
    assert watch.status(NOW_MS).unread == {"embeddings": None, "clicks": 0}


def test_one_record_without_a_name_tells_of_no_record_that_has_one():
    watch = build_watch(read={"embeddings": 40_000}, refused=refused(20_000) | refused(1, ""))
    status = watch.status(MONDAY_MS)
    assert [name for name, each in status.refusals.items() if each.is_many] == ["s"]
    assert status.faults == ()


def test_nothing_follows_from_heartbeats_that_nobody_reads():
    assert ServiceWatch().status(NOW_MS) == ServiceWatch().status(0)
    assert ServiceWatch().status(NOW_MS).faults == ()


@pytest.mark.parametrize("value", [b"", b"{}", b"\x07\x92\x90\x80"])
def test_other_records_are_refused(value):
    with pytest.raises(ValueError, match="a heartbeat"):
        ServiceWatch().receive(StoredRecord(value, stored_ms=MONDAY_MS))


def test_heartbeat_of_many_streams_takes_several_records():
    streams = {f"s{number:0126}": number for number in range(2_500)}
    beats = [decode_heartbeat(value) for value in encode_heartbeat(replace(HEARTBEAT, accepted=streams))]
    assert [len(each.accepted) for each in beats] == [1_000, 1_000, 500]
    assert {name: number for each in beats for name, number in each.accepted.items()} == streams
    assert [each.read for each in beats] == [HEARTBEAT.read, {}, {}]


def test_notes_change_no_state_and_are_on_page_report_and_api():
    watch = build_watch(
        accepted={"s": 3_996}, gaps={("s", 10): 3_990}, refused=refused(4), read={"embeddings": 4_000}
    )
    results = MadeResults()
    results.publish(0, "ok", stream="s", segments=[], kind=None)
    wanted = [
        "in 3,990 of 3,996 records the event time is 5h before the record's time: these look like local "
        "times that are read as UTC, or a job publishes them 5h later; if the events are live, let producers "
        "send UTC or an offset, or map another field to timestamp",
        "of the records read in the last hour, 4 of 4,000 were refused, most as invalid",
    ]
    with serving(results, MONDAY_MS, watch=watch) as server:
        shown = [Elements(get(server, path)[1]).text for path in ("/", "/?stream=s")]
        (stream,) = json.loads(get(server, "/api/v1/streams")[1])["streams"]
    report = report_on(results, watch=watch)
    assert (stream["state"], stream["notes"]) == ("ok", wanted)
    assert report_record(report).status.notes == tuple(wanted)
    for text in (*shown, Elements(render_report(report)).text):
        for sentence in wanted:
            assert f"{sentence[0].upper()}{sentence[1:]}." in text


def test_page_and_api_say_the_same():
    watch = build_watch(
        blocked={"transaction": ("embeddings[3]",)},
        read={"embeddings": 40_000},
        refused=refused(20_000, "", reason="undecodable") | refused(400, "cam-7", reason="wrong_dimension"),
        surplus={"cam-*": 1_200},
    )
    watch.look(TopicFaults(("clicks",), "", (("orders", 2),)))
    results = MadeResults()
    results.publish(0, "ok", stream="cam-1", segments=[])
    streams = [{"match": "cam-*", "most": 9, "windows": ["1h"]}, {"name": "new", "windows": ["1h"]}]
    with serving(results, MONDAY_MS, streams, watch=watch) as server:
        shown = Elements(get(server, "/")[1])
        stream = Elements(get(server, "/?stream=cam-1")[1])
        answer = json.loads(get(server, "/api/v1/streams")[1])
    assert [(each["name"], each["text"]) for each in answer["faults"]] == [
        ("missing_topic", "the topic clicks does not exist"),
        ("no_leader", "partitions have no leader: orders[2]"),
        (
            "transaction",
            "a transaction does not end, and records after it are not read: embeddings[3] (replica a)",
        ),
        (
            "refused",
            "of the records of the topic embeddings read in the last hour, 20,000 of 40,000 were refused and "
            "name no stream, most as undecodable",
        ),
        (
            "surplus",
            "1,200 events read in the last hour are in no window: more streams match cam-* than its most",
        ),
    ]
    for fault in answer["faults"]:
        sentence = f"{fault['text'][0].upper()}{fault['text'][1:]}."
        assert sentence in shown.text
        assert sentence in stream.text
        assert fault["next_step"] in shown.text.lower()
        assert fault["runbook"] in shown.every("a", "href")
    assert "cam-7" in shown.text
    found = {each["stream"]: each for each in answer["streams"]}
    assert {name: each["state"] for name, each in found.items()} == {
        "cam-7": "refused",
        "cam-1": "ok",
        "new": "waiting",
    }
    (concern,) = (each for each in found["cam-7"]["concerns"] if each["name"] == "refused")
    assert (concern["detail"], concern["extent"]) == ("wrong_dimension", "400 of 400")
    # The cause comes before the advice to look at the producers.
    *causes, advice = found["new"]["next_steps"]
    assert causes[0] == "The topic clicks does not exist: create it, or correct topics.events."
    assert advice.startswith("Check that producers send")
    assert causes[0] in shown.text
