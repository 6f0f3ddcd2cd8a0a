"""Each kind of login on a real broker, with the documented rights alone: counting, changes, refusals."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourceType,
)

from tests.harness.case import HOUR_MS, START_MS, Case, make_events
from tests.harness.secured import (
    PASSWORD,
    USER,
    SecuredBroker,
    TokenEndpoint,
    documented_rights,
    make_certificate,
    parse_rights,
    secured_broker,
    token_endpoint,
)
from tests.harness.service import DRIFTGAUGE, ReplicaProcess, environment
from tests.harness.topics import TIMEOUT_S
from tests.processes import run_command
from tests.waiting import wait_for

pytestmark = pytest.mark.stack

CHANGED = "planted-change"
PLAIN = {"sasl.username": USER, "sasl.password": PASSWORD}
WITHOUT_PAGE = {"page": {"enabled": False}}
RENEWED = "secrets or certificates for Kafka changed; new clients replace the running ones"
# Usually less than 5 s.
STOP_S = 15.0
LOST = "session lost; the Kafka clients are replaced"
UNREAD = "the page cannot read a topic; it tries again"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    with secured_broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with token_endpoint(PASSWORD) as endpoint:
        yield endpoint


class SecuredCase(Case):
    """A case with the documented rights alone, whose secrets are files."""

    def __init__(
        self,
        folder: Path,
        broker: SecuredBroker,
        listener: str,
        secrets: dict[str, str],
        kafka: Mapping[str, object] | None = None,
        partitions: int = 2,
        **options: Any,
    ) -> None:
        properties = {**broker.kafka(listener), **(kafka or {})}
        super().__init__(folder, broker.bootstrap, partitions=partitions, kafka=properties, **options)
        self.rights = documented_rights(self)
        self.grant(*self.rights)
        self.secrets = folder / "secrets"
        self.secrets.mkdir()
        self.put(secrets)
        self.environ = {"DRIFTGAUGE_SECRETS_DIR": str(self.secrets)}
        self._hours = 0

    def serve(self, *arguments: Any, **options: Any) -> ReplicaProcess:
        return super().serve(*arguments, settings=self.environ, **options)

    @contextmanager
    def serving(self, *arguments: Any, **options: Any) -> Iterator[ReplicaProcess]:
        """Serve as a case does; in the end the service must wait for nothing, and no secret may show."""
        with super().serving(*arguments, **options) as service:
            yield service
            assert service.scrape().total("driftgauge_waiting") == 0
            assert "planted" not in service.shown()

    def put(self, secrets: dict[str, str]) -> None:
        """Write secrets, by the names of properties."""
        for name, text in secrets.items():
            (self.secrets / f"kafka__{name}").write_text(text)

    def grant(self, *rights: AclBinding) -> None:
        for future in self.admin.create_acls(list(rights)).values():
            future.result(TIMEOUT_S)

    def revoke(self, right: AclBinding) -> None:
        kind = right.restype, right.name, right.resource_pattern_type
        found = AclBindingFilter(*kind, right.principal, "*", right.operation, AclPermissionType.ANY)
        self.admin.delete_acls([found])[found].result(TIMEOUT_S)

    def publish_hour(self) -> None:
        """Publish the events of the next hour, and a record that becomes a dead letter."""
        start_ms = START_MS + self._hours * HOUR_MS
        self._hours += 1
        self.publish(make_events("alpha", 20, start_ms=start_ms, span_ms=HOUR_MS, seed=self._hours))
        self.send(b"no event")

    def count_hour(self, service: ReplicaProcess) -> None:
        """Publish an hour, and wait until its events are counted."""
        before = service.counted()
        self.publish_hour()
        service.wait_for("the hour to be counted", lambda: service.counted() >= before + 20)


def not_ready_because(service: ReplicaProcess, text: str, reason: str = "_AUTHENTICATION") -> None:
    """Wait until `/readyz` says this text, and the metric this reason."""

    def reasons() -> str:
        return " ".join(json.loads(service.get("/readyz")[1]).get("reasons", {}).values())

    def waiting() -> float:
        return service.scrape().total("driftgauge_waiting", reason=reason)

    service.wait_for(lambda: f"{text!r} in {reasons()!r}", lambda: text in reasons() and waiting() > 0)


def test_page_says_that_its_login_is_refused(tmp_path: Path, broker: SecuredBroker) -> None:
    case = SecuredCase(tmp_path, broker, "PLAIN", {"sasl.username": USER, "sasl.password": "planted-wrong"})
    with case.serve(role=None) as page:
        entry = page.wait_for_log(UNREAD)
        assert "Authentication failed" in str(entry["error"])


def test_changed_password_needs_new_clients(tmp_path: Path, broker: SecuredBroker) -> None:
    broker.set_scram_password(PASSWORD)
    case = SecuredCase(
        *(tmp_path, broker, "SCRAM", {"sasl.username": USER, "sasl.password": "planted-wrong"}),
        settings=WITHOUT_PAGE,
    )
    with case.serving() as service, case.serve() as stopped:
        for each in (service, stopped):
            not_ready_because(each, "Authentication failed")
        assert stopped.stop() < STOP_S
        case.put({"sasl.password": PASSWORD})
        service.wait_until_ready()
        case.count_hour(service)
        broker.set_scram_password(CHANGED)
        lost = len(service.logged(LOST))
        case.put({"sasl.password": CHANGED})
        service.wait_for("both roles to notice", lambda: len(service.logged(RENEWED)) == 2)
        service.wait_until_ready()
        broker.broker.node.restart()
        case.count_hour(service)
        assert len(service.logged(LOST)) == lost


def test_changed_certificate_begins_the_session_again(tmp_path: Path, broker: SecuredBroker) -> None:
    authority = broker.folder / "ca.pem"
    file, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    files = {"ssl.certificate.location": str(file), "ssl.key.location": str(key)}
    case = SecuredCase(tmp_path, broker, "TLS", {"ssl.key.password": "planted-key"}, files)

    def install(name: str) -> None:
        made = make_certificate(tmp_path, name, authority, "planted-key")
        made.rename(file)
        made.with_suffix(".key").rename(key)

    install(USER)
    with case.ready() as service:
        case.count_hour(service)
        file.write_text("no certificate")
        refused = service.wait_for_log(
            "the changed secrets or certificates for Kafka cannot be used; the former ones stay in use"
        )
        assert "ssl.certificate.location" in str(refused["problems"])
        case.count_hour(service)
        # Only the new certificate has rights.
        install("another")
        case.grant(*documented_rights(case, "another"))
        service.wait_for("two roles and three readers to notice", lambda: len(service.logged(RENEWED)) >= 5)
        service.wait_until_ready()
        for right in case.rights:
            case.revoke(right)
        for _ in range(2):
            case.count_hour(service)


def test_tokens_are_renewed_and_a_refused_one_is_named_and_waited_for(
    tmp_path: Path, broker: SecuredBroker, endpoint: TokenEndpoint
) -> None:
    oidc = {
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.token.endpoint.url": endpoint.url,
        "sasl.oauthbearer.client.id": USER,
    }
    secrets = {"sasl.oauthbearer.client.secret": PASSWORD}
    case = SecuredCase(tmp_path, broker, "OAUTH", secrets, oidc, partitions=1)
    endpoint.lifetime_s, endpoint.scope = 6.0, "another"
    with case.serving() as service:
        not_ready_because(service, "insufficient_scope")
        endpoint.scope = "kafka"
        service.wait_until_ready()
        lost, given = len(service.logged(LOST)), endpoint.given
        service.wait_for("tokens to expire", lambda: endpoint.given > given + 12)
        case.count_hour(service)
        assert len(service.logged(LOST)) == lost
        # The one partition is with the other replica.
        with case.ready(role="count") as idle:
            endpoint.secret = CHANGED
            for each in (service, idle):
                not_ready_because(each, "unknown client or secret")
            case.put({"sasl.oauthbearer.client.secret": CHANGED})
            for each in (service, idle):
                each.wait_until_ready()
        case.count_hour(service)


def test_each_missing_right_is_named_with_its_resource(tmp_path: Path, broker: SecuredBroker) -> None:
    case = SecuredCase(tmp_path, broker, "PLAIN", PLAIN, settings=WITHOUT_PAGE)
    rights = {(right.restype, right.name, right.operation): right for right in case.rights}
    topic, ids, internal = ResourceType.TOPIC, ResourceType.TRANSACTIONAL_ID, f"driftgauge.{case.name}."
    read, write = AclOperation.READ, AclOperation.WRITE
    with case.ready("a") as service:
        for resource, named in (
            ((topic, case.events_topic, read), f"topic {case.events_topic}"),
            ((topic, internal, write), f"missing: Write on {case.changelog_topic}"),
            ((topic, case.windows_topic, write), f"missing: Write on {case.windows_topic}"),
            ((ResourceType.GROUP, case.name, read), f"grant Read on the group {case.name}"),
            ((ids, internal, write), f"grant Write and Describe on the transactional id {internal}a."),
        ):
            case.revoke(rights[resource])
            case.publish_hour()
            not_ready_because(service, named, f"{resource[0].name}_AUTHORIZATION_FAILED")
            case.grant(rights[resource])
            service.wait_until_ready()


def test_documented_rights_suffice_and_config_check_names_what_the_cluster_lacks(
    tmp_path: Path, broker: SecuredBroker
) -> None:
    case = SecuredCase(tmp_path, broker, "PLAIN", PLAIN)

    def check() -> tuple[int, dict[str, Any]]:
        command = [sys.executable, *DRIFTGAUGE, "config", "check", "--broker", "--json"]
        done = run_command(*command, "--config", str(case.config), env=environment() | case.environ)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)["cluster"]

    status, cluster = check()
    assert cluster["shortfalls"] == []
    assert status == 0
    assert len(cluster["created"]) == 5
    version, rights, clock = cluster["unknown"]
    assert "4.3.0 to 4.4.0" in version
    assert all(name in rights for name in cluster["created"])
    assert clock.startswith("the clock")
    with case.ready() as service:
        case.count_hour(service)
        status, cluster = check()
        assert (status, cluster["shortfalls"], cluster["unknown"]) == (0, [], [version])
        assert (cluster["created"], cluster["clock_offset_ms"]) == ([], 0)
        # The transaction that was aborted on trial disturbs nothing.
        for _ in range(2):
            case.count_hour(service)
        service.wait_for(
            "the page to show a window",
            lambda: bool(json.loads(service.get("/api/v1/windows?stream=alpha")[1]).get("windows")),
        )
        assert len(case.dead_letters()) == 3
        # It reads the marks and the heartbeats as well.
        assert not service.logged(UNREAD)
        assert json.loads(service.get("/api/v1/streams")[1])["faults"] == []
    case.configure(case.partials_topic, **{"retention.ms": "60000"})
    case.configure(case.changelog_topic, **{"cleanup.policy": "delete"})
    for right in case.rights:
        if (right.operation is AclOperation.WRITE and right.name == case.windows_topic) or (
            right.restype in (ResourceType.TRANSACTIONAL_ID, ResourceType.GROUP)
        ):
            case.revoke(right)
    wait_for("rights and settings to change", lambda: len(check()[1]["shortfalls"]) == 6)
    status, cluster = check()
    assert status == 1
    server = f"--bootstrap-server {broker.addresses['PLAIN']} --command-config admin.properties"
    grant = f"kafka-acls.sh {server} --add --allow-principal User:{USER} --operation"
    alter = f"kafka-configs.sh {server} --alter --entity-type topics --entity-name"
    remedies = [each["remedy"] for each in cluster["shortfalls"]]
    assert remedies == [
        f"{alter} {case.partials_topic} --add-config retention.ms=604800000",
        f"{alter} {case.changelog_topic} --add-config cleanup.policy=compact",
        f"{grant} Write --topic {case.windows_topic}",
        f"{grant} Read --group {case.name}",
        f"{grant} Read --group {case.windows_group}",
        f"{grant} Write --operation Describe --transactional-id driftgauge.{case.name}. "
        "--resource-pattern-type prefixed",
    ]
    for remedy in remedies[2:]:
        case.grant(*parse_rights(remedy.partition(f"User:{USER} ")[2]))
    case.configure(case.partials_topic, **{"retention.ms": "604800000"})
    case.configure(case.changelog_topic, **{"cleanup.policy": "compact"})
    with case.ready() as service:
        case.count_hour(service)
