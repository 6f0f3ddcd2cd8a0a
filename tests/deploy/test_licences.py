"""The licences of the distributions in the image, and its bill of materials."""

import json
import re
from importlib.metadata import files

import pytest
from deploy.generate.licences import document, licence_of

from tests.deploy.dockerfile import DOCKER, ROOT
from tests.processes import run_command
from tests.tools.lock import pins

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
# A copyleft by file, and one whose licence file holds the grant of MIT.
ACCEPTED = {"certifi": {"MPL-2.0"}, "orjson": {"MPL-2.0"}, "pysimdjson": {"none", "named"}}
IMAGE = pins((DOCKER / "requirements.lock").read_text())
GRANT = "Permission is hereby granted, free of charge, to any person obtaining a copy"


def identifiers(licence):
    return set(re.findall(r"[A-Za-z0-9.+-]+", licence)) - {"AND", "OR", "WITH"}


def test_every_distribution_has_permissive_licence():
    rows = dict(re.findall(r"^\| ([a-z0-9-]+) \| (.+) \|$", document(), re.MULTILINE)[1:])
    # The one is for browsers alone.
    assert rows.keys() == {name for name, _ in IMAGE} - {"httpx2-jsfetch"}
    odd = {name: identifiers(licence) - PERMISSIVE for name, licence in rows.items()}
    assert {name: found for name, found in odd.items() if found} == ACCEPTED
    texts = [path.read_text() for path in files("pysimdjson") if "licenses/LICENSE" in str(path)]
    assert [GRANT in text for text in texts] == [True]


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
    assert not identifiers(licence_of(expression, None, classifiers)) <= PERMISSIVE


def test_bill_of_materials_has_what_the_image_has(tmp_path):
    target = tmp_path / "sbom.json"
    # The environment counts as up to date; a test sets none up.
    run_command("make", "-o", ".venv/.installed", "sbom", f"SBOM={target}", cwd=ROOT, check=True)
    bill = json.loads(target.read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "driftgauge")
    found = {(each["name"], each["version"]) for each in bill["components"]}
    assert found == IMAGE
    assert all(each["externalReferences"][0]["hashes"] for each in bill["components"])
