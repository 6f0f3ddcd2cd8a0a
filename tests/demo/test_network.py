"""Tests of `deploy.demo.network`."""

import numpy as np
import pytest
from deploy.demo.digits import ImageQuality, degrade, shift_randomly
from deploy.demo.network import MODEL_VERSION, Network, train
from safetensors.numpy import save as serialize
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from driftgauge.baseline.fitting import fit_baseline
from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.core.statistics.divergence_null import noise_floor
from driftgauge.errors import InputError


@pytest.fixture(scope="module")
def weeks(split):
    """A week of 1,000 images a day at each quality: quality -> images by day."""
    rng = np.random.default_rng(5)
    return {
        quality: [
            degrade(
                shift_randomly(split.traffic, rng.integers(len(split.traffic.labels), size=1_000), rng),
                quality,
            )
            for _ in range(7)
        ]
        for quality in ImageQuality
    }


@pytest.fixture(scope="module")
def baseline(split, network):
    rows = np.tile(np.arange(len(split.reference.labels)), 10)
    return fit_baseline(
        network.embed(shift_randomly(split.reference, rows, np.random.default_rng(0))),
        stream="digits",
        model_version=MODEL_VERSION,
        clusters=10,
        seed=0,
        created_ms=0,
        progress=lambda _: None,
    )


def test_embedding_has_32_floats_of_both_signs(network, split):
    vectors = network.embed(split.traffic)
    assert vectors.shape == (599, 32)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert 0.1 < (vectors < 0).mean() < 0.9


def test_network_accuracy_matches_scikit_learn(split):
    # The answers of scikit-learn's own classifier, which come out of its own forward pass.
    flat = split.training.pixels.reshape(599, 64)
    classifier = MLPClassifier((32,), max_iter=20, random_state=1)
    with pytest.warns(ConvergenceWarning):
        classifier.fit(flat, split.training.labels)
    network = Network.from_classifier(classifier)
    right = classifier.score(split.traffic.pixels.reshape(599, 64), split.traffic.labels)
    assert 0.5 < right < 0.95
    assert network.accuracy(split.traffic) == pytest.approx(right, abs=0.002)


def test_saved_network_loads_unchanged(network, split, tmp_path):
    path = tmp_path / "network.safetensors"
    network.save(path)
    again = Network.load(path)
    assert again.embed(split.traffic).tobytes() == network.embed(split.traffic).tobytes()
    assert again.accuracy(split.traffic) == network.accuracy(split.traffic)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, r"No such file"),
        (b"", "it holds none"),
        (serialize({"hidden_weights": np.zeros((64, 32))}), "it holds none"),
    ],
    ids=["absent", "empty", "another"],
)
def test_file_without_network_is_rejected_with_remedy(tmp_path, content, reason):
    path = tmp_path / "network.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        InputError, match=rf"network\.safetensors: .*{reason}.*`python -m deploy.demo prepare`"
    ):
        Network.load(path)


def test_unwritable_network_is_reported_with_path(network, tmp_path):
    with pytest.raises(InputError, match=r"network: cannot write the network: No such file or directory"):
        network.save(tmp_path / "missing" / "network")


def test_training_depends_on_seed_only(network, split):
    again = train(split.training, 0)
    assert again.embed(split.traffic).tobytes() == network.embed(split.traffic).tobytes()


def test_network_classifies_unseen_images(network, split):
    assert network.accuracy(split.training) > 0.99
    assert network.accuracy(split.reference) > 0.93
    assert network.accuracy(split.traffic) > 0.93


def test_accuracy_falls_in_second_and_third_week(network, weeks):
    accuracies = {quality: [network.accuracy(images) for images in days] for quality, days in weeks.items()}
    assert min(accuracies[ImageQuality.CLEAN]) > 0.93
    assert max(accuracies[ImageQuality.BLURRED]) < min(accuracies[ImageQuality.CLEAN]) - 0.2
    assert max(accuracies[ImageQuality.DARKENED]) < min(accuracies[ImageQuality.BLURRED]) - 0.2


def test_divergence_rises_in_second_and_third_week(network, baseline, weeks):
    divergences = {}
    for quality, days in weeks.items():
        clusters = [baseline.centroids.assign(network.embed(images)) for images in days]
        divergences[quality] = [
            js_contributions(np.bincount(cluster, minlength=10).astype(np.int64), baseline.counts).sum()
            for cluster in clusters
        ]
    clean, blurred, darkened = (divergences[quality] for quality in ImageQuality)
    floor = noise_floor(10, 1_000, baseline.counts.sum())
    assert np.mean(clean) < 2 * floor
    assert max(clean) < 4 * floor
    assert max(clean) < min(blurred) / 5
    assert max(blurred) < min(darkened) / 2
