"""The web configuration file over HTTP: TLS, login, rights, headers, and changes while the server runs."""

import threading
from contextlib import closing
from ssl import SSLError, TLSVersion

import bcrypt
import pytest

from tests.builders.web import TLS, GuardedServer, answer, basic, hash_of, issue
from tests.waiting import wait_for

# The server of TLS 1.3 refuses a client after the client's own handshake has ended.
REFUSED = (SSLError, ConnectionError)
SUITE = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"


@pytest.fixture
def users():
    return {name: hash_of(f"{name}'s") for name in ("scraper", "reader", "writer", "nobody")}


@pytest.fixture
def start(tmp_path, clock):
    started = []

    def start(**sections):
        started.append(GuardedServer(tmp_path, clock, **sections))
        return started[-1]

    yield start
    for guarded in started:
        guarded.server.stop()


@pytest.fixture
def folder(tmp_path):
    """A folder with a certificate of the server, and of a client by its authority."""
    for name, authority in (("server", ""), ("authority", ""), ("other", ""), ("client", "authority")):
        issue(tmp_path, name, authority)
    return tmp_path


@pytest.mark.parametrize(
    ("keys", "options", "spoken"),
    [
        ({}, {}, "TLSv1.3"),
        ({}, {"maximum_version": TLSVersion.TLSv1_2}, "TLSv1.2"),
        ({"min_version": "TLS13"}, {"maximum_version": TLSVersion.TLSv1_2}, None),
        ({"max_version": "TLS12"}, {}, "TLSv1.2"),
        ({"max_version": "TLS12", "cipher_suites": [SUITE]}, {}, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ],
)
def test_tls_has_configured_versions_and_suites(folder, start, keys, options, spoken):
    guarded = start(tls_server_config=TLS | keys)
    with closing(guarded.connect(**options)) as connection:
        if spoken is None:
            with pytest.raises(REFUSED):
                connection.connect()
        else:
            assert answer(connection).status == 200
            assert spoken in {connection.sock.version(), connection.sock.cipher()[0]}


@pytest.mark.parametrize(
    ("policy", "sans", "client", "admitted"),
    [
        ("RequireAndVerifyClientCert", [], "client", True),
        ("RequireAndVerifyClientCert", ["client"], "client", True),
        ("RequireAndVerifyClientCert", ["::1"], "client", True),
        ("RequireAndVerifyClientCert", ["another"], "client", False),
        ("RequireAndVerifyClientCert", [], "other", False),
        ("RequireAndVerifyClientCert", [], None, False),
        ("VerifyClientCertIfGiven", [], None, True),
        ("VerifyClientCertIfGiven", [], "other", False),
    ],
)
def test_client_certificate_is_verified(folder, start, policy, sans, client, admitted):
    keys = {"client_auth_type": policy, "client_ca_file": "authority.pem", "client_allowed_sans": sans}
    guarded = start(tls_server_config=TLS | keys)
    with closing(guarded.connect(client)) as connection:
        if admitted:
            assert answer(connection).status == 200
        else:
            with pytest.raises(REFUSED):
                answer(connection)


def test_changed_certificate_and_removed_authority_hold_at_once(folder, start):
    keys = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "authority.pem"}
    guarded = start(tls_server_config=TLS | keys)
    with closing(guarded.connect("client")) as connection:
        assert answer(connection).status == 200
        (folder / "authority.pem").write_bytes((folder / "other.pem").read_bytes())
        with pytest.raises(REFUSED):
            answer(connection)
        with pytest.raises(REFUSED):
            answer(connection)
    # The client knows the new certificate only.
    issue(folder, "server")
    with closing(guarded.connect("other")) as connection:
        assert answer(connection).status == 200
    (folder / "server.key").write_text("no key")
    with closing(guarded.connect("other")) as connection:
        assert answer(connection).status == 200
    assert guarded.valid is False


def test_users_have_their_rights_alone(start, users):
    guarded = start(basic_auth_users=users)
    rights = {"scraper": {"/metrics"}, "reader": {"/"}, "writer": {"/metrics", "/", "POST"}, "nobody": set()}
    for user, allowed in rights.items():
        authorization = basic(user, f"{user}'s")
        asked = {path: guarded.ask(path, authorization) for path in ("/metrics", "/")}
        asked["POST"] = guarded.ask("/", authorization, "POST")
        assert {asking: found.status for asking, found in asked.items()} == {
            asking: 200 if asking in allowed else 403 for asking in asked
        }


def test_request_without_right_password_is_refused(start, users):
    guarded = start(basic_auth_users=users)
    wrong = basic("reader", "writer's"), basic("unknown", "reader's"), basic("reader", "x" * 73), "Basic ?"
    for authorization in ("", *wrong, basic("reader", "reader's").replace("Basic", "Bearer")):
        found = guarded.ask("/", authorization)
        assert (found.status, found.headers["WWW-Authenticate"][:5]) == (401, "Basic")


def test_change_of_users_holds_from_next_request_on(start, users):
    guarded = start(basic_auth_users=users)
    known = basic("reader", "reader's")

    def status(authorization=known):
        return guarded.ask("/", authorization).status

    assert status() == 200
    guarded.write(basic_auth_users=users | {"reader": hash_of("changed")})
    assert (status(), status(basic("reader", "changed"))) == (401, 200)
    guarded.write(basic_auth_users=users)
    assert status() == 200
    guarded.write(basic_auth_users=users | {"reader": "changed"})
    assert (status(), guarded.valid) == (200, False)
    del users["reader"]
    guarded.write(basic_auth_users=users)
    assert (status(), guarded.valid) == (401, True)
    # A file that is being written.
    guarded.write()
    assert (status(), status(""), status(basic("writer", "writer's"))) == (401, 401, 401)


def test_change_does_not_switch_tls_off(folder, start):
    guarded = start(tls_server_config=TLS)
    guarded.write()
    assert guarded.ask("/").status == 200
    assert guarded.valid is False


def test_configured_headers_are_on_every_answer(start, users):
    headers = {"X-Frame-Options": "deny", "X-XSS-Protection": ""}
    guarded = start(basic_auth_users=users, http_server_config={"headers": headers})
    for authorization in ("", basic("reader", "reader's")):
        found = guarded.ask("/", authorization).headers
        assert (found["X-Frame-Options"], found["X-XSS-Protection"]) == ("deny", None)


def test_wrong_passwords_are_limited_by_user_and_address(start, users, clock):
    guarded = start(basic_auth_users=users)
    right, wrong = basic("reader", "reader's"), basic("reader", "wrong")
    assert guarded.ask("/", basic("writer", "writer's")).status == 200
    assert [guarded.ask("/", wrong).status for _ in range(11)] == [401] * 10 + [429]
    assert guarded.ask("/", right).status == 429
    assert guarded.ask("/", basic("writer", "writer's")).status == 200
    assert guarded.ask("/metrics", basic("scraper", "scraper's")).status == 200
    clock.advance(60)
    assert guarded.ask("/", right).status == 200


def test_checks_of_passwords_block_nobody_who_is_known(start, users, clock, monkeypatch):
    guarded = start(basic_auth_users=users)
    known, new = basic("reader", "reader's"), basic("writer", "writer's")
    assert guarded.ask("/", known).status == 200
    released, check, checks = threading.Event(), bcrypt.checkpw, []

    def checkpw(*arguments):
        checks.append(arguments)
        return released.wait() and check(*arguments)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    statuses = []
    threads = [
        threading.Thread(target=lambda: statuses.append(guarded.ask("/", new).status)) for _ in range(9)
    ]
    for thread in threads:
        thread.start()
    try:
        wait_for("the ninth to be refused", lambda: statuses == [503])
        assert guarded.ask("/", known).status == 200
    finally:
        released.set()
        for thread in threads:
            thread.join()
    assert (statuses, len(checks)) == ([503] + [200] * 8, 1)
    clock.advance(300)
    assert guarded.ask("/", known).status == 200
    assert len(checks) == 2
