"""The command `edmf methods`: every fusion method that `edmf evaluate --method` knows."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edmf_jax.methods.base import MethodInfo
    from edmf_jax.methods.registry import Elsewhere


def add_command(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command to the parser; `command` is described in `main.make_parser`."""
    command("methods", _methods, "list the fusion methods: papers, weights and licenses, what is imported and verified")


def _methods(args: argparse.Namespace) -> None:
    from edmf_jax.methods.imported import weights_folder
    from edmf_jax.methods.registry import ELSEWHERE, MODULES, info_of
    from edmf_jax.runtime.devices import use_cpu_only

    use_cpu_only()
    for name in MODULES:
        print(_entry(info_of(name)), end="\n\n")
    print("Run by other programs:\n")
    for other in ELSEWHERE:
        print(_block(other.name, f"{other.title}{_paper(other)}",
                     f"license: {other.license}; get it: {other.source}", other.reason), end="\n\n")
    print(f"Imported weights are in {weights_folder()} (environment variable EDMF_METHODS_DIR).")


def _entry(info: "MethodInfo") -> str:
    """What is known of a method that this package runs."""
    lines = [f"{info.title}{_paper(info)}", f"weights: {_weights(info)}", f"verified: {info.verified}"]
    if not info.in_all:
        lines.append("takes minutes a picture, so `--method all` leaves it out")
    return _block(info.name, *lines)


def _paper(info: "MethodInfo | Elsewhere") -> str:
    """": authors, year, address", or "" if there is no paper."""
    paper = f": {info.paper}, {info.year}" if info.paper else ""
    return f"{paper}, https://doi.org/{info.doi}" if info.doi else paper


def _block(name: str, *lines: str) -> str:
    """A name and indented lines of at most 100 characters below it."""
    import textwrap

    return "\n".join([name, *(textwrap.fill(line, 100, initial_indent="    ", subsequent_indent="      ",
                                            break_on_hyphens=False, break_long_words=False) for line in lines)])


def _weights(info: "MethodInfo") -> str:
    """Whether the method needs weights, has them, and where to get them."""
    from edmf_jax.methods.imported import imported_record

    if not info.tensors:
        return f"ship with this package ({info.license})" if info.license else "needs none"
    record = imported_record(info.name)
    if record:
        return f"imported from {', '.join(record['files'])} ({record['license']})"
    return f"not imported; license: {info.license}; get {info.source}, then `edmf import {info.name} FILE`"
