"""Picture files: decoded to arrays, encoded, with their metadata; and writing any file whole or not at all.

Modules in reading order: `images` (read and write a picture), `photographs` (a photographer's shots: pages, alpha,
profiles, duplicates), `shot_list` (what the user named → the shots), `capture_time`, `decoding` (pixels, strictly),
`jpeg`, `png`, `tiff_reader` (what is particular to these formats), `heic_raw` (HEIC and camera RAW), `orientation`
(which way up), `containers` (the structure of JPEG, PNG and WebP files), `metadata` (EXIF, color profile and resolution
of a file), `exif` (EXIF blocks), `icc` (color profiles), `tiff` (writing TIFF with metadata), `palette_png` (maps of
source shots), `atomic` (replacing files), `json_text`, `outputs` (checks before a fusion).
"""
