"""Makes the reports of the gallery from real data: runs the commands that it prints, and takes the pictures.

    python examples/gallery/make.py --out runs/gallery --docs docs/gallery   # some minutes; --only names one of them

Data come from the folder that POLYTASK_DATA names: Census-Income, KuaiRand, School, MNIST.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from polytask.data.images import multi_mnist
from polytask.reproduce.neutral.school import school

HERE = Path(__file__).parent
COMMANDS = {
    "census": ["compare {config} --workers 2 --out {out}"],
    "kuairand": ["train {config} --out {out}"],
    "schools": ["train {config} --out {out}"],
    "digits": ["pareto {config} --workers 2 --out {out}", "report {out}"],
}
SECTIONS = {"census": "comparison", "kuairand": "affinity", "schools": "scores", "digits": "front"}
"""What is shown of each page."""


def schools(folder: Path) -> None:
    """Pupils of the 20 largest schools; the number of the school is a column."""
    features, scores = school(20)
    x = np.concatenate(features)
    columns = {f"pupil_{number}": x[:, number] for number in range(x.shape[1])}
    number = np.repeat(np.arange(1, len(scores) + 1), [len(one) for one in scores])
    pq.write_table(pa.table({**columns, "school": number, "exam": np.concatenate(scores)}), folder / "schools.parquet")


def digits(folder: Path, *, images: int = 20_000) -> None:
    """Some images of MultiMNIST, four pixels averaged to one; pixels that are always black are left out."""
    tables = []
    for part, found in multi_mnist(validation=5_000).items():
        some = found.first(images)
        pixels = some.pixels.reshape(len(some), 14, 2, 14, 2).mean((2, 4)).reshape(len(some), -1) / 255.0
        columns = {f"pixel_{number:03}": pixels[:, number].astype(np.float32) for number in range(pixels.shape[1])}
        labels = dict(zip(some.tasks, some.labels, strict=True))
        tables.append(pa.table({**columns, **labels, "part": [part] * len(some)}))
    whole = pa.concat_tables(tables)
    dark = [name for name in whole.column_names if name.startswith("pixel") and not whole[name].to_numpy().any()]
    pq.write_table(whole.drop_columns(dark), folder / "digits.parquet")


def picture(page: Path, section: str, file: Path) -> None:
    """One section of a report as an image."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool:
        browser = tool.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        view = browser.new_page(viewport={"width": 1100, "height": 1400})
        view.goto(page.resolve().as_uri())
        view.add_style_tag(content="nav { display: none !important }")
        view.wait_for_timeout(2_000)
        view.locator(f"#{section}").screenshot(path=file)
        browser.close()


def main() -> None:
    """Runs what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/gallery"))
    parser.add_argument("--docs", type=Path, help="where reports and pictures are copied to")
    parser.add_argument("--only", choices=COMMANDS, nargs="+", default=list(COMMANDS))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.only:
        config = given.out / f"{name}.toml"
        config.write_text((HERE / f"{name}.toml").read_text(encoding="utf-8"), encoding="utf-8")
        if name == "schools":
            schools(given.out)
        if name == "digits":
            digits(given.out)
        for command in COMMANDS[name]:
            words = shlex.split(command.format(config=config, out=given.out / name))
            if (given.out / name).exists() and words[0] != "report":
                words.append("--resume")
            print("polytask", *words, flush=True)
            subprocess.run([sys.executable, "-m", "polytask", *words], check=True)
        if given.docs is not None:
            given.docs.mkdir(parents=True, exist_ok=True)
            page = given.docs / f"{name}.html"
            text = (given.out / name / "report.html").read_text(encoding="utf-8")
            page.write_text(text.replace(f"{Path.cwd()}/", ""), encoding="utf-8")  # of this machine, no reader has it
            picture(page, SECTIONS[name], given.docs / f"{name}.png")


if __name__ == "__main__":
    main()
