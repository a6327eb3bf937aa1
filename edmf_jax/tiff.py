"""Writing a TIFF with EXIF and a colour profile, which OpenCV does not (TIFF 6.0; Adobe's DEFLATE, technical note 2).

The file begins with the EXIF block as it is, so that everything inside it stays
at its offset; a new first directory follows and takes over what the block's had.
"""

import struct
import zlib

import numpy as np

from edmf_jax import exif

_SHORT, _LONG, _RATIONAL, _UNDEFINED = 3, 4, 5, 7
_STRIP_BYTES = 1 << 20  # what a reader unpacks at once
_LEVEL = 5  # of DEFLATE: a little larger than the best, in half the time


def encode_tiff(image: np.ndarray, block: bytes, icc: bytes, dpi: tuple[float, float] | None) -> bytes:
    """uint8 or uint16 `[H, W]` or `[H, W, 3]` RGB as a TIFF, compressed without loss.

    Args:
      block: EXIF, or nothing.
      icc: a colour profile, or nothing.
      dpi: pixels per inch, across and down.

    Raises:
      OverflowError: it would be 4 GB or more, which no TIFF holds.
    """
    block = block or b"II*\0" + struct.pack("<I", 8)
    order = exif.order_of(block)
    head = bytearray(block) + b"\0" * (len(block) % 2)
    rows = max(1, _STRIP_BYTES // image[0].nbytes)
    strips = [_packed(image[top : top + rows], order) for top in range(0, len(image), rows)]
    starts = np.cumsum([len(head)] + [len(strip) for strip in strips])
    directory_at = int(starts[-1]) + int(starts[-1]) % 2
    samples = 1 if image.ndim == 2 else 3
    tags = {
        256: (_LONG, [image.shape[1]]), 257: (_LONG, [image.shape[0]]),
        258: (_SHORT, [8 * image.itemsize] * samples),
        259: (_SHORT, [8]),  # DEFLATE …
        317: (_SHORT, [2]),  # … of the differences along a row
        262: (_SHORT, [1 if samples == 1 else 2]), 277: (_SHORT, [samples]), 284: (_SHORT, [1]),
        278: (_LONG, [rows]), 273: (_LONG, starts[:-1].tolist()), 279: (_LONG, [len(strip) for strip in strips]),
    }
    if dpi:
        tags |= {tag: (_RATIONAL, [round(x * 1000), 1000]) for tag, x in zip((282, 283), dpi)} | {296: (_SHORT, [2])}
    fields = {tag: (kind, len(numbers) // (1 + (kind == _RATIONAL)), _pack(order, kind, numbers))
              for tag, (kind, numbers) in tags.items()}
    if icc:
        fields[34675] = (_UNDEFINED, len(icc), icc)
    tail = _directory(fields, _kept(block, set(fields)), directory_at, order)
    if directory_at + len(tail) >= 1 << 32:
        raise OverflowError("a TIFF of 4 GB or more")
    head[4:8] = struct.pack(order + "I", directory_at)
    return b"".join([bytes(head), *strips, b"\0" * (directory_at - int(starts[-1])), tail])


def _packed(rows: np.ndarray, order: str) -> bytes:
    """Rows of pixels as one compressed strip."""
    differences = rows.copy()
    differences[:, 1:] -= rows[:, :-1]  # modulo 2^bits, as the reader adds them
    return zlib.compress(differences.astype(rows.dtype.newbyteorder(order)).tobytes(), _LEVEL)


def _pack(order: str, kind: int, numbers: list[int]) -> bytes:
    return struct.pack(f"{order}{len(numbers)}{'H' if kind == _SHORT else 'I'}", *numbers)


def _kept(block: bytes, taken: set[int]) -> dict[int, bytes]:
    """The 12 bytes of each descriptive tag in the block's first directory; their offsets still hold."""
    if len(block) <= 8:
        return {}
    _, tags = exif.first_directory(block)
    return {tag: bytes(block[at : at + 12]) for tag, at in tags.items() if tag in exif.DESCRIPTIVE - taken}


def _directory(fields: dict[int, tuple], kept: dict[int, bytes], at: int, order: str) -> bytes:
    """The first directory, to stand at byte `at`, and its values behind it."""
    entries, values = dict(kept), b""
    outside = at + 2 + 12 * (len(fields) + len(kept)) + 4
    for tag, (kind, count, data) in fields.items():
        field = data.ljust(4, b"\0")
        if len(data) > 4:
            field = struct.pack(order + "I", outside + len(values))
            values += data + b"\0" * (len(data) % 2)
        entries[tag] = struct.pack(order + "HHI", tag, kind, count) + field
    listed = b"".join(entries[tag] for tag in sorted(entries))
    return struct.pack(order + "H", len(entries)) + listed + bytes(4) + values
