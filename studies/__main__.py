"""The command `python -m studies`: lists the studies."""

import argparse
import ast
from pathlib import Path


def studies() -> dict[str, str]:
    """Name → first line of the docstring, of every module here that is a command."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        source = path.read_text(encoding="utf-8")
        if not path.name.startswith("__") and '__name__ == "__main__"' in source:
            found[path.stem] = ast.get_docstring(ast.parse(source)).splitlines()[0]
    return found


def main(argv: list[str] | None = None) -> None:
    """Prints the name and the first line of every study."""
    argparse.ArgumentParser(prog="python -m studies", description="Lists the studies; `python -m studies.NAME --help` "
                            "says how each is run.").parse_args(argv)
    for name, line in studies().items():
        print(f"{name}: {line}")


if __name__ == "__main__":
    main()
