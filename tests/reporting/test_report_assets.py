from __future__ import annotations

import hashlib
import re
from importlib import resources

from polytask.reporting.page import SCRIPTS

FOLDER = resources.files("polytask.reporting").joinpath("assets")


def test_scripts_are_those_that_the_readme_names() -> None:
    table = re.findall(
        r"\| (\S+\.js) \| \S+ ([\d.]+) \| (\w{64}) \|", FOLDER.joinpath("README.md").read_text(encoding="utf-8")
    )
    assert [name for name, _, _ in table] == list(SCRIPTS)
    for name, version, digest in table:
        content = FOLDER.joinpath(name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
        assert b"</script" not in content.lower() and b"sourceMappingURL" not in content
        assert version.encode() in content
