"""`blend` on a GPU: the same picture, up to rounding, piece by piece in compiled steps (`core.blending`).

The CPU reads and places the shots as always, and sends each piece by piece while the GPU measures the one before.  The
rest happens there: leveling, evidence, the network's correction if one chooses, shares, pull and push, edges of depth
(`device_edges`), the mean.

**Memory of the device.**  A frame takes 7 bytes a pixel, a shot half a byte a pixel and up to 16 MB for the network.
What was sent and measured stays there as far as `Kept` has room: 8 bytes a pixel and shot for 8 bits in color, 11 for
16; what it has no room for is sent and measured again.  Edges take 13 bytes a pixel and 5.5 for each shot; without room
for that the CPU refines them.  The steps themselves work on one piece of at most 1024² px, in 0.5 GB with what is under
way.  So two shots of 24 MP take 1.8 GB, and 0.8 GB where there is no room to keep anything.
"""

import collections
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core import blending
from edmf_jax.core.chooser import Params
from edmf_jax.core.evidence_numbers import CELL_PX
from edmf_jax.fusion.stack import blend, spill
from edmf_jax.fusion.stack import device_pieces as pieces
from edmf_jax.fusion.stack import device_steps as steps
from edmf_jax.fusion.stack.aligned import AlignedShot
from edmf_jax.fusion.stack.device_chooser import corrections
from edmf_jax.fusion.stack.device_edges import Edges
from edmf_jax.fusion.stack.device_shots import Kept, Piece, Shot
from edmf_jax.fusion.stack.evidence import Evidence
from edmf_jax.fusion.stack.reblur import CAP, CAP_BESIDE_NETWORK
from edmf_jax.fusion.stack.visits import Visits
from edmf_jax.fusion.stack.weighted_mean import Blended, empty
from edmf_jax.registration.threads import usable_cores

KEPT_SHARE = 0.5  # of the device's memory
_KEPT_BYTES = 2e9  # where it does not say how much it has
_AHEAD = 8  # pieces whose results are under way


class TooLittle(Exception):
    """Shots have no room on the device, and none here either."""


class UnmeasuredVisits(Visits):
    """Shots that are not measured here."""

    def _measured(self, number: int, shot: AlignedShot) -> Evidence:
        nothing = np.zeros((1, 1), np.float16)
        return Evidence(nothing, nothing, None, None, self._noises[number] * shot.leveling.slope**2)


def blend_on_device(visits: UnmeasuredVisits, shape: tuple[int, int, int], dtype: np.dtype, *, device: jax.Device,
                    report: Callable[[str], None], ranks: np.ndarray | None = None,
                    excluded: dict[int, np.ndarray] | None = None, params: Params | None = None
                    ) -> Blended:
    """`blend.blend` of all shots of a group on a device.

    Args:
      visits: its shots.
      shape, dtype, report, ranks: see there.
      device: of JAX.
      excluded: of `excluding.Excluding`.
      params: of the network that chooses; None: none does.

    Raises:
      TooLittle: shots fit neither into the device's memory nor into this machine's, or on its disk.
    """
    with _no_room(), jax.default_device(device), ThreadPoolExecutor(usable_cores()) as pool:
        work = Work(visits, shape, device, excluded or {}, ranks, pool)
        work.measure(report)
        if params is not None:
            report("comparing")
            work.correct(params)
        report("fusing")
        work.share()
        blended = empty(shape, dtype, visits.count)
        cap = CAP if params is None else CAP_BESIDE_NETWORK
        planes = work.finish(blended, cap, visits.all_kept)
    if planes is not None:
        given = [(one.number, shot, evidence, _weights_in(planes, index), None)
                 for index, (one, (_, shot, evidence)) in enumerate(zip(work.shots, visits))]
        blend.refine(given, blended, cap, work.clips, report)
    return blended


class Work:
    """The shots of a group on the device, and what is known of them."""

    def __init__(self, visits: UnmeasuredVisits, shape: tuple[int, int, int], device: jax.Device,
                 excluded: dict[int, np.ndarray], ranks: np.ndarray | None, pool: ThreadPoolExecutor):
        self._visits, self._shape, self._excluded = visits, shape, excluded
        self._pool = pool
        self.piece = pieces.piece_shape(shape)
        self.whole = pieces.covering(shape, self.piece)
        self.places = list(pieces.places(shape, self.piece))
        self._kept = Kept(self.piece, room_of(device))
        self._has_edges = visits.count > 1 and self._kept.reserve(Edges.bytes_of(visits.count, self.whole))
        self.shots: list[Shot] = []
        self._by: list[steps.Choosing] = []
        self._bias = lambda number: np.float32(0 if ranks is None else blend.TIE_LOGIT * ranks[number])
        self._factor, self.clips = 1, False
        self._totals: list[blending.Total] = []
        self._shares: list[jax.Array] = []

    def measure(self, report: Callable[[str], None]) -> None:
        """The first visit: every shot is sent and measured."""
        height, width = (side // CELL_PX for side in self.whole)
        sizes = self._sizes(CELL_PX)
        for number, shot, evidence in self._visits:
            report("measuring")
            self.clips |= bool(shot.leveling.clipping_loss.any())
            one = Shot(number, shot, evidence.noise, self._kept, self._excluded.get(number))
            cells, covered = jnp.zeros((self._shape[2], height, width)), jnp.zeros((height, width), bool)
            for at, sent in zip(self.places, self._pool.map(one.sent, self.places)):
                _, some, some_covered = one.measured(at, sent)
                cells = steps.put(cells, some, at.there, CELL_PX)
                covered = steps.put(covered, some_covered, at.there, CELL_PX)
            self._by.append(steps.Choosing(steps.coarse(cells, covered, one.noise, sizes), self._bias(number), None))
            self.shots.append(one)
            one.shot = None
        if self._visits.all_kept:
            for one, (_, shot, _) in zip(self.shots, self._visits):
                one.shot = shot
        elif not self._kept.is_all:
            raise TooLittle

    def correct(self, params: Params) -> None:
        """The network looks at all shots, reduced."""
        self._factor, found = corrections(self.shots, params, self._shape, self.whole, self.places)
        self._by = [by._replace(correction=correction) for by, correction in zip(self._by, found)]

    def share(self) -> None:
        """Every shot's share of each pixel, and those of cells, filled from around where no shot has detail."""
        cells = [side // blending.SPREAD_PX for side in self.whole]
        certain, known = jnp.ones(cells), [jnp.zeros(cells) for _ in self.shots]
        for at in self.places:
            total = steps.nothing(self.piece)
            for one, by in zip(self.shots, self._by):
                piece = one.piece(at)
                total = steps.add(total, piece.fine, piece.weight, by, at.there, self._factor)
            total, some = steps.settle(total, at.there)
            self._totals.append(total)
            certain = steps.put(certain, some, at.there, blending.SPREAD_PX)
            for index, (one, by) in enumerate(zip(self.shots, self._by)):
                piece = one.piece(at)
                some = steps.known(total, piece.fine, piece.weight, by, at.there, self._factor)
                known[index] = steps.put(known[index], some, at.there, blending.SPREAD_PX)
        self._shares = [steps.spread(one, certain, self._sizes(blending.SPREAD_PX)) for one in known]

    def finish(self, blended: Blended, cap: float, has_shots: bool) -> np.ndarray | None:
        """Writes the picture, with edges of depth refined if the device has room for that.

        Args:
          blended: to be filled; `sources` are numbers of shots then, or, if weights are returned, indices of `shots`.
          cap: of `reblur`.
          has_shots: all of them are here, too, so that edges can be refined here.

        Returns:
          For refining edges here, if that is wanted: float16 weights of all shots as bits, uint16 `[N, H, W]`, in
          memory or on disk.
        """
        count = len(self.shots)
        edges = None
        if has_shots and self._has_edges:
            edges = Edges(count, self._shape, self.whole, self.piece, blended.sources.dtype)
        planes = spill.planes(count, self._shape[:2]) if has_shots and edges is None else None
        made, under_way = [], collections.deque()
        for at, total in zip(self.places, self._totals):
            weights = [steps.weigh(total, piece.fine, piece.weight, by, shares, at.there, self._factor)
                       for piece, by, shares in zip(self._pieces(at), self._by, self._shares)]
            found, sums = self._fused(at, weights, blended)
            shares = [steps.normalized(weight, sums.total) for weight in weights]
            if edges is not None:
                edges.put(at, found, shares, [steps.luma(piece.raw, piece.valid, one.leveling, at.there)
                                              for piece, one in zip(self._pieces(at), self.shots)])
                made.append(found)
            else:
                self._send(under_way, blended, at, found, planes, shares)
        if edges is not None:
            edges.refine(made, self.places, cap, lambda at, weights: self._fused(at, weights, blended)[0])
            for at, found in zip(self.places, made):
                self._send(under_way, blended, at, found)
        for writing in under_way:
            writing.result()
        return planes

    def _pieces(self, at: pieces.At) -> Iterator[Piece]:
        return (one.piece(at) for one in self.shots)

    def _fused(self, at: pieces.At, weights: Iterable[jax.Array], blended: Blended
               ) -> tuple[blending.Finished, blending.Sums]:
        """A piece of the result."""
        sums = steps.no_sums((*self.piece, self._shape[2]))
        for index, (one, piece, weight) in enumerate(zip(self.shots, self._pieces(at), weights)):
            sums = steps.sum_up(sums, np.int32(index), weight, piece.raw, piece.valid, one.leveling, at.there)
        return steps.finish(sums, np.float32(len(self.shots)), dtype=blended.image.dtype,
                            source_dtype=blended.sources.dtype), sums

    def _send(self, under_way: collections.deque, blended: Blended, at: pieces.At, found: blending.Finished,
              planes=None, weights: Sequence[jax.Array] = ()) -> None:
        """Begins to fetch a piece of the result, and waits for one that was begun long ago."""
        weights = [] if planes is None else list(weights)
        for x in jax.tree.leaves((found, weights)):
            x.copy_to_host_async()
        under_way.append(self._pool.submit(self._write, blended, planes, at.kept, (found, weights)))
        if len(under_way) > _AHEAD:
            under_way.popleft().result()

    def _write(self, blended: Blended, planes, part: tuple[slice, slice], found: tuple) -> None:
        inside = tuple(slice(0, p.stop - p.start) for p in part)
        piece, weights = jax.tree.map(lambda x: np.asarray(x)[inside], found)
        numbers = np.array([one.number for one in self.shots], blended.sources.dtype)
        blended.image[part] = piece.image
        blended.sources[part] = numbers[piece.source] if planes is None else piece.source
        blended.confidence[part] = piece.confidence
        for bit, plane in zip((1, 2, 4), (blended.covered, blended.common, blended.several)):
            plane[part] = piece.seen & bit
        for index, weight in enumerate(weights):
            planes[(index, *part)] = weight.view(np.uint16)

    def _sizes(self, cell: int) -> tuple[np.int32, np.int32]:
        height, width = (np.int32(-(-side // cell)) for side in self._shape[:2])
        return height, width


@contextlib.contextmanager
def _no_room() -> Iterator[None]:
    """Makes `TooLittle` of the device's error when its memory does not suffice."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise TooLittle from error


def room_of(device: jax.Device) -> float:
    """Bytes that shots may take on a device."""
    about = device.memory_stats() or {}
    return KEPT_SHARE * about["bytes_limit"] if about.get("bytes_limit") else _KEPT_BYTES


def _weights_in(planes, index: int) -> Callable[[tuple[slice, slice]], np.ndarray]:
    return lambda part: np.ascontiguousarray(planes[(index, *part)]).view(np.float16).astype(np.float32)
