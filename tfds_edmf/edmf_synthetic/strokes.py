"""Letters made of strokes, so that print needs no font file and looks the same everywhere.

OpenCV's own fonts changed between its versions 4 and 5. Here a letter is a list of polylines on a
grid 4 wide and 6 high, written as pairs of digits x, y.
"""

import cv2
import numpy as np

LETTERS = {
    "A": "062046 1434",
    "B": "003041423303 3344453606 0006",
    "C": "4130100105163645",
    "D": "00304145360600",
    "E": "40000646 0333",
    "F": "400006 0333",
    "G": "41301001051636454323",
    "H": "0006 4046 0343",
    "I": "2026",
    "K": "0006 400346",
    "L": "000646",
    "M": "0600244046",
    "N": "06004640",
    "O": "103041453616050110",
    "P": "06003041423303",
    "R": "06003041423303 2346",
    "S": "413010010213334445361605",
    "T": "0040 2026",
    "U": "000516364540",
    "V": "002640",
    "W": "0016233640",
    "X": "0046 4006",
    "Y": "002340 2326",
    "Z": "00400646",
    "2": "01103041420646",
    "7": "004016",
}
SUPERSAMPLE = 4  # letters are drawn this many times larger, then averaged
ADVANCE = 5.6  # distance from one letter to the next, in grid units


def draw(canvas: np.ndarray, letter: str, left: float, top: float, unit: float, pen: float):
    """Draws a letter with value 255 on a uint8 canvas; `unit` is the grid step and `pen` the stroke width, px."""
    for stroke in LETTERS[letter].split():
        digits = np.array([int(digit) for digit in stroke], np.float64).reshape(-1, 2)
        points = np.int32(np.rint(digits * unit + (left, top)))
        cv2.polylines(canvas, [points], False, 255, max(1, round(pen)))


def word_mask(word: str, height: int, bold: float = 1.2) -> np.ndarray:
    """Coverage of a word `height` px high, float32 [height, width] in [0, 1].

    `bold` is the stroke width in grid units.
    """
    unit = SUPERSAMPLE * height / (6 + bold + 0.5)
    width = int(np.ceil((ADVANCE * len(word) - 1.6 + bold + 0.5) * unit / SUPERSAMPLE))
    canvas = np.zeros((SUPERSAMPLE * height, SUPERSAMPLE * width), np.uint8)
    for index, letter in enumerate(word):
        offset = (bold + 0.5) / 2
        draw(canvas, letter, (offset + ADVANCE * index) * unit, offset * unit, unit, bold * unit)
    canvas = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return np.float32(canvas) / 255


def random_word(rng: np.random.Generator, length: int) -> str:
    """Random letters; a focus measure sees no difference from a real word."""
    return "".join(rng.choice(list(LETTERS), length))


def text_block(rng: np.random.Generator, height: int, width: int, text_px: float) -> np.ndarray:
    """Coverage of a page of text, float32 [height, width] in [0, 1].

    A headline, then lines of words of uneven length, with further headlines now and then. `text_px`
    is the height of a letter of the text.
    """
    canvas = np.zeros((SUPERSAMPLE * height, SUPERSAMPLE * width), np.uint8)
    top = text_px
    headline = True
    while top < height:
        size = text_px * (rng.uniform(2.2, 3.5) if headline else 1)
        unit = size / 6
        left = 0.6 * text_px
        end = width - text_px * rng.uniform(0, 4)
        while left < end:
            for letter in random_word(rng, int(rng.integers(2, 9))):
                place = (SUPERSAMPLE * left, SUPERSAMPLE * top, SUPERSAMPLE * unit)
                draw(canvas, letter, *place, SUPERSAMPLE * unit * rng.choice([0.9, 1.1]))
                left += ADVANCE * unit
                if left > end:
                    break
            left += 3 * unit
        top += 1.6 * size + text_px * 0.2
        headline = rng.random() < 0.12
    return np.float32(cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)) / 255
