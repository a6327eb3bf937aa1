"""The command: `python -m benchmarks [--quick] [--json FILE] [--only NAME …] [--repeats N]`."""

import argparse
import importlib
import importlib.util
import sys
import time
import traceback
from pathlib import Path

from benchmarks import process, table

GROUPS = ("training", "kinds", "forward", "fusing", "bank", "metrics", "startup", "saving", "epoch")
REPEATS, QUICK_REPEATS = 10, 3


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats and sizes")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=GROUPS, metavar="NAME",
                        help=f"only these groups of rows: {', '.join(GROUPS)}")
    parser.add_argument("--repeats", type=int, metavar="N", help=f"default {REPEATS}, with --quick {QUICK_REPEATS}")
    parser.add_argument("--json", type=Path, default=Path("work/bench.json"), metavar="FILE",
                        help="where the numbers go (default: %(default)s)")
    return parser


def group_rows(name: str, repeats: int, quick: bool) -> list[table.Row]:
    """The rows of one group; if its module is missing, a row that says so."""
    if importlib.util.find_spec(f"benchmarks.{name}") is None:
        return [table.left_out(name, "", f"there is no benchmarks/{name}.py")]
    module = importlib.import_module(f"benchmarks.{name}")
    if name == "metrics":
        return table.from_dicts(module.rows(repeats))
    return module.rows(repeats, quick=quick)


def main(argv: list[str] | None = None) -> int:
    """Measures, prints the table and writes the JSON; returns 1 if a group failed or was stopped, else 0."""
    args = make_parser().parse_args(argv)
    repeats = args.repeats or (QUICK_REPEATS if args.quick else REPEATS)
    process.prepare()
    environment = process.environment()
    rows, failed, began = [], False, time.perf_counter()
    for name in args.only:
        print(f"{name} … ({time.perf_counter() - began:.0f} s)", file=sys.stderr, flush=True)
        try:
            rows += group_rows(name, repeats, args.quick)
        except Exception as error:  # one group's failure must not lose the rows of the others
            traceback.print_exc()
            rows.append(table.left_out(name, "", f"failed: {type(error).__name__}: {error}"))
            failed = True
        except KeyboardInterrupt:
            rows += [table.left_out(name, "", "stopped by Ctrl-C") for name in args.only[args.only.index(name):]]
            failed = True
            break
        finally:
            table.write_json(args.json, rows, environment)  # the machine may be lost before the last group
    environment["load average at the end"] = process.load_average()
    environment["took"] = f"{time.perf_counter() - began:.0f} s"
    print(table.markdown(rows, environment))
    table.write_json(args.json, rows, environment)
    print(f"{args.json}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
