"""The demo's pictures: an id holds its image, and is one that an example may have."""

from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest
from deploy.demo.digits import ImageQuality, train_source
from deploy.demo.pictures import draw, event_ids, pictures

from driftgauge.core.counting.examples import can_be_example


def test_ids_hold_the_images_that_are_served():
    images = train_source().draw(20, ImageQuality.CLEAN)
    ids = event_ids(images.pixels)
    assert all(can_be_example(each) for each in ids)
    held = np.array([[int(digit, 16) / 15 for digit in each] for each in ids])
    assert np.abs(held - images.flat).max() <= 0.5 / 15 + 1e-9
    with pictures() as address:
        with urlopen(address.format(event_id=ids[0])) as answer:
            assert (answer.headers["Content-Type"], answer.read()) == ("image/png", draw(ids[0]))
        with pytest.raises(HTTPError, match="404"):
            urlopen(address.format(event_id="no-image"))
