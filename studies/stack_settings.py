"""What happens between the shots of the rendered stacks that `studies.stacks` measures: a setting for each kind.

    python -m studies.stack_settings

prints the settings as a table.
"""

import argparse
import dataclasses

import numpy as np

from tfds_edmf.edmf_synthetic.pair import NOISE_LEVELS

SHOTS = (3, 30)


@dataclasses.dataclass(frozen=True)
class Setting:
    """What happens between the shots of a stack.

    Attributes:
      name: as in the tables.
      breathing: exponent of the thin lens's own change of magnification with focus; 0 keeps it.
      drift: largest movement of the picture, in longer sides.
      held: 1 turns and tilts the camera as a hand does, 0 not at all.
      parallax: largest shift between the near and the far focus plane, in longer sides.
      noise: range of the noise's standard deviation, 8-bit levels.
      vignetting: share of the light that is missing in the corners, at most.
      stops: largest difference of a shot's exposure from the first one's.
      changes: of `CHANGES`: what is wrong with some shots.
    """

    name: str
    breathing: float = 1.0
    drift: float = 0.004
    held: float = 0.0
    parallax: float = 0.0
    noise: tuple[float, float] = NOISE_LEVELS
    vignetting: float = 0.0
    stops: float = 0.0
    changes: tuple[str, ...] = ()


CHANGES = ("wrong", "duplicate", "size", "turned 90", "turned 10", "shuffled")
"""A shot of another scene, a shot that is there twice, one of another size, one turned by 90° or 10°, mixed order."""
HAND = {"drift": 0.02, "held": 1.0}
SETTINGS = (
    Setting("tripod", drift=0.001),
    Setting("breathing", breathing=2.0),
    Setting("hand-held", **HAND),
    Setting("parallax", parallax=0.012, **HAND),
    Setting("noise", noise=(3.0, 6.0), **HAND),
    Setting("light", vignetting=0.5, stops=1.0, **HAND),
    *(Setting(change, stops=0.2, changes=(change,), **HAND) for change in CHANGES),
    Setting("everything", vignetting=0.3, stops=0.3, parallax=0.003,
            changes=("wrong", "duplicate", "size", "turned 10", "shuffled"), **HAND),
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What one shot of a stack is to be.

    Attributes:
      view: number of its camera; twins share one, and a wrong shot has `WRONG`.
      stops: of exposure, from the metered one.
      change: what is wrong with it, of `CHANGES`; "" if nothing is.
      same_noise: a twin that is a copy of the file, not a second exposure.
    """

    view: int
    stops: float
    change: str = ""
    same_noise: bool = False


WRONG = -1  # the view of a shot of another scene


def plan_shots(rng: np.random.Generator, setting: Setting, count: int) -> list[Plan]:
    """The shots of a stack of `count` views in the order in which they are given; the first one is unchanged."""
    plans = [Plan(view, rng.uniform(-setting.stops, setting.stops)) for view in range(count)]
    changed = rng.permutation(np.arange(1, count))
    for view, change in zip(changed, [c for c in setting.changes if c in ("size", "turned 90", "turned 10")]):
        plans[view] = dataclasses.replace(plans[view], change=change)
    if "duplicate" in setting.changes:
        view = int(rng.choice([plan.view for plan in plans if not plan.change]))
        twin = dataclasses.replace(plans[view], change="duplicate", same_noise=bool(rng.random() < 0.5))
        plans.insert(int(rng.integers(1, len(plans) + 1)), twin)
    if "wrong" in setting.changes:
        plans.insert(int(rng.integers(1, len(plans) + 1)), Plan(WRONG, 0.0, "wrong"))
    if "shuffled" in setting.changes:
        plans = [plans[i] for i in rng.permutation(len(plans))]
        first = next(i for i, plan in enumerate(plans) if not plan.change)
        plans[0], plans[first] = plans[first], plans[0]
    return plans


def markdown_table() -> str:
    """The settings in Markdown, a row each."""
    lines = ["| setting | breathing | drift % | held | parallax % | noise, levels | vignetting | stops | changes |",
             "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"]
    for s in SETTINGS:
        cells = (s.name, f"{s.breathing:g}", f"{100 * s.drift:g}", f"{s.held:g}", f"{100 * s.parallax:g}",
                 f"{s.noise[0]:g} to {s.noise[1]:g}", f"{s.vignetting:g}", f"±{s.stops:g}", ", ".join(s.changes))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Prints the table of the settings."""
    description = __doc__.splitlines()[0]
    argparse.ArgumentParser(prog="python -m studies.stack_settings", description=description).parse_args(argv)
    print(markdown_table())


if __name__ == "__main__":
    main()
