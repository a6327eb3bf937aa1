"""Fusion methods by other authors, and classical ones, all with one interface (`edmf methods`, `edmf evaluate`).

In reading order:

- base: what every method offers; registry: all of them by name; imported: their weights, from the authors' files;
- edmf, mufusion, cnn, sesf, gacn, ifcnn, u2fusion, mffgan: networks; zmff: one that is trained on each pair;
- samf, average, max_sf, max_sf_pixelwise, laplacian_pyramid, guided_filter, exposure_fusion: without learning;
- openfocus: runs that program;
- what they share, in NumPy: levels, planes, luma_fusion; in JAX: layers, pieces, squeeze_encoder, skip_network,
  domain_transform, memory.
"""
