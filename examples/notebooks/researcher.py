"""Source of researcher.ipynb; see build.py."""

# %% [markdown]
# # For researchers: your own parts, checked and compared
#
# A balancer, a sharing architecture, balancing in your own training loop, a Pareto front, and the modules inside. Each
# takes a few lines, and the contract checks tell whether they are right before anything is trained.
#
# Needs `pip install 'polytask[notebooks,plot]'`. Everything is written to a temporary folder.

# %%
import importlib
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Image
from torch import nn

import polytask
from polytask.balancing import backward, equal, mgda
from polytask.balancing.interfaces import Weighting
from polytask.fronts import fit_by, front_step, lorpman, preferences, scalarize, sweep, trace
from polytask.serving import model_inputs
from polytask.testing import check_balancer, check_sharing

temporary = TemporaryDirectory()
folder = Path(temporary.name)

# %% [markdown]
# ## A balancer
#
# The interface says what a method looks at: losses (`Scalarizer`), the Gramian of the tasks' gradients (`Weighting`),
# or their elements (`Aggregator`). This one gives all gradients the same length.


# %%
class Even(Weighting):
    """``w_t = T (1 / norm_t) / sum_s (1 / norm_s)``."""

    def forward(self, gramian, step, /):
        """The weights of the present tasks."""
        norm = gramian.diagonal().clamp_min(0).sqrt()
        inverse = torch.where(norm > 0, norm, 1.0).reciprocal()
        return len(norm) * inverse / inverse.sum()


check_balancer(lambda tasks: Even())

# %% [markdown]
# The checks look at gradients of all scales, order of the tasks, absent tasks, state. A method that favours the first
# task does not pass:


# %%
class First(Weighting):
    """All weight to the first task."""

    def forward(self, gramian, step, /):
        """The weights of the present tasks."""
        return torch.eye(len(gramian), dtype=gramian.dtype)[0]


try:
    check_balancer(lambda tasks: First())
except AssertionError as error:
    print(str(error).splitlines()[0])

# %% [markdown]
# ## Balancing in your own loop
#
# `backward` takes the place of `sum(losses).backward()` on any torch model. What the tasks share is found in the graph;
# gradients are compared there, and every head keeps its own. Here a trunk of four units learns two functions, one of
# them in units that are ten times larger, so that its loss is a hundred times larger.

# %%
inputs = torch.linspace(-1, 1, 128).unsqueeze(1)
targets = [torch.sin(4 * inputs), 10 * torch.cos(3 * inputs)]


class TwoHeads(nn.Module):
    """A trunk that two heads read."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh())
        self.heads = nn.ModuleList(nn.Linear(4, 1) for _ in range(2))

    def forward(self, x):
        """One column per task."""
        features = self.trunk(x)
        return self.heads[0](features), 10 * self.heads[1](features)


def train(balancer, steps=300):
    """The share of each target's variance that is left after training."""
    torch.manual_seed(0)
    model = TwoHeads()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(steps):
        losses = [(output - target).square().mean() for output, target in zip(model(inputs), targets, strict=True)]
        optimizer.zero_grad()
        backward(losses, balancer)
        optimizer.step()
    return [(loss / target.var()).item() for loss, target in zip(losses, targets, strict=True)]


for name, balancer in {"equal": equal(), "mgda": mgda(), "Even": Even()}.items():
    small, large = train(balancer)
    print(f"{name:6} variance left: small {small:.4f}, large {large:.4f}")

# %% [markdown]
# The plain sum leaves the small task unlearnt, MGDA protects it at the price of the large one, and equal lengths learn
# both. One toy proves little; `polytask compare` does the same over seeds on real tables.
#
# ## An architecture
#
# Most architectures are a mask: which task sees which expert. Here tasks stand in a ring, and each sees its own experts
# and its neighbour's. A configuration names an architecture by its import path, so it stands in a file.

# %%
(folder / "ring.py").write_text("""
import torch

from polytask.sharing.experts import Experts
from polytask.sharing.gated import Gated, Level
from polytask.sharing.gates import Softmax
from polytask.sharing.wiring import Wiring


def ring(tasks, in_features, *, experts=2, widths=(32, 16)):
    group, task = torch.arange(tasks * experts) // experts, torch.arange(tasks).unsqueeze(1)
    visible = (group == task) | (group == (task + 1) % tasks)
    bank = Experts(tasks * experts, in_features, widths, activation="relu", norm="none", dropout=0.0)
    wiring = Wiring(visible, expert_streams=(0,) * tasks * experts, gate_streams=(0,) * tasks)
    return Gated([Level(bank, Softmax().build(visible, in_features), wiring)], task_rows=range(tasks))
""")
sys.path.insert(0, str(folder))
ring = importlib.import_module("ring").ring

check_sharing(lambda tasks, width: ring(tasks, width, widths=(8,)))

# %% [markdown]
# The check looks at shapes, single rows and exports, and holds the Gramian in closed form against one backward pass per
# task. Now the ring trains like any other architecture. Options can name no code that `allow_code` does not.

# %%
rng = np.random.default_rng(0)
x = rng.normal(size=(4_000, 6))
table = {f"x{number}": column for number, column in enumerate(x.T)}
for number, name in enumerate("abc"):
    own = (1.0, 0.0, -1.0)[number] * x[:, 2]  # a and c disagree about x2
    table[name] = (x[:, 0] * x[:, 1] + own + 0.5 * rng.normal(size=len(x)) > 0).astype(int)
run = polytask.fit(
    table,
    tasks=["a", "b", "c"],
    sharing={"use": "ring:ring", "experts": 2},
    balancer="upgrad",
    train={"epochs": 8, "batch_size": 256, "learning_rate": 0.01, "threads": 1},
    allow_code=["ring"],
    out=folder / "run",
    verbose=False,
)
{task: round(scores["auc"], 3) for task, scores in run.scores["test"].items()}

# %% [markdown]
# ## What is inside
#
# The bundle holds a plain `torch.nn.Module` with the parts `encoder`, `sharing`, `towers` and `heads`; `model_inputs`
# turns rows into what it reads. On the left the mean weight that each task's gate gives to each expert, zero where the
# mask hides one. On the right how hard each task pulled at what is shared, from the run's probes.

# %%
model = run.bundle.model
with torch.inference_mode():
    encoded = model.encoder(model_inputs(run.bundle, table))
    gates = {level: weights.mean(0) for level, weights in model.sharing(encoded).gates.items()}
records = [json.loads(line) for line in (folder / "run" / "records.jsonl").read_text().splitlines()]
probes = [record for record in records if record["kind"] == "probe"]
gramians = np.array([probe["gramian"] for probe in probes])
norms = np.sqrt(np.diagonal(gramians, axis1=1, axis2=2))

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.8))
(weights,) = gates.values()
left.imshow(weights, cmap="Blues", vmin=0)
for (row, column), value in np.ndenumerate(weights.numpy()):
    left.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8)
left.set(title="gates", xlabel="expert", yticks=range(3), yticklabels="abc")
right.plot([probe["step"] for probe in probes], norms, label=["a", "b", "c"])
right.set(title="length of each task's gradient", xlabel="step", ylim=(0, None))
right.legend(fontsize=8)
figure.tight_layout()

# %% [markdown]
# ## A Pareto front
#
# Where tasks compete, one model is one compromise. `sweep` trains a network for each preference; `lorpman` trains one
# network with a low-rank part per task, from which a network can be taken for any preference.

# %%
x = torch.linspace(-1, 1, 64).unsqueeze(1)
curves = [torch.sin(3 * x), 0.5 * torch.cos(4 * x) - x.square()]


def losses(network, step=0):
    """One network, one output, two targets: it cannot please both."""
    output = network(x)
    return [(output - curve).square().mean() for curve in curves]


def build():
    """A small network."""
    return nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))


names = ["wave", "bump"]
fit = fit_by(
    lambda p: scalarize("smooth_tchebycheff", p),
    build=build,
    losses=losses,
    steps=300,
    optimizer=lambda parameters: torch.optim.Adam(parameters, 0.01),
)
swept = sweep(fit, preferences(2, 7, least=0.05), names=names, label="sweep: 7 networks")

torch.manual_seed(0)
conditioned = lorpman(build(), tasks=2)
optimizer = torch.optim.Adam(conditioned.parameters(), 3e-3)
for step in range(600):
    optimizer.zero_grad()
    front_step(conditioned, losses, progress=step / 600)
    optimizer.step()
traced = trace(conditioned, losses, preferences(2, 15), names=names, label="LORPMAN: 1 network")

(swept + traced).plot(folder / "front.png", reference=[0.8, 0.8])
for front in (swept, traced):
    print(f"hypervolume {front.hypervolume([0.8, 0.8]):.3f}, {int(front.efficient().sum())} efficient points")
Image(folder / "front.png", width=480)

# %%
temporary.cleanup()
