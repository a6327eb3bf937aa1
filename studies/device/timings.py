"""Times on this machine's device: training beside PyTorch, the kernels of a step, metrics and fusing.

    python -m studies.device.timings GROUP … -o OUT [--shape 48 256] [--repeats 3]

`training`, `metrics` and `fusing` are rows of the benchmark (`make bench`), here at one shape and few repeats; they go
to OUT/times-GROUP.json and .md.  `kernels` traces some steps and adds up the times of their kernels, in
OUT/times-kernels.md.
"""

import argparse
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import jax

from benchmarks import fusing, metrics, process, table, training
from benchmarks.inputs import Shape, make_inputs
from benchmarks.jax_training import JaxTraining
from edmf_jax.io.atomic import replace_file
from studies.device.measuring import traced_events

GROUPS = ("training", "kernels", "metrics", "fusing")
_TRACED_CALLS, _ROWS = 2, 30
_NUMBER = re.compile(r"[._]\d+$")


def kernel_times(events: Iterable[dict]) -> dict[str, tuple[int, float]]:
    """Kernel's name without its number → how often it ran, and its seconds, by a trace in Chrome's format.

    A GPU's kernels are in the threads "Stream …" of its process; XLA's operations on a CPU carry `hlo_op`.
    """
    events = list(events)
    names = {kind: {} for kind in ("process_name", "thread_name")}
    for event in events:
        if event.get("ph") == "M" and event.get("name") in names:
            key = event["pid"] if event["name"] == "process_name" else (event["pid"], event.get("tid"))
            names[event["name"]][key] = event["args"]["name"]
    found = defaultdict(lambda: (0, 0.0))
    for event in events:
        if event.get("ph") != "X":
            continue
        thread = names["thread_name"].get((event["pid"], event.get("tid")), "")
        on_device = "/device:" in names["process_name"].get(event["pid"], "")
        if thread.startswith("Stream") if on_device else "hlo_op" in event.get("args", {}):
            name = _NUMBER.sub("", event["name"])
            count, seconds = found[name]
            found[name] = count + 1, seconds + event["dur"] * 1e-6
    return dict(found)


def kernel_table(times: dict[str, tuple[int, float]], steps: int) -> str:
    """The kernels of a step as Markdown, longest first."""
    total = sum(seconds for _, seconds in times.values()) or float("nan")
    lines = [f"{sum(n for n, _ in times.values()) / steps:.0f} kernels and {1e3 * total / steps:.2f} ms a step "
             f"({steps} steps traced)", "", "| kernel | times a step | ms a step | share |",
             "| --- | ---: | ---: | ---: |"]
    for name, (count, seconds) in sorted(times.items(), key=lambda item: -item[1][1])[:_ROWS]:
        lines.append(f"| {name[:100].replace('|', '/')} | {count / steps:.1f} | {1e3 * seconds / steps:.3f} | "
                     f"{100 * seconds / total:.1f} % |")
    return "\n".join(lines) + "\n"


def trace_step(shape: Shape) -> str:
    """`kernel_table` of training steps at a shape, in float32."""
    jax_training = JaxTraining(make_inputs(shape))
    jax_training.steps.run()
    jax_training.steps.run()
    events = traced_events(jax_training.steps.run, _TRACED_CALLS)
    return kernel_table(kernel_times(events), _TRACED_CALLS * jax_training.step_config.steps_per_call)


def rows(group: str, shape: Shape, repeats: int) -> list[table.Row]:
    """The benchmark's rows of one group."""
    if group == "training":
        return training.rows(repeats, shapes=(shape,))
    if group == "metrics":
        return table.from_dicts(metrics.rows(repeats))
    sizes = fusing.QUICK[:1] if jax.default_backend() == "cpu" else fusing.QUICK
    return fusing.rows(repeats, sizes={megapixels: fusing.SIZES[megapixels] for megapixels in sizes})


def main(argv: list[str] | None = None) -> None:
    """Measures the groups one after the other; each one's file is written when it is done."""
    parser = argparse.ArgumentParser(prog="python -m studies.device.timings", description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="+", choices=GROUPS, metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder of the results")
    parser.add_argument("--shape", type=int, nargs=2, default=(48, 256), metavar=("B", "P"),
                        help="patches a step and their side (default: 48 256)")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="of each measurement (default: 3)")
    args = parser.parse_args(argv)
    process.prepare()
    args.output.mkdir(parents=True, exist_ok=True)
    for group in args.groups:
        if group == "kernels":
            text = trace_step(Shape(*args.shape))
        else:
            found = rows(group, Shape(*args.shape), args.repeats)
            table.write_json(args.output / f"times-{group}.json", found, process.environment())
            text = table.markdown(found, process.environment()) + "\n"
        replace_file(args.output / f"times-{group}.md", text.encode())
        print(f"{group}\n\n{text}", flush=True)


if __name__ == "__main__":
    main()
