"""The gated family once more, written with loops as in the papers: slow, plain, and the oracle of the fast one."""

import torch


def expert(level, number, x):
    """One expert: a perceptron with the ReLU after every layer."""
    bank = level.experts
    z = torch.relu(x @ bank.first.weight[number].T + bank.first.bias[number])
    for layer in bank.upper:
        z = torch.relu(z @ layer.weight[number].T + layer.bias[number])
    return z


def gate(level, row, x):
    """The weights of the experts that the row sees, 0 for others."""
    logits = x @ level.gates.weight[row].T
    if level.gates.bias is not None:
        logits = logits + level.gates.bias[row]
    seen = level.gates.visible[row]
    weights = torch.zeros_like(logits)
    weights[:, seen] = torch.softmax(logits[:, seen] / level.gates.temperature, dim=1)
    return weights


def mixture(weights, outputs):
    """A weighted sum over a list of expert outputs."""
    return sum(weights[:, number : number + 1] * output for number, output in enumerate(outputs))


def single_task(sharing, x):
    """One network per task."""
    return torch.stack([expert(sharing.levels[0], task, x) for task in range(sharing.tasks)])


def shared_bottom(sharing, x):
    """One network for all."""
    return torch.stack([expert(sharing.levels[0], 0, x)] * sharing.tasks)


def mmoe(sharing, x):
    """A gate per task; CGC as well, whose gates see fewer experts."""
    level = sharing.levels[0]
    outputs = [expert(level, number, x) for number in range(level.experts.experts)]
    return torch.stack([mixture(gate(level, task, x), outputs) for task in range(sharing.tasks)])


def omoe(sharing, x):
    """One gate for all."""
    level = sharing.levels[0]
    outputs = [expert(level, number, x) for number in range(level.experts.experts)]
    return torch.stack([mixture(gate(level, 0, x), outputs)] * sharing.tasks)


def ple(sharing, x, *, own, shared):
    """Progressive layered extraction: states of all tasks and of the shared module, level by level."""
    return torch.stack(ple_states(sharing, x, own=own, shared=shared)[-1][0][: sharing.tasks])


def ple_states(sharing, x, *, own, shared):
    """Per level: (states after it, outputs of its experts). Level 0 has the input as every state."""
    tasks = sharing.tasks
    states = [x] * (tasks + 1)
    levels = [(states, [])]
    for level in sharing.levels:
        outputs = []
        for task in range(tasks):
            outputs += [expert(level, task * own + i, states[task]) for i in range(own)]
        outputs += [expert(level, tasks * own + i, states[tasks]) for i in range(shared)]
        rows = level.gates.weight.shape[0]
        states = [mixture(gate(level, row, states[row]), outputs) for row in range(rows)]
        levels.append((states, outputs))
    return levels


def concatenated(sharing, x, reads):
    """Every task's bottoms side by side, zeros where it reads fewer than others."""
    level, most = sharing.levels[0], max(map(len, reads))
    rows = []
    for sources in reads:
        parts = [expert(level, source, x) for source in sources]
        rows.append(torch.cat(parts + [torch.zeros_like(parts[0])] * (most - len(parts)), 1))
    return torch.stack(rows)


def averaged(sharing, x, reads):
    """The mean of every task's bottoms."""
    return torch.stack([sum(expert(sharing.levels[0], s, x) for s in sources) / len(sources) for sources in reads])


def ml_mmoe(sharing, x):
    """Every expert reads its own mixture of the level below; all gates read the input."""
    inputs = [x] * sharing.levels[0].experts.experts
    for level in sharing.levels:
        outputs = [expert(level, number, read) for number, read in enumerate(inputs)]
        inputs = [mixture(gate(level, row, x), outputs) for row in range(level.gates.weight.shape[0])]
    return torch.stack(inputs)
