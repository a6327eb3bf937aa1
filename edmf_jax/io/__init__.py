"""Picture files: decoded to arrays, encoded, with their metadata; and writing any file whole or not at all.

Modules in reading order: `images` (read and write a picture), `photographs` (a photographer's shots: alpha, profiles,
duplicates), `heic_raw` (HEIC and camera RAW), `containers` (the structure of JPEG, PNG, WebP and TIFF files),
`metadata` (EXIF, color profile and resolution of a file), `exif` (EXIF blocks), `icc` (color profiles), `tiff` (TIFF
with metadata), `palette_png` (maps of source shots), `atomic` (replacing files), `outputs` (checks before a fusion).
"""
