"""The command `edmf`: each module parses one command's options, calls one library function and prints its result.

    main            the parser, the exit codes and the one-line errors
    options         options and helpers that several commands share
    fuse, align     photographs to one fused or registered picture
    data, train, export, import_weights   data sets, training, and weights
    evaluate, metrics, report, experiment scores, their report, and the paper's ablations
    demo            all of it in a few minutes

Heavy imports (jax, TFDS) stay inside the functions that run a command, so `edmf --help` answers at once.
"""
