"""`python -m benchmarks` (or `make bench`): how fast this is here, beside the same in PyTorch; one table, one JSON."""
