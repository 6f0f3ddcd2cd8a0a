"""What a run left in its topics and on its replicas' metrics, against what must be there."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import orjson
from confluent_kafka import Message
from deploy.demo.scrape import Scrape

from driftgauge.records.partials import decode_part
from tests.chaos.chain import Chain, check_chain_counters, check_partials
from tests.chaos.divergence import check_divergences
from tests.chaos.gauges import check_gauges
from tests.chaos.history import check_verdicts, level_of
from tests.chaos.lateness import check_counts, check_late, check_nothing_closed_early, late_totals
from tests.chaos.results import PublishedRevision, final_results
from tests.chaos.setting import SHARDS, ChaosSetting
from tests.chaos.truth import Truth
from tests.chaos.verdict import (
    Check,
    check_dead_letters,
    check_log,
    check_replay,
    check_revisions,
    check_unmarked,
)
from tests.chaos.witness import Witness, check_witness
from tests.chaos.workload import LIVE, LOSSY, STREAMS, Workload
from tests.integration.service import driftgauge
from tests.kafka.records import read

REPLAY_S: Final = 300.0
READ_S: Final = 180.0


def judge(
    setting: ChaosSetting,
    folder: Path,
    workload: Workload,
    truth: Truth,
    scrapes: Mapping[str, Scrape],
    witness: Witness,
) -> list[Check]:
    """Compare what is in the topics, and what the replicas showed, with the truth and with `replay`."""
    log, paths = check_log(_read(setting, setting.events_topic), workload, folder)
    written = _read(setting, setting.windows_topic)
    results = _results(written)
    final = final_results(results)
    counts = {key: result.counts for key, result in final.items()}
    parts = _read(setting, setting.partials_topic)
    return [
        log,
        check_counts(counts, truth),
        check_late(counts, late_totals(scrapes.values()), truth),
        check_revisions(results),
        check_unmarked(results),
        check_divergences(results, setting.baseline_counts),
        check_verdicts(results, level_of(setting.centroids)),
        check_nothing_closed_early(results, STREAMS[LIVE]),
        check_dead_letters(_read(setting, setting.dead_letters_topic), workload, setting.events_topic),
        check_gauges(scrapes, final),
        *_judge_chain(parts, setting, workload, truth),
        check_chain_counters(scrapes, SHARDS),
        check_witness(witness.seen, witness.problems, [*written, *parts]),
        check_replay(final_results(_replay(setting, paths)), final, truth.on_time),
    ]


def _judge_chain(
    parts: Sequence[Message], setting: ChaosSetting, workload: Workload, truth: Truth
) -> tuple[Check, Check]:
    chain = Chain(setting.events_topic)
    for message in parts:
        chain.take(message.partition() or 0, message.offset() or 0, decode_part(message.value() or b""))
    return chain.finish(workload.ends, SHARDS), check_partials(chain.counts(), truth.all)


def read_results(setting: ChaosSetting) -> list[PublishedRevision]:
    """Every revision of every window of the workload's streams."""
    return _results(_read(setting, setting.windows_topic))


def _results(messages: Sequence[Message]) -> list[PublishedRevision]:
    results = [PublishedRevision.read(message) for message in messages]
    return [result for result in results if result.key[0] != LOSSY]


def _read(setting: ChaosSetting, topic: str) -> list[Message]:
    return list(read(setting.bootstrap, topic, within_s=READ_S))


def _replay(setting: ChaosSetting, paths: list[Path]) -> list[PublishedRevision]:
    done = driftgauge("replay", "--json", "--config", setting.config, *paths, timeout_s=REPLAY_S)
    assert done.returncode == 0, done.stderr
    return [PublishedRevision("", orjson.loads(line)) for line in done.stdout.splitlines()]
