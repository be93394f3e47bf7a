"""AdaTT, SNR, POSO, PEPNet, HoME and STEM against loops over tasks and experts with the same weights.

Every loop goes from one task down. Where it meets what other tasks read as well, it asks ``cut`` for it: left alone,
the loop is the whole network; replaced by copies, it ends there, and the gradients of the copies make the Gramian.
"""

import pytest
import torch

from polytask.sharing import adatt, home, pepnet, poso, snr, stem

TASKS, WIDTH, BATCH = 3, 8, 9
PART = {"columns": ["late", "early"], "slices": {"early": slice(0, 2), "middle": slice(2, 5), "late": slice(5, 8)}}
PRIOR = [5, 6, 7, 0, 1]
TWO = {"watch": ["0", "2"], "inter": ["1"]}
CASES = {
    "adatt": lambda: adatt(TASKS, WIDTH, widths=(5, 4)),
    "adatt of one expert each": lambda: adatt(TASKS, WIDTH, experts=1, levels=3, widths=(4,)),
    "adatt with shared experts": lambda: adatt(TASKS, WIDTH, shared_experts=3, widths=(4,)),
    "snr": lambda: snr(TASKS, WIDTH, experts=3, widths=(5, 4)),
    "snr of one level": lambda: snr(TASKS, WIDTH, experts=3, levels=1, widths=(4,)),
    "snr without matrices": lambda: snr(TASKS, WIDTH, experts=2, levels=3, mode="aver", widths=(4,)),
    "poso": lambda: poso(TASKS, WIDTH, widths=(5, 4)),
    "poso on columns": lambda: poso(TASKS, WIDTH, **PART, scale=1.5, experts=3, widths=(4,)),
    "pepnet": lambda: pepnet(TASKS, WIDTH, widths=(5, 4)),
    "pepnet on columns": lambda: pepnet(TASKS, WIDTH, **PART, hidden=7, widths=(5, 4, 3)),
    "home": lambda: home(TASKS, WIDTH, norm="none", widths=(5, 4)),
    "home of two categories": lambda: home(TASKS, WIDTH, norm="none", categories=TWO, experts=1, widths=(4,)),
    "home of three maps": lambda: home(TASKS, WIDTH, norm="none", categories=TWO, experts=3, loras=3, widths=(4,)),
    "stem": lambda: stem(TASKS, WIDTH, streams=4, experts=2, widths=(5, 4)),
    "stem of one input": lambda: stem(TASKS, WIDTH, shared_experts=2, widths=(4,)),
    "stem of two levels": lambda: stem(TASKS, WIDTH, streams=4, levels=2, shared_experts=2, widths=(4,)),
}


def built(name):
    """The architecture of a case, with all parameters away from their start."""
    torch.manual_seed(4)
    sharing = CASES[name]().double().eval()
    with torch.no_grad():
        for parameter in sharing.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return sharing


def keep(name, tensor):
    """No cut: the tensor itself."""
    return tensor


def expert(bank, number, x, activation=torch.relu):
    """One perceptron of a bank."""
    x = activation(x @ bank.first.weight[number].T + bank.first.bias[number])
    for layer in bank.upper:
        x = activation(x @ layer.weight[number].T + layer.bias[number])
    return x


def plain_adatt(sharing, x, task, cut):
    states = [x] * (TASKS + 1)
    for number, level in enumerate(sharing.levels):
        bank, residual, last = level.experts, level.gates.residual, number == len(sharing.levels) - 1
        units = [own.index(True) if any(own) else TASKS for own in residual.own[:TASKS].bool().T.tolist()]
        values = [expert(bank, e, states[unit]) for e, unit in enumerate(units)]
        if last:
            values = [cut(f"expert {e}", value) for e, value in enumerate(values)]
            states[task] = cut(f"state {task if number else 0}", states[task])  # in the first level all read one input
        made = [None] * (TASKS + 1)
        for row in [task] if last else range(len(level.gates.weight)):
            gate = torch.softmax(states[row] @ level.gates.weight[row].T, 1)
            made[row] = sum(gate[:, e : e + 1] * value for e, value in enumerate(values))
            for e in [e for e, unit in enumerate(units) if unit == row]:
                made[row] = made[row] + (1.0 if residual.weight is None else residual.weight[row, e]) * values[e]
        states = made
    return states[task]


def plain_snr(sharing, x, task, cut):
    rows = None
    for number, (bank, routing) in enumerate(sharing.levels):
        values = [expert(bank, e, x if rows is None else rows[e]) for e in range(bank.experts)]
        last = number == len(sharing.levels) - 1
        if last:
            values = [cut(f"value {e}", value) for e, value in enumerate(values)]
        z = (torch.sigmoid(routing.switches.log_alpha) * 1.2 - 0.1).clamp(0, 1)
        rows = []
        for row in [task] if last else range(len(z)):
            terms = [v if routing.weight is None else v @ routing.weight[row, e].T for e, v in enumerate(values)]
            rows.append(sum(z[row, e] * term for e, term in enumerate(terms)))
    return rows[0]


def plain_poso(sharing, x, task, cut):
    prior = cut("prior", x if sharing.prior.index is None else x[:, PRIOR])
    gate = torch.sigmoid(prior @ sharing.gates.weight[task].T + sharing.gates.bias[task])
    values = [cut(f"value {e}", expert(sharing.experts, e, x)) for e in range(sharing.experts.experts)]
    return sharing.scale * sum(gate[:, e : e + 1] * value for e, value in enumerate(values))


def plain_pepnet(sharing, x, task, cut):
    def factors(unit, known, row, name=None):
        hidden = torch.relu(known @ unit.hidden.weight[0].T + unit.hidden.bias[0])
        hidden = hidden if name is None else cut(name, hidden)
        return 2 * torch.sigmoid(hidden @ unit.out.weight[row].T + unit.out.bias[row])

    whole = sharing.prior.index is None
    prior = x if whole else x[:, PRIOR]
    o = x * factors(sharing.input_gate, x if whole else torch.cat([prior, x.detach()], 1), 0)
    known = torch.cat([prior, o.detach()], 1)
    row, networks = cut("input", o), sharing.networks
    for number, layer in enumerate([networks.first, *networks.upper]):
        row = torch.relu(row @ layer.weight[task].T + layer.bias[task])
        row = row * factors(sharing.layer_gates[number], known, task, f"hidden {number}")
    return row


def scaled(features, group, v):
    """What the experts of a group read of ``v``."""
    loras, rank = features.loras, features.rank
    share = torch.softmax(v @ features.choice[group].T, 1)
    total = 0
    for number in range(loras):
        low = v @ features.down[group, number * rank : (number + 1) * rank].T
        total = total + share[:, number : number + 1] * 2 * torch.sigmoid(low @ features.up[group * loras + number].T)
    return v * total


def home_mixture(gates, row, asked, own, values):
    """The weighted sum over the experts that a row sees, its own ones twice. ``values``: by the expert's number."""
    count = len(own)
    logits = asked @ gates.weight[row].T
    seen = sorted(values)
    softmax = torch.softmax(logits[:, seen], 1)
    extra = logits[:, -count:]
    extra = torch.sigmoid(extra) if count == 1 else torch.softmax(extra, 1)
    total = sum(softmax[:, [i]] * values[e] for i, e in enumerate(seen))
    return total + sum(extra[:, [i]] * values[e] for i, e in enumerate(own))


def plain_home(sharing, x, task, cut):
    count = sharing.categories
    category = [0, 1, 0] if count == 2 else [0, 0, 0]
    per = sharing.lower.experts.experts // (count + 1)
    alone = category.count(category[task]) == 1

    def members(group):
        return list(range(group * per, (group + 1) * per))

    def values(level, group, v):
        read = scaled(level.features, group, v)
        return {e: expert(level.experts, e, read, torch.nn.functional.silu) for e in members(group)}

    def state(number, below):
        groups = range(count + 1) if number == count else (number, count)
        found = {e: below(f"low {e}", v) for g in groups for e, v in values(sharing.lower, g, x).items()}
        return home_mixture(sharing.lower_gates, number, below("x", x), members(number), found)

    number = category[task]
    mine = state(number, cut) if alone else cut(f"state {number}", state(number, keep))
    shared = cut(f"state {count}", state(count, keep))
    found = {e: cut(f"high {e}", v) for e, v in values(sharing.upper, 0, state(count, keep)).items()}
    for e, v in values(sharing.upper, 1 + number, mine if alone else state(number, keep)).items():
        found[e] = v if alone else cut(f"high {e}", v)
    own = 1 + count + task
    found |= values(sharing.upper, own, mine)
    return home_mixture(sharing.upper_gates, task, torch.cat([mine, shared], 1), members(own), found)


def plain_stem(sharing, x, task, cut):
    streams, top = x.chunk(sharing.streams, 1), len(sharing.levels) - 1
    shared = int(sharing.levels[top].trains.all(0).sum())

    def stream(number, level, cut):
        """Stream ``number`` below a level."""
        if level == 0:
            number = number if len(streams) > 1 else 0
            return cut(f"x {number}", streams[number])
        return row(number, level - 1, cut) if number < TASKS else cut("shared", row(number, level - 1, keep))

    def row(number, level, cut):
        """Row ``number`` of a level."""
        part, total = sharing.levels[level], 0
        asked = stream(number, level, cut)
        asked = asked + stream(TASKS, level, cut) if number < TASKS else asked
        gate = torch.softmax(asked @ part.gates.weight[number].T, 1)
        for e in range(part.experts.experts):
            reader = min(e // ((part.experts.experts - shared) // TASKS), TASKS)
            private = level == top and reader == number  # below the last level the shared row trains all experts
            value = expert(part.experts, e, stream(reader, level, cut if private else keep))
            if number < TASKS and reader not in (number, TASKS):
                value = value.detach()
            elif not private:
                value = cut(f"expert {level} {e}", value)
            total = total + gate[:, e : e + 1] * value
        return total

    return row(task, top, cut)


LOOPS = {
    "adatt": plain_adatt,
    "snr": plain_snr,
    "poso": plain_poso,
    "pepnet": plain_pepnet,
    "home": plain_home,
    "stem": plain_stem,
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch", [1, BATCH])
def test_values_and_gradients(name, batch):
    sharing, loop = built(name), LOOPS[name.split()[0]]
    x = torch.randn(batch, WIDTH, dtype=torch.float64, requires_grad=True)
    found = sharing(x).value
    wanted = torch.stack([loop(sharing, x, task, keep) for task in range(TASKS)])
    torch.testing.assert_close(found, wanted)
    down = torch.randn_like(wanted)
    names = ["x", *(key for key, _ in sharing.named_parameters())]
    leaves = [x, *sharing.parameters()]
    ours = torch.autograd.grad(found, leaves, down, materialize_grads=True)
    theirs = torch.autograd.grad(wanted, leaves, down, materialize_grads=True)
    for key, one, other in zip(names, ours, theirs, strict=True):
        torch.testing.assert_close(one, other, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("name", CASES)
def test_gramian_against_separate_passes(name):
    sharing, loop = built(name), LOOPS[name.split()[0]]
    x = torch.randn(BATCH, WIDTH, dtype=torch.float64, requires_grad=True)
    representation = sharing(x)
    down = torch.randn_like(representation.value)
    found = []
    for task in range(TASKS):
        copies = {}

        def copy(key, tensor, copies=copies):
            return copies.setdefault(key, tensor.detach().clone().requires_grad_())

        value = loop(sharing, x, task, copy)
        torch.testing.assert_close(value, representation.value[task])
        grads = torch.autograd.grad(value, list(copies.values()), down[task])
        found.append(dict(zip(copies, grads, strict=True)))
    wanted = torch.zeros(TASKS, TASKS, dtype=torch.float64)
    for s in range(TASKS):
        for t in range(TASKS):
            for key in found[s].keys() & found[t].keys():
                wanted[s, t] += (found[s][key] * found[t][key]).sum()
    assert wanted.diagonal().min() > 0
    torch.testing.assert_close(representation.cut.gramian(down), wanted)
