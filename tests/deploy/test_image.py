"""The image itself, built and run within the limits of the manifest and of Compose, on a real broker."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.deploy import manifests
from tests.deploy.engine import build, container, resident_peak_mib, size_bytes
from tests.deploy.stack import OURS
from tests.harness.case import HOUR_MS, START_MS, Case, make_events
from tests.harness.service import PATHS

pytestmark = pytest.mark.stack

# Threads of a replica with one broker, as kubernetes.md says.
PIDS = 30 * (1 + 4)
READERS = 16


@pytest.fixture(scope="module")
def image():
    return build()


def of_manifest():
    """Podman's options for the limits of the StatefulSet."""
    one = manifests.container(manifests.BASE)
    security, limits = one["securityContext"], one["resources"]["limits"]
    memory = f"{limits['memory'].removesuffix('Mi')}m"
    dropped = [f"--cap-drop={each}" for each in security["capabilities"]["drop"]]
    user = manifests.pod(manifests.BASE)["spec"]["securityContext"]["runAsUser"]
    return confined(memory, PIDS, *dropped, "--security-opt=no-new-privileges", f"--user={user}")


def of_compose():
    """Podman's options for the limits of Compose."""
    service = OURS["driftgauge"]
    limits = service["deploy"]["resources"]["limits"]
    dropped = [f"--cap-drop={each}" for each in service["cap_drop"]]
    security = [f"--security-opt={each.removesuffix(':true')}" for each in service["security_opt"]]
    return confined(limits["memory"], limits["pids"], *dropped, *security, f"--cpus={limits['cpus']}")


def confined(memory, pids, *options):
    return [
        *("--read-only", "--read-only-tmpfs=false", f"--pids-limit={pids}"),
        *(f"--memory={memory}", f"--memory-swap={memory}", *options),
    ]


def test_image_is_at_most_300_mb_over_its_base(image):
    assert size_bytes(image) - size_bytes("") <= 300e6


@pytest.mark.parametrize("limits", [of_manifest, of_compose])
def test_image_serves_within_limits_and_ends_at_sigterm(image, limits, tmp_path, bootstrap):
    # The image's user reads it.
    tmp_path.chmod(0o755)
    case = Case(tmp_path, bootstrap)
    events = make_events("alpha", 2_000, start_ms=START_MS, span_ms=3 * HOUR_MS, seed=1)
    options = [*limits(), f"--volume={tmp_path}:{tmp_path}:ro"]
    with container(image, *options) as (name, program), case.serve(program=program) as service:
        service.wait_until_ready()
        case.publish_last(events)
        case.wait_for_counts(service, case.counts_of(events))
        windows = "/api/v1/windows?stream=alpha"
        service.wait_for("the page to show its windows", lambda: service.get(windows)[0] == 200)
        with ThreadPoolExecutor(READERS) as readers:
            asked = [*({*PATHS} - {"/api/v1/windows"}), windows] * READERS
            answers = Counter(readers.map(lambda path: service.get(path)[0], asked))
        assert json.loads(service.get("/version")[1])["commit"] == "5f3c"
        assert service.chain_faults() == {"gap": 0, "overlap": 0, "orphans": 0}
        peak_mib = resident_peak_mib(name)
        service.stop()
    assert answers.keys() == {200}
    # What the manifest requests; the rest of the limit is for backlogs.
    assert peak_mib <= 256
    assert service.logged("stopped")
