"""A regression of all values, as one of the methods that are compared."""

from __future__ import annotations

from dataclasses import dataclass

from shapsketch import _core
from shapsketch.fitting.boosting import REFIT_GAIN
from shapsketch.fitting.holdout import Labelled, predictions_after_truncation
from shapsketch.fitting.options import FitOptions


@dataclass(frozen=True)
class Regressed:
    """A regression of all values, and the seconds it took."""

    core: _core.Sketch
    seconds: float

    @property
    def r2(self) -> float:
        """Cross-validated R²."""
        assert self.core.info is not None
        return self.core.info.r2.value


def shortened(regressed: Regressed, data: Labelled, options: FitOptions) -> _core.Sketch:
    """Return a regression with fewer terms; its R² is measured after truncation."""
    held_out = regressed.core.held_out
    assert held_out is not None
    short = _core.combine([regressed.core], [1.0], constant=0.0, dropped=0.0, max_terms=options.max_terms)
    fit = _core.Fit(
        codes=data.codes,
        values=held_out.values,
        predictions=predictions_after_truncation(held_out.predictions, regressed.core, short, data.codes),
        method="regress",
        outcome="cross-validated",
        budget=data.n_sequences,
        n_queries=data.n_sequences,
        seed=options.seed,
        weights=data.weights,
        refit_gain=REFIT_GAIN,
        all_terms=(len(regressed.core), regressed.r2),
    )
    return _core.Sketch.from_fit(short, fit)
