"""A fusion as one HTML file that needs nothing else: what went in, what came out, and why."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from edmf_jax.copies import LIMIT_BYTES, encode_layers
from edmf_jax.errors import UserError
from edmf_jax.fusion_page import picture_record, render
from edmf_jax.fusion_pictures import FUSION_LEVELS, Fusion, collect
from edmf_jax.photo.shots import Shot
from edmf_jax.webpage import to_script

_ENCODERS = 4


def make_page(fusion: Fusion, given: Sequence[Shot], *, limit_bytes: int = LIMIT_BYTES,
              progress: Callable[[str, float], None] | None = None) -> bytes:
    """The page of a fusion; writes nothing.

    Args:
      fusion: what was done.
      given: the shots once more, or what reads them; one after the other.
      limit_bytes: how large the page may be; its pictures become smaller and coarser to fit.
      progress: called with a few words and the share that is done, [0, 1].

    Raises:
      UserError: a shot is no longer what it was; there are too many for a page.
    """
    pictures = collect(fusion, given, progress or (lambda what, share: None))
    made = datetime.now().astimezone()
    size = fusion.frame[3], fusion.frame[2]
    with ThreadPoolExecutor(_ENCODERS) as pool:
        for level in FUSION_LEVELS[pictures.first:]:
            encoded = encode_layers(pictures.layers, size, pictures.crops, level, pool)
            record = picture_record(fusion, pictures, encoded, level)
            page = render(fusion, pictures.sizes, [to_script(record)], made).encode()
            if len(page) <= limit_bytes:
                return page
    raise UserError(f"{fusion.output}: its report would take more than {limit_bytes / 1e6:.1f} MB with the pictures of "
                    f"{len(given)} shots; leave the report out")
