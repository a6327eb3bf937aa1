"""Photographs of one scene, focused at different depths → one picture that is sharp at all of them.

In reading order:

- fuse: the entry points `fuse` (arrays or paths) and `fuse_files`, with both presets; settings: their options;
- stack/: preset "photo": registration, exposure, borders, blending of any number of shots;
- published: preset "paper"; tiling: the network on pictures of any size in bounded memory; pieces: how these are cut;
- engine: what computes the network, JAX or ONNX Runtime;
- pixels: which arrays are accepted, and their conversion to [0, 1] and back;
- shot_files: the shots that a user names; alignment_file: where they lie, from one run to another;
- align, slabs, batch: registering without fusing, a stack in parts, and many fusions in one run;
- retouching: what is written and read for those who go on by hand; depth: the depth map; layers: shots and masks;
- record: what a report is made from.
"""
