"""Base class of the background threads of a chaos run."""

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from tests.harness.closing import join


class BackgroundThread(ABC):
    """Runs `_run` in a thread while the context is open; `_run` returns soon after `_done` is set.

    A thread whose client does not return is left behind.
    """

    def __init__(self, name: str) -> None:
        """Start no thread yet, which does this, for messages."""
        self._name = name
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

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
        if join(self._thread, self._name):
            self._close()

    @abstractmethod
    def _run(self) -> None:
        """The body of the thread."""

    def _close(self) -> None:  # noqa: B027 - optional
        """Release the thread's resources, after the thread has ended."""
