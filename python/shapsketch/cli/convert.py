"""The command `convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import shapsketch as ss
from shapsketch._validate import optional
from shapsketch.cli.info import report_of
from shapsketch.cli.options import (
    SPACE,
    VERBOSE,
    Output,
    combine,
    output,
    print_json,
    refuse,
    space_named,
    stdout_to_stderr,
)

# Extensions of files that can run code when they are loaded.
PICKLES = (".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle")
LIGHTGBM, XGBOOST = (".txt", ".lgb"), (".json", ".ubj")


def _booster(path: Path) -> Any:
    """Return the booster of a file that holds data only.

    Raises
    ------
    FileError
        If it has another format, or cannot be read.
    """
    extension = path.suffix.lower()
    if extension in PICKLES:
        raise ss.FileError(
            f"{path}: a pickle can run any program when it is loaded; save the model as LightGBM text or "
            "XGBoost JSON, or convert it in Python with ss.from_trees"
        )
    if extension not in (*LIGHTGBM, *XGBOOST):
        raise ss.FileError(
            f"{path}: expected LightGBM text ({', '.join(LIGHTGBM)}) or an XGBoost model "
            f"({', '.join(XGBOOST)})"
        )
    if not path.is_file():
        raise ss.FileError(f"cannot read {path}: no such file")
    name = "lightgbm" if extension in LIGHTGBM else "xgboost"
    library = optional(name, "trees", "converting a model")
    try:
        # The libraries print what they cannot read.
        with stdout_to_stderr():
            return library.Booster(model_file=str(path))
    except Exception as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise ss.FileError(f"{path} is not a model of {name}: {first}") from error


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@output("The sketch, a safetensors file.")
@combine(*SPACE)
@click.option("--class", "label", type=click.IntRange(min=0), help="Output or class to convert, from 0.")
@click.option("--max-terms", type=click.IntRange(min=1), help="Largest number of terms of the sketch.")
@click.option(
    "--layout",
    type=click.Choice(["flat", "flat_channels_first"]),
    default="flat",
    help="Order of one-hot features.",
)
@click.option(
    "--zeros-missing/--zeros-present",
    default=None,
    help="For XGBoost: whether zeros of one-hot features are missing values, as in sparse matrices.",
)
@VERBOSE
def convert(
    model: Path,
    target: Output,
    alphabet: str | None,
    length: int | None,
    letters: str | None,
    start: int | None,
    label: int | None,
    **options: Any,
) -> None:
    """Convert a tree ensemble, LightGBM text or XGBoost JSON, to a sketch of the same function.

    The features must be the codes of the symbols, or one-hot. Pickles are refused: they can run code.
    """
    refuse(target.force, target.output, sources=(model,))
    space = space_named(alphabet, length, letters, start)
    given = {name: value for name, value in options.items() if value is not None}
    sketch = ss.from_trees(_booster(model), space, output=label, **given)
    sketch.save(target.output)
    if target.as_json:
        print_json(report_of(sketch, target.output))
        return
    click.echo(f"{sketch.summary()}\nwrote {target.output}")
