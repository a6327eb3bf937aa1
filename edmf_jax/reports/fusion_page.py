"""Makes the report of a fusion: one HTML file with its shots, its result, and where that came from."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from edmf_jax.errors import UserError
from edmf_jax.fusion.record import FusionRecord
from edmf_jax.fusion.stack.shots import Shot
from edmf_jax.reports.fusion_html import picture_record, render
from edmf_jax.reports.fusion_pictures import FUSION_LEVELS, make_fusion_pictures
from edmf_jax.reports.picture_layers import PAGE_LIMIT_BYTES, encode_layers
from edmf_jax.reports.webpage import script_json

_ENCODER_THREADS = 4


def make_page(fusion: FusionRecord, shots: Sequence[Shot], *, limit_bytes: int = PAGE_LIMIT_BYTES,
              progress: Callable[[str, float], None] | None = None) -> bytes:
    """The page of a fusion, as the bytes of an HTML file; writes nothing.

    Args:
      fusion: what was done.
      shots: the shots again, or functions that read them; used one after the other.
      limit_bytes: largest size of the page; its pictures become smaller and coarser to stay below it.
      progress: called with a few words and the share that is done, [0, 1].

    Raises:
      UserError: a shot has changed since the fusion; there are too many for a page.
    """
    pictures = make_fusion_pictures(fusion, shots, progress or (lambda what, share: None))
    made = datetime.now().astimezone()
    size = fusion.frame[3], fusion.frame[2]
    with ThreadPoolExecutor(_ENCODER_THREADS) as pool:
        for level in FUSION_LEVELS[pictures.first_level:]:
            views = encode_layers(pictures.layers, size, pictures.crops, level, pool)
            record = picture_record(fusion, pictures, views, level)
            page = render(fusion, pictures.sizes, [script_json(record)], made).encode(errors="replace")
            if len(page) <= limit_bytes:
                return page
    raise UserError(f"{fusion.output}: its report would take more than {limit_bytes / 1e6:.1f} MB with the pictures of "
                    f"{len(shots)} shots; leave the report out")
