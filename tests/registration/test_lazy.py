"""Values that are computed when they are first used."""

import threading

from edmf_jax.registration.lazy import Lazy


class Thing:
    def __init__(self):
        self.count, self.wait = 0, None

    @Lazy
    def value(self):
        """What the property says."""
        self.count += 1
        if self.wait:
            self.wait()
        return [self.count]


def test_a_value_is_computed_once_for_each_object():
    first, second = Thing(), Thing()
    assert first.value is first.value and first.count == 1 and second.count == 0
    assert second.value == [1] and second.value is not first.value
    assert Thing.value.__doc__ == "What the property says."


def test_two_objects_are_prepared_at_the_same_time():
    """`functools.cached_property` of Python 3.11 would let the second wait for the first, for ever."""
    meeting = threading.Barrier(2, timeout=20)
    things = [Thing(), Thing()]
    for one in things:
        one.wait = meeting.wait
    threads = [threading.Thread(target=lambda one=one: one.value) for one in things]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not meeting.broken and [one.value for one in things] == [[1], [1]]
