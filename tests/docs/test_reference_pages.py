"""The reference is complete, and says what the code says."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import reference
from blocks import ROOT
from pydantic import BaseModel
from typer.main import get_command

import polytask
from polytask import config
from polytask.cli.app import app

PAGES = {page.relative_to(ROOT): page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").rglob("*.md"))}
EVERYTHING = "\n".join(PAGES.values())


def public_modules() -> Iterator[ModuleType]:
    """All modules with an ``__all__``."""
    for found in pkgutil.walk_packages(polytask.__path__, "polytask."):
        if not found.name.endswith("__main__"):
            module = importlib.import_module(found.name)
            if hasattr(module, "__all__"):
                yield module


@pytest.mark.parametrize("page", list(reference.pages()), ids=lambda page: page.name)
def test_generated_blocks_are_those_of_the_code(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == reference.fill(text), "run: python tests/docs/reference.py"


@pytest.mark.parametrize("module", list(public_modules()), ids=lambda module: module.__name__)
def test_every_public_name_is_documented(module: ModuleType) -> None:
    directives = set(re.findall(r"^::: ([\w.]+)$", EVERYTHING, re.MULTILINE))
    missing = [place for place in reference.places(module.__name__) if place not in directives]
    assert not missing, f"no page has ::: {', '.join(missing)}"


def test_every_public_name_of_the_package_is_on_the_first_page() -> None:
    page = PAGES[Path("docs/api/index.md")]
    assert [name for name in polytask.__all__ if f"polytask.{name}" not in page] == []


def test_every_key_of_the_configuration_is_documented() -> None:
    page = PAGES[Path("docs/configuration.md")]
    models = [getattr(config, name) for name in config.__all__ if isinstance(getattr(config, name), type)]
    tables = [model for model in models if issubclass(model, BaseModel)]
    keys = {key for model in tables for key in model.model_fields} - {"options"}
    assert len(tables) == 11
    assert [key for key in sorted(keys) if f"`{key}`" not in page] == []


def test_towers_are_documented_as_they_are() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \|.*?\| `([^`]+)` \|",
        PAGES[Path("docs/configuration.md")].split("## [towers]")[1].split("## [train]")[0],
        re.MULTILINE,
    )
    from polytask.towers import Towers

    options = {option.name: option.default for option in config.describe_options(Towers, ["tasks", "in_features"])}
    assert {name: value.strip('"') for name, value in rows} == {
        name: value.strip("'").replace("(32,)", "[32]") for name, value in options.items()
    }


def test_every_verb_is_documented_and_in_the_readme_or_its_pages() -> None:
    verbs = [path for path, _ in reference.verbs(get_command(app))]
    assert len(verbs) >= 11
    page = PAGES[Path("docs/cli.md")]
    assert [verb for verb in verbs if f"\n## {verb}\n" not in page] == []
    words = {verb.split()[0] for verb in verbs}
    shown = EVERYTHING + (ROOT / "README.md").read_text(encoding="utf-8")
    assert [word for word in sorted(words) if f"polytask {word}" not in shown] == []


@pytest.mark.parametrize("package", ["polytask.sharing", "polytask.balancing"])
def test_every_method_has_a_row_in_the_guide(package: str) -> None:
    page = PAGES[Path("docs/architectures.md" if package.endswith("sharing") else "docs/balancing.md")]
    guide = page.split("## Options")[0]
    names = importlib.import_module(package).__all__
    assert [name for name in names if f"| `{name}` |" not in guide] == []


def test_all_pages_and_decisions_are_in_the_navigation() -> None:
    navigation = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    assert [str(page) for page in PAGES if str(page.relative_to("docs")) not in navigation] == []
    index = PAGES[Path("docs/decisions/index.md")]
    decisions = [page.name for page in PAGES if page.parent.name == "decisions" and page.name != "index.md"]
    assert [name for name in decisions if name not in index] == []


def test_files_named_in_documents_exist() -> None:
    for document in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(((?!http)[^)#]+)", text):
            assert (ROOT / target).exists(), f"{document} names {target}"
    journey = PAGES[Path("docs/journey.md")]
    for file in re.findall(r"`([\w/]+\.py)`", journey):
        place = ROOT / file if file.startswith("tests/") else ROOT / "src/polytask" / file
        assert place.exists(), f"journey.md names {file}"


def test_the_site_does_not_speak_of_single_machines() -> None:
    documents = [
        *PAGES.values(),
        *((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md")),
    ]
    for text in documents:
        assert "/work" not in text
        assert "/tmp" not in text
