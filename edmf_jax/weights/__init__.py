"""Trained parameters: weights folders, MUFusion's published file, and export for other programs.

Read in this order:

    store          weights folders: save, load, check; the weights that ship with the package
    orbax_params   parameters as an orbax checkpoint, one of the two formats of such a folder
    mufusion       the weights that MUFusion's authors publish, read without PyTorch
    exporting/     the network with its parameters as one file: StableHLO, ONNX, TFLite
"""
