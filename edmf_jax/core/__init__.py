"""The paper's method as pure functions of arrays: no files, no codecs, no devices, nothing of the rest of the package.

In reading order:

- color, filters, ssim: YCbCr, gray levels and the sRGB curve; windows and derivatives; structural similarity;
- focus, targets: which source is sharp where, and what the loss compares the output with;
- model, losses, memory, snapshots: the network (Fig. 5b), Eqs. 1 to 13, and Algorithm 1 in two forms;
- evidence_numbers, hand_made, chooser, chooser_layers: a logit from sharpness, and the network that corrects it to
  choose among leveled shots;
- piecewise, leveled, measuring, blending, chooser_pieces, reblurring: the blend of `edmf fuse` on a GPU, in pieces;
- valid_size, buckets, padded: pictures of hundreds of sizes in a few padded shapes, so that few programs are compiled;
- exposures: the benchmark's exposure conditions; limits, differences: what is needed where no JAX is imported.
"""
