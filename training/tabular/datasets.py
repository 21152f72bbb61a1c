"""The columns of the datasets that the tabular pipelines know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from training.common.failure import UserError
from training.common.features import Feature, Kind


@dataclass(frozen=True, slots=True)
class Column:
    """`max_missing`: the largest share of empty cells (0 to 1) with which the data is still accepted."""

    name: str
    kind: Kind
    max_missing: float = 0.0

    @property
    def feature(self) -> Feature:
        return Feature(self.name, self.kind)


@dataclass(frozen=True, slots=True)
class TableSchema:
    """What one model's table must hold. `id` identifies a row and decides its split; no model reads it."""

    id: str
    target: str
    columns: tuple[Column, ...]

    @property
    def features(self) -> tuple[Feature, ...]:
        return tuple(column.feature for column in self.columns)

    @property
    def header(self) -> tuple[str, ...]:
        return (self.id, self.target, *(column.name for column in self.columns))


@dataclass(frozen=True, slots=True)
class Dataset:
    """`targets`: column to predict -> the columns that must not be known when it is predicted."""

    id: str
    columns: tuple[Column, ...]
    targets: Mapping[str, frozenset[str]]


def _numeric(*names: str, max_missing: float = 0.0) -> tuple[Column, ...]:
    return tuple(Column(name, "numeric", max_missing) for name in names)


def _categorical(*names: str, max_missing: float = 0.0) -> tuple[Column, ...]:
    return tuple(Column(name, "categorical", max_missing) for name in names)


# Lending Club loans as packaged by openintro (loans_full_schema): what is known when a borrower applies.
# Left out because they are decided with or after the price: grade, sub_grade, installment, issue_month,
# loan_status, initial_listing_status, balance, paid_*. Left out as free text: emp_title.
LOANS = Dataset(
    id="loan_id",
    columns=(
        *_numeric("loan_amount", "term", "interest_rate"),
        *_categorical("loan_purpose", "application_type", "state", "homeownership", "verified_income"),
        *_categorical("disbursement_method"),
        *_numeric("annual_income"),
        *_numeric("emp_length", "debt_to_income", max_missing=0.25),
        *_numeric("annual_income_joint", "debt_to_income_joint", max_missing=1.0),
        *_categorical("verification_income_joint", max_missing=1.0),
        *_numeric("delinq_2y", "earliest_credit_line", "inquiries_last_12m"),
        *_numeric("months_since_last_delinq", "months_since_90d_late", max_missing=1.0),
        *_numeric("months_since_last_credit_inquiry", max_missing=0.5),
        *_numeric("total_credit_lines", "open_credit_lines", "total_credit_limit", "total_credit_utilized"),
        *_numeric("num_collections_last_12m", "num_historical_failed_to_pay", "current_accounts_delinq"),
        *_numeric("total_collection_amount_ever", "current_installment_accounts", "accounts_opened_24m"),
        *_numeric("num_satisfactory_accounts", "num_accounts_30d_past_due"),
        *_numeric("num_accounts_120d_past_due", max_missing=0.25),
        *_numeric("num_active_debit_accounts", "total_debit_limit", "num_total_cc_accounts"),
        *_numeric("num_open_cc_accounts", "num_cc_carrying_balance", "num_mort_accounts"),
        *_numeric("account_never_delinq_percent", "tax_liens", "public_record_bankrupt"),
    ),
    targets={
        "interest_rate": frozenset({"loan_amount"}),
        "loan_amount": frozenset({"interest_rate"}),
    },
)
DATASETS: Mapping[str, Dataset] = {"loans": LOANS}


def schema_for(dataset: str, target: str) -> TableSchema:
    """The table that a model of `target` reads; raises UserError that lists what is known.

    >>> schema_for("loans", "interest_rate").target
    'interest_rate'
    """
    if dataset not in DATASETS:
        raise UserError(f"unknown dataset {dataset!r}; known: {', '.join(sorted(DATASETS))}")
    known = DATASETS[dataset]
    if target not in known.targets:
        raise UserError(
            f"dataset {dataset} has no target {target!r}; known: {', '.join(sorted(known.targets))}"
        )
    hidden = known.targets[target] | {target}
    return TableSchema(
        known.id, target, tuple(column for column in known.columns if column.name not in hidden)
    )
