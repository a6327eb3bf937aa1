"""Registration of any number of shots: neighbors to each other, and all maps adjusted together.

1. Neighbors are found by how alike small copies are (`neighbors`), and the most alike are joined to a tree.
2. Each pair of the tree is registered (`pipeline`).  Where that fails, the next best pairs are tried (`joining`).
3. Pairs that close loops are refined from the chains of maps (`placing`).
4. All maps are adjusted (`adjustment`).  A shot that no confident map joins to the others is left out.
5. Where the camera moved, so that near and far need different maps, one depth may explain all pairs (`parallax`).

Shots are taken in an order of their content, so the order in which they are given has no effect on the result.
"""

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from edmf_jax.registration.joining import Pairs
from edmf_jax.registration.pipeline import check_options
from edmf_jax.registration.placing import place
from edmf_jax.registration.threads import one_thread_each, usable_cores
from edmf_jax.registration.verdict import Registration, RegistrationConfig
from edmf_jax.registration.views import View

_MIN_OVERLAP = 0.1  # of the reference: a shot that covers less is left out; neighbors must share more


@dataclasses.dataclass(frozen=True)
class StackRegistration:
    """The maps of all shots of a stack.

    Attributes:
      registrations: for each shot its map from the reference, with the evidence of the pair that joins it to the shot
        before it in the chain; `neighbor` is the number of that shot.  None for the reference and for shots that are
        left out.
      left_out: the number of each shot that can't be placed → the reason; `{3}` in it stands for the name of shot 3.
      reference: the number of the reference.
    """

    registrations: tuple[Registration | None, ...]
    left_out: dict[int, str]
    reference: int


def register_stack(views: Sequence[View], keys: Sequence[bytes], *, reference: int = 0, model: str = "auto",
                   method: str = "pso-sift", config: RegistrationConfig = RegistrationConfig(),  # noqa: B008 (frozen)
                   best_effort: bool = False, progress: Callable[[float], None] = lambda share: None
                   ) -> StackRegistration:
    """Registers the shots of one scene to each other.

    Args:
      views: the shots, in any order of focus.
      keys: for each a hash of its content; they decide the order of the work.
      reference: the shot whose frame the maps start from.  If it can't be joined to most of the others, the first one
        that can takes its place.
      model, method, config: as for `pipeline.register`.
      best_effort: the best maps are used where none is confident; their `confident` stays False.
      progress: called with the share of the work that is done.

    Returns:
      The maps.  Whether a run may go on without the shots that are left out is for the caller to decide.
    """
    check_options(model, method)
    order = sorted(range(len(views)), key=lambda i: (i != reference, keys[i], i))
    ordered = [views[i] for i in order]
    work = Pairs(ordered, model, method, config, progress)
    with one_thread_each(), ThreadPoolExecutor(usable_cores()) as work.pool:
        work.join()
        if best_effort:
            work.join_at_best()
        part = work.largest_part()
        root = 0 if 0 in part else min(part, key=order.__getitem__)
        tree = [pair for pair in work.tree if pair[0] in part]
        found, reasons = place(work, root, tree), work.reasons(part)
    for number in [number for number, one in found.items() if one.overlap < _MIN_OVERLAP]:
        share = 100 * found.pop(number).overlap
        reasons[number] = lambda name, share=share: f"it shows {share:.0f} % of what the reference shows"
    for view in views:
        view.release()
    registrations = [None] * len(views)
    for number, registration in found.items():
        registrations[order[number]] = dataclasses.replace(registration, neighbor=order[registration.neighbor])
    return StackRegistration(tuple(registrations), {order[number]: reason(lambda i: order[i])
                                                    for number, reason in reasons.items()}, order[root])
