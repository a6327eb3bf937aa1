"""The watch over the other processes of a run, on a clock that tests move: what ends a process and what does not."""

import re
import types

import pytest

from edmf_jax.runtime import distributed
from edmf_jax.runtime.distributed import HEARTBEAT_S, PrivateApiMoved


class Lost(BaseException):
    """Instead of os._exit."""


@pytest.fixture
def watch(monkeypatch):
    """`watch(answers)`: polls once for each answer (a set of live processes, or an error), then the run is over.

    Returns the reason for which the process ended itself, or None, and the number of polls.
    """
    def watch(answers, seconds=2.0, processes=3):
        now, answers, polls = types.SimpleNamespace(s=100.0), iter(answers), []

        def ask():
            polls.append(now.s)
            answer = next(upcoming)
            if isinstance(answer, Exception):
                raise answer
            return answer

        upcoming = iter(answers := list(answers))

        def wait(interval):
            assert 0 < interval <= 5
            now.s += seconds
            return len(polls) == len(answers)

        def lost(reason):
            raise Lost(reason)

        monkeypatch.setattr(distributed, "_shutting_down", types.SimpleNamespace(wait=wait, is_set=lambda: False))
        monkeypatch.setattr(distributed, "_live_processes", ask)
        monkeypatch.setattr(distributed, "exit_peer_lost", lost)
        monkeypatch.setattr(distributed.jax, "process_count", lambda: processes)
        monkeypatch.setattr(distributed.time, "monotonic", lambda: now.s)
        try:
            distributed._watch_peers()
        except Lost as reason:
            return str(reason), len(polls)
        return None, len(polls)

    return watch


ALL, FAILED = {0, 1, 2}, RuntimeError("UNAVAILABLE: failed to connect to all addresses\nmore")


def test_one_failed_call_ends_nothing(watch):
    assert watch([ALL, FAILED, ALL, FAILED, FAILED, ALL]) == (None, 6)


def test_calls_that_fail_now_and_then_never_add_up(watch):
    assert watch([FAILED, FAILED, ALL] * 40) == (None, 120)


def test_a_silence_as_long_as_a_missed_heartbeat_ends_it(watch):
    reason, polls = watch([ALL, *[FAILED] * 100])
    assert re.fullmatch(rf"process 0 has not answered for {HEARTBEAT_S} s: UNAVAILABLE: failed to connect to all "
                        "addresses", reason)
    assert polls == 1 + HEARTBEAT_S / 2 + 1


def test_after_a_stall_of_this_process_the_first_failure_ends_nothing(watch):
    """Suspended for minutes, and the connection has to be made anew: it is tried again before anything is concluded."""
    assert watch([ALL, FAILED, ALL], seconds=300.0) == (None, 3)


def test_a_missing_process_ends_it_at_once_and_is_named(watch):
    assert watch([ALL, {0, 2}]) == (f"no heartbeat from process 1 for {HEARTBEAT_S} s", 2)
    assert watch([{0}])[0].startswith("no heartbeat from process 1, 2 ")


def test_a_function_that_jax_has_moved_is_one_warning_and_ends_nothing(watch, capsys):
    assert watch([PrivateApiMoved("JAX 9 has moved it"), ALL, ALL]) == (None, 1)
    assert capsys.readouterr().err == "edmf: warning: JAX 9 has moved it\n"


@pytest.mark.parametrize("lacking", ["get_live_nodes", "client", "global_state"])
def test_a_moved_function_says_what_to_do(lacking, monkeypatch):
    from jax._src import distributed as private

    client = types.SimpleNamespace(get_live_nodes=lambda ids: {0: 1, 1: 1})
    state = types.SimpleNamespace(client=client)
    monkeypatch.setattr(private, "global_state", state)
    monkeypatch.setattr(distributed.jax, "process_count", lambda: 2)
    assert distributed._live_processes() == {0, 1}
    delattr(*{"get_live_nodes": (client, lacking), "client": (state, lacking), "global_state": (private, lacking)}[
        lacking])
    with pytest.raises(PrivateApiMoved, match=rf"has moved jax\._src\..*{lacking}.*needs its new name"):
        distributed._live_processes()


def test_jax_still_has_it():
    """The first to fail after an upgrade of JAX that moves it."""
    from jax._src import distributed as private
    from jax._src.lib import _jax

    assert hasattr(private, "global_state") and hasattr(private.global_state, "client")
    assert hasattr(_jax.DistributedRuntimeClient, "get_live_nodes")


@pytest.mark.parametrize("error", [PrivateApiMoved("moved"), FAILED])
def test_a_finished_run_leaves_whatever_cannot_be_asked_any_more(error, monkeypatch):
    left = []

    def ask():
        raise error

    monkeypatch.setattr(distributed, "_live_processes", ask)
    monkeypatch.setattr(distributed.jax, "process_count", lambda: 2)
    monkeypatch.setattr(distributed.multihost_utils, "sync_global_devices", left.append)
    monkeypatch.setattr(distributed.jax.distributed, "shutdown", lambda: left.append("shut down"))
    monkeypatch.setattr(distributed, "_shutting_down", types.SimpleNamespace(set=lambda: left.append("no watch")))
    distributed.leave()
    assert left == ["finish", "no watch", "shut down"]
