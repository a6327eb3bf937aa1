"""The maps that openfocus's aligners find, as JSON; run by the Python that openfocus is installed for.

    OPENFOCUS_PYTHON studies/openfocus_maps.py METHOD OUT.json SHOT SHOT…

openfocus (PyPI, 1.72.0) returns warped and cropped pictures, no maps.  So the two OpenCV functions that it warps with
are watched: their matrices are the maps.  Without a window, and without its torch, which only the fusion needs.
"""

import argparse
import json
from pathlib import Path


def find_maps(method: str, paths: list[str]) -> dict:
    """The result in the form of `edmf align --save-alignment`; openfocus never leaves a shot out."""
    import cv2
    import numpy as np
    from core import registration  # openfocus's top-level package

    images = [cv2.imread(path) for path in paths]
    names, maps = {id(image): Path(path).name for image, path in zip(images, paths)}, {}

    def watched(warp):
        def call(image, matrix, *args, **kwargs):
            if id(image) in names:
                maps[names[id(image)]] = np.vstack([matrix, [0, 0, 1]])[:3].astype(float)
            return warp(image, matrix, *args, **kwargs)
        return call

    own = cv2.warpPerspective, cv2.warpAffine
    cv2.warpPerspective, cv2.warpAffine = map(watched, own)
    try:
        registration.ImageRegistration(method=method).process(images)
    finally:
        cv2.warpPerspective, cv2.warpAffine = own
    first = Path(paths[0]).name
    # Its matrices map a shot to the cropped frame, which is the first shot's where that one isn't warped itself.
    to_frame = maps.get(first, np.eye(3))
    matrices = {name: np.linalg.inv(matrix) @ to_frame for name, matrix in maps.items()} | {first: np.eye(3)}
    shots = [{"name": name, "width": image.shape[1], "height": image.shape[0], "flow": None,
              "matrix": (matrices[name] / matrices[name][2, 2]).tolist()}
             for name, image in zip((Path(path).name for path in paths), images) if name in matrices]
    left_out = [{"name": Path(path).name, "reason": "not warped"} for path in paths if Path(path).name not in matrices]
    return {"reference": first, "shots": shots, "left_out": left_out}


def main(argv: list[str] | None = None) -> None:
    """Writes the maps."""
    parser = argparse.ArgumentParser(prog="python -m studies.openfocus_maps", description=__doc__.splitlines()[0])
    parser.add_argument("method", choices=["homography", "ecc", "openfocus"], help="openfocus's --align")
    parser.add_argument("out", type=Path, help="the JSON file to write")
    parser.add_argument("shots", nargs="+", help="two or more pictures of one size")
    given = parser.parse_args(argv)
    given.out.write_text(json.dumps(find_maps(given.method, given.shots)))


if __name__ == "__main__":
    main()
