"""The data sets that read the user's own copy: made-up tiny folders of each published layout."""

import os
import pathlib
import pickle
import re
import shutil
import struct
import sys
import tempfile
import typing
import zipfile

import cv2
import numpy as np
import pytest

from tests.helpers.files import shared_file

pytest.importorskip("tensorflow")
tfds = pytest.importorskip("tensorflow_datasets")


from edmf_jax.data.training_pairs import load_pairs  # noqa: E402
from tfds_edmf.build import build  # noqa: E402
from tfds_edmf.folders.check import ranges  # noqa: E402
from tfds_edmf.folders.layout import natural  # noqa: E402
from tfds_edmf.folders.patterns import Pattern  # noqa: E402
from tfds_edmf.folders.pictures import PictureError, to_stored  # noqa: E402
from tfds_edmf.mffw.mffw_dataset_builder import Builder as Mffw  # noqa: E402
from tfds_edmf.sources import SourceError  # noqa: E402

RNG = np.random.default_rng(20261122)
PAIRS = {"a": "A/{id}.png", "b": "B/{id}.png"}
SKIP = tfds.decode.SkipDecoding()

# Data set -> its files, of a whole copy where its size is known.
COPIES = {
    "lytro": [f"lytro-{n:02}-{s}.jpg" for n in range(1, 21) for s in "AB"] + ["triples/lytro-01-A.jpg", "readme.txt"],
    "lytro/triples": ["lytro-01-A.jpg", *(f"Triple Series/lytro-{n:02}-{s}.jpg" for n in range(1, 5) for s in "ABC")],
    "mffw": [f"MFFW2_image/{n}/image{s}.tif" for n in range(1, 12) for s in (1, 2)],
    "mffw/multi": [f"MFFW3_image/{n}/image{s}.tif" for n in (1, 2, 3) for s in range(1, 7 - n)]
    + ["MFFW3_image/3/image3.tif"],
    "mfi_whu": [f"{f}/{n}.jpg" for f in ("full_clear", "source_1", "source_2") for n in range(1, 121)],
    "betafusion": [f"BetaFusion-{n:02}-{s}" for n in range(1, 21) for s in ("A.jpg", "B.jpg", "M.png")],
    "road_mf": [f"{n}.jpg" for n in range(1, 23)],
}
COUNTS = {"lytro": 20, "lytro/triples": 4, "mffw": 11, "mffw/multi": 3, "mfi_whu": 120, "betafusion": 20, "road_mf": 11}


def encode(suffix, shape=(7, 9, 3), dtype=np.uint8):
    """A random picture and the bytes of its file; masks have one channel."""
    pixels = RNG.integers(0, np.iinfo(dtype).max + 1, shape, dtype)
    return pixels, cv2.imencode(suffix, pixels)[1].tobytes()


def write(folder, names, shape=(7, 9, 3)):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        data = b"text" if name.endswith(".txt") else encode(name[-4:], shape[:2] if "-M." in name else shape)[1]
        (folder / name).write_bytes(data)
    return folder


def pack(folder, archive, prefix=""):
    with zipfile.ZipFile(archive, "w") as out:
        for file in sorted(folder.rglob("*.*")):
            if file.is_file():
                out.write(file, prefix + file.relative_to(folder).as_posix())
    return archive


@pytest.fixture
def make(tmp_path):
    """`build` into this test's data_dir; the lines that it logs are in `make.lines`."""

    def make(name, source=None, **kwargs):
        return build(name, source=source, data_dir=tmp_path / "data", log=make.lines.append, **kwargs)

    make.lines = []
    return make


@pytest.fixture
def pairs(tmp_path):
    """A complete folder of three pairs; 10 would show alphabetic order."""
    return write(tmp_path / "my set", [f"{s}/{n}.png" for s in "AB" for n in ("1", "2", "10")])


class FoldersCatalogTest(tfds.testing.DatasetBuilderTestCase):
    """What TFDS asks of any data set of its catalog, of the one that uses the most of `folders`."""

    DATASET_CLASS = Mffw
    SPLITS: typing.ClassVar = {"test": COUNTS["mffw/multi"]}
    BUILDER_CONFIG_NAMES_TO_TEST: typing.ClassVar = ["multi"]

    @classmethod
    def setUpClass(cls):
        cls.EXAMPLE_DIR = pathlib.Path(tempfile.mkdtemp())  # serves as manual_dir
        write(cls.EXAMPLE_DIR / "MFFW", COPIES["mffw/multi"])
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.EXAMPLE_DIR)


def examples(builder, raw=False):
    pictures = [f for f in builder.info.features if f not in ("id", "name")]
    decoders = dict.fromkeys(pictures, SKIP) if raw else None
    return list(tfds.as_numpy(builder.as_dataset(split="test", decoders=decoders)))


def bgr(data, channels=3):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE)


def published(copy, config, example):
    """Feature -> the published bytes, by the layouts as the issue has them."""
    number, files = int(example["id"]), {}
    for name in COPIES[config]:
        digits = re.findall(r"\d+", name)
        if config == "road_mf" and (int(digits[0]) + 1) // 2 == number:
            files["source_a" if int(digits[0]) % 2 else "source_b"] = name
        elif config == "mfi_whu" and int(digits[-1]) == number:
            folders = {"source_1": "source_a", "source_2": "source_b", "full_clear": "truth"}
            files[folders[name.split("/")[0]]] = name
        elif config.startswith("mffw") and int(digits[1]) == number:
            files[int(digits[2])] = name
        elif re.fullmatch(rf"(Triple Series/)?(lytro|BetaFusion)-{number:02}-.*", name):
            files[{"A": "source_a", "B": "source_b", "C": "c", "M": "mask"}[name[-5]]] = name
    if config == "lytro/triples":
        files = {s: f"Triple Series/lytro-{number:02}-{s}.jpg" for s in "ABC"}
    if config == "mffw":
        files = {"source_a": files[1], "source_b": files[2]}
    return {feature: (copy / name).read_bytes() for feature, name in sorted(files.items(), key=str)}


@pytest.mark.parametrize("config", COPIES)
def test_published_layout_comes_back_in_numeric_order_with_the_published_pictures(make, tmp_path, config):
    copy = write(tmp_path / "copy", COPIES[config])
    builder = make(config, copy)
    raw, decoded = examples(builder, raw=True), examples(builder)
    assert [int(e["id"]) for e in decoded] == list(range(1, COUNTS[config] + 1))
    assert decoded[0]["name"] == (b"01" if config[0] in "lb" else b"1")
    assert builder.left_out == {} and "partial" not in make.lines[0]
    for stored, example in zip(raw, decoded, strict=True):
        files = published(copy, config, example)
        if "sources" in example:
            kept, shown = list(stored["sources"]), list(example["sources"])
        else:
            kept, shown = [stored[f] for f in files], [example[f] for f in files]
            assert set(files) == set(example) - {"id", "name"}
        assert len(kept) == len(files)
        for data, again, image in zip(files.values(), kept, shown, strict=True):
            assert image.dtype == np.uint8 and image.shape[:2] == (7, 9)
            if config.startswith("mffw"):  # TIFF, kept as PNG without loss
                np.testing.assert_array_equal(image[..., ::-1], bgr(data))
            else:
                assert data == again
    if "sources" not in raw[0]:
        loaded = load_pairs(builder, "test")
        assert [p.id for p in loaded] == list(range(1, COUNTS[config] + 1))
        assert loaded[0].luma.shape == (2, 7, 9)


@pytest.mark.parametrize("way", ["zip", "folder above", "zip in manual_dir"])
def test_copy_is_found_where_it_lies(make, tmp_path, way):
    copy = write(tmp_path / "downloads/BetaFusion-main/BetaFusion", COPIES["betafusion"])
    (copy / "._BetaFusion-01-A.jpg").write_bytes(b"macOS")
    source = tmp_path / "downloads"
    if way != "folder above":
        (tmp_path / "data/downloads/manual").mkdir(parents=True)
        source = pack(tmp_path / "downloads", tmp_path / "data/downloads/manual/Beta-Fusion.ZIP")
    builder = make("betafusion", None if "manual" in way else source)
    assert builder.prepared_from == str(source) and len(examples(builder)) == 20


def test_gray_and_color_mixed_and_other_formats(make, tmp_path):
    folder = tmp_path / "mixed"
    files = {"1-a.png": (7, 9), "1-b.jpg": (7, 9, 3), "1-t.bmp": (7, 9, 3), "1-m.png": (7, 9, 3), "2-a.tif": (5, 4),
             "2-b.webp": (5, 4, 3), "2-t.jpg": (5, 4), "2-m.jpg": (5, 4)}  # fmt: skip
    folder.mkdir()
    for name, shape in files.items():
        (folder / name).write_bytes(encode(name[name.index(".") :], shape)[1])
    patterns = {role: f"{{n}}-{letter}.*" for role, letter in zip(("b", "a", "truth", "mask"), "batm")}
    builder = make("image_pairs", folder, patterns=patterns)
    first, second = examples(builder)
    assert first["source_a"].shape == first["truth"].shape == (7, 9, 3) and first["mask"].shape == (7, 9, 1)
    np.testing.assert_array_equal(first["source_a"], bgr((folder / "1-a.png").read_bytes()))
    np.testing.assert_array_equal(first["truth"][..., ::-1], bgr((folder / "1-t.bmp").read_bytes()))
    np.testing.assert_array_equal(second["source_a"][..., 0], bgr((folder / "2-a.tif").read_bytes(), 1))
    assert [p.luma.shape for p in load_pairs(builder, "test")] == [(2, 7, 9), (2, 5, 4)]


def test_jpeg_that_exif_turns_is_stored_upright(make, tmp_path):
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)  # orientation, SHORT, one value: a quarter turn
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + entry + bytes(4)
    write(tmp_path, ["B/1.jpg"], shape=(24, 16, 3))
    _, lying = encode(".jpg", (16, 24, 3))
    (tmp_path / "A").mkdir()
    (tmp_path / "A/1.jpg").write_bytes(b"\xff\xd8\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + lying[2:])
    (example,) = examples(make("image_pairs", tmp_path, patterns={"a": "A/{n}.jpg", "b": "B/{n}.jpg"}))
    np.testing.assert_array_equal(example["source_a"][..., ::-1], cv2.rotate(bgr(lying), cv2.ROTATE_90_CLOCKWISE))


def spoil(folder):
    """A folder of pairs 1 to 6, of which 1 and 6 stay whole."""
    write(folder, [f"{s}/{n}.png" for s in "AB" for n in "123456"])
    (folder / "B/2.png").unlink()
    data = (folder / "A/3.png").read_bytes()
    (folder / "A/3.png").write_bytes(data[:-20])
    (folder / "B/4.png").write_bytes(encode(".png", (7, 8, 3))[1])
    (folder / "A/5.png").write_bytes(encode(".png", dtype=np.uint16)[1])
    return folder


PROBLEMS = (
    r"missing beside its partner \(1\): B/2.png;",
    r"unreadable \(2\): A/3.png \(damaged or cut off\), A/5.png \(16 bits",
    r"different sizes \(1\): A/4.png \(9×7\) / B/4.png \(8×7\)",
)


def test_every_problem_is_named_in_one_line_and_the_way_out(make, tmp_path):
    with pytest.raises(SourceError) as error:
        make("image_pairs", spoil(tmp_path / "bad"), patterns=PAIRS)
    assert all(re.search(p, str(error.value)) for p in PROBLEMS), error.value
    assert re.search("the 2 whole pairs of 6: --allow-missing", str(error.value)) and "\n" not in str(error.value)


def test_allow_missing_goes_on_with_the_whole_pairs_and_partial_data_is_never_taken_for_whole(make, tmp_path, caplog):
    folder = spoil(tmp_path / "bad")
    builder = make("image_pairs", folder, patterns=PAIRS, allow_missing=True)
    assert "Going on with the 2 whole pairs of 6" in caplog.text
    assert [(int(e["id"]), e["name"]) for e in examples(builder)] == [(1, b"1"), (6, b"6")]
    assert builder.left_out == {"test": 4} and "(partial: 4 test pairs left out)" in make.lines[0]
    with pytest.raises(ValueError, match=r"incomplete copy.* lacks 4 test pairs: 2, 3, 4, 5\..*--force"):
        make("image_pairs", folder, patterns=PAIRS)
    caplog.clear()
    kwargs = {"source": folder, "patterns": PAIRS}
    loaded = tfds.load("image_pairs", split="test", data_dir=tmp_path / "data", builder_kwargs=kwargs)
    assert len(loaded) == 2 and "only a part of your pairs" in caplog.text and "lacks 4 test pairs" in caplog.text
    write(folder, [f"{s}/{n}.png" for s in "AB" for n in "2345"])  # complete it
    assert make("image_pairs", folder, patterns=PAIRS).left_out == {}


def test_files_that_were_not_published_do_not_keep_anyone_from_the_split(make, tmp_path):
    write(tmp_path / "MFI-WHU", [*COPIES["mfi_whu"], *(f"{f}/121.jpg" for f in ("full_clear", "source_1", "source_2"))])
    with pytest.raises(SourceError, match=r"not published \(1\): full_clear/121.jpg"):
        make("mfi_whu", tmp_path / "MFI-WHU")
    assert make("mfi_whu", tmp_path / "MFI-WHU", split="test").left_out == {}
    assert "already built" in (make("mfi_whu", tmp_path / "MFI-WHU"), make.lines[-1])[1]


def test_members_that_claim_to_be_huge_are_not_unpacked(make, tmp_path):
    write(tmp_path / "pairs", ["A/1.png", "B/1.png", "A/2.png", "B/2.png"])
    archive = tmp_path / "pairs.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for file in sorted((tmp_path / "pairs").rglob("*.png")):
            out.write(file, file.relative_to(tmp_path / "pairs").as_posix())
        out.writestr("A/3.png", bytes(70_000_000))
        out.write(tmp_path / "pairs/B/2.png", "B/3.png")
    with pytest.raises(SourceError, match=r"A/3\.png \(it would unpack from [\d,]+ bytes to 70 MB, as no picture does"):
        make("image_pairs", archive, patterns=PAIRS)
    # A member that claims to be larger than anything that fits into a record, whatever it really holds.
    data = archive.read_bytes().replace(struct.pack("<I", 70_000_000), struct.pack("<I", (1 << 30) + 1))
    archive.write_bytes(data)
    with pytest.raises(SourceError, match=r"A/3\.png \(1,074 MB, and a picture has 1,074 MB at most\)"):
        make("image_pairs", archive, patterns=PAIRS)
    with open(tmp_path / "pairs/A/2.png", "r+b") as file:
        file.truncate((1 << 30) + 1)  # sparse
    with pytest.raises(SourceError, match=r"A/2\.png \(1,074 MB, and"):
        make("image_pairs", tmp_path / "pairs", patterns=PAIRS)


def test_other_folders_patterns_and_pictures_are_never_mistaken_for_each_other(make, tmp_path, pairs):
    other = shutil.copytree(pairs, tmp_path / "elsewhere/my set")
    swapped = {"a": PAIRS["b"], "b": PAIRS["a"]}
    cases = [(pairs, PAIRS), (other, PAIRS), (pairs, swapped)]
    built = [make("image_pairs", source, patterns=patterns) for source, patterns in cases]
    assert len({b.data_dir for b in built}) == 3 and all("is built" in line for line in make.lines)
    first, _, turned = (examples(b)[0] for b in built)
    np.testing.assert_array_equal(first["source_a"], turned["source_b"])
    make("image_pairs", pairs, patterns={**PAIRS, "truth": None})
    assert "already built" in make.lines[-1]
    write(pairs, ["A/1.png"])
    os.utime(pairs / "A/1.png", ns=(1, 1))
    again = examples(make("image_pairs", pairs, patterns=PAIRS))[0]
    assert "changed since" in make.lines[-2] and "is built" in make.lines[-1]
    assert not np.array_equal(again["source_a"], first["source_a"])
    restored = pickle.loads(pickle.dumps(built[0]))
    assert restored.data_dir == built[0].data_dir and restored.is_prepared()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_utf_8_is_refused_in_one_line(make, tmp_path):
    write(tmp_path / "copy", [os.fsdecode(b"%c/M\xfcller.png" % side) for side in b"AB"])
    with pytest.raises(SourceError, match=r"^'A/M\\udcfcller\.png' is no name in UTF-8.*: rename it$"):
        make("image_pairs", source=tmp_path / "copy", patterns=PAIRS)


def test_names_that_are_no_numbers_are_positioned_naturally(make, tmp_path):
    write(tmp_path, [f"{s}/{n}.png" for s in "AB" for n in ("cat 10", "cat 9", "bee")])
    found = examples(make("image_pairs", tmp_path, patterns=PAIRS))
    assert [(int(e["id"]), e["name"]) for e in found] == [(1, b"bee"), (2, b"cat 9"), (3, b"cat 10")]
    assert natural("2") < natural("10") < natural("a2") < natural("a10b")


def test_road_mf_takes_patterns_and_says_so(make, tmp_path):
    copy = write(tmp_path / "copy", [f"{s}/{n}.jpg" for s in "AB" for n in (1, 2, 3)])
    with pytest.raises(SourceError, match=r"several copies of Road-MF.*say how: --pattern-a 'A/\{n\}.jpg'"):
        make("road_mf", copy)
    builder = make("road_mf", copy, patterns={"a": "A/{n}.jpg", "b": "B/{n}.jpg"})
    assert len(examples(builder)) == 3 and builder.data_dir != make("road_mf", copy / "A", allow_missing=True).data_dir


@pytest.mark.parametrize(
    "name, files, message",
    [
        ("lytro", ["lytro-01-A.jpg", "lytro-02-A.jpg", "lytro-02-B.jpg"], "altogether (18): 3…20; missing beside its "
         "partner (1): lytro-01-B.jpg."),
        ("lytro", [*COPIES["lytro"], "lytro-21-A.jpg", "lytro-21-B.jpg"], "not published (1): lytro-21-A.jpg. "),
        ("lytro", ["a.txt"], "holds no pictures of Lytro: files named lytro-{n}-A.jpg, lytro-{n}-B.jpg are expected"),
        ("lytro", ["x/lytro-1-A.jpg", "y/lytro-1-A.jpg"], "several copies of Lytro, name one"),
        ("lytro", ["lytro-01-A.jpg"], "no whole pair: complete it"),
        ("lytro", [*COPIES["lytro"], "lytro-1-B.jpg"], "one place (1): lytro-01-B.jpg / lytro-1-B.jpg"),
        ("lytro/triples", [*COPIES["lytro/triples"][:-1]], "partner (1): Triple Series/lytro-04-C.jpg. "),
        ("lytro/triples", [*COPIES["lytro/triples"], "Triple Series/lytro-02-D.jpg"], "2 has 4 shots, not 3"),
        ("mffw", [*COPIES["mffw"], "MFFW2_image/13/image1.tif", "MFFW2_image/13/image2.tif"], "altogether (1): 12. "),
        ("mffw/multi", ["MFFW3_image/1/image1.tif", "MFFW3_image/1/image4.tif"], "partner (2): MFFW3_image/1/image2"),
        ("betafusion", COPIES["betafusion"][:-1], "partner (1): BetaFusion-20-M.png. "),
    ],
)  # fmt: skip
def test_what_a_copy_lacks_is_named(make, tmp_path, name, files, message):
    with pytest.raises(SourceError, match=re.escape(message)) as error:
        make(name, write(tmp_path / "copy", files))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name, kwargs, message",
    [
        ("lytro", {"source": "gone"}, "source='gone' doesn't exist: name the folder of Lytro"),
        ("lytro", {"source": "text.zip"}, "text.zip is neither a folder nor a readable ZIP"),
        ("lytro", {"source": "packed"}, "no pictures.*name .*lytro.zip itself"),
        ("lytro", {}, "Lytro isn't downloaded.*nejati.*edmf data build lytro --source PATH"),
        ("lytro", {"patterns": PAIRS}, "the files of lytro have fixed names; take image_pairs"),
        ("image_pairs", {"source": "."}, "image_pairs needs source and patterns.*--pattern-a"),
        ("image_pairs", {"source": ".", "patterns": {"a": "{id}.png"}}, "give a and b"),
        ("image_pairs", {"source": ".", "patterns": dict.fromkeys("ab", "{n}.png")}, "both '{n}.png'"),
    ],
)
def test_mistakes_are_named_in_one_line(make, tmp_path, monkeypatch, name, kwargs, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.zip").write_text("no archive")
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed/lytro.zip").write_bytes(b"")
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        make(name, **kwargs)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "pattern, name, found",
    [
        ("lytro-{n}-A.jpg", "Lytro/LYTRO-01-a.JPG", ("Lytro/", 1, "01", None)),
        ("lytro-{n}-A.jpg", "lytro-x-A.jpg", None),
        ("{2*n-1}.jpg", "159.jpg", ("", 80, "80", None)),
        ("{2*n-1}.jpg", "160.jpg", None),
        ("{n}/shot{shot}.tif", "12/shot03.tif", ("", 12, "12", 3)),
        ("{n}-{shot}.jpg", "7-c.jpg", ("", 7, "7", "C")),
        (r"near\{id}_*.png", "near/my cat_f2?8.png", ("", "my cat", "my cat", None)),
        ("{id}/{id}.png", "x/y/y.png", ("x/", "y", "y", None)),
        ("{id}/{id}.png", "x/y.png", None),
        ("a.b/{id}", "aXb/1", None),
    ],
)
def test_patterns_find_pair_and_shot(pattern, name, found):
    assert Pattern(pattern, "a").match(name) == found


@pytest.mark.parametrize("pattern", ["A/*.png", "{n}{id}", "{name}.png", "/a/{id}", "../{id}", "{2*id}.png", "{0*n}"])
def test_pattern_mistakes_are_named(pattern):
    with pytest.raises(ValueError, match=re.escape(f"pattern truth={pattern!r}")):
        Pattern(pattern, "truth")


def test_the_more_specific_pattern_takes_a_name_that_fits_both(make, tmp_path):
    write(tmp_path, [f"{n}{s}.png" for n in "12" for s in ("", "_far")])
    assert len(examples(make("image_pairs", tmp_path, patterns={"a": "{id}.png", "b": "{id}_far.png"}))) == 2


@pytest.mark.parametrize(
    "data, why",
    [
        (b"", "empty"),
        (b"text", "no picture"),
        (encode(".tif", (4, 5, 4))[1], "four channels"),
        (encode(".tif", dtype=np.uint16)[1], "uint16"),
        (encode(".png", dtype=np.uint16)[1], "16 bits"),
        (encode(".tif")[1][:-300], "damaged"),
        (encode(".png")[1][:16] + struct.pack(">II", 50_000, 50_000) + encode(".png")[1][24:], "claims 50000×50000 px"),
        (b"\xff\xd8\xff\xc0\0\x11\x08" + struct.pack(">HH", 40_000, 50_000) + bytes(99), "claims 50000×40000 px"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_reason(data, why):
    with pytest.raises(PictureError, match=why):
        to_stored(data)


def test_ranges_are_cut_and_counted():
    assert ranges([3, 7, 8, 9]) == "3, 7…9" and ranges(range(0, 40, 2)).endswith("18 and 10 more")


@pytest.mark.parametrize("name, folder, count", [("lytro", "Lytro", 20), ("lytro/triples", "Lytro", 4),
                                                 ("mfi_whu", "MFI-WHU", 80)])  # fmt: skip
def test_real_copies(make, name, folder, count):
    builder = make(name, shared_file(f"data/{folder}"), allow_missing=True)
    assert [int(e["id"]) for e in examples(builder, raw=True)] == list(range(1, count + 1))
    assert builder.left_out == ({"test": 40} if name == "mfi_whu" else {})
