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
from tests.builders.clocks import MINUTE_MS, MONDAY_MS, SECOND_MS
from tests.builders.heartbeats import HEARTBEAT, beat, build_watch
from tests.builders.html import Elements
from tests.builders.page import MadeSource, get, publish, serving
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


def at(later_s, replica="a", arrived_ms=None, **fields):
    """A heartbeat some seconds after now, by the brokers' clock."""
    return (NOW_MS + later_s * SECOND_MS, replica, arrived_ms), fields


PARTITIONS = ("embeddings[3]", "embeddings[1]")
REPORTED = {
    "transaction": "a transaction does not end, and records after it are not read: ",
    "schema": "partitions wait for a schema: ",
    "unwritable": "partitions take no records: ",
    "stopped": "partitions are stopped, because their state, offset and log do not match: ",
    "restore": "the start of partitions is not known yet: ",
}
NO_RIGHT = "no right; grant Read"
SILENCE = "no replica is known to serve count, windows"
NAMED = tuple(f"embeddings[{number}]" for number in range(20))
OF_TWO_TOPICS = refused(30) | refused(10, reason="past") | refused(30, "cam-*", "clicks")


@pytest.mark.parametrize(
    "steps",
    [
        # Refused records count for an hour by the brokers' clock.
        [
            (
                [
                    at(-59 * 60, accepted={"s": 30}, refused=refused(60)),
                    at(0, accepted={"s": 30}, refused=refused(30)),
                ],
                0,
                {"refused": {"s": ("90 of 150", "invalid")}},
            ),
            ([], 120, {"refused": {"s": ("30 of 60", "invalid")}}),
            ([], 3_600, {"refused": {}}),
        ],
        # Replicas, streams and topics are added up apart.
        [
            (
                [
                    at(0, name, accepted={"s": 40, "other": 500}, read={"clicks": 600}, refused=OF_TWO_TOPICS)
                    for name in "ab"
                ],
                0,
                {"refused": {"cam-*": ("60 of 60", "invalid"), "s": ("80 of 160", "invalid")}, "told": []},
            )
        ],
        # One record without a name tells of no record that has one.
        [
            (
                [at(0, read={"embeddings": 40_000}, refused=refused(20_000) | refused(1, ""))],
                0,
                {"many": ["s"], "told": []},
            )
        ],
        # A condition is one fault, also where its reason names an offset, another with each heartbeat.
        [
            (
                [
                    at(-30, reasons={"clock": "differ by 830 ms"}),
                    at(-15, reasons={"clock": "differ by 820 ms"}),
                    at(0, "b", reasons={"clock": "differ by 640 ms"}),
                ],
                0,
                {"told": ["clock: differ by 640 ms (replica a, b)"], "since_s": [-30]},
            )
        ],
        # Why a replica is not ready is told until it is or ends.
        [
            (
                [at(0, reasons={"count": NO_RIGHT, "windows": NO_RIGHT}), at(0, "b")],
                0,
                {"told": [f"{role}: {NO_RIGHT} (replica a)" for role in ("count", "windows")]},
            ),
            ([at(1_800, "b")], 1_800, {"told": []}),
        ],
        # Partitions on which replicas cannot work.
        *(
            [
                (
                    [
                        at(-1_800, blocked={name: PARTITIONS[:1]}),
                        at(0, blocked={name: PARTITIONS}),
                        at(0, "b", blocked={name: PARTITIONS[:1], "a_later_reason": PARTITIONS}),
                    ],
                    0,
                    {"told": [f"{said}embeddings[1], embeddings[3] (replica a, b)"], "since_s": [-1_800]},
                ),
                ([at(0), at(0, "b")], 0, {"told": []}),
            ]
            for name, said in REPORTED.items()
        ),
        # Of what topics those are that are not named is not known.
        [
            (
                [
                    at(0, blocked={"unwritable": NAMED}, more_blocked={"unwritable": 27_980}),
                    at(0, "b", blocked={"unwritable": NAMED[:1]}),
                ],
                0,
                {
                    "told": [
                        f"{REPORTED['unwritable']}embeddings[0], embeddings[10], embeddings[11] and 27,997 "
                        "more (replica a, b)"
                    ],
                    "topics": [frozenset()],
                },
            )
        ],
        # A role that hangs.
        [
            (
                [at(0, unpolled_ms={"count": 5 * MINUTE_MS}), at(0, "b")],
                59,
                {
                    "told": ["the role count hangs: it does not poll Kafka (replica a)"],
                    "since_s": [-300],
                },
            )
        ],
        # The lag of a topic is known where all who hold it know it.
        [
            ([at(0)], 0, {"unread": {}}),
            (
                [at(0, "b", unread={"embeddings": 40}), at(0, "c", unread={})],
                0,
                {"unread": {"embeddings": 40}},
            ),
            (
                [at(0, "c", unread={"embeddings": 2, "clicks": 0})],
                0,
                {"unread": {"embeddings": 42, "clicks": 0}},
            ),
            ([at(0, "d", unread={"embeddings": None})], 0, {"unread": {"embeddings": None, "clicks": 0}}),
        ],
        # Silence is told from the end of a minute on, of the role that nobody serves.
        [
            ([at(-60)], -1, {"told": []}),
            ([], 0, {"told": [SILENCE], "since_s": [-60]}),
            ([at(0, "b", roles=("count",))], 0, {"told": ["no replica is known to serve windows"]}),
        ],
        # Two replicas send, whose brokers have another clock than the page; one ends, then the other.
        *(
            [
                (
                    [
                        at(
                            later_s,
                            name,
                            NOW_MS + (later_s + ahead_s) * SECOND_MS,
                            blocked={"stopped": [name]},
                        )
                        for later_s, name in ((-120, "a"), (-120, "b"), (-60, "b"))
                    ],
                    ahead_s - 70,
                    {"told": [f"{REPORTED['stopped']}a, b (replica a, b)"]},
                ),
                ([], ahead_s - 0.001, {"told": [f"{REPORTED['stopped']}b (replica b)"]}),
                ([], ahead_s, {"told": [SILENCE]}),
            ]
            for ahead_s in (-600, 0, 50, 600)
        ),
        # The page cannot read for ten minutes: it reads the last heartbeats before, and none follow.
        *(
            [
                (
                    [
                        *(at(age, "a", NOW_MS + (age + ahead_s) * SECOND_MS) for age in (-120, -105, -90)),
                        *(at(age, "a", NOW_MS + (540 + ahead_s) * SECOND_MS) for age in (-75, -60, -45)),
                    ],
                    540 + ahead_s,
                    {"told": [SILENCE]},
                )
            ]
            for ahead_s in (0, 600)
        ),
        # A heartbeat of the future does not outlive the others.
        [
            ([at(3_600, "wrong", NOW_MS), at(0, "a", NOW_MS)], 0, {"told": []}),
            ([], 120, {"told": [SILENCE]}),
        ],
    ],
)
def test_faults_follow_from_heartbeats(steps):
    watch = ServiceWatch()
    watch.source = MadeSource()
    for beats, later_s, expected in steps:
        for place, fields in beats:
            beat(watch, *place, **fields)
        status = watch.status(NOW_MS + int(later_s * SECOND_MS))
        found = {
            "told": [tell_service_fault(each) for each in status.faults],
            "since_s": [(each.since_ms - NOW_MS) / SECOND_MS for each in status.faults if each.since_ms],
            "topics": [each.topics for each in status.faults],
            "refused": {name: (each.extent, each.reason) for name, each in status.refusals.items()},
            "many": [name for name, each in status.refusals.items() if each.is_many],
            "unread": status.unread,
        }
        assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"error": "no right"}, [f"{SILENCE}: no right"]),
        ({"has_caught_up": False}, []),
        ({"missing": ("clicks",)}, ["the topic clicks does not exist"]),
    ],
)
def test_silence_of_replicas_is_told_once_their_topic_is_read(change, told):
    watch = build_watch()
    watch.source.error, watch.source.has_caught_up = change.get("error"), change.get("has_caught_up", True)
    watch.look(TopicFaults(change.get("missing", ())))
    assert [tell_service_fault(each) for each in watch.status(MONDAY_MS + MINUTE_MS).faults] == told


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
    results = publish("ok", stream="s", segments=[], kind=None)
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


def test_page_and_api_say_the_same(snapshot):
    watch = build_watch(
        blocked={"transaction": ("embeddings[3]",)},
        read={"embeddings": 40_000},
        refused=refused(20_000, "", reason="undecodable") | refused(400, "cam-7", reason="wrong_dimension"),
        surplus={"cam-*": 1_200},
    )
    watch.look(TopicFaults(("clicks",), "", (("orders", 2),)))
    results = publish("ok", stream="cam-1", segments=[])
    streams = [{"match": "cam-*", "most": 9, "windows": ["1h"]}, {"name": "new", "windows": ["1h"]}]
    with serving(results, MONDAY_MS, streams, watch=watch, runbooks_url="https://wiki.example") as server:
        shown = Elements(get(server, "/")[1])
        stream = Elements(get(server, "/?stream=cam-1")[1])
        answer = json.loads(get(server, "/api/v1/streams")[1])
    assert answer == snapshot
    for fault in answer["faults"]:
        sentence = f"{fault['text'][0].upper()}{fault['text'][1:]}."
        assert sentence in shown.text
        assert sentence in stream.text
        assert fault["next_step"] in shown.text.lower()
        assert fault["runbook"] in shown.every("a", "href")
    # The cause comes before the advice to look at the producers.
    assert "The topic clicks does not exist: create it, or correct topics.events." in shown.text
