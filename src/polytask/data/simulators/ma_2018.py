"""Two regression tasks of known relatedness: the synthetic data of Ma et al. (KDD 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from polytask.errors import Problem, raise_errors
from polytask.options import in_range

Array = npt.NDArray[np.float32]

TASKS: Final = 2


def normal_shape(sines: int, seed: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Frequencies and phases, all ``N(0, 1)``, as Tang et al. (RecSys 2020) and keras-mmoe draw them.

    Example:
        >>> alpha, beta = normal_shape(10, seed=0)
        >>> len(alpha), len(beta), alpha == beta
        (10, 10, False)
    """
    # a stream of its own: the same seed may serve the rows
    alpha, beta = np.random.default_rng([seed, 1]).standard_normal((2, sines)).tolist()
    return tuple(alpha), tuple(beta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ma2018:
    """Two tasks whose weight vectors have the cosine ``p``; the paper calls ``p`` the task correlation.

    With orthonormal ``u1, u2``, ``w1 = c u1`` and ``w2 = c (p u1 + sqrt(1 - p^2) u2)``, and ``x ~ N(0, I_d)``,

        y_k = w_k' x + sum_i sin(alpha_i w_k' x + beta_i) + e_k,   e_k ~ N(0, 0.01)

    with the same ``alpha`` and ``beta`` for both tasks; 0.01 is a variance. The correlation of the labels is another
    number than ``p``: see `label_correlation`.

    Paper: Ma et al., KDD 2018, section 3.2, https://doi.org/10.1145/3219819.3220007

    The paper publishes neither ``c`` nor ``m``, ``alpha``, ``beta``. Others chose: ``c = 1, m = 10``, both ``N(0, 1)``
    (Tang et al., RecSys 2020, https://doi.org/10.1145/3383313.3412236); ``c = 1, m = 10, alpha_i = i, beta_i =
    (i - 1)^2`` with noise of standard deviation 0.01, a tenth of the paper's (the multi-pair generator in
    google-research); ``c = 0.3, m = 5``, both ``N(0, 1)`` (drawbridge/keras-mmoe).

    Args:
        correlation: The cosine ``p`` of the weight vectors.
        alpha: Frequencies of the sines.
        beta: Their phases, as many.
        features: Width of the input, d.
        scale: Length ``c`` of the weight vectors.
        noise_variance: Of the labels' noise.

    Raises:
        UserError: A number is out of range, or ``alpha`` and ``beta`` differ in length.

    Example:
        >>> x, y = Ma2018(correlation=0.5, alpha=(1.0, 2.0), beta=(0.0, 1.0)).sample(1000, seed=7)
        >>> x.shape, y.shape
        ((1000, 100), (2, 1000))
    """

    correlation: float
    alpha: tuple[float, ...]
    beta: tuple[float, ...]
    features: int = 100
    scale: float = 1.0
    noise_variance: float = 0.01

    def __post_init__(self) -> None:
        raise_errors(self._problems())

    def weights(self, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """Draws ``w1`` and ``w2``: ``[2, d]``; the same ``u1, u2`` for every ``p``."""
        basis, upper = np.linalg.qr(rng.standard_normal((self.features, TASKS)))
        u = (basis * np.sign(np.diag(upper))).T  # without the signs the directions would not be uniform
        p = self.correlation
        return np.array([u[0], p * u[0] + np.sqrt(1.0 - p * p) * u[1]]) * self.scale

    def sample(self, rows: int, seed: int) -> tuple[Array, Array]:
        """One data set with weight vectors of its own; all ``p`` see the same draws under one seed.

        Args:
            rows: How many rows, B.
            seed: Every number follows from it.

        Returns:
            The input ``[B, d]`` and the labels ``[2, B]``.
        """
        rng = np.random.default_rng(seed)
        weights = self.weights(rng)
        x = rng.standard_normal((rows, self.features), dtype=np.float32)
        noise = rng.standard_normal((TASKS, rows)) * np.sqrt(self.noise_variance)
        labels = self.clean(weights.astype(np.float32) @ x.T) + noise
        return x, labels.astype(np.float32)

    def clean(self, t: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """The labels without noise as a function of ``t = w_k' x``: ``t + sum_i sin(alpha_i t + beta_i)``."""
        y = np.array(t, dtype=np.float64)
        total = y.copy()
        for alpha, beta in zip(self.alpha, self.beta, strict=True):
            total += np.sin(alpha * y + beta)
        return total

    def label_correlation(self, rows: int, seed: int) -> float:
        """Pearson's correlation of the two labels over ``rows`` rows of a fresh data set (figure 2 of the paper)."""
        _, y = self.sample(rows, seed)
        first, second = y.astype(np.float64)
        return float(np.corrcoef(first, second).item(1))

    def _problems(self) -> Iterator[Problem]:
        yield from in_range(self.correlation, least=-1, most=1, where="correlation")
        yield from in_range(self.features, least=TASKS, where="features")
        yield from in_range(self.scale, above=0, where="scale")
        yield from in_range(self.noise_variance, least=0, where="noise_variance")
        if len(self.alpha) != len(self.beta):
            what = f"{len(self.alpha)} frequencies and {len(self.beta)} phases"
            yield Problem("alpha, beta", what, "give one phase per frequency")
