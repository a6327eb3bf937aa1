"""One training run in several processes, each with its own devices (`jax.distributed`).

Every process runs the same program and the same steps. A decision that depends on something only one process sees
(free memory, a signal) is agreed on here first. In a single process every function returns at once.
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
from edmf_jax.runtime.interrupt import Interrupted

Result = TypeVar("Result")
HEARTBEAT_S = 20  # a process that sends no heartbeat for this long counts as dead
_WATCH_INTERVAL_S = 2
EXIT_PEER_LOST = 3  # exit code of a process whose peers are gone
_shutting_down = threading.Event()


@contextlib.contextmanager
def session(cluster: bool, coordinator: str | None, processes: int | None, process: int | None) -> Iterator[None]:
    """Context of a command that may be one of several processes. If one of them fails, all of them end.

    Without any of the arguments the command is a single process and nothing happens.

    Args:
      cluster: let JAX ask the cluster (Slurm, Kubernetes, MPI, TPU pod) for the other three values.
      coordinator: HOST:PORT of process 0.
      processes: the number of processes.
      process: the number of this one, from 0.

    Raises:
      UserError: the arguments do not fit together, or the processes cannot be joined (see `join`).
    """
    address = (coordinator, processes, process)
    if not cluster and all(x is None for x in address):
        yield
        return
    if not cluster and any(x is None for x in address):
        raise UserError("--coordinator, --processes and --process belong together; or give --distributed alone")
    if coordinator is not None and not re.fullmatch(r".+:\d{1,5}", coordinator):
        raise UserError(f"--coordinator={coordinator}: give HOST:PORT, like 10.0.0.1:8476")
    if process is not None and not 0 <= process < (processes or process + 1):
        raise UserError(f"--process={process}: processes are numbered from 0 to {processes - 1}")
    join(*address)
    try:
        yield
    except (UserError, Interrupted) as error:
        if isinstance(error, Interrupted):
            leave()  # all processes stop at the same step
        raise
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        exit_peer_lost(str(error).splitlines()[0])
    leave()


def join(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Connects to the other processes of the run. Call it before anything asks JAX for its devices.

    Args:
      coordinator: HOST:PORT of process 0. If None, JAX takes all three values from the cluster: it knows Slurm,
        Kubernetes, MPI and TPU pods.
      processes: the number of processes.
      process: the number of this one, from 0.

    Raises:
      UserError: no cluster was found, or the other processes could not be reached.
    """
    # Lets a process outlive its peers, so that `_watch_peers` can report what happened instead of hanging.
    jax.config.update("jax_enable_recoverability", True)
    if coordinator:
        # JAX aborts the process if the others do not come; this line then says what it was waiting for.
        print(f"process {process} of {processes}: waiting for the others at {coordinator}", flush=True)
    try:
        jax.distributed.initialize(coordinator, processes, process, heartbeat_timeout_seconds=HEARTBEAT_S)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"--distributed: {str(error).splitlines()[0]}; where JAX knows no cluster, name the processes: "
                        "--coordinator HOST:PORT --processes N --process I") from error
    if jax.process_count() > 1:
        threading.Thread(target=_watch_peers, daemon=True).start()


def leave() -> None:
    """Waits until all processes are done, then disconnects. Process 0 hosts the connection, so it leaves last."""
    if jax.process_count() == 1:
        return
    multihost_utils.sync_global_devices("finish")
    _shutting_down.set()
    began = time.monotonic()
    # Whatever cannot be asked any more: the run is done, and nothing is lost by leaving early.
    with contextlib.suppress(Exception):
        while is_first() and len(_live_processes()) > 1 and time.monotonic() - began < HEARTBEAT_S:
            time.sleep(0.1)
    jax.distributed.shutdown()


def _live_processes() -> set[int]:
    """The numbers of the processes that are connected."""
    try:
        from jax._src import distributed  # JAX has no public way to ask this outside a collective operation

        ask = distributed.global_state.client.get_live_nodes
    except (ImportError, AttributeError) as error:
        raise PrivateApiMoved(f"JAX {jax.__version__} has moved jax._src.distributed.global_state.client."
                              f"get_live_nodes ({error}); edmf_jax/runtime/distributed.py, _live_processes, needs its "
                              "new name; until then a lost process is noticed by nobody") from error
    return set(ask(list(range(jax.process_count()))))


class PrivateApiMoved(RuntimeError):
    """A function of JAX that has no public twin is no longer where it was."""


def exit_peer_lost(reason: str) -> None:
    """Ends a process whose peers are gone, with one line that says what to do.

    Exits with os._exit: a normal shutdown would wait for peers that can no longer answer.
    """
    print(f"edmf: error: process {jax.process_index()} of {jax.process_count()} lost its peers ({reason}); see what "
          "they printed last; start all processes again with the same command, and the run goes on from its last "
          "checkpoint", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(EXIT_PEER_LOST)


def _watch_peers() -> None:
    """Thread that polls the other processes: a sum over all devices would wait forever for a dead one."""
    silent_since = None  # of the first of the calls in a row that failed
    while not _shutting_down.wait(_WATCH_INTERVAL_S):
        try:
            dead = sorted(set(range(jax.process_count())) - _live_processes())
        except PrivateApiMoved as error:
            print(f"edmf: warning: {error}", file=sys.stderr, flush=True)
            return
        except Exception as error:
            # One call that failed may be a slow network; only a silence as long as a missed heartbeat counts.
            silent_since = time.monotonic() if silent_since is None else silent_since
            silent_s = time.monotonic() - silent_since
            if silent_s < HEARTBEAT_S:
                continue
            dead = [0]  # it keeps the list
            reason = f"process 0 has not answered for {silent_s:.0f} s: {str(error).splitlines()[0]}"
        else:
            silent_since = None
            reason = f"no heartbeat from process {', '.join(map(str, dead))} for {HEARTBEAT_S} s"
        if dead and not _shutting_down.is_set():
            exit_peer_lost(reason)


def connect_devices(devices: np.ndarray) -> None:
    """Runs one small sum over all devices so that they connect before the long compilation.

    Devices of different processes wait only half a minute for each other, and compiling the training step can take
    longer than that on one of them.
    """
    if jax.process_count() > 1:
        split = jax.sharding.NamedSharding(jax.sharding.Mesh(devices, ("all",)), jax.sharding.PartitionSpec("all"))
        ones = jax.make_array_from_callback(devices.shape, split, lambda index: np.ones(1, np.float32))
        jax.block_until_ready(jax.jit(jax.numpy.sum)(ones))


def is_first() -> bool:
    """Whether this is process 0, which alone writes logs and records."""
    return jax.process_index() == 0


def process_zero_first(call: Callable[[], Result]) -> Result:
    """Runs `call()` in process 0 and, if that succeeded, in all other processes; each returns its own result.

    Raises:
      UserError: in process 0, whatever `call` raised; in the other processes, that it failed in process 0.
    """
    if jax.process_count() == 1:
        return call()
    failed, result = None, None
    if is_first():
        try:
            result = call()
        except UserError as error:
            failed = error
    failed_anywhere = any_process(failed is not None)
    if failed:
        raise failed
    if failed_anywhere:
        raise UserError("process 0 could not go on; see what it printed")
    return result if is_first() else call()


def any_process(flag: bool) -> bool:
    """Whether `flag` is true in any of the processes; every process gets the same answer."""
    return bool(gather_rows(np.array([flag], np.int32)).any())


def min_over_processes(value: float) -> float:
    """The smallest of the processes' values, as float32 holds it; every process gets the same number."""
    return float(gather_rows(np.array([value], np.float32)).min())


def gather_rows(rows: np.ndarray) -> np.ndarray:
    """Concatenates the rows of all processes in their order, in every process.

    Args:
      rows: `[n, …]`; n may differ between processes, the other sizes and the dtype may not.
    """
    if jax.process_count() == 1:
        return rows
    counts = np.asarray(multihost_utils.process_allgather(np.array([len(rows)], np.int32))).ravel()
    padded = np.zeros((counts.max(), *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    gathered = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(counts), *padded.shape)
    return np.concatenate([part[:count] for part, count in zip(gathered, counts)])
