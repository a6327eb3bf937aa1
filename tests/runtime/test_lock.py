"""The lock of a work folder: one process at a time, named; what a killed one leaves is taken over."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from edmf_jax.errors import UserError
from edmf_jax.runtime.lock import HOLDER_NAME, exclusive
from tests.helpers.files import ROOT

HOLD = """if True:
    import sys, time
    from pathlib import Path
    from edmf_jax.runtime.lock import exclusive
    with exclusive(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path`."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_told_who_holds_it_and_since_when(tmp_path, holder):
    before = (tmp_path / HOLDER_NAME).read_bytes()
    with pytest.raises(UserError) as caught, exclusive(tmp_path, "--folder"):
        pytest.fail("two held it")
    text = str(caught.value)
    assert text.startswith(f"--folder={tmp_path} is in use by process {holder.pid} on ") and "\n" not in text
    assert re.search(r"since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 .*; wait until it has ended, or choose", text)
    assert (tmp_path / HOLDER_NAME).read_bytes() == before


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / HOLDER_NAME).exists()  # it could not tidy up
    with exclusive(tmp_path):
        assert json.loads((tmp_path / HOLDER_NAME).read_text())["pid"] == os.getpid()
    assert not (tmp_path / HOLDER_NAME).exists()


def test_it_is_free_after_the_block_also_if_that_raised_and_other_folders_are_not_concerned(tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(KeyError), exclusive(tmp_path), exclusive(tmp_path / "other"):
        raise KeyError
    with exclusive(tmp_path), pytest.raises(UserError, match=f"in use by process {os.getpid()} "), exclusive(tmp_path):
        pytest.fail("held twice")


def test_a_holder_that_is_half_written_is_another_process(tmp_path, holder):
    (tmp_path / HOLDER_NAME).write_text('{"pid"')
    with pytest.raises(UserError, match="in use by another process; wait"), exclusive(tmp_path):
        pytest.fail("two held it")


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--workdir=.*file: can't lock it"), exclusive(tmp_path / "file"):
        pytest.fail("held")
