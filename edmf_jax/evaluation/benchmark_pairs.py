"""Which pairs each benchmark evaluates, and under which exposures; nothing is imported, so `--help` can name them."""

from typing import Any, NamedTuple


class Benchmark(NamedTuple):
    """What is evaluated.

    Attributes:
      dataset: a data set with a ground truth.
      conditions: keys of `exposures.CONDITIONS`.
      split: of the data set, or parts of one.
      rim_px: not scored on each side.
      truth_at: the exposure of the truth, see `evaluate`.
    """

    dataset: str
    conditions: tuple[str, ...] = ("published",)
    split: str = "test"
    rim_px: int = 0
    truth_at: str | None = None

    @property
    def fixed(self) -> dict[str, Any]:
        """The arguments of `evaluate` that are the same for all conditions."""
        return {"split": self.split, "rim_px": self.rim_px, "truth_at": self.truth_at}


# Of pairs 1…60 not 3, 13 … and 5, 15 …, which were used while the network was made.
_OTHERS = "+".join(f"test[{first - 1}:{last}]" for first, last in (
    (1, 2), (4, 4), (6, 12), (14, 14), (16, 22), (24, 24), (26, 32), (34, 34), (36, 42), (44, 44), (46, 52), (54, 54),
    (56, 60)))
_EXPOSED = ("quarter-stop", "half-stop-gamma")
BENCHMARKS = {
    "mfi-whu-exposure": Benchmark("mfi_whu", ("published", *_EXPOSED)),
    "mfi-whu-inner": Benchmark("mfi_whu", ("published", *_EXPOSED), "test[60:80]", rim_px=16),
    "mfi-whu-reference": Benchmark("mfi_whu", _EXPOSED, "test[60:80]", rim_px=16, truth_at="reference"),
    "mfi-whu-whole": Benchmark("mfi_whu", split="test[60:80]"),
    "mfi-whu-others": Benchmark("mfi_whu", split=_OTHERS, rim_px=20),
    "edmf-synthetic": Benchmark("edmf_synthetic", split="test[:8]", rim_px=20, truth_at="reference"),
}
"""Value of `--benchmark` → benchmark: all of MFI-WHU; its pairs 61…80 without a rim, with the truth at the mean of both
exposures or at A's; these, whole; 48 others; and `edmf_synthetic`'s first scenes."""
