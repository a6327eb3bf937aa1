"""Many fusions in one run: which shots belong together, and what happens when one of them fails."""

import errno
from pathlib import Path

import numpy as np
import pytest
import tifffile

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.fusion.batch import Job, pair_up, pictures_in, run_jobs, shard_of, stacks_in
from edmf_jax.io import shot_list
from edmf_jax.io.photographs import Page


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def names_of(jobs):
    return [([shot.name for shot in job.shots], job.output.name) for job in jobs]


def test_pairs_by_number_whatever_the_names(tmp_path):
    a, b = touch(tmp_path / "a", "near10.jpg", "near9.jpg"), touch(tmp_path / "b", "z-9.png", "y-10.png")
    jobs, how = pair_up(a, b, tmp_path / "out")
    assert how == "by number"
    assert names_of(jobs) == [(["near9.jpg", "z-9.png"], "near9.jpg"), (["near10.jpg", "y-10.png"], "near10.jpg")]
    assert jobs[0].name == "near9"


def test_pairs_by_name_where_numbers_do_not_agree(tmp_path):
    a, b = touch(tmp_path / "a", "1.png", "2.heic"), touch(tmp_path / "b", "p.png", "q.png")
    jobs, how = pair_up(a, b, tmp_path / "out")
    assert how == "in the order of their names"
    assert names_of(jobs) == [(["1.png", "p.png"], "1.png"), (["2.heic", "q.png"], "2.tif")]  # HEIC is not written
    assert [job.output.suffix for job in pair_up(a, b, tmp_path / "out", ".webp")[0]] == [".webp"] * 2


def test_a_picture_without_a_partner_is_named(tmp_path):
    a, b = touch(tmp_path / "a", "1.png", "2.png"), touch(tmp_path / "b", "1.png")
    with pytest.raises(UserError, match=r"holds 2 pictures and .* 1; take out those that have no partner \(2\.png\)"):
        pair_up(a, b, tmp_path / "out")


def test_results_do_not_lie_among_the_sources(tmp_path):
    a, b = touch(tmp_path / "a", "1.png"), touch(tmp_path / "b", "1.png")
    with pytest.raises(UserError, match="among the sources"):
        pair_up(a, b, b)


def test_two_results_of_one_name_are_refused(tmp_path):
    a, b = touch(tmp_path / "a", "1.png", "1.jpg"), touch(tmp_path / "b", "p.png", "q.png")
    with pytest.raises(UserError, match="two results would be"):
        pair_up(a, b, tmp_path / "out", ".png")


def test_stacks_are_the_sub_folders(tmp_path):
    touch(tmp_path, "loose.png")
    touch(tmp_path / "tree", "2.jpg", "10.jpg", "notes.txt", ".hidden.jpg")
    touch(tmp_path / "empty")
    touch(tmp_path / "out", "old.jpg")
    assert names_of(stacks_in(tmp_path, tmp_path / "out")) == [([], "empty.tif"), (["2.jpg", "10.jpg"], "tree.jpg")]
    with pytest.raises(UserError, match="no sub-folders in it"):
        stacks_in(tmp_path / "tree", tmp_path / "out")


def test_the_pages_of_a_single_file_are_a_stack(tmp_path):
    (tmp_path / "in/tree").mkdir(parents=True)
    tifffile.imwrite(tmp_path / "in/tree/all.tif", np.zeros((3, 20, 24, 3), np.uint8), photometric="rgb")
    (job,) = stacks_in(tmp_path / "in", tmp_path / "out")
    assert job.shots == tuple(Page(tmp_path / "in/tree/all.tif", number) for number in (1, 2, 3))
    assert job.output.name == "tree.tif"


def test_raw_and_pages_in_pairs_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    a, b = touch(tmp_path / "a", "1.jpg", "1.nef"), touch(tmp_path / "b")
    tifffile.imwrite(b / "1.tif", np.zeros((3, 20, 24, 3), np.uint8), photometric="rgb")
    lines = []
    jobs, how = pair_up(a, b, tmp_path / "out", log=lines.append)
    assert how == "by number" and jobs[0].shots == (a / "1.jpg", Page(b / "1.tif", 1)) and len(lines) == 2


def test_pairs_without_common_numbers_follow_the_times_of_capture(tmp_path, monkeypatch):
    a, b = touch(tmp_path / "a", "DSC_9999.jpg", "DSC_0001.jpg"), touch(tmp_path / "b", "DSC_0002.jpg", "DSC_0003.jpg")
    times = {"DSC_9999.jpg": "10", "DSC_0002.jpg": "11", "DSC_0001.jpg": "12", "DSC_0003.jpg": "13"}
    monkeypatch.setattr(shot_list, "capture_time", lambda path: (times[path.name], "") if path.name in times else None)
    lines = []
    expected = [["DSC_9999.jpg", "DSC_0002.jpg"], ["DSC_0001.jpg", "DSC_0003.jpg"]]
    jobs, _ = pair_up(a, b, tmp_path / "out", log=lines.append)
    assert [shots for shots, _ in names_of(jobs)] == expected and len(lines) == 1
    del times["DSC_0003.jpg"]  # the order of one folder alone would tear the pairs apart
    jobs, _ = pair_up(a, b, tmp_path / "out")
    assert names_of(jobs)[0][0] == ["DSC_0001.jpg", "DSC_0002.jpg"]


def test_folders_that_hold_nothing_are_named(tmp_path):
    with pytest.raises(UserError, match="no pictures in it"):
        pictures_in(touch(tmp_path / "empty"))
    with pytest.raises(MissingFileError, match="no such folder"):
        pictures_in(tmp_path / "gone")
    with pytest.raises(UserError, match="this folder can't be read"):
        pictures_in(touch(tmp_path, "file.png") / "file.png")


def test_a_batch_goes_on_past_a_failure_and_skips_what_exists(tmp_path):
    jobs = [Job((), tmp_path / f"{name}.png") for name in ("done", "bad", "good")]
    jobs[0].output.write_bytes(b"old")

    def fuse(job):
        if job.name == "bad":
            raise UserError("bad shot")
        job.output.write_bytes(b"new")

    finished, failed = [], []
    record = {"done": lambda job: finished.append(job.name),
              "failed": lambda job, error: failed.append((job.name, str(error)))}
    assert run_jobs(jobs, fuse, **record) == (1, 1, 1)
    assert finished == ["good"] and failed == [("bad", "bad shot")] and jobs[0].output.read_bytes() == b"old"
    assert run_jobs(jobs, fuse, force=True) == (2, 0, 1)
    assert jobs[0].output.read_bytes() == b"new"


def test_a_full_disk_ends_the_batch():
    def fuse(job):
        raise UserError("full") from OSError(errno.ENOSPC, "full")

    with pytest.raises(UserError, match="full"):
        run_jobs([Job((), Path("never-written.png"))], fuse)


def test_shards_are_all_jobs_each_once(tmp_path):
    for number in range(7):
        touch(tmp_path / "in" / f"s{number}", "1.png", "2.png")
    touch(tmp_path / "a", *(f"{n}.png" for n in range(7)))
    touch(tmp_path / "b", *(f"{n}.png" for n in range(7)))
    for find in (lambda **shard: stacks_in(tmp_path / "in", tmp_path / "out", **shard),
                 lambda **shard: pair_up(tmp_path / "a", tmp_path / "b", tmp_path / "out", **shard)[0]):
        shards = [find(shard=shard_of(number, 3)) for number in (1, 2, 3)]
        assert [len(jobs) for jobs in shards] == [3, 2, 2]
        assert [job for k in range(3) for jobs in shards for job in jobs[k : k + 1]] == find()
        assert find(shard=shard_of(9, 10)) == []


def test_a_shard_reads_its_own_stacks_only(tmp_path, monkeypatch):
    for number in range(4):
        touch(tmp_path / "in" / f"s{number}", "1.jpg", "2.jpg")
    seen = []
    monkeypatch.setattr(shot_list, "capture_time", lambda path: seen.append(path.parent.name))
    stacks_in(tmp_path / "in", tmp_path / "out", shard=shard_of(2, 4))
    assert set(seen) == {"s1"}


def test_names_are_compared_over_all_shards(tmp_path):
    a, b = touch(tmp_path / "a", "1.png", "1.jpg"), touch(tmp_path / "b", "p.png", "q.png")
    with pytest.raises(UserError, match="two results would be"):
        pair_up(a, b, tmp_path / "out", ".png", shard=shard_of(1, 2))


@pytest.mark.parametrize(("number", "count"), [(0, 4), (5, 4), (1, 0)])
def test_shards_that_do_not_exist_are_refused(number, count):
    with pytest.raises(UserError, match=f"shard {number}/{count}: give NUMBER/COUNT, with a number from 1 to"):
        shard_of(number, count)
