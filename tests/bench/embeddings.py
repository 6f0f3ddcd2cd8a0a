"""The embeddings of images and texts that the evidence is measured on; they are not in this repository."""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

IMAGES = "cifar10-resnet18-fc1.npz"
TEXTS = "text-minilm.npz"
DATA = Path(__file__).parents[3] / "shared" / "data"

Array = NDArray[np.float64]
Vectors = NDArray[np.float32]
"""(N, d)."""
Rows = NDArray[np.intp]
"""The rows of a window's events among some vectors."""


def load(folder: Path, file: str, *names: str) -> list[NDArray]:
    """Return arrays of a file; exit with a message if it is missing."""
    path = folder / file
    if not path.exists():
        sys.exit(f"the embeddings are missing: {path}; name their folder: --data FOLDER")
    with np.load(path) as archive:
        return [archive[name] for name in names]


def load_vectors(folder: Path, file: str, *names: str) -> list[Vectors]:
    """Return arrays of a file as float32."""
    return [each.astype(np.float32) for each in load(folder, file, *names)]
