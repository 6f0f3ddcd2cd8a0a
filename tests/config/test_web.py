"""The web configuration file: which of the exporter-toolkit's keys hold here, and how others are refused."""

import shutil

import pytest
import yaml

from driftgauge.config import Right
from driftgauge.config.web import CIPHERS, load_web_config
from driftgauge.errors import ConfigError
from driftgauge.telemetry.web_config import read_web_rules
from tests.builders.configs import SECRET, settings_in
from tests.builders.web import TLS, hash_of, issue
from tests.deploy.dockerfile import ROOT
from tests.processes import run_required

HASH = hash_of(SECRET)
EXAMPLE = ROOT / "deploy/examples/web-config.yml"


def tls(**keys):
    return {"tls_server_config": TLS | keys}


def users(**hashes):
    return {"basic_auth_users": hashes}


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "cannot be read"),
        ("", "must be a mapping"),
        ("basic_auth_users: {a: b", "is not YAML: line 1"),
        (f"basic_auth_users: {{a: {HASH}, a: {HASH}}}", "a: occurs more than once"),
        ({"tls_config": {}}, "tls_config: no such key; did you mean tls_server_config?"),
        ({"rate_limit": {"burst": 1}}, "rate_limit is not supported: the server has limits of its own"),
        ({"http_server_config": {"http2": True}}, "http2: the server speaks HTTP/1.1"),
        ({"http_server_config": {"headers": {"Server": "x"}}}, "headers.Server: no such key"),
        ({"http_server_config": {"headers": {"X-Frame-Options": "allow"}}}, "X-Frame-Options: Input"),
        ({"http_server_config": {"headers": {"X-XSS-Protection": "a\nb"}}}, "must be one line of ASCII"),
        ({"tls_server_config": {"cert_file": "server.pem"}}, "tls_server_config.key_file: Field required"),
        *(
            (tls(**{key: "x"}), f"{key} is not supported: name a file")
            for key in ("cert", "key", "client_ca")
        ),
        (tls(curve_preferences=["X25519"]), "curve_preferences is not supported: OpenSSL chooses the curve"),
        (tls(min_version="TLS11"), "min_version: Input should be 'TLS12' or 'TLS13'"),
        (tls(min_version="TLS13", max_version="TLS12"), "min_version is above max_version"),
        (tls(cipher_suites=["TLS_AES_128_GCM_SHA256"]), "TLS_AES_128_GCM_SHA256 cannot be chosen; known are"),
        (tls(client_auth_type="RequireAnyClientCert"), "client_auth_type: Input should be 'NoClientCert'"),
        (tls(client_auth_type="RequireAndVerifyClientCert"), "need each other; give both"),
        (tls(client_ca_file="clients.pem"), "need each other; give both"),
        (tls(client_allowed_sans=["a"]), "client_allowed_sans needs the client_auth_type Require"),
        (tls(), "cert_file: "),
        (users(reader=SECRET), "basic_auth_users.reader: must be a bcrypt hash of cost 4 to 14"),
        (users(reader=HASH.replace("$04$", "$15$")), "must be a bcrypt hash of cost 4 to 14"),
        (users(**{"a:b": HASH}), "String should match pattern"),
    ],
)  # fmt: skip
def test_file_that_cannot_hold_is_refused_with_its_key(tmp_path, content, part):
    path = tmp_path / "web.yml"
    if content is not None:
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    with pytest.raises(ConfigError) as raised:
        read_web_rules(path)
    assert part in str(raised.value)
    assert str(path) in str(raised.value)
    assert SECRET not in str(raised.value)
    assert HASH not in str(raised.value)


@pytest.mark.parametrize(
    ("key", "content", "part"),
    [
        ("server.key", "no key", "not a certificate in PEM and its key"),
        ("server.pem", "", "not a certificate in PEM and its key"),
        ("clients.pem", "", "client_ca_file: no certificates in PEM"),
        ("clients.pem", None, "client_ca_file: "),
    ],
)
def test_certificate_that_cannot_be_used_is_refused(tmp_path, key, content, part):
    for name in ("server", "clients"):
        issue(tmp_path, name)
    (tmp_path / key).unlink()
    if content is not None:
        (tmp_path / key).write_text(content)
    keys = tls(client_auth_type="VerifyClientCertIfGiven", client_ca_file="clients.pem")
    (tmp_path / "web.yml").write_text(yaml.safe_dump(keys))
    with pytest.raises(ConfigError, match=part):
        read_web_rules(tmp_path / "web.yml")


def test_promtool_and_service_accept_example_and_known_suites(tmp_path):
    for name in ("server", "clients"):
        issue(tmp_path, name)
    path = tmp_path / "web-config.yml"
    shutil.copy(EXAMPLE, path)
    assert set(read_web_rules(path).users) == {"scraper", "reader"}
    run_required("promtool", "prometheus", "check", "web-config", path)
    path.write_text(yaml.safe_dump(tls(cipher_suites=list(CIPHERS), prefer_server_cipher_suites=False)))
    assert load_web_config(path).tls.cert_file == tmp_path / "server.pem"
    assert read_web_rules(path).context is not None
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


def test_health_port_follows_http_port(tmp_path):
    for http, port in (({}, 9465), ({"port": 0}, 0), ({"port": 1}, 2), ({"port": 1, "health_port": 0}, 0)):
        assert settings_in(tmp_path, http=http).http.health == port
    http = settings_in(tmp_path, http={"web_config": "web.yml", "users": {"a": ["read"]}}).http
    assert (http.web_config, http.users) == (tmp_path / "web.yml", {"a": (Right.READ,)})
