"""Shots of scenes that never were, for training `core.chooser`: optics, camera and registration, in jax.numpy.

Everything is a pure function of a key, batched over B samples of N shots, and runs inside the training step.  In
reading order:

- ranges, draws: what is drawn from which range; random numbers in a range;
- atlas, masks, scenes: sharp pictures, shapes of layers, and scenes of layers at several depths;
- kernels, lens: blur from half a pixel to 60 px, and shots through a lens or through a mask;
- camera, registration, coverage: what cameras, alignment and the ends of pictures do to shots;
- batch: all of it in order, and what a network is to learn from it.
"""
