"""The settings of the page: links to events, and the path behind an ingress."""

import pytest
import yaml

from driftgauge.config.page import PageSettings
from tests.builders.configs import MINIMAL


def with_page(**settings):
    return yaml.safe_dump(yaml.safe_load(MINIMAL) | {"page": settings})


def test_page_is_on_and_shows_a_month(load):
    page = load(MINIMAL).page
    assert (page.enabled, page.history, page.path_prefix) == (True, 31 * 86_400_000, "")
    assert page.example_link("s", "id") is page.thumbnail_link("s", "id") is page.thumbnail_origin is None


def test_ids_are_quoted_in_links(load):
    page = load(with_page(example_url="https://shop.example:8443/{stream}?id={event_id}&x={event_id}")).page
    link = page.example_link("a.b", "javascript:alert(1)/../?&#\"'<>ö")
    assert link.startswith(
        "https://shop.example:8443/a.b?id=javascript%3Aalert%281%29%2F..%2F%3F%26%23%22%27%3C%3E"
    )
    assert link.count("javascript%3A") == 2


def test_pictures_come_from_one_origin():
    settings = PageSettings(thumbnail_url="http://images.example:81/{event_id}.png?size=48")
    assert settings.thumbnail_origin == "http://images.example:81"
    assert settings.thumbnail_link("s", "7") == "http://images.example:81/7.png?size=48"


@pytest.mark.parametrize("setting", ["example_url", "thumbnail_url"])
@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("javascript:alert('{event_id}')", "http or https"),
        ("//shop.example/{event_id}", "http or https"),
        ("https://{event_id}/", "fixed host"),
        ("https://{event_id}@shop.example/", "fixed host"),
        ("https:///{event_id}", "fixed host"),
        ("https://shop.example;script-src/{event_id}", "the host has characters"),
        ("https://shop.example/", "takes {event_id}"),
        ("https://shop.example/{event_id}/{secret}", "takes nothing else"),
    ],
)
def test_other_urls_are_refused(problems, setting, url, problem):
    assert problem in problems(with_page(**{setting: url}))


@pytest.mark.parametrize("prefix", ["drift", "/drift/", "/", "/a b", "//"])
def test_other_prefixes_are_refused(problems, prefix):
    assert "path_prefix" in problems(with_page(path_prefix=prefix))


def test_prefix_may_have_several_parts(load):
    assert load(with_page(path_prefix="/tools/drift")).page.path_prefix == "/tools/drift"
