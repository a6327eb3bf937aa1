"""Helpers to run an evaluation in a test: a command as `main` runs it, and metrics that compile in half the time."""

import argparse

import jax
import pytest

from edmf_jax.cli import evaluate, metrics
from edmf_jax.metrics import table


def quiet(_):
    pass


def command(*words):
    """Runs `edmf metrics …` or `edmf evaluate …` as `main` does."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()

    def add(name, run, help, **options):
        sub = commands.add_parser(name, help=help, description=help, **options)
        sub.set_defaults(run=run)
        return sub

    metrics.add_command(add)
    evaluate.add_command(add)
    args = parser.parse_args([str(word) for word in words])
    args.run(args)


@pytest.fixture(scope="module", autouse=True)
def compile_lightly():
    """Compiles the metrics without optimization, in half the time, for tests that do not check their last digits."""
    with pytest.MonkeyPatch.context() as patch:
        options = {"xla_backend_optimization_level": 0}
        plain = table.evaluate_padded.__wrapped__
        patch.setattr(table, "evaluate_padded", jax.jit(plain, static_argnames="metrics", compiler_options=options))
        yield
