"""EDMF as published, in the order to read: source.py, check.py, locate.py, the builder."""
