import threading
import time

import cv2
import pytest

from edmf_jax.registration import threads


@pytest.fixture(params=[1, 2, 3])
def cores(request, monkeypatch):
    monkeypatch.setattr(threads, "usable_cores", lambda: request.param)
    threads._helpers.cache_clear()
    yield request.param
    threads._helpers().shutdown()
    threads._helpers.cache_clear()


def test_results_come_in_the_order_of_the_items(cores):
    assert threads.on_all_cores(lambda x: x * x, range(20)) == [x * x for x in range(20)]
    assert threads.on_all_cores(lambda x: x, []) == []


def test_so_many_items_are_worked_on_at_once(cores):
    meeting = threading.Barrier(cores, timeout=20)  # breaks if they don't come together
    assert threads.on_all_cores(lambda x: meeting.wait() >= 0, range(cores)) == [True] * cores


def test_opencv_has_one_thread_while_it_works_and_its_own_number_afterwards(cores):
    before = cv2.getNumThreads()
    assert set(threads.on_all_cores(lambda _: cv2.getNumThreads(), range(8))) == {1}
    assert cv2.getNumThreads() == before


def test_work_may_ask_for_all_cores_itself(cores):
    inner = lambda x: sum(threads.on_all_cores(lambda y: x * y, range(5)))
    assert threads.on_all_cores(inner, range(8)) == [10 * x for x in range(8)]


def test_an_error_ends_the_work(cores):
    begun = []

    def work(x):
        begun.append(x)
        if x == 2:
            raise KeyError("two")
        time.sleep(0.001)

    with pytest.raises(KeyError, match="two"):
        threads.on_all_cores(work, range(1000))
    assert len(begun) < 1000
    assert threads.on_all_cores(str, range(3)) == ["0", "1", "2"]  # and it goes on working
