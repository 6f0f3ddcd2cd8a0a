"""The web configuration file: its keys; TLS, login, rights and headers over HTTP; changes at run time."""

import shutil
import ssl
import threading
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from http.client import HTTPConnection, HTTPSConnection
from unittest.mock import Mock

import bcrypt
import pytest
import yaml
from prometheus_client import CollectorRegistry
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from driftgauge.config import Right
from driftgauge.config.web import CIPHERS
from driftgauge.errors import ConfigError
from driftgauge.web.endpoints import metrics_route
from driftgauge.web.guard import Guard
from driftgauge.web.server import HttpServer
from driftgauge.web.web_config import WebConfigFile
from tests.builders.baselines import save_baseline
from tests.builders.configs import SECRET, settings_in, write_config
from tests.builders.page import get
from tests.deploy.dockerfile import ROOT
from tests.harness.scrape import Scrape
from tests.harness.service import ReplicaProcess
from tests.processes import run_required
from tests.waiting import PATIENCE_S

RIGHTS = {"scraper": (Right.METRICS,), "reader": (Right.READ,), "both": tuple(Right)}
TLS = {"cert_file": "server.pem", "key_file": "server.key"}
VERIFIED = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "authority.pem"}
OLD = {"maximum_version": ssl.TLSVersion.TLSv1_2}
# The server of TLS 1.3 refuses a client after the client's own handshake has ended.
REFUSED = (ssl.SSLError, ConnectionError)


def hash_of(password):
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


HASHES = {name: hash_of(f"{name}'s") for name in (*RIGHTS, "nobody")}
HASH = HASHES["reader"]


def basic(user, password):
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


READER, BOTH, SCRAPER = (basic(name, f"{name}'s") for name in ("reader", "both", "scraper"))


def tls(**keys):
    return {"tls_server_config": TLS | keys}


def users(hashes):
    return {"basic_auth_users": hashes}


UNSUPPORTED = {
    **tls(**dict.fromkeys(("cert", "key", "client_ca", "curve_preferences"), SECRET)),
    **users({"reader": SECRET}),
    "rate_limit": {"burst": 1},
    "http_server_config": {"http2": True},
}


def issue(folder, name, authority=""):
    """Write a certificate for `name` and `localhost`, and its key, signed by itself or by an authority."""
    signer = ("-CA", folder / f"{authority}.pem", "-CAkey", folder / f"{authority}.key") if authority else ()
    run_required(
        "openssl", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:localhost,DNS:{name},IP:::1",
        "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem", *signer,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A folder with a certificate of the server, and of a client by its authority."""
    for name, authority in (("server", ""), ("authority", ""), ("other", ""), ("client", "authority")):
        issue(tmp_path, name, authority)
    return tmp_path


class GuardedServer:
    """A server that a web configuration file guards; `refused` are the reasons of its refused logins."""

    def __init__(self, folder, clock, sections):
        self.folder = folder
        self.write(sections)
        self.refused = []
        self.file = WebConfigFile(folder / "web.yml")
        rights = RIGHTS if "basic_auth_users" in sections else {}
        guard = Guard(self.file, rights, clock.clock, self.refused.append)
        root = Route("/", lambda _: PlainTextResponse("here"))
        self.server = HttpServer("127.0.0.1", 0, [metrics_route(CollectorRegistry()), root], guard=guard)
        self.server.start()

    def write(self, sections):
        (self.folder / "web.yml").write_text(yaml.safe_dump(sections))

    def connect(self, client=None, address="127.0.0.1", **options):
        """Return a connection, by TLS if there is a certificate, with a client's certificate and options."""
        if not (self.folder / "server.pem").exists():
            source = (address, 0)
            return HTTPConnection("127.0.0.1", self.server.port, PATIENCE_S, source_address=source)
        context = ssl.create_default_context(cafile=self.folder / "server.pem")
        for name, value in options.items():
            setattr(context, name, value)
        if client is not None:
            context.load_cert_chain(self.folder / f"{client}.pem", self.folder / f"{client}.key")
        return HTTPSConnection("localhost", self.server.port, timeout=PATIENCE_S, context=context)

    def status(self, authorization="", path="/", address="127.0.0.1"):
        with closing(self.connect(address=address)) as connection:
            return answer(connection, authorization, path).status


def answer(connection, authorization="", path="/"):
    connection.request("GET", path, headers={"Authorization": authorization} if authorization else {})
    response = connection.getresponse()
    response.read()
    return response


@pytest.fixture
def start(tmp_path, clock):
    started = []

    def start(sections):
        started.append(GuardedServer(tmp_path, clock, sections))
        return started[-1]

    yield start
    for guarded in started:
        guarded.server.stop()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "cannot be read"),
        ("", "must be a mapping"),
        ("basic_auth_users: {a: b", "is not YAML: line 1"),
        (f"basic_auth_users: {{a: {HASH}, a: {HASH}}}", "a: occurs more than once"),
        ({"tls_config": {}}, "tls_config: no such key; did you mean tls_server_config?"),
        *(
            (UNSUPPORTED, part)
            for part in (
                "rate_limit: no such key; remove it",
                "http_server_config.http2: the server speaks HTTP/1.1",
                *(
                    f"tls_server_config.{key}: no such key; "
                    for key in ("cert", "key", "client_ca", "curve_preferences")
                ),
                "basic_auth_users.reader: must be a bcrypt hash",
            )
        ),
        ({"http_server_config": {"headers": {"Server": "x"}}}, "headers.Server: no such key"),
        ({"http_server_config": {"headers": {"X-Frame-Options": "allow"}}}, "X-Frame-Options: Input"),
        ({"http_server_config": {"headers": {"X-XSS-Protection": "a\nb"}}}, "must be one line of ASCII"),
        ({"tls_server_config": {"cert_file": "server.pem"}}, "tls_server_config.key_file: Field required"),
        (tls(min_version="TLS11"), "min_version: Input should be 'TLS12' or 'TLS13'"),
        (tls(min_version="TLS13", max_version="TLS12"), "min_version is above max_version"),
        (tls(cipher_suites=["TLS_AES_128_GCM_SHA256"]), "TLS_AES_128_GCM_SHA256 cannot be chosen; known are"),
        (tls(client_auth_type="RequireAnyClientCert"), "client_auth_type: Input should be 'NoClientCert'"),
        (tls(client_auth_type="RequireAndVerifyClientCert"), "need each other; give both"),
        (tls(client_ca_file="clients.pem"), "need each other; give both"),
        (tls(client_allowed_sans=["a"]), "client_allowed_sans needs the client_auth_type Require"),
        (users({"reader": HASH.replace("$04$", "$15$")}), "must be a bcrypt hash of cost 4 to 14"),
        (users({"a:b": HASH}), "String should match pattern"),
        (tls(key_file="absent"), "tls_server_config.key_file: "),
        (tls(key_file="other.key"), "not a certificate in PEM and its key"),
        (tls(cert_file="web.yml"), "not a certificate in PEM and its key"),
        (tls(**VERIFIED | {"client_ca_file": "other.key"}), "client_ca_file: no certificates in PEM"),
    ],
)  # fmt: skip
def test_file_that_cannot_hold_is_refused_with_its_key(folder, content, part):
    path = folder / "web.yml"
    if content is not None:
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    with pytest.raises(ConfigError) as raised:
        WebConfigFile(path)
    message = str(raised.value)
    assert part in message
    assert str(path) in message
    assert not any(secret in message for secret in (SECRET, HASH))


def test_promtool_and_service_accept_example_and_known_suites(folder):
    path = folder / "web-config.yml"
    shutil.copy(ROOT / "deploy/examples/web-config.yml", path)
    shutil.copy(folder / "authority.pem", folder / "clients.pem")
    assert set(WebConfigFile(path).rules().users) == {"scraper", "reader"}
    run_required("promtool", "prometheus", "check", "web-config", path)
    path.write_text(yaml.safe_dump(tls(cipher_suites=list(CIPHERS), prefer_server_cipher_suites=False)))
    assert WebConfigFile(path).rules().tls.context.options & ssl.OP_CIPHER_SERVER_PREFERENCE == 0
    run_required("promtool", "prometheus", "check", "web-config", path)


@pytest.mark.parametrize(
    ("http", "part"),
    [
        ({"users": {"a": ["read"]}}, "name it in http.web_config"),
        ({"users": {"a": ["all"]}, "web_config": "web.yml"}, "http.users.a.0: Input should be 'metrics'"),
        ({"health_port": 9464}, "health needs a port of its own"),
        ({"port": 65535}, "health needs a port of its own"),
    ],
)
def test_http_settings_that_do_not_fit_are_refused(tmp_path, http, part):
    with pytest.raises(ConfigError, match=part):
        settings_in(tmp_path, http=http)


def test_health_port_follows_http_port_and_file_that_of_configuration(tmp_path):
    for http, port in (({}, 9465), ({"port": 0}, 0), ({"port": 1}, 2), ({"port": 1, "health_port": 0}, 0)):
        assert settings_in(tmp_path, http=http).http.health == port
    read = settings_in(tmp_path, http={"web_config": "web.yml", "users": {"a": ["read"]}}).http
    assert (read.web_config, read.users) == (tmp_path / "web.yml", {"a": (Right.READ,)})


@pytest.mark.parametrize(
    ("keys", "client", "options", "expected"),
    [
        ({}, None, {}, "TLSv1.3"),
        ({}, None, OLD, "TLSv1.2"),
        ({"min_version": "TLS13"}, None, OLD, None),
        ({"max_version": "TLS12"}, None, {}, "TLSv1.2"),
        (
            {"cipher_suites": ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]},
            None, OLD, "ECDHE-ECDSA-AES128-GCM-SHA256",
        ),
        (VERIFIED, "client", {}, "TLSv1.3"),
        (VERIFIED, "other", {}, None),
        (VERIFIED, None, {}, None),
        (VERIFIED | {"client_allowed_sans": ["client"]}, "client", {}, "TLSv1.3"),
        (VERIFIED | {"client_allowed_sans": ["::1"]}, "client", {}, "TLSv1.3"),
        (VERIFIED | {"client_allowed_sans": ["another"]}, "client", {}, None),
        (VERIFIED | {"client_auth_type": "VerifyClientCertIfGiven"}, None, {}, "TLSv1.3"),
        (VERIFIED | {"client_auth_type": "VerifyClientCertIfGiven"}, "other", {}, None),
    ],
)  # fmt: skip
def test_tls_and_clients_are_those_of_file(folder, start, keys, client, options, expected):
    with closing(start(tls(**keys)).connect(client, **options)) as connection:
        if expected is None:
            with pytest.raises(REFUSED):
                answer(connection)
        else:
            connection.connect()
            assert expected in {connection.sock.version(), connection.sock.cipher()[0]}
            assert answer(connection).status == 200


@pytest.mark.parametrize(
    ("highest", "ciphers"),
    [
        (ssl.TLSVersion.TLSv1, "ALL"),
        (ssl.TLSVersion.TLSv1_1, "ALL"),
        (ssl.TLSVersion.TLSv1_2, "ALL:eNULL:-AESGCM:-CHACHA20"),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_server_refuses_old_versions_and_weak_suites(folder, start, highest, ciphers):
    connection = start(tls()).connect(minimum_version=ssl.TLSVersion.TLSv1, maximum_version=highest)
    connection._context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    # What the client itself would refuse to offer has other messages.
    with closing(connection), pytest.raises(ssl.SSLError, match=r"ALERT|UNEXPECTED_EOF"):
        connection.connect()


def test_changed_certificate_and_removed_authority_hold_at_once(folder, start):
    guarded = start(tls(**VERIFIED))
    with closing(guarded.connect("client")) as connection:
        assert answer(connection).status == 200
        shutil.copy(folder / "other.pem", folder / "authority.pem")
        for _ in ("the open connection", "a new one"):
            with pytest.raises(REFUSED):
                answer(connection)
    issue(folder, "server")

    def is_answered():
        # The client knows the new certificate only.
        with closing(guarded.connect("other")) as connection:
            return answer(connection).status == 200

    assert is_answered()
    (folder / "server.key").write_text("no key")
    assert (is_answered(), guarded.file.is_valid) == (True, False)
    guarded.write({})
    assert (is_answered(), guarded.file.is_valid) == (True, False)
    guarded.write(tls(cert_file="late.pem", key_file="late.key"))
    assert (is_answered(), guarded.file.is_valid) == (True, False)
    for suffix in ("pem", "key"):
        shutil.copy(folder / f"other.{suffix}", folder / f"late.{suffix}")
    shutil.copy(folder / "other.pem", folder / "server.pem")
    assert (is_answered(), guarded.file.is_valid) == (True, True)


@pytest.mark.parametrize("role", ["all", None])
def test_process_asks_for_login_on_its_port_and_counts_refusals(tmp_path, role):
    save_baseline(tmp_path)
    (tmp_path / "web.yml").write_text(yaml.safe_dump(users(HASHES)))
    config = write_config(
        tmp_path,
        http={"port": 0, "web_config": "web.yml", "users": {"scraper": ["metrics"]}},
        kafka={"bootstrap.servers": "127.0.0.1:1", "group.id": "driftgauge"},
    )
    with ReplicaProcess(config, tmp_path / "log", role=role) as replica:
        assert [replica.get(path)[0] for path in ("/", "/version", "/metrics", "/livez")] == [401] * 3 + [200]
        wrong = basic("reader", "scraper's")
        assert [get(replica, "/", Authorization=each)[0].status for each in (wrong, SCRAPER)] == [401, 403]
        if role is not None:
            (tmp_path / "web.yml").write_text("[]")
            scrape = Scrape.parse(get(replica, "/metrics", Authorization=SCRAPER)[1])
            assert scrape.total("driftgauge_logins_refused_total", reason="wrong") == 1
            assert scrape.total("driftgauge_web_config_valid") == 0


@pytest.mark.parametrize(
    ("user", "allowed"),
    [("scraper", {"/metrics"}), ("reader", {"/"}), ("both", {"/metrics", "/"}), ("nobody", set())],
)
def test_users_have_their_rights_alone(start, user, allowed):
    guarded, authorization = start(users(HASHES)), basic(user, f"{user}'s")
    found = {path: guarded.status(authorization, path) for path in ("/metrics", "/")}
    assert found == {asked: 200 if asked in allowed else 403 for asked in found}


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (READER, 200),
        *(
            (wrong, 401)
            for wrong in (
                "", "Basic ?", READER.replace("Basic", "Bearer"), basic("reader", "both's"),
                basic("unknown", "scraper's"), basic("reader", "x" * 73),
            )
        ),
    ],
)  # fmt: skip
def test_password_is_required_and_headers_are_on_every_answer(start, authorization, status):
    headers = {"X-Frame-Options": "deny", "X-XSS-Protection": ""}
    guarded = start(users(HASHES) | {"http_server_config": {"headers": headers}})
    with closing(guarded.connect()) as connection:
        found = answer(connection, authorization)
    assert found.status == status
    assert (found.headers["X-Frame-Options"], found.headers["X-XSS-Protection"]) == ("deny", None)
    assert ("WWW-Authenticate" in found.headers) == (status == 401)


def test_change_of_users_holds_from_next_request_on(folder, start):
    guarded = start(tls() | users(HASHES))
    others = {name: hashed for name, hashed in HASHES.items() if name != "reader"}
    with closing(guarded.connect()) as connection:
        for hashes, expected, valid in (
            (HASHES, 200, True),
            (HASHES | {"reader": hash_of("changed")}, 401, True),
            (HASHES, 200, True),
            (HASHES | {"reader": "changed"}, 200, False),
            (others, 401, True),
            # The same hash belongs to another user.
            ({"both": HASH}, 401, True),
            # A file that is being written.
            ({}, 401, True),
        ):
            guarded.write(tls() | users(hashes))
            # No request on the open connection stays without an answer.
            assert (answer(connection, READER).status, guarded.file.is_valid) == (expected, valid)
        assert answer(connection).status == 401


def test_wrong_passwords_are_limited_by_address(start, clock):
    guarded = start(users(HASHES))
    assert guarded.status(BOTH) == 200
    # Names without a user count alike, so that nobody learns which users there are, nor fills the queue.
    wrong = [basic(name, "wrong") for name in ("reader", "nobody", "unknown") for _ in range(4)]
    assert [guarded.status(each) for each in wrong] == [401] * 10 + [429] * 2
    with closing(guarded.connect()) as connection:
        connection.request("GET", "/", headers={"Authorization": READER, "X-Forwarded-For": "192.0.2.1"})
        assert connection.getresponse().status == 429, "who connects is told from its connection alone"
    assert guarded.refused == ["wrong"] * 10 + ["limited"] * 3
    assert (guarded.status(BOTH), guarded.status(READER, address="127.0.0.2")) == (200, 200)
    clock.advance(60)
    assert guarded.status(SCRAPER, "/metrics") == 200


def test_checks_of_passwords_block_nobody_who_is_known(start, clock, monkeypatch):
    guarded = start(users(HASHES))
    assert guarded.status(READER) == 200
    released, check = threading.Event(), bcrypt.checkpw
    checkpw = Mock(side_effect=lambda *arguments: released.wait(PATIENCE_S) and check(*arguments))
    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    with ThreadPoolExecutor(9) as pool:
        asked = [pool.submit(guarded.status, BOTH) for _ in range(9)]
        try:
            assert next(as_completed(asked, PATIENCE_S)).result() == 503
            clock.advance(86_400)
            assert guarded.status(READER) == 200
        finally:
            released.set()
    assert sorted(each.result() for each in asked) == [200] * 8 + [503]
    assert (checkpw.call_count, guarded.refused) == (1, ["busy"])


def test_rights_without_users_are_refused(tmp_path):
    (tmp_path / "web.yml").write_text("{}")
    with pytest.raises(ConfigError, match="add basic_auth_users"):
        WebConfigFile(tmp_path / "web.yml", needs_users=True)
