"""Measurements of speed and memory: `python -m benchmarks`, or `make bench`.

Prints one table and writes one JSON.  In reading order: __main__ (the command), table (its rows), timing (interleaved
repeats), process and peaks (the machine); then a module for each group of rows: training (our training step and
PyTorch's, each in a `worker` process, on the same `inputs`; `jax_training` and `torch_training` are the two steps),
kinds (of memory), bank, epoch, fusing, metrics, startup, saving.  large is a command of its own: `edmf fuse` on large
pictures.
"""
