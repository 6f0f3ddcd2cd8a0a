"""Tests of `driftgauge.page.answers`."""

import gzip

import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from driftgauge.page.answers import AnswerCache


def request(query="", **headers):
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": query.encode(), "headers": named}
    return Request(scope | {"server": ("localhost", 80), "scheme": "http", "app": Starlette()})


class Renderer:
    def __init__(self):
        self.number = 0

    def __call__(self):
        self.number += 1
        return f"<p>rendering {self.number}</p>"


@pytest.fixture
def cache(clock):
    return AnswerCache({"X-Own": "yes"}, lambda: clock.wall_ms)


@pytest.mark.parametrize("direction", [1, -1])
def test_answer_is_kept_for_five_seconds(cache, clock, direction):
    render = Renderer()
    bodies = []
    for _ in range(4):
        bodies.append(cache.answer(request(), render).body)
        clock.advance(direction * 2.5)
    assert bodies == [b"<p>rendering 1</p>"] * 2 + [b"<p>rendering 2</p>"] * 2


def test_each_query_has_its_own_answer(cache):
    render = Renderer()
    assert cache.answer(request("a=1"), render).body != cache.answer(request("a=2"), render).body


def test_failed_rendering_is_not_kept(cache):
    def fail():
        raise LookupError

    with pytest.raises(LookupError):
        cache.answer(request(), fail)
    assert cache.answer(request(), Renderer()).body == b"<p>rendering 1</p>"


def test_answer_is_compressed_where_browser_accepts_it(cache):
    plain = cache.answer(request(), Renderer())
    packed = cache.answer(request(accept_encoding="gzip, br"), Renderer())
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"
    assert packed.headers["x-own"] == "yes"


def test_unchanged_answer_is_not_sent_again(cache, clock):
    bodies = iter(["same", "same", "other"])
    tag = cache.answer(request(), bodies.__next__).headers["etag"]
    for status in (304, 200):
        clock.advance(5)
        assert cache.answer(request(if_none_match=tag), bodies.__next__).status_code == status


def test_oldest_answers_are_dropped(cache):
    render = Renderer()
    for number in range(65):
        cache.answer(request(f"n={number}"), render)
    cache.answer(request("n=64"), render)
    assert render.number == 65
    cache.answer(request("n=0"), render)
    assert render.number == 66
