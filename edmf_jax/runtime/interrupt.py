"""Turns SIGINT (Ctrl-C) and SIGTERM into a flag that a loop polls."""

import signal
import threading


class Interrupted(Exception):
    """A command was stopped by a signal after saving its work; `signal` is the signal's number."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.signal = number


class InterruptFlag:
    """Context manager that catches the first SIGINT or SIGTERM and stores its number in `signal` (None until then).

    That first signal also restores the previous handlers, so a second one acts as if this class were not there.
    """

    def __init__(self):
        self.signal: int | None = None
        self._previous_handlers = {}

    def __enter__(self):
        # Python runs signal handlers in the main thread only and lets no other thread (a notebook's worker) set one.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous_handlers[number] = signal.signal(number, self._catch)
        return self

    def _catch(self, number, frame):
        self.signal = number
        self._restore()

    def _restore(self):
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
        self._previous_handlers = {}

    def __exit__(self, *exception):
        self._restore()
