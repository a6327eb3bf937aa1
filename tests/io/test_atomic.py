"""Writing whole or not at all: what killed processes leave behind, what is put back, what is never replaced."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from edmf_jax.errors import UserError
from edmf_jax.io.atomic import check_new, put_back, replace_file, replaced_directory
from tests.helpers.replacements import hidden, killed_replacement, short


def names(folder):
    return sorted(os.listdir(folder))


@pytest.fixture(scope="module")
def dead():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert not psutil.pid_exists(process.pid)
    return process.pid


def make_folder(path, text):
    path.mkdir()
    (path / "file").write_text(text)
    return path


# --- files


def test_leftovers_of_dead_processes_go_and_those_of_live_ones_and_of_other_targets_stay(tmp_path, dead):
    target = tmp_path / "x"
    # Process 1 lives; this process's number may have been that of a killed one (in containers it is always the same).
    gone = [hidden(target, dead, "tmp"), hidden(target, os.getpid(), "tmp")]
    kept = [hidden(target, 1, "tmp"), hidden(target, dead, "tmp", host="elsewhere"),
            hidden(tmp_path / "y", dead, "tmp"), tmp_path / f".edmf-{short('x')}-mine.tmp"]
    for path in [*gone, *kept]:
        path.write_bytes(b"half")
    replace_file(target, b"whole")
    assert target.read_bytes() == b"whole"
    assert names(tmp_path) == sorted(["x", *(path.name for path in kept)])


def test_threads_that_write_the_same_file_leave_each_others_alone(tmp_path):
    texts, errors = [bytes([i]) * 100_000 for i in range(8)], []

    def write(text):
        try:
            for _ in range(20):
                replace_file(tmp_path / "x", text)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=[text]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and (tmp_path / "x").read_bytes() in texts and names(tmp_path) == ["x"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, tiny_files):
    replace_file(tmp_path / "x", b"old")
    with tiny_files(10), pytest.raises(UserError, match=r"x: cannot be written \(File too large\); free some space"):
        replace_file(tmp_path / "x", b"new" * 100)
    assert names(tmp_path) == ["x"] and (tmp_path / "x").read_bytes() == b"old"
    replace_file(tmp_path / "x", b"")
    assert (tmp_path / "x").read_bytes() == b""


def test_links_are_kept_and_their_targets_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "x")
    replace_file(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "x").read_bytes() == b"new"
    make_folder(tmp_path / "real" / "folder", "old")
    (tmp_path / "folder").symlink_to(tmp_path / "real" / "folder")
    with replaced_directory(tmp_path / "folder") as temporary:
        (temporary / "file").write_text("new")
    assert (tmp_path / "folder").is_symlink() and (tmp_path / "folder" / "file").read_text() == "new"
    assert names(tmp_path) == ["folder", "link", "real"] and names(tmp_path / "real") == ["folder", "x"]


def test_an_existing_target_needs_force_and_a_source_is_never_overwritten(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    os.link(tmp_path / "a", tmp_path / "same")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    check_new(tmp_path / "new", [tmp_path / "a"])
    for name in ("a", "dangling"):
        with pytest.raises(UserError, match=f"{name}: already there.*--force"):
            check_new(tmp_path / name)
        check_new(tmp_path / name, force=True)
    for force in (False, True):
        with pytest.raises(UserError, match="one of the sources"):
            check_new(tmp_path / "same", [tmp_path / "a"], force=force)


# --- folders

@pytest.mark.parametrize(("renames", "before", "after"), [
    (0, ["file", "x"], "old"),  # the new one is written, the old one in its place
    (1, [], "old"),  # the old one is renamed: nobody sees it
    (2, ["file", "x"], "new"),
])
def test_a_replacement_killed_at_any_rename_is_mended(tmp_path, renames, before, after):
    target = make_folder(tmp_path / "x", "old")
    killed_replacement(target, renames)
    assert target.exists() == bool(before)
    assert put_back(target) == (renames == 1)
    assert (target / "file").read_text() == after
    with replaced_directory(target) as temporary:
        (temporary / "file").write_text("newer")
    assert (target / "file").read_text() == "newer" and names(tmp_path) == ["x"]


def test_put_back_takes_the_newest_and_leaves_a_live_process_alone(tmp_path, dead):
    target = tmp_path / "x"
    make_folder(hidden(target, 1, "old"), "being replaced")
    assert not put_back(target) and not target.exists()
    newest, older = make_folder(hidden(target, dead, "old", "elsewhere"), "b"), make_folder(hidden(target, dead, "old"),
                                                                                            "a")
    os.utime(older, (1, 1))
    # Of another host too: a container has a new name each time it starts.
    assert put_back(target) and (target / "file").read_text() == "b" and not newest.exists()
    assert names(tmp_path) == [hidden(target, 1, "old").name, "x"]


def test_put_back_of_nothing_changes_nothing(tmp_path):
    assert not put_back(tmp_path / "x") and not put_back(tmp_path / "gone" / "x")
    make_folder(tmp_path / "x", "whole")
    assert not put_back(tmp_path / "x") and names(tmp_path) == ["x"]


def test_what_cannot_be_put_back_is_named(tmp_path, dead, monkeypatch):
    left = make_folder(hidden(tmp_path / "x", dead, "old"), "old")

    def refuse(self, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UserError, match=rf"{left.name}, which cannot be renamed \(Permission denied\)"):
        put_back(tmp_path / "x")
    assert (left / "file").read_text() == "old"


def test_an_error_while_filling_or_renaming_leaves_the_old_folder(tmp_path, monkeypatch):
    target = make_folder(tmp_path / "x", "old")
    with pytest.raises(ZeroDivisionError), replaced_directory(target):
        raise ZeroDivisionError
    rename = Path.rename

    def fail_on_the_new_one(self, to):
        if self.suffix == ".tmp":
            raise PermissionError(13, "Permission denied")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", fail_on_the_new_one)
    with pytest.raises(PermissionError), replaced_directory(target) as temporary:
        (temporary / "file").write_text("new")
    assert (target / "file").read_text() == "old" and names(tmp_path) == ["x"]


def test_the_only_copy_is_never_removed(tmp_path, monkeypatch):
    """Neither the new folder nor the old one can be given the name: the old one stays under its hidden name."""
    target = make_folder(tmp_path / "x", "old")
    rename = Path.rename

    def only_away(self, to):
        if self != target:
            raise PermissionError(13, "Permission denied")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", only_away)
    with pytest.raises(PermissionError), replaced_directory(target) as temporary:
        (temporary / "file").write_text("new")
    left, = tmp_path.iterdir()
    assert left.suffix == ".old" and (left / "file").read_text() == "old"
