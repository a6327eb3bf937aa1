"""How a receding surface is drawn out of focus, for the studies of stacks."""
