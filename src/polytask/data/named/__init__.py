"""Named data sets: found in ``POLYTASK_DATA`` or the user's cache, or downloaded, checked and converted once."""

from __future__ import annotations

from collections.abc import Mapping

from polytask.data.named.census_income import CensusIncome
from polytask.data.named.dataset import Download, NamedDataset, PreparedDataset, Protocol
from polytask.data.named.kuairand import KuaiRand
from polytask.data.named.places import cache_folder, data_folder
from polytask.data.named.raw import RawFile
from polytask.errors import Problem, UserError, suggest

__all__ = [
    "names",
    "get",
    "describe",
    "NamedDataset",
    "PreparedDataset",
    "Protocol",
    "RawFile",
    "Download",
    "CensusIncome",
    "KuaiRand",
    "cache_folder",
    "data_folder",
]

_ALL: Mapping[str, type[NamedDataset]] = {kind.name: kind for kind in (CensusIncome, KuaiRand)}


def names() -> tuple[str, ...]:
    """The names of all named data sets.

    Example:
        >>> names()
        ('census-income', 'kuairand')
    """
    return tuple(_ALL)


def get(name: str) -> NamedDataset:
    """The data set called ``name``.

    Raises:
        UserError: There is none of that name.

    Example:
        >>> get("census-income").licence
        'CC BY 4.0'
        >>> get("census")
        Traceback (most recent call last):
        ...
        polytask.errors.UserError: data set 'census': is not known; did you mean 'census-income'?
    """
    if name not in _ALL:
        raise UserError(Problem(f"data set '{name}'", "is not known", suggest(name, names())))
    return _ALL[name]()


def describe(name: str) -> Mapping[str, str]:
    """What ``polytask data list`` prints about a data set: heading to text.

    ``location`` is empty where the data set would have to be fetched.

    Example:
        >>> describe("kuairand")["licence"]
        'CC BY-SA 4.0'
    """
    dataset = get(name)
    location = dataset.locate()
    known = [download.size for download in dataset.downloads if download.size is not None]
    complete = len(known) == len(dataset.downloads)
    return {
        "name": dataset.name,
        "description": dataset.description,
        "licence": dataset.licence,
        "citation": dataset.citation,
        "homepage": dataset.homepage,
        "files": ", ".join(file.name for file in dataset.files),
        "download": ", ".join(download.url for download in dataset.downloads),
        "protocols": "; ".join(f"{name} ({one.description})" for name, one in dataset.protocols.items()),
        "download size": f"{sum(known) / 1e6:.1f} MB" if complete else "not stated by the publisher",
        "location": "" if location is None else str(location),
    }
