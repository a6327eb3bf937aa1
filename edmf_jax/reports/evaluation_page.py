"""Writes the report of an evaluation: one HTML file with its tables, plots and pictures (`edmf report`)."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.io.atomic import check_new, replace_file
from edmf_jax.reports.evaluation_data import ChosenPair, Evaluation, choose_pairs, load_evaluation, open_source_pairs
from edmf_jax.reports.evaluation_html import pair_record, render
from edmf_jax.reports.evaluation_pictures import PairPictures, encode_pair, encode_thumbnail, make_pictures
from edmf_jax.reports.picture_layers import DETAIL_LEVELS, PAGE_LIMIT_BYTES
from edmf_jax.reports.webpage import script_json

_ELEMENT_BYTES = 100  # about what the tags around a pair's JSON take
_NOTES_BYTES = 10_000  # kept free for notes, which are written last
_ENCODER_THREADS = 4
_MAX_NAMED = 10  # pairs that a note names


def write_report(workdir: str | Path, output: str | Path | None = None, *, images: int = 12, source: str | None = None,
                 data_dir: str | None = None, limit_bytes: int = PAGE_LIMIT_BYTES, force: bool = False,
                 log: Callable[[str], None] = print) -> Path:
    """Writes the report of an evaluation; returns its path.

    The tables show the scores that the folder holds now; a fused picture whose file is
    missing is shown as absent.  Only the output is written.

    Args:
      workdir: the folder of an `edmf evaluate`.
      output: the file; None: `workdir`/report.html.
      images: how many pairs are shown with pictures (`choose_pairs`); with 0 the data set is not needed.
      source: the data set's published files; None: where the evaluation found them.
      data_dir: where TFDS keeps the data set prepared; None: where the evaluation found it.
      limit_bytes: largest size of the page; to stay below it, pictures become smaller and coarser, and then fewer.
      force: replace a file that is there.
      log: takes the lines meant for the user.

    Raises:
      UserError: a mistake in the arguments; the output is there already; the data set can't be found; a damaged
        picture; no space left.
    """
    if images < 0:
        raise UserError(f"--images={images}: how many pairs are shown, 0 or more")
    evaluation = load_evaluation(workdir)
    target = evaluation.folder / "report.html" if output is None else Path(output)
    if target.is_dir() or not target.parent.is_dir():
        raise (UserError(f"{target}: this is a folder; name the file to write") if target.is_dir() else
               MissingFileError(f"{target}: the folder {target.parent} does not exist; create it first"))
    check_new(target, force=force)
    notes, pictures = [], []
    if images:
        budget_bytes = limit_bytes - len(render(evaluation, [], notes=notes).encode(errors="replace")) - _NOTES_BYTES
        chosen = choose_pairs(evaluation, images)
        pictures, notes = _encode_pictures(evaluation, chosen, budget_bytes, source, data_dir, log)
    for note in notes:
        log(note)
    page = render(evaluation, pictures, notes=notes).encode(errors="replace")
    replace_file(target, page)
    log(f"report: {target} ({len(page) / 1e6:.1f} MB, pictures of {len(pictures)} of {len(evaluation.record['ids'])} "
        "pairs)")
    return target


def _encode_pictures(evaluation: Evaluation, chosen: Sequence[ChosenPair], budget_bytes: int, source: str | None,
                     data_dir: str | None, log: Callable[[str], None]) -> tuple[list[str], list[str]]:
    """The chosen pairs as JSON for the page's script, `budget_bytes` at most, and notes on missing pictures."""
    pairs = open_source_pairs(evaluation, source=source, data_dir=data_dir, log=log)
    wanted = {pair.id: pair for pair in chosen}
    encoded: dict[str, str] = {}
    absent: list[str] = []
    level, left = 0, len(wanted)
    with ThreadPoolExecutor(_ENCODER_THREADS) as pool, tqdm(total=len(wanted), desc="pictures", unit="pair",
                                                            disable=None) as bar:
        for record in pairs.records():
            if record.id not in wanted:
                continue
            pictures = make_pictures(pairs.decode(record), evaluation.methods,
                                     lambda method, pair=record.id: evaluation.read_fused(method, pair))
            absent += [f"{evaluation.methods[int(key[1:])]} {record.id}" for key in pictures.absent]
            # Pairs need about the same level; beginning one above the last one's, it can rise again.
            text, level = _encode_within(budget_bytes // left, wanted[record.id], pictures, max(0, level - 1), pool)
            if text:
                encoded[record.id] = text
                budget_bytes -= len(text.encode()) + _ELEMENT_BYTES
            left -= 1
            bar.update()
    return [encoded[pair.id] for pair in chosen if pair.id in encoded], _notes(chosen, encoded, absent)


def _encode_within(budget_bytes: int, chosen: ChosenPair, pictures: PairPictures, first_level: int,
                   pool: ThreadPoolExecutor) -> tuple[str, int]:
    """The pair's JSON at the largest level of detail that takes at most `budget_bytes`, and the level's number.

    Levels before `first_level` are not tried.  If even the smallest takes more, the text is empty.
    """
    for level in range(first_level, len(DETAIL_LEVELS)):
        views = encode_pair(pictures, DETAIL_LEVELS[level], pool)
        text = script_json(pair_record(chosen, views, encode_thumbnail(pictures)))
        if len(text.encode()) + _ELEMENT_BYTES <= budget_bytes:
            return text, level
    return "", len(DETAIL_LEVELS) - 1


def _notes(chosen: Sequence[ChosenPair], encoded: dict[str, str], absent: Sequence[str]) -> list[str]:
    left_out = [pair.id for pair in chosen if pair.id not in encoded]
    notes = []
    if absent:
        notes.append("Shown as absent, because the evaluation's folder has no fitting picture file: "
                     f"{_join_some(absent)}.")
    if left_out:
        notes.append(f"Pictures of these pairs would have made the page too large: {_join_some(left_out)}.")
    return notes


def _join_some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more
