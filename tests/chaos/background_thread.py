"""Base class of the background threads of a chaos run."""

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class BackgroundThread(ABC):
    """Runs `_run` in a thread while the context is open; `_run` returns soon after `_done` is set."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        self._close()

    @abstractmethod
    def _run(self) -> None:
        """The body of the thread."""

    def _close(self) -> None:  # noqa: B027 - optional
        """Release the thread's resources, after the thread has ended."""
