"""The methods that `--method` can name: weights, a baseline, or a folder of pictures fused by another program."""

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.color import to_8_bits, to_gray
from edmf_jax.data.pairs import Scene
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.evaluation.baselines import BASELINES
from edmf_jax.fusion.tiling import fuse_levels
from edmf_jax.io.images import read_image
from edmf_jax.weights.store import load_weights, params_sha256

FOLDER = "folder:"
JPEG_SUFFIXES = (".jpg", ".jpeg")
SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".webp", *JPEG_SUFFIXES)
_SHIPPED = Path(__file__).parent.parent / "pretrained"
_RESERVED = ("evaluation.json", "summary.json", "summary.md", "summary.tex")


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to fuse a scene.

    Attributes:
      name: its unique name in the tables.
      spec: as the user gave it, without the label.
      fuse: a scene → uint8 picture, gray or RGB.
      as_stored: the pictures come from JPEG files and are scored as they are, whatever the value of `--store`.
      missing: ids of the scenes that it has no picture of.
      pictures: id → file of the fused picture, for a `folder:` method.
      record: JSON values that distinguish it from other methods of the same spec (the weights' hash and origin).
      slug: name of its folder; set by `with_slugs`.
    """

    name: str
    spec: str
    fuse: Callable[[Scene], np.ndarray]
    as_stored: bool = False
    missing: tuple[str, ...] = ()
    pictures: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    slug: str = ""

    @property
    def entry(self) -> dict[str, Any]:
        """The method's entry in `evaluation.json`."""
        return {"name": self.name, "slug": self.slug, "spec": self.spec, "missing": list(self.missing), **self.record}


def make_methods(specs: Sequence[str], ids: Sequence[str], *, tiling: str) -> list[Method]:
    """The methods that `--method` names, in that order.

    Args:
      specs: each SPEC or LABEL=SPEC; SPEC is a baseline's name, the folder or name of weights, or `folder:DIR`.
      ids: the scenes to fuse.
      tiling: how weights process a picture (see `fusion.tiling`).

    Raises:
      UserError: an unknown method, weights or a folder that can't be used, or two methods of one name.
    """
    methods = [_make(spec, ids, tiling) for spec in specs]
    if not methods:
        raise UserError(f"--method: none given; name weights, {FOLDER}DIR or one of {', '.join(BASELINES)}")
    names = [method.name for method in methods]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--method: {names.count(name)} methods would be called {name!r} in the tables; give each "
                            "its own name: --method NAME=METHOD")
    return methods


def with_slugs(methods: Sequence[Method], known: Sequence[Mapping[str, Any]]) -> list[Method]:
    """The methods with the names of their folders: that of the `known` entry of the same name, or a new unique one."""
    slugs = {entry["name"]: entry["slug"] for entry in known}
    taken = {slug.lower() for slug in slugs.values()} | set(_RESERVED)
    for method in methods:
        if method.name not in slugs:
            base = slug = re.sub(r"[^A-Za-z0-9._-]+", "-", method.name).strip("-.") or "method"
            count = 1
            while slug.lower() in taken:  # a file system may ignore case
                count += 1
                slug = f"{base}-{count}"
            slugs[method.name] = slug
            taken.add(slug.lower())
    return [dataclasses.replace(method, slug=slugs[method.name]) for method in methods]


def _make(text: str, ids: Sequence[str], tiling: str) -> Method:
    label, spec = _split_label(text)
    if spec.startswith(FOLDER):
        return _from_folder(label, spec, ids)
    if spec in BASELINES:
        return Method(label or spec, spec, lambda scene: BASELINES[spec](scene.a, scene.b))
    return _from_weights(label, spec, tiling)


def _split_label(text: str) -> tuple[str, str]:
    """Splits LABEL=SPEC into label and spec; without a label, or for a path that contains =, the label is empty."""
    label, separator, spec = text.partition("=")
    if not separator or "/" in label or label.startswith(FOLDER) or Path(text).exists():
        return "", text
    return label, spec


def _from_weights(label: str, spec: str, tiling: str) -> Method:
    """The network with the weights of a folder, or with shipped weights."""
    shipped = sorted(path.parent.name for path in _SHIPPED.glob("*/config.json"))
    if not Path(spec).exists() and spec not in shipped:
        choices = [*shipped, *BASELINES, f"{FOLDER}DIR"]
        nearest = difflib.get_close_matches(spec, choices, 1)
        raise MissingFileError(f"--method {spec!r} is neither a folder of weights nor a known method"
                               f"{f' (did you mean {nearest[0]}?)' if nearest else ''}; name weights (a folder from "
                               f"`edmf export` or `edmf import-mufusion`) or one of {', '.join(choices)}")
    weights = load_weights(spec)
    if weights.model.dtype == jnp.float64 and not jax.config.jax_enable_x64:
        raise UserError(f'--method {spec}: model.dtype="float64" needs JAX\'s 64-bit mode; set JAX_ENABLE_X64=1')
    params = jax.device_put(weights.params)

    def fuse(scene: Scene) -> np.ndarray:
        try:
            return fuse_levels(weights.model, params, scene.a, scene.b, tiling)
        except UserError as error:
            raise UserError(f"--method {spec}, pair {scene.id}: {error}") from error

    return Method(label or Path(spec).resolve().name, spec, fuse,
                  record={"sha256": params_sha256(weights.params), "provenance": dict(weights.provenance)})


def _from_folder(label: str, spec: str, ids: Sequence[str]) -> Method:
    """The pictures that another program fused."""
    folder = Path(spec.removeprefix(FOLDER)).expanduser()
    if not folder.is_dir():
        raise MissingFileError(f"--method {spec}: there is no folder {folder}; name the folder of the fused pictures")
    found = find_pictures(folder, ids)

    def fuse(scene: Scene) -> np.ndarray:
        picture = read_image(found[scene.id])
        if picture.shape[:2] != scene.a.shape[:2]:
            (height, width), (high, wide) = picture.shape[:2], scene.a.shape[:2]
            raise UserError(f"{found[scene.id]}: {width}×{height} px, but the sources of pair {scene.id} have "
                            f"{wide}×{high} px; replace it with a picture of their size")
        return to_gray(picture) if scene.a.ndim == 2 else to_8_bits(picture)

    # JPEG files are not compressed a second time; lossless pictures are stored like those of every other method.
    compressed = any(path.suffix.lower() in JPEG_SUFFIXES for path in found.values())
    return Method(label or folder.resolve().name, spec, fuse, as_stored=compressed, pictures=found,
                  missing=tuple(pair_id for pair_id in ids if pair_id not in found))


def find_pictures(folder: Path, ids: Sequence[str]) -> dict[str, Path]:
    """Finds the pictures of a folder by id: the file whose name (without suffix) is the id, or whose last number is it.

    Numbers are compared by value, so fuse007.png and bg-7.jpg both belong to id 7.

    Returns:
      Id → path; ids without a picture are absent.

    Raises:
      UserError: two files match an id equally well.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    by_name, by_number = {}, {}
    for path in files:
        by_name.setdefault(path.stem, []).append(path)
        numbers = re.findall(r"\d+", path.stem)
        if numbers:
            by_number.setdefault(int(numbers[-1]), []).append(path)
    found = {}
    for pair_id in ids:
        is_number = pair_id.isascii() and pair_id.isdigit()
        matches = by_name.get(pair_id) or (by_number.get(int(pair_id)) if is_number else None) or []
        if len(matches) > 1:
            raise UserError(f"{folder}: {matches[0].name} and {matches[1].name} could both be the picture of pair "
                            f"{pair_id}; name it {pair_id}{matches[0].suffix}")
        if matches:
            found[pair_id] = matches[0]
    return found
