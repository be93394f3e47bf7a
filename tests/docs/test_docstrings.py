"""Every example in a docstring gives what it says."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest
import torch

import polytask
from polytask.types import Step

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
NAMES = {"torch": torch, "np": np, "Tensor": torch.Tensor, "Step": Step}
SKIPPED = {"polytask.__main__"}  # importing it runs the command line


def modules():
    names = [found.name for found in pkgutil.walk_packages(polytask.__path__, "polytask.")]
    return ["polytask", *(name for name in names if name not in SKIPPED)]


@pytest.mark.parametrize("name", modules())
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    torch.manual_seed(0)
    finder, runner = doctest.DocTestFinder(exclude_empty=True), doctest.DocTestRunner(optionflags=FLAGS)
    said = []
    for example in finder.find(module, name, extraglobs={**NAMES, **vars(module)}):
        runner.run(example, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)
