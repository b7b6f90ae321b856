"""The mean that a table prints, as a weighted mean over images: every benchmark is a stratum.

Shapes: n images, K seeds, B benchmarks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import UserError

FEW = 10  # images; of a benchmark with more, the added images count less, as FEW / images


@dataclass(frozen=True)
class Strata:
    """Images grouped by benchmark, with the weight of each benchmark in the mean.

    Args:
        codes: n, the number of each image's benchmark.
        sizes: B, images per benchmark.
        weights: B, sum to 1.
        factors: B, the mean's variance is the sum of these times the variances of single images.
    """

    codes: np.ndarray
    sizes: np.ndarray
    weights: np.ndarray
    factors: np.ndarray

    @classmethod
    def single(cls, n: int) -> "Strata":
        """The plain mean of n images."""
        return cls.of([""] * n, {"": 1.0})

    @classmethod
    def of(
        cls, benchmarks: Sequence[str], weights: Mapping[str, float], nested: Mapping[str, Sequence[str]] | None = None
    ) -> "Strata":
        """Strata from the benchmark of every image.

        A nested benchmark holds a part of another one's images: the two means are correlated, Cov = s^2 / (images of the
        larger), which is added to the variance of their weighted sum.

        Args:
            benchmarks: n names.
            weights: by benchmark, summing to 1.
            nested: smaller benchmark to the larger ones that hold its images.
        """
        names, codes = np.unique(np.asarray(benchmarks, dtype=object).astype(str), return_inverse=True)
        if set(names) != set(weights) or abs(sum(weights.values()) - 1) > 1e-9:
            raise UserError(f"weights {dict(weights)} must sum to 1 and name the benchmarks {', '.join(names)}")
        sizes = np.bincount(codes)
        shares = np.array([weights[name] for name in names])
        factors = shares**2 / sizes
        places = {name: place for place, name in enumerate(names)}
        pairs = [(inner, outer) for inner, outers in (nested or {}).items() for outer in outers]
        for inner, outer in pairs:
            if inner in places and outer in places:
                here, there = places[inner], places[outer]
                factors[here] += 2 * shares[here] * shares[there] / sizes[there]
        return cls(codes, sizes, shares, factors)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """The weighted mean over images.

        Args:
            values: n or n x K.

        Returns:
            A number, or K of them.
        """
        return (self.weights / self.sizes)[self.codes] @ values

    def centred(self, values: np.ndarray) -> np.ndarray:
        """Values (n x K) less the mean of their benchmark and seed."""
        sums = np.stack([np.bincount(self.codes, weights=column, minlength=len(self.sizes)) for column in values.T], axis=1)
        return values - (sums / self.sizes[:, None])[self.codes]

    def image_variance(self, gain: np.ndarray) -> tuple[float, float]:
        """Sampling variance of the weighted mean of per-image gains over images, and its degrees of freedom.

        Two images are added, one won and one lost, spread over the benchmarks by their size (Bonett and Price 2012): rows that
        no image tells apart are still known no better than their number of images allows. A benchmark of up to FEW images has
        both for itself, since its weight in the mean is that of any other.

        Args:
            gain: n, each averaged over seeds, in points.
        """
        added = 2 * 100**2 * np.maximum(self.sizes / len(gain), np.minimum(1, FEW / self.sizes))
        squares = np.bincount(self.codes, weights=self.centred(gain[:, None])[:, 0] ** 2) + added
        freedom = np.maximum(self.sizes - 1, 1)
        parts = self.factors * squares / freedom
        return float(parts.sum()), float(parts.sum() ** 2 / (parts**2 / freedom).sum())

    def residual_variance(self, gain: np.ndarray) -> float:
        """The part of the mean's variance that is of single (image, training) pairs: two-way residual mean square over n K.

        Args:
            gain: n x K, K at least 2, in points.
        """
        seeds = gain.shape[1]
        residuals = self.centred(gain - gain.mean(axis=1, keepdims=True))
        squares = np.bincount(self.codes, weights=(residuals**2).sum(axis=1))
        return float((self.factors * squares / np.maximum(self.sizes - 1, 1)).sum() / (seeds - 1) / seeds)
