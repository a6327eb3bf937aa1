"""The `edmf` builder and `build`, on a made-up publication of eight tiny pairs and one single file."""

import functools
import hashlib
import http.server
import pathlib
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import typing
import zipfile

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow")
tfds = pytest.importorskip("tensorflow_datasets")

from edmf_jax.data.pairs import open_pairs  # noqa: E402
from edmf_jax.data.tfds_reader import open_dataset  # noqa: E402
from edmf_jax.data.training_pairs import load_pairs  # noqa: E402
from edmf_jax.errors import UserError  # noqa: E402
from tfds_edmf.build import build  # noqa: E402
from tfds_edmf.edmf import check, locate  # noqa: E402
from tfds_edmf.edmf.edmf_dataset_builder import Builder  # noqa: E402
from tfds_edmf.partial import stored_splits  # noqa: E402
from tfds_edmf.sources import SourceError  # noqa: E402

REPOSITORY = pathlib.Path(__file__).parents[2]
FIRST, SECOND = [1, 2, 10, 500], [501, 502, 600, 1000]  # 10 and 1000 would show alphabetic order
HALF = 543  # published without source A
PROBE = locate._probe
SKIP = {s: tfds.decode.SkipDecoding() for s in ("source_a", "source_b")}


def publish(folder: pathlib.Path) -> pathlib.Path:
    """Writes the made-up publication, and its manifest beside it; returns the manifest."""
    rng = np.random.default_rng(0)
    lines = []
    for number in FIRST + SECOND + [HALF]:
        size = rng.integers(8, 24, 2)
        for source in "B" if number == HALF else "AB":
            file = folder / check.file_name(source, number)
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            file.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            lines.append(f"{digest}  {check.file_name(source, number)}\n")
    manifest = folder.with_suffix(".sha256")
    manifest.write_text("".join(lines))
    return manifest


def pack(folder: pathlib.Path, archive: pathlib.Path, prefix: str) -> pathlib.Path:
    with zipfile.ZipFile(archive, "w") as out:
        for file in sorted(folder.rglob("*.*")):
            out.write(file, prefix + file.relative_to(folder).as_posix())
    return archive


@pytest.fixture(autouse=True)
def no_surroundings(monkeypatch):
    """No test sees the developer's own copy, or the network."""
    for variable in ("EDMF_DIR", "EDMF_ALLOW_MISSING"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(locate, "_probe", lambda url, seconds: "no network in tests")


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A whole copy of the made-up publication, which the builder takes for EDMF."""
    folder = tmp_path / "copy"
    monkeypatch.setattr(Builder, "MANIFEST", publish(folder))
    return folder


@pytest.fixture
def make(copy, tmp_path):
    """`build` into this test's data_dir, from `copy`; the lines that it logs are in `make.lines`."""

    def make(name="edmf", **kwargs):
        kwargs = {"source": copy, "data_dir": tmp_path / "data", "log": make.lines.append} | kwargs
        return build(name, **kwargs)

    make.lines = []
    return make


def ids(builder, split):
    return [int(example["id"]) for example in tfds.as_numpy(builder.as_dataset(split=split))]


class EdmfCatalogTest(tfds.testing.DatasetBuilderTestCase):
    """What TFDS asks of any data set of its catalog."""

    DATASET_CLASS = Builder
    SPLITS: typing.ClassVar = {"train": len(SECOND), "test": len(FIRST)}

    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(tempfile.mkdtemp()) / "copy"
        cls._shipped = Builder.MANIFEST
        Builder.MANIFEST = publish(folder)
        cls.EXAMPLE_DIR = folder  # serves as manual_dir
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        Builder.MANIFEST = cls._shipped
        shutil.rmtree(cls.EXAMPLE_DIR.parent)


def test_shipped_manifest_lists_the_publication_without_source_a_of_543_to_592():
    manifest = check.read_manifest(Builder.MANIFEST)
    everything = {check.file_name(s, n) for s in "AB" for n in range(1, 1001)}
    assert len(manifest) == 1950
    assert everything - set(manifest) == {check.file_name("A", n) for n in range(543, 593)}
    assert len(check.published_pairs(manifest)) == 950


def test_manifest_with_a_foreign_line_is_refused(tmp_path):
    (tmp_path / "m").write_text("0123  Source_A/bg-A-1.jpg\n")
    with pytest.raises(ValueError, match="0123"):
        check.read_manifest(tmp_path / "m")


@pytest.mark.parametrize("config, train, test", [("table2", SECOND, FIRST), ("as_printed", FIRST, SECOND)])
def test_splits_and_numeric_order(make, config, train, test):
    builder = make(f"edmf/{config}")
    assert (ids(builder, "train"), ids(builder, "test")) == (train, test)
    assert builder.left_out == {}


def test_default_config_is_table2_and_catalog_entry_is_complete():
    builder = Builder(data_dir="unused")
    assert builder.builder_config.name == "table2"
    assert builder.info.homepage == "https://github.com/stywmy/EDMF"
    assert "10.3390/s24227287" in builder.info.citation
    assert "CC BY 4.0" in builder.info.redistribution_info.license
    assert "950 pairs" in builder.info.description


def test_stored_bytes_are_the_published_bytes_and_decode(make, copy):
    builder = make()
    stored = tfds.as_numpy(builder.as_dataset(split="train", decoders=SKIP))
    decoded = tfds.as_numpy(builder.as_dataset(split="train"))
    for raw, example in zip(stored, decoded, strict=True):
        for source in "AB":
            data = (copy / check.file_name(source, raw["id"])).read_bytes()
            assert raw[f"source_{source.lower()}"] == data
            image = example[f"source_{source.lower()}"]
            assert (image.shape[:2], image.dtype) == (check.jpeg_size(data), np.uint8)
        assert example["id"].dtype == np.int32


def test_tfds_load_takes_the_source_and_copies_of_the_builder_keep_it(copy, tmp_path):
    kwargs = {"source": str(copy), "allow_missing": True}
    loaded = tfds.load("edmf", split="test", data_dir=tmp_path / "d", builder_kwargs=kwargs)
    assert len(loaded) == len(FIRST)
    restored = pickle.loads(pickle.dumps(Builder(data_dir=tmp_path / "d", **kwargs)))
    assert (restored.requested_source, restored.allow_missing) == (str(copy), True)


@pytest.mark.parametrize("inner", ["", "EDMF", "EDMF-6a2585e/EDMF"])
@pytest.mark.parametrize("zipped", [False, True])
def test_every_layout_reads_alike(copy, tmp_path, inner, zipped):
    if zipped:
        found = pack(copy, tmp_path / "any.zip", f"{inner}/" if inner else "")
        assert locate.resolve(found, "source") == found
    else:
        found = tmp_path / "outer" / inner
        shutil.copytree(copy, found)
        assert locate.resolve(tmp_path / "outer", "source") == found
    with locate.open_copy(found) as reader, locate.open_copy(copy) as plain:
        names = plain.names(locate.SOURCE_FOLDERS)
        assert reader.names(locate.SOURCE_FOLDERS) == names and len(names) == 17
        assert all(reader.read(name) == plain.read(name) for name in names)


def test_zip_in_a_folder_builds_and_macos_metadata_is_no_second_copy(make, copy, tmp_path):
    (tmp_path / "downloads").mkdir()
    archive = pack(copy, tmp_path / "downloads" / "EDMF-main.zip", "EDMF-main/EDMF/")
    with zipfile.ZipFile(archive, "a") as out:
        out.writestr("__MACOSX/EDMF-main/EDMF/Source_A/._bg-A-1.jpg", b"")
    assert make(source=archive.parent).prepared_from == str(archive)


def test_edmf_dir_serves_where_no_source_is_named(make, copy, monkeypatch):
    monkeypatch.setenv("EDMF_DIR", str(copy))
    assert make(source=None).prepared_from == str(copy)
    monkeypatch.setenv("EDMF_DIR", "nowhere")
    with pytest.raises(FileNotFoundError, match=r"EDMF_DIR=.*nowhere"):
        make(source=None, force=True)


def spoil(folder):
    """Each kind of problem once."""
    (folder / "Source_A/bg-A-501.jpg").unlink()
    with (folder / "Source_B/bg-B-2.jpg").open("ab") as file:
        file.write(b"\0")
    (folder / "Source_A/Thumbs.db").write_bytes(b"")
    small = cv2.imencode(".jpg", np.zeros((5, 7, 3), np.uint8))[1]
    (folder / "Source_A/bg-A-600.jpg").write_bytes(small.tobytes())


PROBLEMS = (
    r"missing \(1\): Source_A/bg-A-501.jpg\n",
    r"damaged \(2\): .*Source_B/bg-B-2.jpg \(sha256 differs\)",
    r"extra \(not published\) \(1\): Source_A/Thumbs.db\n",
    r"different size \(1\): Source_A/bg-A-600.jpg \(7×5\) / Source_B/bg-B-600.jpg \(\d",
)


def test_strict_build_names_every_problem_and_the_way_out(make, copy):
    spoil(copy)
    with pytest.raises(SourceError) as error:
        make()
    for pattern in PROBLEMS:
        assert re.search(pattern, str(error.value)), pattern
    assert re.search("5 whole pairs .*--allow-missing, EDMF_ALLOW_MISSING=1", str(error.value))
    assert "543" not in str(error.value)


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_allow_missing_goes_on_with_whole_pairs_and_says_so(make, copy, monkeypatch, caplog, by):
    spoil(copy)
    if by == "environment":
        monkeypatch.setenv("EDMF_ALLOW_MISSING", "1")
    builder = make(allow_missing=by == "argument")
    assert (ids(builder, "train"), ids(builder, "test")) == ([502, 1000], [1, 10, 500])
    assert "5 whole pairs: train 2 of 4, test 3 of 4" in caplog.text
    assert all(re.search(pattern, caplog.text) for pattern in PROBLEMS)
    assert "train 2 pairs, test 3 pairs (partial: 2 train, 1 test" in sorted_splits(make.lines[0])


def sorted_splits(line):
    """TFDS orders the splits by name; what is tested here doesn't depend on it."""
    return re.sub(r"(test \d+ pairs), (train \d+ pairs)", r"\2, \1", line)


def test_unreadable_members_are_damaged(copy, tmp_path):
    archive = pack(copy, tmp_path / "bad.zip", "")
    data = bytearray(archive.read_bytes())
    at = data.index((copy / "Source_A/bg-A-1.jpg").read_bytes())
    data[at + 30] ^= 1
    archive.write_bytes(data)
    with locate.open_copy(archive) as reader:
        report = check.check_files(reader, check.read_manifest(Builder.MANIFEST))
    assert len(report.damaged) == 1 and "bg-A-1.jpg (unreadable: Bad CRC" in report.damaged[0]
    assert 1 not in report.whole and len(report.whole) == 7


def test_a_missing_half_pair_is_named_but_costs_no_pair(make, copy):
    (copy / check.file_name("B", HALF)).unlink()
    with pytest.raises(SourceError, match=r"missing .*bg-B-543"):
        make()
    assert make(allow_missing=True).left_out == {}


def test_long_lists_are_cut_and_counted():
    report = check.FilesReport((), (), tuple(f"f{i}" for i in range(1000)), (), (), ())
    assert report.describe().endswith("f19 and 980 more")


def test_empty_split_is_left_out_and_no_pair_at_all_is_an_error(make, copy):
    for number in FIRST:
        (copy / check.file_name("A", number)).unlink()
    builder = make(allow_missing=True)
    assert list(builder.info.splits) == ["train"] and builder.left_out == {"test": 4}
    shutil.rmtree(copy / "Source_A")
    with pytest.raises(SourceError, match="no whole pair"):
        make(allow_missing=True, force=True)


def test_partial_data_is_never_taken_for_complete(make, copy, tmp_path, caplog):
    whole = shutil.copytree(copy, tmp_path / "whole")
    (copy / check.file_name("A", 502)).unlink()
    make(allow_missing=True)
    with pytest.raises(ValueError, match=r"incomplete copy.*train 3 pairs.* lacks 1 of 4 train pairs: 502\..*--force"):
        make()
    caplog.clear()
    tfds.load("edmf", split="train", data_dir=tmp_path / "data")
    assert "only a part of EDMF" in caplog.text and "lacks 1 train pairs" in caplog.text
    make(allow_missing=True, source=whole)
    assert "already built" in make.lines[-2] and "(partial: 1 train" in make.lines[-2]
    assert f"not from {whole}" in make.lines[-1]
    assert make(source=whole, force=True).left_out == {}
    assert make(source=None).prepared_from == str(whole) and "(partial" not in make.lines[-1]


def test_failed_rebuild_keeps_what_was_built(make, tmp_path):
    before = make()
    with pytest.raises(FileNotFoundError, match=r"source=.*gone"):
        make(source=tmp_path / "gone", force=True)
    assert before.is_prepared() and len(ids(make(), "train")) == 4
    assert [f.name for f in (tmp_path / "data/edmf/table2").iterdir()] == ["1.0.0"]


def test_a_split_that_is_whole_is_not_refused_because_another_one_is_not(make, copy):
    (copy / check.file_name("A", 502)).unlink()
    (copy / "Source_A/Thumbs.db").write_bytes(b"")
    with pytest.raises(SourceError) as error:
        make(split="train[:50%]")
    assert "bg-A-502" in str(error.value) and "Thumbs" not in str(error.value)
    builder = make(split="test")
    assert ids(builder, "test") == FIRST and "(partial: 1 train pairs left out)" in make.lines[-1]
    assert ids(make(split="test[:2]"), "test") == FIRST and "already built" in make.lines[-1]
    for split in ("train", "train[95%:]", "test[:1]+train", "all", None):
        with pytest.raises(SourceError, match=r"lacks 1 of 4 train pairs: 502\. .*--allow-missing"):
            make(split=split)
    assert ids(make(split="train", allow_missing=True), "train") == [501, 600, 1000]


def test_the_pairs_that_the_split_lacks_are_named_and_no_others(make, copy):
    for number in (2, 500, 501, 600):
        (copy / check.file_name("A", number)).unlink()
    with pytest.raises(SourceError, match=r"missing \(2\): Source_A/bg-A-2.jpg, Source_A/bg-A-500.jpg\n") as error:
        make(split="test")
    assert "600" not in str(error.value) and "--allow-missing" in str(error.value)
    assert make(split="test", allow_missing=True).left_out == {"train": 2, "test": 2}
    with pytest.raises(SourceError, match=r"lacks 2 of 4 test pairs: 2, 500\. "):
        make(split="test")


def test_only_the_split_that_is_read_is_warned_about(make, copy, tmp_path, caplog):
    (copy / check.file_name("A", 502)).unlink()
    make(split="test")
    caplog.clear()
    tfds.load("edmf", split="test[:2]", data_dir=tmp_path / "data")
    assert "only a part" not in caplog.text
    tfds.load("edmf", split="train+test", data_dir=tmp_path / "data")
    assert "lacks 1 train pairs" in caplog.text and "test pairs" not in caplog.text


def test_evaluation_and_training_need_their_own_split_only(copy, tmp_path):
    (copy / check.file_name("A", 502)).unlink()
    place = {"source": str(copy), "data_dir": str(tmp_path / "data"), "log": lambda line: None}
    assert open_pairs("edmf", "test", **place).ids == [str(n) for n in FIRST]
    with pytest.raises(UserError, match=r"lacks 1 of 4 train pairs: 502\. "):
        open_pairs("edmf", "train[:50%]", **place)
    assert [p.id for p in load_pairs(open_dataset("edmf/as_printed", split="train[:50%]", **place), "train")] == FIRST


@pytest.mark.parametrize(("split", "names"), [
    ("test", ["test"]), ("train[95%:]", ["train"]), ("train[:50%]+test", ["train", "test"]), ("validation", []),
    (" train + test[:1] ", ["train", "test"]), ("all", ["train", "test"]), (None, ["train", "test"]),
    ("train[+1:]", ["train"]),
])
def test_the_stored_splits_of_a_split(split, names):
    assert stored_splits(split, ("train", "test")) == names


def tree(folder):
    """Relative path → bytes of every file, but the lock."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*")
            if file.is_file() and file.name != ".edmf.lock"}


KILL_AT = """if True:
    import os, pathlib, signal, sys
    from tfds_edmf import build
    from tfds_edmf.edmf.edmf_dataset_builder import Builder
    manifest, copy, data_dir, moment = sys.argv[1:]
    Builder.MANIFEST = pathlib.Path(manifest)
    kill = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
    if moment == "replaced":  # the new one is whole, the old one not deleted yet
        aside_of = build.aside_of
        build.aside_of = lambda folder: type("Aside", (type(folder),), {"rmtree": kill})(aside_of(folder))
    elif moment == "written":
        Builder.is_prepared = kill
        build._is_built = lambda builder: builder.data_path.exists()
        build._is_current = lambda builder: False
    else:
        read = Builder._generate_examples
        Builder._generate_examples = lambda self, root, numbers: (
            example if n < int(moment) else kill() for n, example in enumerate(read(self, root, numbers)))
    build.build("edmf", source=copy, data_dir=data_dir, force=True)
"""


@pytest.mark.parametrize(("moment", "built"), [
    ("3", False), ("3", True), ("replaced", True), pytest.param("0", False, marks=pytest.mark.slow),
    pytest.param("written", True, marks=pytest.mark.slow), pytest.param("replaced", False, marks=pytest.mark.slow)])
def test_killed_at_any_moment_the_same_command_ends_with_the_same_bits_and_no_orphans(make, copy, tmp_path, moment,
                                                                                      built):
    make(data_dir=tmp_path / "whole")
    data = tmp_path / "data"
    if built:
        make()
    before = ids(make(), "test") if built else None
    words = [sys.executable, "-c", KILL_AT, str(Builder.MANIFEST), str(copy), str(data), moment]
    killed = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    if before:  # what was built is found again by whoever only reads, whether or not its source still exists
        assert ids(build("edmf", data_dir=data, source=copy, log=make.lines.append), "test") == before
        assert "already built" in make.lines[-1]
    make(force=True)
    assert tree(data) == tree(tmp_path / "whole")


def test_of_two_builds_at_once_the_second_waits_and_finds_the_result(make, copy, tmp_path, monkeypatch):
    begun, checking = threading.Event(), check.check_files

    def slow(*args):
        begun.set()
        assert said.wait(60)
        return checking(*args)

    said = threading.Event()

    def second():
        begun.wait(60)
        lines.append(build("edmf", source=copy, data_dir=tmp_path / "data", log=heard))

    def heard(line):
        lines.append(line)
        said.set()

    lines = []
    monkeypatch.setattr(check, "check_files", slow)
    thread = threading.Thread(target=second)
    thread.start()
    make()
    thread.join(60)
    assert "another process is building this data set; waiting for it" in lines[0]
    assert "is already built" in lines[1] and ids(lines[2], "test") == FIRST


def test_killed_build_does_not_count(make, copy, tmp_path):
    code = f"""if True:
        import os, pathlib
        from tfds_edmf.edmf.edmf_dataset_builder import Builder
        Builder.MANIFEST = pathlib.Path({str(Builder.MANIFEST)!r})
        read = Builder._generate_examples
        Builder._generate_examples = lambda self, root, numbers: (
            example if n < 2 else os._exit(9)
            for n, example in enumerate(read(self, root, numbers)))
        Builder(source={str(copy)!r}, data_dir={str(tmp_path / "data")!r}).download_and_prepare()
    """
    killed = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True)
    assert killed.returncode == 9, killed.stderr
    assert any(f.name.startswith("incomplete") for f in (tmp_path / "data/edmf/table2").iterdir())
    assert ids(make(), "train") == SECOND and "is built at" in make.lines[-1]


def test_folder_that_is_no_data_set_is_not_reused(make, tmp_path):
    (tmp_path / "data/edmf/table2/1.0.0").mkdir(parents=True)
    with pytest.raises(ValueError, match="no finished data set"):
        make()
    assert ids(make(force=True), "test") == FIRST


def test_without_files_or_network_the_error_is_quick_and_says_what_to_fetch(make, monkeypatch):
    never = threading.Event()  # a server that never answers: waiting for it would hang the test
    monkeypatch.setattr(locate, "_probe", lambda url, seconds: never.wait())
    quick = functools.partial(locate.unreachable, seconds=0.2)
    monkeypatch.setattr(locate, "unreachable", quick)
    with pytest.raises(FileNotFoundError) as error:
        make(source=None)
    never.set()
    for part in (locate.ARCHIVE_URL, "EDMF_DIR", "--source", "no answer within 0.2 s"):
        assert part in str(error.value)


def test_download_is_read_from_the_archive_and_kept(make, copy, tmp_path, monkeypatch):
    monkeypatch.setattr(locate, "_probe", PROBE)  # of a server on this machine
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    pack(copy, tmp_path / "commit.zip", "EDMF-commit/EDMF/")
    handler = functools.partial(QuietHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/commit.zip"
        monkeypatch.setattr(locate, "ARCHIVE_URL", url)
        left = tmp_path / "data/downloads/edmf/half.zip.tmp.0123"  # by a killed process
        left.mkdir(parents=True)
        (left / "commit.zip").write_bytes(b"PK")
        assert make(source=None).prepared_from == url and not left.exists()
        assert locate.unreachable(f"{url}.gone") == "HTTP status 404"
        server.shutdown()
    assert locate.unreachable(url) == "ConnectionError"
    assert ids(make("edmf/as_printed", source=None), "train") == FIRST  # from TFDS's downloads


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"name": "edfm"}, "name='edfm'.*edmf/as_printed"),
        ({"name": "edmf/table3"}, "name='edmf/table3'"),
        ({"source": "gone"}, "source=.*gone.*doesn't exist"),
        ({"source": "empty"}, "source=.*empty.*holds no Source_A"),
        ({"source": "two"}, "source=.*two.*several copies.*a.*b"),
        ({"source": "text.zip"}, "text.zip is neither a folder nor a readable ZIP"),
        ({"source": "other.zip"}, "other.zip holds no Source_A"),
        ({"source": "both.zip"}, "both.zip holds several copies"),
        ({"data_dir": "text.zip"}, "text.zip/edmf.*can't be written.*--data-dir"),
    ],
)
def test_mistakes_are_named(make, copy, tmp_path, monkeypatch, kwargs, message):
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "two/a/Source_A", "two/b/Source_B"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "text.zip").write_text("no archive")
    pack(tmp_path / "empty", tmp_path / "other.zip", "")
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as out:
        for side in "ab":
            out.writestr(f"{side}/Source_A/bg-A-1.jpg", b"")
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        make(**kwargs)
    assert "\n" not in str(error.value)


def test_odd_value_of_the_variable_is_refused(monkeypatch):
    monkeypatch.setenv("EDMF_ALLOW_MISSING", "perhaps")
    with pytest.raises(ValueError, match="EDMF_ALLOW_MISSING='perhaps'"):
        Builder(data_dir="unused")


def test_generated_data_set_takes_no_source(make):
    with pytest.raises(ValueError, match=r"source=.*edmf_synthetic is generated"):
        make("edmf_synthetic")


@pytest.mark.parametrize("module", ["tensorflow", "tensorflow_datasets"])
def test_missing_library_is_one_line_with_the_extra(module):
    code = f"import sys; sys.modules[{module!r}] = None; import tfds_edmf"
    run = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True)
    last = run.stderr.decode().strip().splitlines()[-1]
    assert last.startswith("ImportError: ") and 'pip install "edmf-jax[train]"' in last


@pytest.mark.parametrize(
    "head, size",
    [
        (b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x05\x00\x07", (5, 7)),
        (b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xc2\x00\x11\x08\x01\x00\x02\x00", (256, 512)),
        (b"\xff\xd8\xff\xc4\x00\x04ab\xff\xc1\x00\x11\x08\x00\x01\x00\x02", (1, 2)),
        (b"\xff\xd8\xff\xe0\x00\x04ab", None),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\x00", None),
        (b"", None),
    ],
)
def test_jpeg_size_reads_the_frame_header(head, size):
    assert check.jpeg_size(head) == size


def test_real_partial_copy_gives_500_test_and_360_train_pairs(tmp_path):
    real = REPOSITORY.parent / "shared/data/EDMF"
    if not real.is_dir():
        pytest.skip(f"no partial copy of EDMF at {real}")
    builder = build("edmf", source=real, data_dir=tmp_path, allow_missing=True)
    assert ids_undecoded(builder, "test") == list(range(1, 501))
    expected = [n for n in range(501, 1001) if n % 5 and not 543 <= n <= 592]
    assert ids_undecoded(builder, "train") == expected and len(expected) == 360


def ids_undecoded(builder, split):
    examples = tfds.as_numpy(builder.as_dataset(split=split, decoders=SKIP))
    return [int(example["id"]) for example in examples]
