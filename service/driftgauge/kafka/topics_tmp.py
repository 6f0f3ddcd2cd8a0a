
from dataclasses import dataclass
from confluent_kafka import TopicCollection
from confluent_kafka.admin import NewTopic
from driftgauge.kafka.topics import missing_topics, _create, _metadata, STATE_SETTINGS

@dataclass(frozen=True)
class EventsTopic:
    id: str
    partitions: int

def describe_events(admin, topics):
    found = {}
    md = _metadata(admin)
    ids = {}
    try:
        for t, f in admin.describe_topics(TopicCollection(list(topics)), request_timeout=5).items():
            ids[t] = str(f.result().topic_id)
    except Exception as e:
        print("describe", e)
    for t in topics:
        if t in md.topics and md.topics[t].error is None:
            found[t] = EventsTopic(ids.get(t, ""), len(md.topics[t].partitions))
    return found

def prepare_topics(admin, settings):
    names = settings.topics
    new = []
    for t in missing_topics(admin, [names.windows, names.dead_letters]):
        new.append(NewTopic(t))
    for t in missing_topics(admin, [settings.partials_topic]):
        new.append(NewTopic(t, settings.shards, config={"message.timestamp.type": "LogAppendTime"}))
    for t in missing_topics(admin, [settings.changelog_topic]):
        new.append(NewTopic(t, settings.shards, config=dict(STATE_SETTINGS)))
    if new:
        _create(admin, new)

def writable_partitions(admin, partitions):
    return set(partitions)
