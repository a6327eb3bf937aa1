"""Fuses and scores a data set by several methods, and compares them (`edmf evaluate`).

In reading order:

- evaluate: the whole of it, `evaluate(dataset, methods, workdir)`; benchmark: the same under several exposures
  (benchmark_pairs: of which pairs);
- jobs: every pair decoded, fused, stored and scored, all at the same time;
- methods: what can be compared (the methods of `edmf_jax.methods`, weights, folders of pictures);
  pictures: the files of such a folder, by pair;
- scoring: how a fused picture is stored, and its metrics;
- store: the work folder, from which a stopped evaluation continues; rows: all of it as one CSV file;
  provenance: which versions made which rows;
- statistics, summary, tables: intervals and tests, what they say about the methods, and Markdown and LaTeX tables.
"""
