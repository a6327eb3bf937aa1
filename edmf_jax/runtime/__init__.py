"""The process a command runs in: speed settings, signals, and several processes of one training run.

Read in this order:

    process      glibc and compilation-cache settings that the commands apply; versions for the records
    devices      whether a GPU is used
    interrupt    SIGINT and SIGTERM as a flag that a loop polls
    distributed  joining, agreeing with and leaving the other processes of a run (`jax.distributed`)

Nothing here knows about images, models or data sets.
"""
