"""The licences of the distributions in the image; `tests/tools/lock.py` checks what the lock has."""

import re
from importlib.metadata import files, metadata

import pytest

from tests.deploy.dockerfile import locked

PERMISSIVE = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "PSF-2.0",
    "Zlib",
}
CLASSIFIED = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
}
# Their metadata name no licence; each licence file holds this grant.
BY_FILE = {
    "pysimdjson": ("MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy")
}
# A copyleft by file; the image has their files unchanged.
ACCEPTED = {"certifi": {"MPL-2.0"}, "orjson": {"MPL-2.0"}}


def licences(expression, classifiers, text=None):
    """The licence identifiers of an expression, else of the classifiers, else the text of the old field."""
    if expression:
        return set(re.findall(r"[A-Za-z0-9.+-]+", expression)) - {"AND", "OR", "WITH"}
    named = [entry.split(" :: ")[-1] for entry in classifiers if entry.startswith("License ::")]
    return {CLASSIFIED.get(name, name) for name in named or [text or "unknown"]}


@pytest.mark.parametrize("name", locked())
def test_every_distribution_has_permissive_licence(name):
    known = metadata(name)
    if name in BY_FILE:
        licence, grant = BY_FILE[name]
        texts = [path.read_text() for path in files(name) or () if "licenses/LICENSE" in str(path)]
        assert [grant in text for text in texts] == [True]
        assert licence in PERMISSIVE
        return
    (expression, *_) = known.get_all("License-Expression", [None])
    (text, *_) = known.get_all("License", [None])
    found = licences(expression, known.get_all("Classifier", []), text)
    assert found <= PERMISSIVE | ACCEPTED.get(name, set())


@pytest.mark.parametrize(
    ("expression", "classifiers"),
    [
        ("MIT AND GPL-3.0-or-later", []),
        ("AGPL-3.0-only", []),
        ("BUSL-1.1", []),
        (None, ["License :: OSI Approved :: GNU General Public License v3 (GPLv3)"]),
        (None, ["License :: OSI Approved"]),
        (None, ["Programming Language :: Python"]),
    ],
)
def test_unknown_or_copyleft_licence_is_rejected(expression, classifiers):
    assert not licences(expression, classifiers) <= PERMISSIVE
