"""`smolchat bench`: how fast a checkpoint is here, as a table, as JSON, as a plot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smolchat.assembly import locate, new_renderer
from smolchat.errors import UsageError
from smolchat.options import complete_model

if TYPE_CHECKING:
    from smolchat.bench import Row

QUANTIZATIONS = ("none", "int8", "int4")

HEADINGS = ("weights", "prompt", "new", "prefill tok/s", "decode tok/s", "of bandwidth")
TIMES = ("first token, new process", "loaded")


def bench(
    model: Annotated[
        str | None,
        typer.Option(
            "-m", "--model", metavar="NAME", autocompletion=complete_model, help="Checkpoint."
        ),
    ] = None,
    quantize: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="none, int8, int4; several with commas. Default: all."),
    ] = None,
    prompt_tokens: Annotated[
        list[int] | None,
        typer.Option(metavar="N", min=1, help="Length of the prompt; may be repeated."),
    ] = None,
    new_tokens: Annotated[int, typer.Option(metavar="N", min=2, help="Length of the reply.")] = 64,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Rounds; the median counts.")] = 5,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="CPU threads. Default: all cores.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw decode speed over context length, as SVG."),
    ] = None,
) -> None:
    """Measure how fast a checkpoint is on this machine."""
    from smolchat.bench import Bench
    from smolchat.chart import line_chart
    from smolchat.settings import resolve

    wanted = _wanted(quantize)
    settings = resolve({} if model is None else {"model": model})
    renderer = new_renderer(settings)
    located = locate(settings["model"], renderer)
    measured = Bench(located.folder, new_tokens, rounds, "cpu", threads)
    rows: list[Row] = []
    lines = {}
    if not as_json:
        print("  ".join([*HEADINGS, *TIMES]))
    for name in wanted:
        with renderer.waiting(f"measuring {name}"):
            loaded = measured.open(name)
            for row in measured.rows(loaded, name, prompt_tokens or [256]):
                rows.append(row)
                if not as_json:
                    print(_line(row), flush=True)
            if plot is not None:
                lines[name] = measured.curve(loaded)
        del loaded
    if as_json:
        print(json.dumps([row.as_json() for row in rows], indent=2))
    if plot is not None:
        title = f"{located.name}: decoding"
        plot.write_text(
            line_chart(lines, title, "tokens of context", "tokens per second"), encoding="utf-8"
        )


def _wanted(names: list[str] | None) -> list[str]:
    given = [name for several in names or QUANTIZATIONS for name in several.split(",")]
    wanted = ["int8" if name == "auto" else name for name in given]  # auto on a CPU, measured here
    for name in wanted:
        if name not in QUANTIZATIONS:
            raise UsageError(f"--quantize {name}: not known here", "Use none, int8 or int4.")
    return list(dict.fromkeys(wanted))


def _line(row: Row) -> str:
    cells = (
        row.quantize,
        str(row.prompt_tokens),
        str(row.new_tokens),
        f"{row.prefill_tokens_per_second:.0f}",
        f"{row.decode_tokens_per_second:.1f}",
        f"{row.bandwidth_share:.2f}",
        f"{row.first_token_seconds:.2f} s",
        f"{row.warm_seconds:.3f} s",
    )
    return "  ".join(
        cell.rjust(len(heading)) for cell, heading in zip(cells, (*HEADINGS, *TIMES), strict=True)
    )
