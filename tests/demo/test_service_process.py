"""Tests of `deploy.demo.service_process`."""

import threading
from pathlib import Path

import pytest
from deploy.demo.errors import DemoError
from deploy.demo.service_process import ServiceProcess


def test_failed_start_is_reported_with_log_tail(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    service = ServiceProcess(tmp_path / "missing.yaml", log, threading.Event())

    with pytest.raises(DemoError, match="ended with status 2") as caught, service:
        pytest.fail("a service without a configuration came up")

    assert f"{log} ends with:" in str(caught.value)
    assert "missing.yaml cannot be read" in str(caught.value)


def test_stop_request_ends_service(tmp_path: Path) -> None:
    stopping = threading.Event()
    stopping.set()
    service = ServiceProcess(tmp_path / "missing.yaml", tmp_path / "service.log", stopping)

    with pytest.raises(KeyboardInterrupt), service:
        pytest.fail("the service came up though it was told to stop")

    assert service._process.returncode is not None
