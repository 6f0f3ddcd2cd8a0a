"""What a run is made of, all of it drawn from one seed: configurations, topics, replicas and steps.

A plan names nothing that only one engine has: configurations as an operator writes them, records as producers
know them, and steps that any group of replicas can carry out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import lcm
from random import Random
from typing import Any

from driftgauge.core.durations import format_duration
from driftgauge.events.timestamps import format_timestamp
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS, SECOND_MS
from tests.builders.references import CLUSTERS
from tests.simulation.producers import ENCODINGS, FILTERED, REASONS, Sent

START_MS = MONDAY_MS + 2 * DAY_MS
"""The wall clock when a run begins."""
COMMON = (
    *("texts", "segments", "pattern", "warm_up", "schedule", "sizes", "disorder", "lateness", "drift"),
    *("topics", "bundles", "hostile", "live", "replicas", "clock_errors", "mishaps", "eager"),
    *("small_rounds", "slow", "outcomes", "crashes", "sparse"),
)
"""Features of any plan: half of the plans have each."""
ROUGH = (
    *("changed", "late", "lost", "unread", "silence", "grown", "surplus", "retired", "both_topics"),
    *("recreated", "truncated", "beheaded"),
)
"""Features of plans that are not calm, in which events may come after their windows have closed."""
MEETINGS = (
    # A window is judged, or revised, after one of the next baseline, and its state restored.
    *[("schedule", "late", "lateness", "warm_up", "texts", "drift", "mishaps")] * 2,
    ("pattern", "surplus", "replicas", "changed", "sizes"),
    # Shards are paused while windows wait, and move to other replicas.
    ("small_rounds", "replicas", "mishaps", "crashes"),
    ("small_rounds", "slow", "outcomes"),
    # Windows with too few events come between those that drift.
    ("sparse", "drift", "eager"),
)
"""Features that plans draw together besides, because faults lie where all of them meet."""
PAIRS = [*combinations(sorted(COMMON + ROUGH), 2)]
_RARELY = dict.fromkeys(("small_rounds", "slow", "surplus", "retired", "changed"), 0.3)
"""The shares of features that leave oracles less to say, or take long."""
ROLES = ("count", "windows")
OUTCOMES = ("unanswered", "prepared", "lost", "suspect")
"""What may become of a commit besides, see `SimulatedTransaction.commit`."""

Step = tuple[Any, ...]
"""The name of a method of the run, and its arguments."""
MAX_BYTES = 2**24
"""The bound of a commit where brokers are quick."""
_WARM_UP = 26
"""The smallest windows of a warm-up; it measures if twenty of them have events."""


@dataclass(frozen=True)
class Plan:
    """A plan.

    Attributes:
        features: The features that it has.
        configurations: What the configuration file says; replicas begin with the first.
        encodings: The encoding of each events topic; `partitions`: their number of partitions.
        skews_ms: The clock error of each replica.
        part_bytes: The size of a part of the partials.
        commit_bytes: The most bytes of a commit; `round_work`: the most work of a closing round.
        byte_s: What a byte of a transaction takes, in seconds.
        steps: The steps.
    """

    features: frozenset[str]
    configurations: tuple[dict[str, Any], ...]
    encodings: Mapping[str, str]
    partitions: Mapping[str, int]
    skews_ms: tuple[int, ...] = (0,)
    part_bytes: int = 100_000
    commit_bytes: int = MAX_BYTES
    round_work: int = 85_000
    byte_s: float = 1e-7
    steps: tuple[Step, ...] = field(default=(), repr=False)

    @property
    def is_calm(self) -> bool:
        """Whether each event comes before its windows close, however the replicas work."""
        return not self.features & set(ROUGH)


def draw(seed: int) -> Plan:
    """Return the plan of a seed."""
    random = Random(seed)
    return _Drawing(random, draw_features(random)).plan()


def draw_features(random: Random) -> set[str]:
    """Return the features of a plan."""
    features = {name for name in COMMON if random.random() < _RARELY.get(name, 0.5)}
    if random.random() < 0.7:
        features |= {name for name in ROUGH if random.random() < _RARELY.get(name, 0.5)} or {"late"}
    if random.random() < 0.6:
        # These end a shard, or what oracles can say of it.
        features = features - {"recreated", "truncated", "beheaded"} | {*random.choice(MEETINGS)}
    return features | ({"pattern"} if features & {"surplus", "retired"} else set())


class _Drawing:
    """The drawing of one plan: what its parts depend on together."""

    def __init__(self, random: Random, features: set[str]) -> None:
        self.random, self.features = random, features
        is_live = "live" in features
        self.unit_ms = 10 * SECOND_MS if is_live else random.choice([10, 60, 900]) * SECOND_MS
        self.start_ms = START_MS - (0 if is_live else DAY_MS)
        self.is_calm = not features & set(ROUGH)
        tenants = ["shop/a", "shop/b", "shop/c"] if "pattern" in features else []
        self.streams = ["images", *random.sample(["texts"], random.randint(0, 1)), *tenants]
        topics = ["embeddings", "search", "shop"] if "topics" in features else ["embeddings"]
        # Of many partitions with few events each, late ones come before their windows close.
        most = random.choice([1, 3]) if {"schedule", "late"} <= features else 3
        self.partitions = {topic: random.randint(1, most) for topic in topics}
        self.disorder_ms = random.choice([self.unit_ms // 10, self.unit_ms]) if "disorder" in features else 0
        self.sizes = random.choice([(1, 2), (1, 5), (2, 3)]) if "sizes" in features else (1,)
        self.warm_up_ms = _WARM_UP * self.sizes[0] * self.unit_ms if "warm_up" in features else 0
        self.span_ms = self.warm_up_ms + random.randint(6, 20) * self.unit_ms
        self.switch_ms = self.possible_switch_ms(random.choice([0.2, 0.5])) if "schedule" in features else 0
        if self.switch_ms and "late" in features:
            # Windows before the switch are revised after it.
            self.span_ms = max(self.span_ms, self.switch_ms - self.start_ms + 8 * self.unit_ms)

    def plan(self) -> Plan:
        random, features = self.random, self.features
        first = self.configuration()
        configurations = (first, self.changed(first)) if "changed" in features else (first,)
        replicas = random.randint(2, 4) if "replicas" in features else 1
        skewed = "clock_errors" in features
        plan = Plan(
            features=frozenset(features),
            configurations=configurations,
            encodings={topic: random.choice([*ENCODINGS]) for topic in self.partitions},
            partitions=self.partitions,
            skews_ms=tuple(random.randint(-1_900, 1_900) if skewed else 0 for _ in range(replicas)),
            part_bytes=100 if "crashes" in features else random.choice([900, 100_000]),
            commit_bytes=random.choice([30_000, 200_000])
            if features & {"small_rounds", "slow"}
            else MAX_BYTES,
            round_work=random.choice([1, 1_000, 5_000]) if "small_rounds" in features else 85_000,
            byte_s=random.choice([2e-5, 1e-4]) if "slow" in features else 1e-7,
        )
        return Plan(**{**vars(plan), "steps": tuple(self.steps(plan))})

    def configuration(self) -> dict[str, Any]:
        """Return a configuration of the drawn streams."""
        random, features = self.random, self.features
        entries = [{"name": stream} for stream in self.streams if "/" not in stream]
        if "pattern" in features:
            entries.append({"match": "shop/*", "most": 2 if "surplus" in features else 3})
        return {
            "kafka": {"bootstrap.servers": "simulated", "group.id": "simulated"},
            "topics": {"events": [*self.partitions]},
            "shards": random.choice([1, 2, 3, 3]),
            "allowed_lead": "1h",
            "commit_interval": "100ms" if "crashes" in features else "1s",
            "alarms": {"false_pages_per_year": 10**6 if "eager" in features else 1},
            "streams": [self.stream(entry) for entry in entries],
        }

    def stream(self, entry: dict[str, Any]) -> dict[str, Any]:
        random, features = self.random, self.features
        family = entry.get("name", "shop")
        settings = {
            **entry,
            "windows": [format_duration(size * self.unit_ms) for size in self.sizes],
            "allowed_disorder": format_duration(self.disorder_ms),
            "allowed_lateness": format_duration(
                random.choice([1, 8, 8]) * self.unit_ms if "lateness" in features else 0
            ),
            # Nearly all windows of a warm-up must be judged, else it measures nothing.
            "min_events": 1
            if "warm_up" in features
            else 5
            if "sparse" in features
            else random.choice([1, 5]),
            "baselines": [{"file": f"{family}-{random.choice([0, 2])}.safetensors"}],
            # What events of the own contract say of themselves; of others it is missing.
            "numbers": {"cluster": [0, CLUSTERS - 1]},
        }
        patience = ["1h"] * 3
        if not self.is_calm:
            patience = [random.choice(each) for each in (["5s", "20s"], ["15s", "2m"], ["2m", "10m"])]
        settings |= dict(zip(("idle_timeout", "incomplete_after", "give_up_after"), patience, strict=True))
        if self.switch_ms:
            settings["baselines"].append(self.baseline(family, self.switch_ms))
        if "warm_up" in features:
            settings["warm_up"] = {
                "from": format_timestamp(self.start_ms),
                "until": format_timestamp(self.start_ms + self.warm_up_ms),
            }
        if "segments" in features:
            settings["segments"] = ["country"]
        if "texts" in features:
            settings["snippet_bytes"] = 64
        return settings

    def baseline(self, family: str, from_ms: int) -> dict[str, Any]:
        """Return a baseline that is in force from a time on."""
        return {"file": f"{family}-1.safetensors", "from": format_timestamp(from_ms)}

    def possible_switch_ms(self, share: float) -> int:
        """Return the first possible time of a switch after a share of what follows a warm-up."""
        sizes = (*self.sizes, *((1, 2, 4) if "changed" in self.features else ()))
        step_ms = lcm(*sizes) * self.unit_ms
        from_ms = self.start_ms + self.warm_up_ms + int(share * (self.span_ms - self.warm_up_ms))
        return from_ms + -from_ms % step_ms

    def changed(self, first: dict[str, Any]) -> dict[str, Any]:
        """Return another configuration of the same streams, each with two other settings."""
        streams, switch_ms = [], self.possible_switch_ms(0.5)
        for stream in first["streams"]:
            sizes = self.random.choice([(1,), (1, 2), (2,), (1, 4)])
            single = {"baselines": stream["baselines"][:1]}
            changes: list[dict[str, Any]] = [
                {"windows": [format_duration(size * self.unit_ms) for size in sizes]} | single,
                {"baselines": [*single["baselines"], self.baseline(stream.get("name", "shop"), switch_ms)]},
                {"segments": [] if stream.get("segments") else ["country"]},
                {"snippet_bytes": 64 - stream.get("snippet_bytes", 0)},
                {"min_events": 3},
            ]
            one, other = self.random.sample(changes, 2)
            # A warm-up must hold twenty of the smallest windows.
            kept = {
                key: each for key, each in stream.items() if key != "warm_up" or "windows" not in one | other
            }
            streams.append(kept | other | one)
        return {**first, "streams": streams}

    def records(self) -> list[Sent]:
        """Return the records, in the order in which they are written."""
        random, features = self.random, self.features
        topics = [*self.partitions]
        homes = {stream: random.choice(topics) for stream in self.streams}
        from_share, length = random.choice([0.3, 0.5, 0.7]), random.choice([0.3, 1])
        drift_ms = tuple(self.start_ms + each * self.span_ms for each in (from_share, from_share + length))
        drifting = set(random.sample(self.streams, random.randint(1, len(self.streams))))
        late_share = random.choice([0.1, 0.4]) if "late" in features else 0
        # A warm-up whose windows close out of order measures nothing.
        late_from_ms = self.start_ms + random.choice([0, self.warm_up_ms])
        sent: list[tuple[float, Sent]] = []
        number = min(500 // len(self.streams), random.choice([4, 12]) * self.span_ms // self.unit_ms)
        for stream in self.streams:
            # A tenant may come late, or stop early.
            first, last = sorted(random.random() for _ in range(2)) if random.random() < 0.2 else (0, 1)
            left = number
            while left > 0:
                time_ms = self.start_ms + int((first + random.random() * (last - first)) * self.span_ms)
                events = min(left, random.choice([1, 3, 8])) if "bundles" in features else 1
                if number - left < _WARM_UP and "warm_up" in features:
                    share, events = (number - left + random.random()) / _WARM_UP, 1
                    time_ms = self.start_ms + int(share * self.warm_up_ms)
                elif self.switch_ms and late_share and random.random() < 0.2:
                    time_ms = self.switch_ms - random.randint(1, 3 * self.unit_ms)
                left -= events
                if "sparse" in features and time_ms // self.unit_ms % 3 == 0 and random.random() < 0.8:
                    continue
                is_drift = "drift" in features and stream in drifting and drift_ms[0] <= time_ms < drift_ms[1]
                country = random.choice(["de", "de", "fr", None])
                weights = [0, 0, 0, 1] if is_drift and country != "fr" else [4, 3, 2, 1]
                fault = ""
                if "hostile" in features and random.random() < 0.1:
                    fault, events = random.choice([*REASONS, FILTERED]), 1
                vectors = random.choices(range(CLUSTERS), weights, k=events)
                topic = random.choice(topics) if "both_topics" in features else homes[stream]
                one = Sent(
                    *(topic, random.randrange(self.partitions[topic]), stream),
                    time_ms,
                    tuple(each + CLUSTERS * random.choice([0, 0, 1]) for each in vectors),
                    country,
                    fault,
                )
                late_ms = 0
                is_before_switch = 0 < self.switch_ms - time_ms <= 3 * self.unit_ms and late_share
                if time_ms >= late_from_ms and random.random() < (0.6 if is_before_switch else late_share):
                    late_ms = random.choice([2, 5, 6, 20]) * self.unit_ms
                sent.append((time_ms + random.random() * self.disorder_ms + late_ms, one))
        sent.sort(key=lambda each: each[0])
        shifts = {"future": 60 * DAY_MS, "past": -500 * DAY_MS}
        return [one._replace(time_ms=one.time_ms + shifts.get(one.fault, 0)) for _, one in sent]

    def steps(self, plan: Plan) -> list[Step]:
        """Return the steps: records are published, and the replicas work, with mishaps."""
        random = self.random
        records, steps = self.records(), []
        now_ms = START_MS
        changes = [*range(len(plan.skews_ms))] if "changed" in self.features else []
        first, size, is_burst = 0, max(len(records) // 50, 4), False
        is_retired = "retired" not in self.features
        while first < len(records):
            is_crash = "crashes" in self.features and random.random() < 0.06
            chunk = records[first : first + size * (5 if is_crash else 1)]
            first += len(chunk)
            sound = [each.time_ms for each in chunk if each.fault not in ("future", "past")]
            wait_ms = random.choice([200, 1_000, 4_000])
            if "live" in self.features:
                # An event is sent once it has happened.
                wait_ms = max(max(sound, default=0) - now_ms, 0) + 100
            if "silence" in self.features and random.random() < 0.05:
                wait_ms += random.choice([25_000, HOUR_MS])
            now_ms += wait_ms
            publish: Sequence[Step] = [("wait", wait_ms), ("publish", *chunk)]
            steps += self.crash(len(plan.skews_ms), publish) if is_crash else publish
            if not is_retired and first > 30 * size:
                is_retired = True
                steps += [("wait", 8 * DAY_MS), ("settle",), ("wait", MINUTE_MS), ("settle",)]
                now_ms += 9 * DAY_MS
            if changes and random.random() < 0.1:
                steps.append(("restart", changes.pop(), 1))
            # A quarter, and the end, come in bursts where windows wait for later rounds.
            was_burst = is_burst
            is_burst = "small_rounds" in self.features and 8 * (first - 1) // len(records) in (2, 3, 7)
            if was_burst and not is_burst:
                steps.append(("work_off",))
            for _ in range(0 if is_burst else random.randint(1, 3)):
                steps += self.work(plan)
            if random.random() < 0.1:
                steps.append(("look",))
        # What waits is worked off while nothing new comes.
        for _ in range(0 if "small_rounds" in self.features else random.choice([0, 20, 60])):
            steps += self.work(plan)
        return steps

    def crash(self, replicas: int, publish: Sequence[Step]) -> Sequence[Step]:
        """Return steps in which one crashes between the parts of another's commit, and all start again."""
        random = self.random
        one, other = random.sample(range(replicas), 2) if replicas > 1 else (0, 0)
        return [
            *(("assign_partitions", one, other), *[("work",)] * 6, *publish),
            *(("disturb", other, "count", random.randint(1, 9)), ("count", other, 1_000), ("crash", one)),
            *[("count", one, 1)] * 3,  # others may do as much during the commit
            *(("close", each, random.randint(5, 30)) for each in range(replicas)),
            *(("restart", each, None) for each in range(replicas)),
        ]

    def work(self, plan: Plan) -> Sequence[Step]:
        """Return a step of a replica, or a mishap, which may take several."""
        random, replicas = self.random, len(plan.skews_ms)
        replica, other = random.randrange(replicas), random.randrange(replicas)
        number, shard = random.choice([1, 10, 1_000]), random.randrange(3)
        usual: Sequence[Step] = [
            *[("count", replica, number)] * 3,
            ("disturb", replica, "count", random.randint(1, 5)),
            ("apply", replica, number),
            *[("close", replica, 1_000)] * 2,
            *[("work",)] * 4,
        ]
        holders = tuple(random.randrange(replicas) for _ in range(9))
        topic = random.choice([*plan.partitions])
        partition = topic, random.randrange(plan.partitions[topic])
        restarts = [("restart", each, None) for each in range(replicas)]
        rare: dict[str, Sequence[Sequence[Step]]] = {
            "mishaps": [
                *([("disturb", replica, random.choice(ROLES), each)] for each in ("refused", 1, 1_000)),
                *([restarts[replica]], [("expel", replica)], [("compact", random.random())]),
                *([("assign_partitions", *holders)], [("assign_shards", *holders)]),
                *[[("move_shard", shard, other)]] * 2,
            ],
            "small_rounds": [
                [
                    step
                    for _ in range(5)
                    for step in (("move_shard", shard, random.randrange(replicas)), *[("work",)] * 2)
                ]
            ],
            "outcomes": [[("disturb", replica, random.choice(ROLES), random.choice(OUTCOMES))]] * 3,
            "slow": [[("slow", random.choice([1e-7, 1e-5, 1e-4]))]],
            "lost": [[("delete", partition, random.randint(1, 4))]],
            "unread": [[("stick", partition)]],
            "grown": [[("grow", topic)]],
            "recreated": [[("recreate", topic)]],
            "beheaded": [[("behead", shard, random.random()), *restarts]] * 2,
            "truncated": [[("truncate", partition, random.randint(1, 9))]],
        }
        mishaps = [steps for name in sorted(rare.keys() & self.features) for steps in rare[name]]
        return random.choice(mishaps) if mishaps and random.random() < 0.15 else [random.choice(usual)]
