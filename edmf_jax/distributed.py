"""Several processes of one run, each with its own devices (`jax.distributed`); in a single process all of it is idle.

Every process runs the same program in step; what is decided from something that only one of them sees (free
memory, a signal) is agreed on here first.
"""

import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from edmf_jax.errors import UserError
from edmf_jax.interrupt import Interrupted

Result = TypeVar("Result")
HEARTBEAT_S = 20  # without a word for so long, a process counts as dead
_WATCH_S = 2
LOST = 3  # exit code of a process whose companions are gone
_leaving = threading.Event()


@contextlib.contextmanager
def session(cluster: bool, coordinator: str | None, processes: int | None, process: int | None) -> Iterator[None]:
    """The span of a command that may be one of several processes; it ends them all when one of them fails.

    Args:
      cluster: ask the cluster for what the others tell.
      coordinator: HOST:PORT of process 0;  processes: how many there are;  process: which one this is.

    Raises:
      UserError: see `start`; or the arguments do not fit together.
    """
    named = (coordinator, processes, process)
    if not cluster and all(x is None for x in named):
        yield
        return
    if not cluster and any(x is None for x in named):
        raise UserError("--coordinator, --processes and --process belong together; or give --distributed alone")
    if coordinator is not None and not re.fullmatch(r".+:\d{1,5}", coordinator):
        raise UserError(f"--coordinator={coordinator}: give HOST:PORT, like 10.0.0.1:8476")
    if process is not None and not 0 <= process < (processes or process + 1):
        raise UserError(f"--process={process}: processes are numbered from 0 to {processes - 1}")
    start(*named)
    try:
        yield
    except (UserError, Interrupted) as error:
        if isinstance(error, Interrupted):
            finish()  # all stop at the same step
        raise
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        lost(str(error).splitlines()[0])
    finish()


def start(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Joins the other processes of the run; to be called before anything asks JAX for its devices.

    Args:
      coordinator: HOST:PORT of process 0.  Where it is None, all three come from the cluster: Slurm,
        Kubernetes, MPI and TPU pods are known to JAX.
      processes: how many there are;  process: which one this is, from 0 on.

    Raises:
      UserError: no cluster was found, or the others could not be reached.
    """
    # A process outlives its companions, so that it can say what happened (`_watch`), and does not hang.
    jax.config.update("jax_enable_recoverability", True)
    if coordinator:
        # JAX ends the process itself where they don't come: this line then says what it was waiting for.
        print(f"process {process} of {processes}: waiting for the others at {coordinator}", flush=True)
    try:
        jax.distributed.initialize(coordinator, processes, process, heartbeat_timeout_seconds=HEARTBEAT_S)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"--distributed: {str(error).splitlines()[0]}; where JAX knows no cluster, name the processes: "
                        "--coordinator HOST:PORT --processes N --process I") from error
    if jax.process_count() > 1:
        threading.Thread(target=_watch, daemon=True).start()


def finish() -> None:
    """Waits for the others at the end of a run, then leaves them; process 0, whom they need for that, goes last."""
    if jax.process_count() == 1:
        return
    multihost_utils.sync_global_devices("finish")
    _leaving.set()
    began = time.monotonic()
    while is_first() and len(_alive()) > 1 and time.monotonic() - began < HEARTBEAT_S:
        time.sleep(0.1)
    jax.distributed.shutdown()


def _alive() -> set[int]:
    """The processes that are connected."""
    from jax._src import distributed  # JAX has no public way to ask outside a collective

    return set(distributed.global_state.client.get_live_nodes(list(range(jax.process_count()))))


def leave(message: str, code: int) -> None:
    """Ends this process of several at once: a tidy end would wait for the others, who wait for this one."""
    print(message, file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(code)


def lost(why: str) -> None:
    """Ends a process whose companions are gone, with the one line that says what to do."""
    leave(f"edmf: error: process {jax.process_index()} of {jax.process_count()} lost its companions ({why}); see what "
          "they printed last; start all processes again with the same command, and the run goes on from its last "
          "checkpoint", LOST)


def _watch() -> None:
    """Looks after the other processes: a sum over devices would wait for a dead one for ever."""
    while not _leaving.wait(_WATCH_S):
        try:
            dead = sorted(set(range(jax.process_count())) - _alive())
        except Exception as error:  # process 0, who knows, is gone
            dead, why = [0], f"process 0 does not answer: {str(error).splitlines()[0]}"
        else:
            why = f"no sign of life from process {', '.join(map(str, dead))} for {HEARTBEAT_S} s"
        if dead and not _leaving.is_set():
            lost(why)


def connect_devices(devices: np.ndarray) -> None:
    """Lets all devices meet early: their processes wait half a minute for each other, and compile for longer."""
    if jax.process_count() > 1:
        split = jax.sharding.NamedSharding(jax.sharding.Mesh(devices, ("all",)), jax.sharding.PartitionSpec("all"))
        ones = jax.make_array_from_callback(devices.shape, split, lambda index: np.ones(1, np.float32))
        jax.block_until_ready(jax.jit(jax.numpy.sum)(ones))


def is_first() -> bool:
    """Is this the process that writes what is written once?"""
    return jax.process_index() == 0


def first_alone(call: Callable[[], Result]) -> Result:
    """`call()` by process 0, then, where that went well, by the others.

    Raises:
      UserError: what `call` raised, in process 0; in the others, that it failed there.
    """
    if jax.process_count() == 1:
        return call()
    failed, result = None, None
    if is_first():
        try:
            result = call()
        except UserError as error:
            failed = error
    everywhere = any_process(failed is not None)
    if failed:
        raise failed
    if everywhere:
        raise UserError("process 0 could not go on; see what it printed")
    return result if is_first() else call()


def any_process(flag: bool) -> bool:
    """Is it so in any process?"""
    return bool(gather(np.array([flag], np.int32)).any())


def least(value: float) -> float:
    """The smallest of the processes' values."""
    return float(gather(np.array([value], np.float32)).min())


def gather(rows: np.ndarray) -> np.ndarray:
    """All processes' rows, `[n, …]` each and of differing n, one after the other."""
    if jax.process_count() == 1:
        return rows
    counts = np.asarray(multihost_utils.process_allgather(np.array([len(rows)], np.int32))).ravel()
    padded = np.zeros((counts.max(), *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    everything = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(counts), *padded.shape)
    return np.concatenate([part[:count] for part, count in zip(everything, counts)])
