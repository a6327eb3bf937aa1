"""What `--method` can name: weights, a baseline, or a folder of pictures that another program fused."""

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.baselines import BASELINES
from edmf_jax.copies import to_8_bits
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.images import read_image
from edmf_jax.pairs import Scene, to_gray
from edmf_jax.tiling import fuse_levels
from edmf_jax.weights import load_weights, params_sha256

FOLDER = "folder:"
JPEG_SUFFIXES = (".jpg", ".jpeg")
SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".webp", *JPEG_SUFFIXES)
_SHIPPED = Path(__file__).parent / "pretrained"
_RESERVED = ("evaluation.json", "summary.json", "summary.md", "summary.tex")


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to fuse a scene, under the name it has in the tables.

    Attributes:
      name: in the tables, unique.
      spec: as the user gave it, without the label.
      fuse: a scene → uint8 picture, grey or RGB.
      as_stored: the pictures come from JPEG files and are scored as they are, whatever `--store` says.
      missing: of the ids given, those it has no picture for.
      pictures: id → the file it comes from, where it comes from one.
      record: what else tells it from another method of the same spec, as JSON values.
      slug: its folder's name; given by `with_slugs`.
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
        """As `evaluation.json` has it."""
        return {"name": self.name, "slug": self.slug, "spec": self.spec, "missing": list(self.missing), **self.record}


def make_methods(specs: Sequence[str], ids: Sequence[str], *, tiling: str) -> list[Method]:
    """The methods that `--method` names, in that order.

    Args:
      specs: each SPEC or LABEL=SPEC; SPEC is a baseline's name, the folder or name of
        weights, or `folder:DIR`.
      ids: the scenes they shall fuse.
      tiling: how weights see a picture (see `tiling`).

    Raises:
      UserError: an unknown method, weights or folders that can't be used, or two of one name.
    """
    methods = [_make(spec, ids, tiling) for spec in specs]
    if not methods:
        raise UserError(f"--method: none given; name weights, {FOLDER}DIR or one of {', '.join(BASELINES)}")
    names = [method.name for method in methods]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--method: {names.count(name)} methods would be called {name!r} in the tables; give them "
                            "names of their own: --method NAME=METHOD")
    return methods


def with_slugs(methods: Sequence[Method], known: Sequence[Mapping[str, Any]]) -> list[Method]:
    """The methods with their folder names: those that `known` entries of the same name have, else new ones."""
    slugs = {entry["name"]: entry["slug"] for entry in known}
    taken = {slug.lower() for slug in slugs.values()} | set(_RESERVED)
    for method in methods:
        if method.name not in slugs:
            base = slug = re.sub(r"[^A-Za-z0-9._-]+", "-", method.name).strip("-.") or "method"
            count = 1
            while slug.lower() in taken:  # a file system may not tell capitals from small letters
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
    """"" or the label, and the spec; a path that has a = in it stays whole."""
    label, equals, spec = text.partition("=")
    if not equals or "/" in label or label.startswith(FOLDER) or Path(text).exists():
        return "", text
    return label, spec


def _from_weights(label: str, spec: str, tiling: str) -> Method:
    shipped = sorted(path.parent.name for path in _SHIPPED.glob("*/config.json"))
    if not Path(spec).exists() and spec not in shipped:
        choices = [*shipped, *BASELINES, f"{FOLDER}DIR"]
        nearest = difflib.get_close_matches(spec, choices, 1)
        raise MissingFileError(f"--method {spec!r} is neither a folder of weights nor a known method"
                               f"{f' (did you mean {nearest[0]}?)' if nearest else ''}; name weights (a folder of "
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
    folder = Path(spec.removeprefix(FOLDER)).expanduser()
    if not folder.is_dir():
        raise MissingFileError(f"--method {spec}: there is no folder {folder}; name the folder of the fused pictures")
    found = find_pictures(folder, ids)

    def fuse(scene: Scene) -> np.ndarray:
        picture = read_image(found[scene.id])
        if picture.shape[:2] != scene.a.shape[:2]:
            (height, width), (high, wide) = picture.shape[:2], scene.a.shape[:2]
            raise UserError(f"{found[scene.id]}: {width}×{height} px, but the sources of pair {scene.id} have "
                            f"{wide}×{high} px; replace it by a picture of their size")
        return to_gray(picture) if scene.a.ndim == 2 else to_8_bits(picture)

    # What is a JPEG already is not compressed twice; lossless pictures are stored as every other method's.
    compressed = any(path.suffix.lower() in JPEG_SUFFIXES for path in found.values())
    return Method(label or folder.resolve().name, spec, fuse, as_stored=compressed, pictures=found,
                  missing=tuple(name for name in ids if name not in found))


def find_pictures(folder: Path, ids: Sequence[str]) -> dict[str, Path]:
    """Id → its picture in a folder: the file named ID, or the one whose last number is ID.

    Numbers are compared as such, so that fuse007.png and bg-7.jpg both belong to 7.

    Raises:
      UserError: two files fit an id equally well.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    exact, loose = {}, {}
    for path in files:
        exact.setdefault(path.stem, []).append(path)
        numbers = re.findall(r"\d+", path.stem)
        if numbers:
            loose.setdefault(int(numbers[-1]), []).append(path)
    found = {}
    for name in ids:
        fitting = exact.get(name) or (loose.get(int(name)) if name.isascii() and name.isdigit() else None) or []
        if len(fitting) > 1:
            raise UserError(f"{folder}: {fitting[0].name} and {fitting[1].name} could both be the picture of pair "
                            f"{name}; name it {name}{fitting[0].suffix}")
        if fitting:
            found[name] = fitting[0]
    return found
