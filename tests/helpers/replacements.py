"""Replacements of files and folders that a killed process left half-way."""

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

from edmf_jax.io import atomic


def short(text):
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def hidden(target, pid, ending, host=None):
    """The name that a process of this number would have given to what it writes."""
    return target.with_name(f".edmf-{short(target.name)}-{short(host or socket.gethostname())}-{pid}-0badcafe.{ending}")


KILLED = """
import os, sys
from pathlib import Path
from edmf_jax.io.atomic import replaced_directory

rename, left = Path.rename, int(sys.argv[2])

def rename_or_die(self, target):
    global left
    if left == 0:
        os._exit(9)
    left -= 1
    return rename(self, target)

Path.rename = rename_or_die
with replaced_directory(Path(sys.argv[1])) as temporary:
    (temporary / "file").write_text("new")
os._exit(9)
"""


def killed_replacement(folder, renames):
    """A process that replaces a folder and is gone, without any clean-up, after so many renames."""
    root = str(Path(atomic.__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(renames)],
                          env=os.environ | {"PYTHONPATH": root}, check=False)
    assert done.returncode == 9
