"""Sequences of jobs that join training, fusion, evaluation and reports; each is one command.

In reading order:

- demo: data set, training, fusion and scores in a few minutes (`edmf demo`);
- experiment: trainings that differ in a few settings, on equal budgets, in one table (`edmf experiment`).
"""
