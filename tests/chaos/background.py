"""A thread that runs beside a chaos run."""

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Background(ABC):
    """Runs `_run` in a thread as long as the context lasts; `_run` returns soon after `_done` is set."""

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
        """What the thread does."""

    def _close(self) -> None:  # noqa: B027 - not everyone has something to close
        """Close what the thread used, once it has ended."""
