"""Peeling: from observations on a design to a sparse spectrum."""

from __future__ import annotations

from shapsketch import _core
from shapsketch._validate import boolean, integer, number
from shapsketch.errors import InputError
from shapsketch.fitting.estimator import Estimator
from shapsketch.query.design import Observations
from shapsketch.surrogate.spectrum import Spectrum


class PeelingDecoder(Estimator):
    """Decode a sparse spectrum by peeling (q-SFT: Erginbas et al., arXiv 2301.06200, algorithm 1).

    Bins with a single coefficient (singletons) are decoded and subtracted from the bins of all groups, until
    no singleton is left. Beyond the paper, the noise level is estimated, conjugate pairs are peeled together,
    and coefficients near the noise are peeled only if the other groups confirm them.

    Parameters
    ----------
    noise : float, optional
        Standard deviation of the noise of one value, in the model's units; estimated by default.
    refit : bool
        Refit the coefficients by least squares on all bins, and drop those within the noise. False gives the
        algorithm of the paper.
    max_rounds : int
        Largest number of rounds of peeling.

    Attributes
    ----------
    spectrum_ : Spectrum
    status_ : {"converged", "stalled", "round limit"}
        "converged" if all bins are explained to within the noise; otherwise why the decoder stopped.
    unexplained_ : float
        Fraction (0 to 1) of the variance of the values that the spectrum does not explain, on the design.
    noise_ : float
        The last noise level that the tests of bins used, in the model's units.
    n_rounds_ : int
        Number of rounds of peeling.
    n_open_bins_ : int
        Number of bins, over all groups, whose remaining energy is above the noise.

    Examples
    --------
    >>> import shapsketch as ss
    >>> space = ss.SequenceSpace(ss.DNA, length=8)
    >>> design = ss.QueryDesign(space, b=3, delays="identity")
    >>> values = [(x[2] == 0) * 2.0 + (x[5] == 1) * (x[6] == 3) for x in design.queries()]
    >>> decoder = ss.PeelingDecoder().fit(ss.Observations(design, values))
    >>> decoder.status_, len(decoder.spectrum_)
    ('converged', 19)
    """

    spectrum_: Spectrum
    status_: str
    unexplained_: float
    noise_: float
    n_rounds_: int
    n_open_bins_: int

    def __init__(self, *, noise: float | None = None, refit: bool = True, max_rounds: int = 1000) -> None:
        self.noise = noise
        self.refit = refit
        self.max_rounds = max_rounds

    def fit(self, observations: Observations) -> PeelingDecoder:
        """Decode observations and return self.

        Raises
        ------
        InputError
            If frequencies cannot be read from the delays of the design, or a parameter is out of range.
        """
        if not isinstance(observations, Observations):
            raise InputError(f"expected Observations, got {type(observations).__name__}")
        peeling = _core.peel(
            observations.design._core,
            observations.values,
            noise=None if self.noise is None else number("noise", self.noise),
            refit=boolean("refit", self.refit),
            max_rounds=integer("max_rounds", self.max_rounds, least=1),
        )
        self.spectrum_ = Spectrum._wrap(peeling.spectrum, observations.design.space.start)
        self.status_ = peeling.status
        self.unexplained_ = peeling.unexplained
        self.noise_ = peeling.noise
        self.n_rounds_ = peeling.rounds
        self.n_open_bins_ = peeling.open_bins
        return self
