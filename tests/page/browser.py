"""Debian's Chromium as a visitor of the page, and a record of what the page must not do in it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Dialog, Page, expect, sync_playwright

from tests.needed import required

# Larger than a request that waits for Kafka takes, and than the 15 s after which the page asks again.
_TIMEOUT_MS = 30_000
_GRAVE = ("serious", "critical")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium until the context ends; skip or fail where it is missing."""
    program = required("chromium", "chromium")
    # Chromium refuses to run as root with a sandbox.
    arguments = [] if os.geteuid() else ["--no-sandbox"]
    expect.set_options(timeout=_TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(
    browser: Browser,
    origin: str,
    *,
    width: int = 1280,
    pictures: str | None = None,
    tolerated: str | None = None,
    **options: Any,
) -> Iterator[Page]:
    """Yield an empty page of a new profile.

    When the context ends, the page must have logged no error and no warning, opened no dialog, and asked no
    other origin for anything. What its security policy forbade is in its log.

    Args:
        browser: The browser.
        origin: What the page's links are relative to.
        width: The width of the window, pixels.
        pictures: Another origin that the page may ask.
        tolerated: What errors say that the page may log.
        options: Options of Playwright's `new_context`.
    """
    allowed = tuple(f"{each}/" for each in (origin, pictures) if each is not None)
    faults = []

    def dismiss(dialog: Dialog) -> None:
        faults.append(f"dialog {dialog.message}")
        dialog.dismiss()

    context = browser.new_context(
        base_url=origin, viewport={"width": width, "height": 900}, timezone_id="Asia/Tokyo", **options
    )
    context.set_default_timeout(_TIMEOUT_MS)
    page = context.new_page()
    page.on(
        "console",
        lambda message: faults.append(message.text) if message.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", dismiss)
    context.on(
        "request", lambda request: None if request.url.startswith(allowed) else faults.append(request.url)
    )
    try:
        yield page
    finally:
        context.close()
    assert [fault for fault in faults if tolerated is None or tolerated not in fault] == []


def barriers(page: Page) -> list[str]:
    """Return what bars people from the page by axe's rules, where it is serious or critical."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['html']}"
        for each in found
        if each["impact"] in _GRAVE
        for node in each["nodes"]
    ]


def overflow(page: Page) -> int:
    """Return by how many pixels the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
