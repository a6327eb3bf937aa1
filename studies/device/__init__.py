"""One prepared run for a machine with a GPU, no network and little time: docs/scaling.md, A prepared run.

In reading order:

    prepare     fills a folder here with all that the run needs there (`make device`)
    run         the command there: the parts below, one after the other, each with a time limit
    checks      correctness on the device, against stored references
    timings     kernels of a step, metrics and fusing
    step        the first step, step and network in several ways of writing: `candidates`, `kernels`, `tuning`
    compiled    that network compiled for a GPU that is not here
    paper       training until the time is up
    sweep       the loss's coefficients compared; scores: how a sweep's arm is scored
    keep        parameters, saved as training goes on
"""
