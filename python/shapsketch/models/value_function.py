"""Value functions of boolean masks of features, as models of sequences over "01"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shapsketch._validate import listed, shown
from shapsketch.errors import ModelError, ShapsketchError
from shapsketch.models._base import Numbers


@dataclass(frozen=True)
class ValueFunction:
    """A value function, which takes masks (B, n), with its output checked.

    Attributes
    ----------
    model : callable
        Takes a boolean array (B, n), True for features that are kept, and returns B finite numbers.
    names : tuple of str
        Names of the n features, for messages.
    """

    model: Any
    names: Sequence[str]
    inputs: Literal["codes"] = "codes"
    outputs: None = None

    def __call__(self, batch: npt.NDArray[np.uint8]) -> Numbers:
        """Return the values (B,) of codes (B, n).

        Raises
        ------
        ModelError
            If the function fails, or does not return one finite real number for each mask.
        """
        masks = batch.astype(bool)
        try:
            output = self.model(masks.copy())
        except ShapsketchError:
            raise
        except Exception as error:
            raise ModelError(
                f"the value function raised {type(error).__name__}: {error}; it received a boolean array of "
                f"shape {masks.shape}, one row for each mask"
            ) from error
        try:
            values = np.asarray(output)
        except Exception as error:
            raise ModelError(f"the value function returned what is not an array: {error}") from error
        if values.shape != (len(masks),):
            got = f"shape {values.shape}" if values.ndim else shown(output)
            raise ModelError(
                f"the value function must return one number for each mask, shape ({len(masks)},), got {got}"
            )
        if values.dtype.kind not in "fiub":
            raise ModelError(
                f"the value function must return real numbers, got an array of dtype {values.dtype}"
            )
        values = values.astype(np.float64)
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            raise ModelError(
                f"the value function returned {values[wrong[0]]} for {self.describe(masks[wrong[0]])} "
                f"({len(wrong)} of {len(masks)} values of this batch are not finite); "
                "every mask needs a finite value",
                index=int(wrong[0]),
            )
        return values

    def describe(self, mask: npt.NDArray[np.bool_]) -> str:
        """Return a mask (n,) in words."""
        kept = np.flatnonzero(mask)
        if len(kept) in (0, len(mask)):
            return f"the mask that {'keeps' if len(kept) else 'removes'} all {len(mask)} features"
        names = listed(self.names[i] for i in kept.tolist())
        return f"the mask that keeps {len(kept)} of {len(mask)} features: {names}"
