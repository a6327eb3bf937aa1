"""Reads prepared TFDS data sets (the only package that imports TensorFlow Datasets or `tfds_edmf`) and packs of them.

Read in this order:

    tfds_reader     opening (and building) a data set, reading the stored rows of a split, decoding their files
    pack            a split of pairs in one file, which is read without TensorFlow
    training_pairs  a split for training: luma planes in host memory, shared out among several processes
    pairs           a split for evaluation: scenes of two sources and a ground truth, decoded one by one
"""
