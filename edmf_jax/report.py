"""An evaluation as one HTML file that needs nothing else: tables, plots, pictures to look into."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from edmf_jax.copies import LEVELS, LIMIT_BYTES
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.files import replace_file
from edmf_jax.report_data import Chosen, Evaluation, choose_pairs, open_sources, read
from edmf_jax.report_html import pair_record, render
from edmf_jax.report_images import PairPictures, encode_pair, make_pictures, strip_picture
from edmf_jax.webpage import to_script

_ELEMENT_BYTES = 100  # about a pair's data
_ENCODERS = 4


def report(workdir: str | Path, output: str | Path | None = None, *, images: int = 12, source: str | None = None,
           data_dir: str | None = None, limit_bytes: int = LIMIT_BYTES, log: Callable[[str], None] = print) -> Path:
    """Writes the report of an evaluation; returns its path.

    The tables are made of the scores that are there now; a fused picture whose file is
    gone is shown as absent.  Only the output is written.

    Args:
      workdir: the folder of an `edmf evaluate`.
      output: the file; `workdir`/report.html where None.
      images: of how many pairs pictures are shown (`choose_pairs`); 0: none, and the data set is not needed.
      source: the data set's published files, and
      data_dir: where TFDS keeps it prepared; what the evaluation was given where None.
      limit_bytes: how large the page may be; pictures become smaller and coarser to fit, and fewer where that
        is not enough.
      log: takes the lines meant for the user.

    Raises:
      UserError: a mistake in what was given; the data set can't be found; a damaged picture; no space left.
    """
    if images < 0:
        raise UserError(f"--images={images}: how many pairs are shown, 0 or more")
    evaluation = read(workdir)
    target = evaluation.folder / "report.html" if output is None else Path(output)
    if target.is_dir() or not target.parent.is_dir():
        raise (UserError(f"{target}: this is a folder; name the file to write") if target.is_dir() else
               MissingFileError(f"{target}: the folder {target.parent} does not exist; create it first"))
    notes, pictures = [], []
    if images:
        room = limit_bytes - len(render(evaluation, [], notes=notes).encode()) - 10_000  # for further notes
        pictures, notes = _embed(evaluation, choose_pairs(evaluation, images), room, source, data_dir, log)
    for note in notes:
        log(note)
    page = render(evaluation, pictures, notes=notes).encode()
    replace_file(target, page)
    log(f"report: {target} ({len(page) / 1e6:.1f} MB, pictures of {len(pictures)} of {len(evaluation.record['ids'])} "
        "pairs)")
    return target


def _embed(evaluation: Evaluation, chosen: Sequence[Chosen], room: int, source: str | None, data_dir: str | None,
           log: Callable[[str], None]) -> tuple[list[str], list[str]]:
    """The chosen pairs for the page's script within `room` bytes, and notes on what is not there."""
    pairs = open_sources(evaluation, source=source, data_dir=data_dir, log=log)
    wanted = {pair.id: pair for pair in chosen}
    found: dict[str, str] = {}
    absent: list[str] = []
    level, left = 0, len(wanted)
    with ThreadPoolExecutor(_ENCODERS) as pool, tqdm(total=len(wanted), desc="pictures", unit="pair",
                                                     disable=None) as bar:
        for record in pairs.records():
            if record.id not in wanted:
                continue
            pictures = make_pictures(pairs.decode(record), evaluation.methods,
                                     lambda method, pair=record.id: evaluation.fused(method, pair))
            absent += [f"{evaluation.methods[int(key[1:])]} {record.id}" for key in pictures.absent]
            share = room // left
            text, level = _fit(wanted[record.id], pictures, share, max(0, level - 1), pool)
            if text:
                found[record.id] = text
                room -= len(text.encode()) + _ELEMENT_BYTES
            left -= 1
            bar.update()
    return [found[pair.id] for pair in chosen if pair.id in found], _notes(chosen, found, absent)


def _fit(chosen: Chosen, pictures: PairPictures, share: int, first: int, pool: ThreadPoolExecutor) -> tuple[str, int]:
    """The pair at the best level, from the `first` on, that takes at most `share` bytes, and that level.

    The text is empty where none does.
    """
    for level in range(first, len(LEVELS)):
        text = to_script(pair_record(chosen, encode_pair(pictures, LEVELS[level], pool), strip_picture(pictures)))
        if len(text.encode()) + _ELEMENT_BYTES <= share:
            return text, level
    return "", len(LEVELS) - 1


def _notes(chosen: Sequence[Chosen], found: dict[str, str], absent: Sequence[str]) -> list[str]:
    left_out = [pair.id for pair in chosen if pair.id not in found]
    notes = []
    if absent:
        notes.append(f"Shown as absent, because the evaluation's folder has no fitting picture file: {_some(absent)}.")
    if left_out:
        notes.append(f"Pictures of these pairs would have made the page too large: {_some(left_out)}.")
    return notes


def _some(names: Sequence[str], count: int = 10) -> str:
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
