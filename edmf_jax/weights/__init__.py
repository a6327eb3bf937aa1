"""Trained parameters: weights folders, files that other authors publish, and export for other programs.

Read in this order:

    params         parameters as arrays: flat names, checksum, are they of a network
    store          weights folders: save, load, check; the weights that ship with the package
    orbax_params   parameters as an orbax checkpoint, one of the two formats of such a folder
    torch_file, matlab_file, tensorflow_checkpoint
                   files that other authors publish, read without PyTorch, MATLAB or TensorFlow; files: their errors
    mufusion       MUFusion's file as weights of this package
    chooser_params one file with the parameters of the network that chooses
    exporting/     the network with its parameters as one file: StableHLO, ONNX, TFLite
"""
