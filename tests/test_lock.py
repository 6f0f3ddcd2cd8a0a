import pytest

from tests.lock import disagreements, problems


@pytest.mark.parametrize(
    ("wanted", "lock", "problem"),
    [
        (["a>=1"], "a==1.5 \\\n    --hash=sha256:00\n", None),
        (["a>=1"], "a==1.5\n", "a==1.5 has no hash"),
        (["a>=2"], "a==1.5 \\\n    --hash=sha256:00\n", "a>=2 is not what is locked (1.5)"),
        (["b"], "a==1.5 \\\n    --hash=sha256:00\n", "b is not what is locked (nothing)"),
        ([], "--index-url x\n", "it names an address to download from"),
    ],
)
def test_a_lock_without_hashes_or_coverage_or_with_an_index_is_found(wanted, lock, problem):
    assert problems(wanted, lock) == ([] if problem is None else [problem])


def test_a_lock_of_the_image_that_departs_from_the_main_one_or_holds_an_extra_is_found():
    main = "a==1 \\\n    --hash=sha256:00\npytest==9 \\\n    --hash=sha256:00\n"
    assert disagreements("a==1 \\\n", main, {"pytest"}) == []
    assert disagreements("a==2 \\\n", main, {"pytest"}) == ["a==2 is not what requirements.lock has"]
    assert disagreements("pytest==9 \\\n", main, {"pytest"}) == ["pytest does not belong into the image"]
