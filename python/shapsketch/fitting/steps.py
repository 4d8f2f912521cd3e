"""The steps of a fit: shown with the time, and logged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

# Reports the next step of a fit.
Log = Callable[[str], None]


@contextmanager
def steps(progress: bool) -> Iterator[Log]:
    """Show the current step and the time since the start; yield the function that reports a step."""
    from tqdm.auto import tqdm

    with tqdm(disable=not progress, bar_format="{desc} [{elapsed}]") as bar:

        def log(step: str) -> None:
            logger.info("%s", step)
            bar.set_description_str(step)

        yield log
