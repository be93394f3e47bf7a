"""Cross-stitch and sluice networks: equalities, starts, owners, learning rates, trained networks to start from."""

import pytest
import torch

from polytask.errors import Problem, UserError
from polytask.sharing import cross_stitch, single_task, sluice
from polytask.sharing.stitch import stitch_start
from polytask.testing import check_sharing

TASKS, WIDTH = 3, 6
OPTIONS = {"widths": (5, 5), "norm": "layer", "activation": "gelu"}
VARIANTS = {
    "per layer": lambda tasks, width: cross_stitch(tasks, width, widths=(5, 4), units="layer"),
    "own last layer": lambda tasks, width: cross_stitch(tasks, width, widths=(5, 4, 3), stitch_last=False),
    "own layers with norms": lambda tasks, width: cross_stitch(tasks, width, **OPTIONS, stitch_last=False),
    "three subspaces": lambda tasks, width: sluice(tasks, width, widths=(6, 6), subspaces=3, start="imbalanced"),
    "one subspace": lambda tasks, width: sluice(tasks, width, widths=(5, 5, 5), subspaces=1, mixing="balanced"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_contract_of_variants(name):
    check_sharing(VARIANTS[name])


def run(sharing, weights):
    """The value, the Gramian, and the gradients of input and networks with weights at the cut."""
    torch.manual_seed(1)
    x = torch.randn(7, WIDTH, dtype=torch.float64, requires_grad=True)
    representation = sharing.double()(x)
    down = torch.randn(representation.value.shape, dtype=torch.float64)
    gramian = representation.cut.gramian(down)
    representation.cut.weights = torch.tensor(weights, dtype=torch.float64)
    leaves = [x, *sharing.levels[0].get_submodule("experts").parameters()]
    return [representation.value.detach(), gramian, *torch.autograd.grad(representation.value, leaves, down)]


@pytest.mark.parametrize("units", ["channel", "layer"])
@pytest.mark.parametrize("stitch_last", [True, False])
def test_cross_stitch_of_identity_units_is_single_task(units, stitch_last):
    """The cut is another one: to one the networks are shared, to the other private. With equal weights all is equal."""
    stitched = cross_stitch(TASKS, WIDTH, own=1.0, units=units, stitch_last=stitch_last, **OPTIONS)
    alone = single_task(TASKS, WIDTH, **OPTIONS)
    missing, unexpected = stitched.load_state_dict(alone.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith("stitches.") for name in missing)
    (value, _, *grads), (wanted, _, *wanted_grads) = run(stitched, [1.0] * TASKS), run(alone, [1.0] * TASKS)
    torch.testing.assert_close(value, wanted)
    torch.testing.assert_close(grads, wanted_grads)


def test_sluice_of_one_subspace_that_reads_the_last_layer_is_cross_stitch():
    stitched = cross_stitch(TASKS, WIDTH, units="layer", own=0.7, **OPTIONS)
    sluiced = sluice(TASKS, WIDTH, subspaces=1, penalty=0.0, **OPTIONS)
    sluiced.load_state_dict({**stitched.state_dict(), "mixing.weight": torch.tensor([[0.0, 1.0]] * TASKS)})
    assert sluiced(torch.zeros(4, WIDTH)).penalty is None
    torch.testing.assert_close(run(sluiced, [1.0, 2.0, 3.0]), run(stitched, [1.0, 2.0, 3.0]))


def test_equal_factors_per_unit_are_one_factor_per_layer():
    coarse, fine = (cross_stitch(TASKS, WIDTH, units=units, own=0.7, **OPTIONS) for units in ("layer", "channel"))
    state = {name: value for name, value in coarse.state_dict().items() if not name.startswith("stitches.")}
    fine.load_state_dict(state, strict=False)
    torch.testing.assert_close(run(fine, [1.0, 2.0, 3.0]), run(coarse, [1.0, 2.0, 3.0]))


def test_an_imbalanced_sluice_starts_as_cross_stitch_whatever_the_subspaces():
    torch.manual_seed(0)
    stitched = cross_stitch(TASKS, WIDTH, widths=(4, 4), units="layer", own=0.8)
    sluiced = sluice(TASKS, WIDTH, widths=(4, 4), subspaces=2, start="imbalanced", own=0.8)
    state = {name: value for name, value in stitched.state_dict().items() if not name.startswith("stitches.")}
    sluiced.load_state_dict({**state, "mixing.weight": torch.tensor([[0.0, 1.0]] * TASKS)}, strict=False)
    x = torch.randn(5, WIDTH)
    torch.testing.assert_close(sluiced(x).value, stitched(x).value)


@pytest.mark.parametrize(("tasks", "subspaces"), [(1, 1), (1, 2), (2, 1), (4, 3)])
def test_rows_start_with_sum_one(tasks, subspaces):
    matrix = stitch_start(tasks, 0.9, subspaces=subspaces)
    torch.testing.assert_close(matrix.sum(1), torch.ones(tasks * subspaces))
    assert torch.allclose(matrix.diagonal(), torch.tensor(0.9 if tasks > 1 else 1.0))


def test_starts():
    assert torch.allclose(cross_stitch(3, WIDTH).stitches[0].weight[0, :, 5], torch.tensor([0.9, 0.05, 0.05]))
    assert cross_stitch(3, WIDTH, widths=(8, 4)).stitches[1].weight.shape == (3, 3, 4)
    assert cross_stitch(3, WIDTH, units="layer").stitches[0].weight.shape == (3, 3, 1)
    even = sluice(3, WIDTH, widths=(4, 4, 4))
    assert torch.allclose(even.stitches[0].weight, torch.full((6, 6, 1), 1 / 6))
    assert torch.allclose(even.mixing.weight, torch.tensor([[0.05, 0.05, 0.9]] * 3))
    assert torch.allclose(sluice(2, WIDTH, mixing="balanced").mixing.weight, torch.full((2, 2), 0.5))
    assert torch.equal(sluice(2, WIDTH, widths=(4,)).mixing.weight, torch.ones(2, 1))


@pytest.mark.parametrize("name", VARIANTS)
def test_owned_entries_are_reached_by_their_task_alone(name):
    """And all others by at least two tasks."""
    torch.manual_seed(0)
    sharing = VARIANTS[name](TASKS, WIDTH)
    value = sharing(torch.randn(64, WIDTH)).value
    parameters = list(sharing.parameters())
    grads = [torch.autograd.grad(row.square().sum(), parameters, retain_graph=True) for row in value]
    owners = {id(parameter): owner for parameter, owner in sharing.parameter_owners()}
    for parameter, *found in zip(parameters, *grads, strict=True):
        reached = torch.stack([grad.flatten(1).any(1) for grad in found])
        owner = owners.get(id(parameter))
        if owner is None:
            assert (reached.sum(0) > 1).all()
        else:
            assert torch.equal(reached, owner == torch.arange(TASKS).unsqueeze(1))


def test_units_learn_at_their_own_rate():
    stitched = cross_stitch(2, WIDTH, rate=7.0)
    assert [(id(unit.weight), 7.0) for unit in stitched.stitches] == [(id(p), f) for p, f in stitched.learning_rates()]
    sluiced = sluice(2, WIDTH)
    paced = {id(parameter): factor for parameter, factor in sluiced.learning_rates()}
    assert paced == {id(p): 1.0 for p in [*sluiced.stitches.parameters(), *sluiced.mixing.parameters()]}


def test_the_penalty_is_for_training():
    sharing, x = sluice(2, WIDTH), torch.randn(4, WIDTH)
    assert sharing(x).penalty > 0
    assert sluice(2, WIDTH, subspaces=1)(x).penalty is None
    assert sluice(2, WIDTH, penalty=0.0)(x).penalty is None
    assert sharing.eval()(x).penalty is None


@pytest.mark.parametrize(
    ("builder", "options", "messages"),
    [
        (cross_stitch, {"own": 1.5, "rate": 0.0}, ["2 problems", "own: is 1.5", "rate: is 0.0; give a number above 0"]),
        (cross_stitch, {"units": "chanel"}, ["units: is 'chanel'; did you mean 'channel'"]),
        (cross_stitch, {"widths": (8,), "stitch_last": False}, ["stitch_last: is False with the one layer"]),
        (cross_stitch, {"widths": ()}, [r"widths: \(\) given"]),
        (sluice, {"widths": (8, 4), "start": "even"}, ["2 problems", r"widths: \(8, 4\) given; give all"]),
        (sluice, {"widths": (5, 5)}, ["widths: 5 units do not split into 2 subspaces; choose a multiple of 2"]),
        (sluice, {"subspaces": 0, "penalty": -1.0}, ["subspaces: is 0", "penalty: is -1.0; give a number at least 0"]),
        (sluice, {"mixing": "last"}, ["mixing: is 'last'"]),
    ],
)  # fmt: skip
def test_wrong_options(builder, options, messages):
    for message in messages:
        with pytest.raises(UserError, match=message):
            builder(2, WIDTH, **options)


def test_start_from_networks_that_were_trained_alone(tmp_path, new_config, table, prepared_run):
    from polytask.serving import Bundle
    from polytask.training.run import train_run
    from polytask.training.single import new_training

    tasks = ("click", "spend")
    trained = train_run(
        new_config(tasks, sharing={"use": "single_task", "widths": [8]}), tmp_path / "one", data=table, check=False
    )
    config = new_config(
        tasks,
        sharing={"use": "cross_stitch", "widths": [8], "own": 1.0},
        train={"warm_start": str(trained.bundle_path)},
    )
    prepared = prepared_run(config, table)
    with pytest.warns(UserWarning, match="the bundle has no sharing.stitches.0.weight; they start afresh"):
        model = new_training(config, prepared, 9).model.eval()
    told: list[Problem] = []
    new_training(config, prepared, 9, tell=told.append)  # no Python warning then
    assert [(problem.severity, problem.where) for problem in told] == [("warning", "train.warm_start")]
    old, new = trained.bundle.model.sharing.state_dict(), model.sharing.state_dict()
    assert new.keys() - old.keys() == {"stitches.0.weight"}
    assert all(torch.equal(new[name], old[name]) for name in old)
    together = Bundle(config, prepared.preprocessor, model, {}).predict(table)
    for task in tasks:  # with units that start as the identity nothing has changed
        assert together[task].to_numpy() == pytest.approx(trained.predict(table)[task].to_numpy(), abs=1e-6)
