"""The methods that `--method` can name: those of `edmf_jax.methods`, weights, OpenFocus, or a folder of pictures."""

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from edmf_jax.core.color import to_8_bits, to_gray
from edmf_jax.data.pairs import Scene
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.evaluation.pictures import JPEG_SUFFIXES, find_pictures
from edmf_jax.fusion.tiling import fuse_levels, fuse_levels_of
from edmf_jax.io.images import read_image
from edmf_jax.methods import imported, openfocus, registry
from edmf_jax.methods.base import Fuser
from edmf_jax.methods.edmf_fuse import NAME, EdmfFuse, is_edmf_fuse
from edmf_jax.weights.params import params_sha256
from edmf_jax.weights.store import load_weights

FOLDER = "folder:"
ALL = "all"
_SHIPPED = Path(__file__).parent.parent / "pretrained"
_RESERVED = ("evaluation.json", "summary.json", "summary.md", "summary.tex")


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to fuse a scene.

    Attributes:
      name: its unique name in the tables.
      spec: as the user gave it, without the label.
      fuse: a scene → uint8 picture, gray or RGB.
      fuse_several: scenes → their pictures, for a method that an accelerator runs faster so; None: one after the other.
      as_stored: the pictures come from JPEG files and are scored as they are, whatever the value of `--store`.
      missing: ids of the scenes that it has no picture of.
      pictures: id → file of the fused picture, for a `folder:` method.
      record: JSON values that distinguish it from other methods of the same spec (the weights' hash and origin).
      slug: name of its folder; set by `with_slugs`.
    """

    name: str
    spec: str
    fuse: Callable[[Scene], np.ndarray]
    fuse_several: Callable[[Sequence[Scene]], list[np.ndarray]] | None = None
    as_stored: bool = False
    missing: tuple[str, ...] = ()
    pictures: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    slug: str = ""

    def fuse_all(self, scenes: Sequence[Scene]) -> list[np.ndarray]:
        """The pictures of some scenes, by `fuse_several` if there are several."""
        if self.fuse_several is None or len(scenes) == 1:
            return [self.fuse(scene) for scene in scenes]
        return self.fuse_several(scenes)

    @property
    def entry(self) -> dict[str, Any]:
        """The method's entry in `evaluation.json`."""
        return {"name": self.name, "slug": self.slug, "spec": self.spec, "missing": list(self.missing), **self.record}


def make_methods(specs: Sequence[str], ids: Sequence[str], *, tiling: str, as_published: bool = False,
                 log: Callable[[str], None] = print) -> list[Method]:
    """The methods that `--method` names, in that order.

    Args:
      specs: each SPEC or LABEL=SPEC; SPEC is a name of `edmf methods`, "all" of those that can run, `edmf-fuse` (see
        `methods.edmf_fuse`), the folder or name of weights, `openfocus:METHOD`, or `folder:DIR`.
      ids: the scenes to fuse.
      tiling: how weights process a picture (see `fusion.tiling`).
      as_published: color and save as the authors' scripts do (see `methods.base`).
      log: called with a line about the methods that "all" leaves out.

    Raises:
      UserError: an unknown method, weights or a folder that can't be used, or two methods of one name.
    """
    methods = [_make(spec, ids, tiling, as_published) for given in specs
               for spec in (_all(log) if given == ALL else [given])]
    if not methods:
        raise UserError(f"--method: none given; name weights, {FOLDER}DIR or one of {', '.join(registry.MODULES)}")
    names = [method.name for method in methods]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--method: {names.count(name)} methods would be called {name!r} in the tables; give each "
                            "its own name: --method NAME=METHOD")
    return methods


def _all(log: Callable[[str], None]) -> list[str]:
    """The names of all methods that can run now and take less than minutes a picture; the others are logged."""
    infos = [registry.info_of(name) for name in registry.MODULES]
    absent = [info.name for info in infos if not registry.is_ready(info)]
    slow = [info.name for info in infos if registry.is_ready(info) and not info.in_all]
    if absent:
        log(f"--method all leaves out {', '.join(absent)}, whose weights are not imported (`edmf methods` says how)")
    if slow:
        log(f"--method all leaves out {', '.join(slow)}, which would take minutes a picture; name it to run it")
    return [info.name for info in infos if info.name not in (*absent, *slow)]


def slug_of(name: str) -> str:
    """A method's name as that of a folder, where no other takes it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "method"


def with_slugs(methods: Sequence[Method], known: Sequence[Mapping[str, Any]]) -> list[Method]:
    """The methods with the names of their folders: that of the `known` entry of the same name, or a new unique one."""
    slugs = {entry["name"]: entry["slug"] for entry in known}
    taken = {slug.lower() for slug in slugs.values()} | set(_RESERVED)
    for method in methods:
        if method.name not in slugs:
            base = slug = slug_of(method.name)
            count = 1
            while slug.lower() in taken:  # a file system may ignore case
                count += 1
                slug = f"{base}-{count}"
            slugs[method.name] = slug
            taken.add(slug.lower())
    return [dataclasses.replace(method, slug=slugs[method.name]) for method in methods]


def _make(text: str, ids: Sequence[str], tiling: str, as_published: bool) -> Method:
    label, spec = _split_label(text)
    if spec == ALL:
        raise UserError(f"--method {text}: {ALL!r} means many methods, so it takes no name of its own; leave {label}= "
                        "out")
    if spec.startswith(FOLDER):
        return _from_folder(label, spec, ids)
    if is_edmf_fuse(spec):
        fuser = EdmfFuse(spec)
        return Method(label or spec, spec, _named(spec, fuser), record={"sha256": fuser.sha256} if fuser.sha256 else {})
    if spec.startswith(openfocus.PREFIX):
        fuser = openfocus.OpenFocus(spec.removeprefix(openfocus.PREFIX))
        return Method(label or spec, spec, _named(spec, fuser))
    # A folder of weights may have any name, and EDMF's are tiled as --tiling says.
    if spec in registry.MODULES and spec != "edmf" and not (Path(spec) / "config.json").is_file():
        return _from_registry(label, spec, as_published)
    return _from_weights(label, spec, tiling)


def _from_registry(label: str, name: str, as_published: bool) -> Method:
    """A method of `edmf_jax.methods`; its record says which weights, and that it colors and saves as published."""
    method = registry.module_of(name)
    record: dict[str, Any] = {"as_published": True} if as_published else {}
    options: dict[str, Any] = {} if method.INFO.in_all else {"progress": _steps_bar(name)}
    if method.INFO.tensors:
        weights = imported.weights_of(method.INFO)
        # One level of nesting, as `params_sha256` takes it.
        record |= {"sha256": params_sha256({"": weights}), "provenance": imported.imported_record(name)}
        fuser = method.load(weights, as_published=as_published, **options)
    else:
        fuser = method.load(as_published=as_published, **options)
    return Method(label or name, name, _named(name, fuser), record=record)


def _steps_bar(name: str) -> Callable[[int, int], None]:
    """A function of the steps done and all steps of a picture: a bar below that of the pictures, on a terminal."""
    bar = None

    def show(done: int, total: int) -> None:
        nonlocal bar
        bar = bar or tqdm(total=total, desc=name, unit="step", leave=False, disable=None, position=1)
        bar.update(done - bar.n)
        if done >= total:
            bar.close()
            bar = None

    return show


def _named(spec: str, fuser: Fuser) -> Callable[[Scene], np.ndarray]:
    """The function of a scene that names the method and the pair in its errors."""
    def fuse(scene: Scene) -> np.ndarray:
        try:
            return fuser([scene.a, scene.b])
        except UserError as error:
            raise UserError(f"--method {spec}, pair {scene.id}: {error}") from error

    return fuse


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
        _refuse_unknown(spec, sorted({*shipped, *registry.MODULES}))
    weights = load_weights(spec)
    if weights.model.dtype == jnp.float64 and not jax.config.jax_enable_x64:
        raise UserError(f'--method {spec}: model.dtype="float64" needs JAX\'s 64-bit mode; set JAX_ENABLE_X64=1')
    params = jax.device_put(weights.params)

    def fuse(scene: Scene) -> np.ndarray:
        try:
            return fuse_levels(weights.model, params, scene.a, scene.b, tiling)
        except UserError as error:
            raise UserError(f"--method {spec}, pair {scene.id}: {error}") from error

    def fuse_several(scenes: Sequence[Scene]) -> list[np.ndarray]:
        try:
            return fuse_levels_of([(scene.a, scene.b) for scene in scenes], weights.model, params, tiling)
        except UserError:  # one by one, so that the pair is named, and the memory may suffice
            return [fuse(scene) for scene in scenes]

    return Method(label or Path(spec).resolve().name, spec, fuse, fuse_several,
                  record={"sha256": params_sha256(weights.params), "provenance": dict(weights.provenance)})


def _refuse_unknown(spec: str, names: Sequence[str]) -> NoReturn:
    """Raises MissingFileError with the choices; a method that only another program can run is named with its reason."""
    for other in registry.ELSEWHERE:
        if spec.lower() == other.name:
            raise MissingFileError(f"--method {spec}: {other.title} is not here: {other.reason}")
    choices = [*names, ALL, NAME, f"{openfocus.PREFIX}METHOD", f"{FOLDER}DIR"]
    nearest = difflib.get_close_matches(spec, choices, 1)
    raise MissingFileError(f"--method {spec!r} is neither a folder of weights nor a known method"
                           f"{f' (did you mean {nearest[0]}?)' if nearest else ''}; name weights (a folder from "
                           f"`edmf export` or `edmf import-mufusion`) or one of {', '.join(choices)}")


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
