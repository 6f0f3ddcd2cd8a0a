"""The check of the locks."""

import pytest

from tests.tools.lock import disagreements, problems


@pytest.mark.parametrize(
    ("wanted", "lock", "problem"),
    [
        (["a>=1"], "a==1.5 \\\n    --hash=sha256:00\n", None),
        (["a>=1"], "a==1.5\n", "a==1.5 has no hash"),
        (["a>=2"], "a==1.5 \\\n    --hash=sha256:00\n", "a>=2 is not satisfied by the lock (1.5)"),
        (["b"], "a==1.5 \\\n    --hash=sha256:00\n", "b is not satisfied by the lock (nothing)"),
        ([], "--index-url x\n", "it names a download address"),
    ],
)
def test_faulty_lock_is_reported(wanted, lock, problem):
    assert problems(wanted, lock) == ([] if problem is None else [problem])


def test_image_lock_that_differs_from_main_is_reported():
    main = "a==1 \\\n    --hash=sha256:00\npytest==9 \\\n    --hash=sha256:00\n"
    assert disagreements("a==1 \\\n", main, {"pytest"}) == []
    assert disagreements("a==2 \\\n", main, {"pytest"}) == ["a==2 is not in requirements.lock"]
    assert disagreements("pytest==9 \\\n", main, {"pytest"}) == ["pytest is not for the image"]
