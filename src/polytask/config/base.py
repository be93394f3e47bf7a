"""What all tables of the configuration have in common: strict, closed, frozen."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[int, Field(ge=1)]
Names = Annotated[tuple[str, ...], Field(strict=False)]
Values = Annotated[tuple[str | int | bool, ...], Field(strict=False)]


class Table(BaseModel):
    """A TOML table; keys that it does not know are refused."""

    # strict: "10" is no number and True is no 1; a TOML file can say what it means
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
