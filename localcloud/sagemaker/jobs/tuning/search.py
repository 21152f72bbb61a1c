"""Choosing configurations: random, Bayesian and Hyperband through Optuna, the grid by counting.

https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-how-it-works.html

Pure: what is chosen depends on the seed and on what was told, nothing else. Optuna takes half a second to
import, so it is imported by the first search that needs it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from localcloud.sagemaker.jobs.tuning.ranges import Category, Number, Range, combinations

if TYPE_CHECKING:
    import optuna

Values = dict[str, str]
_BAYESIAN_START = 8  # configurations at random before a model of the objective is worth anything
_TRIES = 20  # draws before an unused configuration of a small space is looked up instead
_SMALL = 100_000  # configurations of a space that is looked through


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What Hyperband rations: how many values of the objective (epochs) a training job may emit."""

    low: int
    high: int


class Search(Protocol):
    """A search through the ranges of one training job definition."""

    def suggest(self) -> tuple[int, Values] | None:
        """The number and the hyperparameters of the next configuration; None when all were tried."""

    def report(self, number: int, step: int, value: float) -> bool:
        """Take in an intermediate objective, the `step`-th from 1; True if the job is to be stopped."""

    def tell(self, number: int, value: float | None) -> None:
        """Take in a final objective; None if there is none."""

    def learn(self, values: Mapping[str, str], value: float) -> None:
        """Take in what another tuning job found; outside of these ranges it is of no use."""


def make_search(
    ranges: tuple[Range, ...],
    *,
    strategy: str,
    maximize: bool,
    seed: int | None,
    resource: Resource | None = None,
) -> Search:
    """The search of a strategy.

    Args:
        ranges: for `Grid`, categories only.
        strategy: as the API writes it.
        maximize: whether larger objectives are better.
        seed: the same seed and the same results give the same configurations.
        resource: for `Hyperband`.
    """
    if strategy == "Grid":
        return _Grid(tuple(item for item in ranges if isinstance(item, Category)))
    return _Sampled(ranges, strategy=strategy, maximize=maximize, seed=seed, resource=resource)


class _Grid:
    """Every combination once, the last range fastest."""

    def __init__(self, ranges: tuple[Category, ...]) -> None:
        self._names = [item.name for item in ranges]
        self._left = enumerate(itertools.product(*(item.values for item in ranges)))

    def suggest(self) -> tuple[int, Values] | None:
        """See Search."""
        number, chosen = next(self._left, (0, None))
        return None if chosen is None else (number, dict(zip(self._names, chosen, strict=True)))

    def report(self, number: int, step: int, value: float) -> bool:  # noqa: ARG002
        """See Search."""
        return False

    def tell(self, number: int, value: float | None) -> None:
        """See Search."""

    def learn(self, values: Mapping[str, str], value: float) -> None:
        """See Search."""


class _Sampled:
    """One Optuna study. No configuration is tried twice while there are others."""

    def __init__(
        self,
        ranges: tuple[Range, ...],
        *,
        strategy: str,
        maximize: bool,
        seed: int | None,
        resource: Resource | None,
    ) -> None:
        import optuna

        # Optuna tells about every trial on standard error.
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna = optuna
        self._ranges = ranges
        self._resource = resource
        self._size = combinations(ranges)
        self._space = {item.name: _distribution(item) for item in ranges}
        self._trials: dict[int, optuna.Trial] = {}
        self._seen: set[tuple[str, ...]] = set()
        sampler: optuna.samplers.BaseSampler
        if strategy == "Bayesian":
            # constant_liar: what still runs counts as bad, so that jobs side by side try different things.
            sampler = optuna.samplers.TPESampler(
                seed=seed, multivariate=True, constant_liar=True, n_startup_trials=_BAYESIAN_START
            )
        else:
            sampler = optuna.samplers.RandomSampler(seed=seed)
        pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
        if resource is not None:
            pruner = optuna.pruners.HyperbandPruner(resource.low, resource.high)
        # Hyperband derives a job's bracket from the study's name: a random one would undo the seed.
        self._study = optuna.create_study(
            sampler=sampler,
            pruner=pruner,
            direction="maximize" if maximize else "minimize",
            study_name="tuning",
        )

    def suggest(self) -> tuple[int, Values] | None:
        """See Search."""
        if len(self._seen) >= self._size:
            return None
        for _ in range(_TRIES):
            trial = self._study.ask(self._space)
            values = self._write(trial.params)
            if self._key(values) not in self._seen:
                return self._take(trial, values)
            # Without a state of its own it would count as a failed job, and with constant_liar as a bad one.
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        if self._size <= _SMALL:
            self._study.enqueue_trial(self._unused())
        trial = self._study.ask(self._space)
        return self._take(trial, self._write(trial.params))

    def report(self, number: int, step: int, value: float) -> bool:
        """See Search."""
        trial = self._trials[number]
        if self._resource is None:
            return False
        # The job that emits its last value ends by itself; one that goes on has used up what it may.
        if step > self._resource.high:
            return True
        trial.report(value, step)
        return trial.should_prune()

    def tell(self, number: int, value: float | None) -> None:
        """See Search."""
        failed = self._optuna.trial.TrialState.FAIL
        trial = self._trials.pop(number)
        if value is None:
            self._study.tell(trial, state=failed)
        else:
            self._study.tell(trial, value)

    def learn(self, values: Mapping[str, str], value: float) -> None:
        """See Search."""
        params: dict[str, Any] = {}
        for item in self._ranges:
            text = values.get(item.name)
            if isinstance(item, Category):
                if text not in item.values:
                    return
                params[item.name] = text
            else:
                number = None if text is None else item.read(text)
                if number is None:
                    return
                params[item.name] = _inward(item, number)
        made = self._optuna.trial.create_trial(params=params, distributions=self._space, value=value)
        self._study.add_trial(made)

    def _take(self, trial: optuna.Trial, values: Values) -> tuple[int, Values]:
        self._seen.add(self._key(values))
        self._trials[trial.number] = trial
        return trial.number, values

    def _key(self, values: Values) -> tuple[str, ...]:
        return tuple(values[item.name] for item in self._ranges)

    def _write(self, params: Mapping[str, Any]) -> Values:
        return {
            item.name: str(params[item.name])
            if isinstance(item, Category)
            else item.write(_outward(item, params[item.name]))
            for item in self._ranges
        }

    def _unused(self) -> dict[str, Any]:
        """The first configuration in the order of the grid that was not tried; integers and texts only."""
        axes: list[list[tuple[str, Any]]] = [
            [(value, value) for value in item.values]
            if isinstance(item, Category)
            else [(str(value), value) for value in range(int(item.low), int(item.high) + 1)]
            for item in self._ranges
        ]
        chosen = next(
            point for point in itertools.product(*axes) if tuple(text for text, _ in point) not in self._seen
        )
        return {item.name: value for item, (_, value) in zip(self._ranges, chosen, strict=True)}


def _distribution(item: Range) -> optuna.distributions.BaseDistribution:
    from optuna import distributions

    if isinstance(item, Category):
        return distributions.CategoricalDistribution(item.values)
    log = item.scaling != "Linear"
    if item.integer:
        return distributions.IntDistribution(int(item.low), int(item.high), log=log)
    low, high = sorted((_inward(item, item.low), _inward(item, item.high)))
    return distributions.FloatDistribution(low, high, log=log)


def _inward(item: Number, value: float) -> float:
    """A hyperparameter's value on the scale that is sampled: the distance from 1 for ReverseLogarithmic."""
    return 1.0 - value if item.scaling == "ReverseLogarithmic" else value


_outward = _inward  # 1 - (1 - x)
