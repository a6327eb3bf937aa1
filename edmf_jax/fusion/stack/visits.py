"""Going through the shots of a group several times, without reading and measuring each anew every time.

If all fit into `spill.KEPT_BYTES`, they stay in memory; else most of them wait in temporary files.  Where there is no
room for such files either, shots that are not kept are read and warped again, one after the other.
"""

import dataclasses
from collections.abc import Callable, Iterator

from edmf_jax.fusion.stack import spill
from edmf_jax.fusion.stack.aligned import AlignedShot
from edmf_jax.fusion.stack.evidence import Evidence, measure
from edmf_jax.fusion.stack.reblur import CAP

SUM_BYTES = 48  # a pixel, with what is written
_SHARE_BESIDE_FILES = 0.25


class Visits:
    """Goes through the shots of a group, and keeps them for the next time: in memory, or on disk if there is room."""

    def __init__(self, read: Callable[[int], AlignedShot], noises: list[float], order: list[int]):
        """Shots by their numbers.

        Args:
          read: gives a shot, warped.
          noises: the noise energy of each, `evidence.noise_energy`.
          order: the numbers, in the order in which shots are visited.
        """
        self._read, self._noises, self._order = read, noises, order
        self._kept: dict[int, tuple[AlignedShot, Evidence]] = {}
        self._free: float | None = None  # bytes; known with the first shot, as the next
        self._folder: str | None = None

    @property
    def count(self) -> int:
        """The number of shots."""
        return len(self._order)

    @property
    def edge_cap(self) -> float:
        """By how much `reblur` may lower the logarithm of a weight."""
        return CAP

    @property
    def all_kept(self) -> bool:
        """Whether the next visit needs no reading."""
        return len(self._kept) == len(self._order)

    def __iter__(self) -> Iterator[tuple[int, AlignedShot, Evidence]]:
        """Number, shot and evidence of every shot."""
        for number in self._order:
            if number in self._kept:
                yield number, *self._kept[number]
                continue
            shot = self._read(number)
            evidence = self._measured(number, shot)
            size = shot.nbytes + evidence.nbytes
            if self._free is None:
                self._plan(size, shot.image[..., 0].size)
            if size <= self._free:
                self._free -= size
                self._kept[number] = shot, evidence
            elif self._folder is not None:
                self._keep_on_disk(number, shot, evidence)
            yield number, shot, evidence
            del shot, evidence

    def _measured(self, number: int, shot: AlignedShot) -> Evidence:
        return measure(shot, self._noises[number])

    def _plan(self, size: int, pixels: int) -> None:
        """What to keep where, from the bytes and the pixels of a shot."""
        self._free = spill.KEPT_BYTES
        if size * self.count > spill.KEPT_BYTES:
            self._folder = spill.roomy_folder(size * self.count)
            if self._folder is None:  # sums of the whole picture take memory, too
                self._free -= SUM_BYTES * pixels
            else:  # reading a file again costs little
                self._free *= _SHARE_BESIDE_FILES

    def _keep_on_disk(self, number: int, shot: AlignedShot, evidence: Evidence) -> None:
        try:
            stored = lambda array: None if array is None else spill.DiskArray.of(array, self._folder)
            self._kept[number] = (
                dataclasses.replace(shot, image=stored(shot.image), valid=stored(shot.valid)),
                dataclasses.replace(evidence, fine=stored(evidence.fine), weight=stored(evidence.weight)))
        except OSError:  # no room after all: the shots that are not kept are read again
            self._folder = None


class ChangedVisits:
    """Visits of shots with other evidence."""

    def __init__(self, visits: "Visits | ChangedVisits",
                 change: Callable[[int, AlignedShot, Evidence], Evidence]):
        """`change` gives the evidence to take, from number, shot and evidence."""
        self._visits, self._change = visits, change

    @property
    def count(self) -> int:
        """The number of shots."""
        return self._visits.count

    @property
    def edge_cap(self) -> float:
        """See `Visits`."""
        return self._visits.edge_cap

    @property
    def all_kept(self) -> bool:
        """Whether the next visit needs no reading."""
        return self._visits.all_kept

    def __iter__(self) -> Iterator[tuple[int, AlignedShot, Evidence]]:
        """Number, shot and evidence of every shot."""
        for number, shot, evidence in self._visits:
            yield number, shot, self._change(number, shot, evidence)
