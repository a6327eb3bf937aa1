"""What other packages need to know of the network without importing it, and so without JAX."""

MIN_SIDE_PX = 16
"""The network takes pictures from this height and width on, and so does every fusion."""
