"""Data sets of the user's own copy of published folders, one builder class for all.

In the order to read: patterns.py (one file name), layout.py (which files make a set),
source.py (folder or ZIP archive), pictures.py (what is kept of a file), check.py (is the copy
whole?), builder.py.
"""
