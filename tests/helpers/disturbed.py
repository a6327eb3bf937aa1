"""Runs `edmf` and disturbs it from within at a moment that does not depend on the speed of the machine.

    EDMF_DISTURB='{"below": FOLDER, "change": N, "action": 9}' python tests/helpers/disturbed.py fuse …

    below    the folder whose changes count
    change   act just before the N-th change of a file there; 0: never
    step     act when training step N is checked, in this process
    action   a signal's number (9: the process is gone at once), or "full disk": no file may grow any more
    count    a file that gets the number of changes at the end

A change is Python's opening of a file for writing, a renaming, a removal or a new folder: between two of them a killed
process leaves something half done.  What C++ libraries write is not seen.
"""

import json
import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHANGES = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
LARGEST = 50_000  # bytes of a file on the full disk


def act(action) -> None:
    """Does what the environment asks for to this process."""
    if action == "full disk":
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))
    else:
        os.kill(os.getpid(), action)


class Counter:
    """Counts the changes below a folder, and acts at one of them."""

    def __init__(self, below: str, at: int, action):
        self.below, self.at, self.action, self.count = os.path.abspath(below), at, action, 0

    def hook(self, event, arguments):
        """An audit hook of Python's."""
        if event not in CHANGES or not isinstance(arguments[0], str | os.PathLike):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITING):
            return
        if os.path.abspath(os.fspath(arguments[0])).startswith(self.below):
            self.count += 1
            if self.count == self.at:
                act(self.action)


def act_at_step(number: int, action) -> None:
    """Acts when the loss of a training step is checked."""
    from edmf_jax.training.divergence import DivergenceMonitor

    check = DivergenceMonitor.check

    def check_and_act(self, step, *arguments):
        check(self, step, *arguments)
        if step == number:
            act(action)

    DivergenceMonitor.check = check_and_act


def main() -> None:
    """Runs one command."""
    sys.path.insert(0, str(ROOT))
    # A killed process leaves half an entry in JAX's compilation cache: it must not be the other tests' cache.
    if folder := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{folder}-of-the-disturbed"
    plan = {"below": "/", "change": 0, "step": 0, "action": int(signal.SIGKILL), "count": None,
            **json.loads(os.environ.get("EDMF_DISTURB", "{}"))}
    counter = Counter(plan["below"], plan["change"], plan["action"])
    sys.addaudithook(counter.hook)
    if plan["step"]:
        act_at_step(plan["step"], plan["action"])
    from edmf_jax.cli.main import main as edmf

    code = edmf()
    if plan["count"]:
        Path(plan["count"]).write_text(str(counter.count))
    if code:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # as `edmf` ends


if __name__ == "__main__":
    main()
