"""Census-Income (KDD): 299,285 people of the Current Population Surveys of 1994 and 1995."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from polytask.data.hashing import hash_rows
from polytask.data.named.dataset import Download, NamedDataset, PreparedDataset, Protocol
from polytask.data.named.raw import RawFile
from polytask.types import LabelSpec

COLUMNS = (  # the publisher's order; the raw files have no header
    "age", "class_of_worker", "industry_code", "occupation_code", "education", "wage_per_hour",
    "enrolled_in_education", "marital_status", "major_industry", "major_occupation", "race", "hispanic_origin",
    "sex", "union_member", "unemployment_reason", "employment_status", "capital_gains", "capital_losses",
    "dividends", "tax_filer_status", "previous_region", "previous_state", "household_status", "household_summary",
    "instance_weight", "migration_msa", "migration_region", "migration_within_region", "same_house_1_year",
    "previous_residence_sunbelt", "employer_size", "family_members_under_18", "father_birth_country",
    "mother_birth_country", "own_birth_country", "citizenship", "own_business", "veterans_questionnaire",
    "veterans_benefits", "weeks_worked", "year", "income",
)  # fmt: skip
NUMBERS = ("age", "wage_per_hour", "capital_gains", "capital_losses", "dividends", "employer_size", "weeks_worked")
CODES = (
    "industry_code",
    "occupation_code",
    "own_business",
    "veterans_benefits",
    "year",
)  # numbers that only name a class

ASSOCIATE_OR_MORE = (
    "Associates degree-academic program",
    "Associates degree-occup /vocational",
    "Bachelors degree(BA AB BS)",
    "Masters degree(MA MS MEng MEd MSW MBA)",
    "Prof school degree (MD DDS DVM LLB JD)",
    "Doctorate degree(PhD EdD)",
)

INCOME = LabelSpec("income", "binary", "income == '50000+.'")
NEVER_MARRIED = LabelSpec("never_married", "binary", "marital_status == 'Never married'")
COLLEGE = LabelSpec("college", "binary", f"education in {['Some college but no degree', *ASSOCIATE_OR_MORE]}")
COLLEGE_ASSOCIATE = LabelSpec("college_associate", "binary", f"education in {list(ASSOCIATE_OR_MORE)}")

DROPPED = {
    "instance_weight": "the survey's sampling weight, not a property of the person",
    "income": "defines the task income",
    "marital_status": "defines the task never_married",
    "education": "defines the task college",
}
_MA_2018 = "Ma et al. 2018 (MMoE), section 6.3: neither education nor marital status is an input"
PROTOCOLS = {
    "ma-2018-group-1": Protocol(f"{_MA_2018}; group 1", (INCOME, NEVER_MARRIED), DROPPED),
    "ma-2018-group-2": Protocol(f"{_MA_2018}; group 2", (COLLEGE_ASSOCIATE, NEVER_MARRIED), DROPPED),
}


class CensusIncome(NamedDataset):
    """Census-Income (KDD) with the publisher's training file, and its test file halved once.

    ``household_status`` stays a feature, as in the published protocols, although it gives never-married away: the
    majority of each of its values is right in 93 % of the rows.
    """

    name: ClassVar[str] = "census-income"
    description: ClassVar[str] = (
        "299,285 people of the US Current Population Surveys 1994-95; tasks: income over 50,000 dollars, "
        "never married, some college or more"
    )
    licence: ClassVar[str] = "CC BY 4.0"
    citation: ClassVar[str] = (
        "Census-Income (KDD) [Dataset]. (2000). UCI Machine Learning Repository. doi:10.24432/C5N30T"
    )
    homepage: ClassVar[str] = "https://archive.ics.uci.edu/dataset/117/census+income+kdd"
    folders: ClassVar[tuple[str, ...]] = ("census_income_kdd", "census-income", "census-income-kdd", "census")
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    files: ClassVar[tuple[RawFile, ...]] = (
        RawFile("census-income.data", 103_874_469, "3676a81db7d3528f3f8b9f3c699d0f0aa28db45e6e994fa0b8ed38327539ee86"),
        RawFile("census-income.test", 51_918_813, "98402b1ab879573d0a7f38a699a40258080e25e33d3401e7bf9c96d3fa0fab8c"),
    )
    archives: ClassVar[tuple[str, ...]] = ("census+income+kdd.zip", "census_income_kdd.zip", "census.tar.gz")
    # The address that the publisher's own page links to. It makes the zip on request, so the two files in it (inside a
    # tar in the zip) are what is pinned, by `files`.
    downloads: ClassVar[tuple[Download, ...]] = (
        Download(
            "https://archive.ics.uci.edu/static/public/117/census+income+kdd.zip", "census+income+kdd.zip", None, None
        ),
    )
    converter: ClassVar[int] = 1

    def convert(self, raw: Mapping[str, bytes]) -> Mapping[str, pa.Table]:
        """Names the columns, strips blanks, turns '?' into missing, and halves the test file by a fixed hash."""
        held_out = read(raw["census-income.test"])
        first_half = halves(held_out.num_rows)
        return {
            "train": read(raw["census-income.data"]),
            "validation": held_out.filter(pa.array(first_half)),
            "test": held_out.filter(pa.array(~first_half)),
        }

    def summary(self, folder: Path, rows: Mapping[str, int]) -> PreparedDataset:
        """Tasks, columns and splits of the converted files."""
        return PreparedDataset(
            name=self.name,
            train=folder / "train.parquet",
            validation=folder / "validation.parquet",
            test=folder / "test.parquet",
            rows=rows,
            tasks=(INCOME, NEVER_MARRIED, COLLEGE),
            dropped=DROPPED,
            kinds={
                column: "numeric" if column in NUMBERS else "categorical" for column in COLUMNS if column not in DROPPED
            },
            split="the publisher's training file; its test file, halved once by a fixed hash of the row number",
            protocols=self.protocols,
        )


def read(content: bytes) -> pa.Table:
    """The table in one of the publisher's files: named columns, blanks stripped, '?' as missing."""
    strings = [name for name in COLUMNS if name not in (*NUMBERS, *CODES, "instance_weight")]
    table = pyarrow.csv.read_csv(
        pa.BufferReader(content.replace(b", ", b",")),
        read_options=pyarrow.csv.ReadOptions(column_names=COLUMNS, use_threads=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={
                **dict.fromkeys(NUMBERS + CODES, pa.int32()),
                **dict.fromkeys(strings, pa.dictionary(pa.int32(), pa.string())),
                "instance_weight": pa.float64(),
            },
            null_values=["?"],
            strings_can_be_null=True,
        ),
    )
    columns = [pc.utf8_trim_whitespace(table[n].cast(pa.string())) if n in strings else table[n] for n in COLUMNS]
    return pa.table(dict(zip(COLUMNS, columns, strict=True)))


def halves(rows: int) -> npt.NDArray[np.bool_]:
    """Which rows are in the first half: those with the smaller hash of their number, the same for ever.

    Example:
        >>> int(halves(8).sum())
        4
    """
    chosen = np.zeros(rows, dtype=np.bool_)
    chosen[np.argsort(hash_rows(0, rows, seed=0), kind="stable")[: rows // 2]] = True
    return chosen
