"""Ctrl-C and SIGTERM asked for politely: a flag that the training loop reads between steps."""

import signal
import threading


class Interrupted(Exception):
    """The run was told to stop and has saved itself; `signal` says by what."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.signal = number


class InterruptFlag:
    """While entered, the first SIGINT or SIGTERM sets `signal`; a second one acts as it always did."""

    def __init__(self):
        self.signal: int | None = None
        self._before = {}

    def __enter__(self):
        # Python delivers signals to the main thread alone: elsewhere (a notebook's worker) there is nothing to catch.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._catch)
        return self

    def _catch(self, number, frame):
        self.signal = number
        self._restore()

    def _restore(self):
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def __exit__(self, *exception):
        self._restore()
