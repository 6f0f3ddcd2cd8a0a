"""The colours of states in both themes, as people with each kind of colour blindness see them."""

import re
from importlib.resources import files
from itertools import combinations

import numpy as np
import pytest

from driftgauge.page.states import STATES
from driftgauge.page.summary import VERDICTS

# Of linear RGB, for the whole loss of one kind of cone: G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, A
# Physiologically-based Model for Simulation of Color Vision Deficiency, IEEE TVCG 15(6), 2009, table of
# severity 1.0.
SEEN = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
_TO_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
_WHITE = np.array([0.95047, 1.0, 1.08883])
LEAST_DISTANCE = 10.0
"""Of two bands beside each other, in CIELAB (CIE 1976); two or three is just noticed."""
LEAST_CONTRAST = 4.5
"""Of a sign on its band (WCAG 2.2, 1.4.3)."""


def themes():
    """The colours by name, of the light and of the dark theme."""
    style = files("driftgauge.page").joinpath("static", "style.css").read_text(encoding="utf-8")
    found = [
        dict(re.findall(r"--([\w-]+): (#\w{6})", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.S)
    ]
    return {"light": found[0], "dark": found[0] | found[1]}


def xyz(colour, matrix):
    """Return a colour as it is seen, in CIE XYZ."""
    coded = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    return np.array(_TO_XYZ) @ np.clip(np.array(matrix) @ linear, 0, 1)


def lab(colour, matrix):
    scaled = xyz(colour, matrix) / _WHITE
    x, y, z = np.where(scaled > 216 / 24_389, np.cbrt(scaled), (24_389 / 27 * scaled + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("kind", SEEN)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_bands_and_signs_are_told_apart(theme, kind):
    colours, matrix = themes()[theme], SEEN[kind]
    own = {state.colour for state in STATES.values()}
    assert own == set(VERDICTS)
    distances = {
        (one, other): round(float(np.linalg.norm(lab(colours[one], matrix) - lab(colours[other], matrix))), 1)
        for one, other in combinations(sorted(own), 2)
    }
    assert {pair: each for pair, each in distances.items() if each < LEAST_DISTANCE} == {}
    for name in own:
        light, dark = (xyz(colours[each], matrix)[1] + 0.05 for each in (name, f"{name}-ink"))
        assert max(light, dark) / min(light, dark) >= LEAST_CONTRAST, name
