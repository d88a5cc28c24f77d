"""The toy data: where the clusters are, how they move, and that nothing else does."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from insituml.toy_data import generate
from insituml.toy_data.generate import (
    TimeDependentIterDataset,
    TimeDependentTensorDataset,
    arrays_from_itr,
    generate_fake_toy,
    generate_toy8,
    label2color_toyN,
    points_on_circle,
    td_arrays,
    td_gen,
    tdds_arrays,
    tdds_gen,
)
from insituml.toy_data.motion import shift_labels, shift_points

A = 2.4142
CLOCKWISE = torch.tensor(
    [(-A, 1.0), (-1.0, A), (1.0, A), (A, 1.0), (A, -1.0), (1.0, -A), (-1.0, -A), (-A, -1.0)]
)
both_datasets = pytest.mark.parametrize(
    "dataset", [TimeDependentTensorDataset, TimeDependentIterDataset]
)


@pytest.fixture
def XY() -> tuple[torch.Tensor, torch.Tensor]:
    return generate_toy8("all", 24, seed=0)


def drift(X, t):
    return X + t * torch.tensor([2.0, -0.5])


def fade(Y, t):
    return Y - 0.01 * t


# --- the clusters --------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.04, 0.01])
def test_means_and_variances_of_the_clusters(scale):
    X, Y = generate_toy8("all", 8 * 4000, scale=scale, seed=1)
    clusters = torch.stack([X[Y[:, label] == 1] for label in range(8)])
    # The standard errors: sqrt(scale / 4000) of a mean, scale * sqrt(2 / 4000) of a variance.
    mean_error = (clusters.mean(dim=1) - CLOCKWISE).abs().max()
    assert mean_error < 5 * (scale / 4000) ** 0.5
    torch.testing.assert_close(
        clusters.var(dim=1), torch.full((8, 2), scale), rtol=5 * (2 / 4000) ** 0.5, atol=0
    )
    x, y = (clusters - CLOCKWISE[:, None]).flatten(0, 1).T
    assert abs((x * y).mean()) < 5 * scale / 32000**0.5  # the axes are independent


def test_scale_0_puts_every_point_on_its_centre():
    X, Y = generate_toy8("all", 16, scale=0.0, seed=0)
    assert torch.equal(X, Y @ CLOCKWISE)


@pytest.mark.parametrize(
    "label_kind, labels",
    [("all", range(8)), ("some", [0, 0, 0, 0, 1, 1, 2, 3]), ("none", [0] * 8)],
)
def test_labels_of_the_centres(label_kind, labels):
    X, Y = generate_toy8(label_kind, 80, scale=1e-4, seed=3)
    cluster = torch.cdist(X, CLOCKWISE).argmin(dim=1)
    assert torch.equal(cluster.bincount(), torch.full((8,), 10))
    assert torch.equal(Y, torch.eye(8)[torch.tensor(labels)[cluster]])


def test_points_come_shuffled():
    _, Y = generate_toy8("all", 800, seed=0)
    first_half = Y[:400].sum(dim=0)
    assert ((first_half > 25) & (first_half < 75)).all()  # 50 each; sorted: 100 or 0
    assert not torch.equal(Y[:8].argmax(dim=1), Y[8:16].argmax(dim=1))


@pytest.mark.parametrize("label_kind", ["all", "some", "none"])
def test_shapes_and_types(label_kind):
    X, Y = generate_toy8(label_kind, 16)
    assert (X.shape, X.dtype) == ((16, 2), torch.float32)
    assert (Y.shape, Y.dtype) == ((16, 8), torch.float32)


def test_a_seed_gives_the_same_bits_and_none_gives_new_ones():
    X, Y = generate_toy8("all", 64, seed=5)
    X_again, Y_again = generate_toy8("all", 64, seed=5)
    assert torch.equal(X, X_again)
    assert torch.equal(Y, Y_again)
    assert not torch.equal(X, generate_toy8("all", 64, seed=6)[0])
    assert not torch.equal(generate_toy8("all", 64)[0], generate_toy8("all", 64)[0])


def test_label_kind_changes_no_point():
    X_all, _ = generate_toy8("all", 64, seed=5)
    X_some, _ = generate_toy8("some", 64, seed=5)
    assert torch.equal(X_all, X_some)


@pytest.mark.parametrize("seed", [None, 7])
def test_nothing_draws_from_the_global_random_state(seed):
    before = torch.get_rng_state()
    X, Y = generate_toy8("all", 16, seed=seed)
    generate_fake_toy(16)
    td_arrays(X, Y)
    for dataset in TimeDependentTensorDataset, TimeDependentIterDataset:
        tdds_arrays(dataset(X, Y), nsteps=2, batch_size=4)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_global_seed_changes_nothing():
    X, _ = generate_toy8("all", 16, seed=7)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        assert torch.equal(generate_toy8("all", 16, seed=7)[0], X)


@pytest.mark.parametrize(
    "make", [lambda d: generate_toy8("some", 8, device=d), lambda d: generate_fake_toy(8, device=d)]
)
def test_device(make):
    X, Y = make("meta")
    assert X.device == Y.device == torch.device("meta")
    X, Y = make(torch.device("cpu"))
    assert X.device == Y.device == torch.device("cpu")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("al", 8), "label_kind is 'al'; expected one of all, some, none"),
        (("all", 15), "npoints is 15; expected a positive multiple of 8.*try 16"),
        (("all", 0), "npoints is 0; expected a positive multiple of 8.*try 8"),
        (("all", -8), "npoints is -8; expected a positive multiple of 8.*try 8"),
        (("all", 8, -0.1), "scale is -0.1; expected a variance"),
    ],
)
def test_errors_of_generate_toy8(arguments, message):
    with pytest.raises(ValueError, match=message):
        generate_toy8(*arguments)


# --- circles and colours -------------------------------------------------------------------------


@pytest.mark.parametrize("npoints", [1, 3, 10])
def test_points_on_circle(npoints):
    points = points_on_circle(2.5, npoints)
    assert points.shape == (npoints, 2)
    torch.testing.assert_close(points.norm(dim=1), torch.full((npoints,), 2.5))
    torch.testing.assert_close(points[0], torch.tensor([2.5, 0.0]))
    if npoints > 1:  # equal chords all the way round, the last to the first included
        chords = (points - points.roll(1, dims=0)).norm(dim=1)
        chord = 5 * torch.sin(torch.tensor(torch.pi / npoints))
        torch.testing.assert_close(chords, chord.expand(npoints))


def test_no_points_on_a_circle():
    assert points_on_circle(1.0, 0).shape == (0, 2)


@pytest.mark.parametrize("npoints", [1, 20, 64])
def test_fake_toy_lies_on_circles_around_the_centres_of_toy8(npoints):
    X, Y = generate_fake_toy(npoints)
    assert (X.shape, X.dtype) == ((npoints, 2), torch.float32)
    assert (Y.shape, Y.dtype) == ((npoints, 8), torch.float32)
    assert torch.equal(Y.sum(dim=1), torch.ones(npoints))
    torch.testing.assert_close((X - Y @ CLOCKWISE).norm(dim=1), torch.full((npoints,), 0.4))
    assert len(X.unique(dim=0)) == npoints
    share = Y.sum(dim=0)
    assert share.max() - share.min() <= 1
    assert torch.equal(generate_fake_toy(npoints)[0], X)


def test_each_label_has_its_colour():
    colours = label2color_toyN(torch.eye(8))
    assert len(set(colours)) == 8
    _, Y = generate_toy8("some", 64, seed=0)
    assert label2color_toyN(Y) == [colours[label] for label in Y.argmax(dim=1)]
    assert label2color_toyN(torch.eye(3)) == colours[:3]


@pytest.mark.parametrize("shift", [3.0, -0.5, -4.0])
def test_labels_keep_their_colour_when_time_changes_them(XY, shift):
    _, Y = XY
    assert label2color_toyN(torch.where(Y != 0, Y + shift, Y)) == label2color_toyN(Y)


def test_errors_of_label2color():
    with pytest.raises(ValueError, match=r"row 1 of Y is \[1.0, 1.0\]"):
        label2color_toyN(torch.tensor([[0.0, 1.0], [1.0, 1.0]]))
    with pytest.raises(ValueError, match=r"row 0 of Y is \[0.0, 0.0\]"):
        label2color_toyN(torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"Y has shape \(9, 9\).*at most 8 labels"):
        label2color_toyN(torch.eye(9))
    with pytest.raises(ValueError, match=r"Y has shape \(4,\)"):
        label2color_toyN(torch.arange(4))


# --- motion --------------------------------------------------------------------------------------


def test_defaults_shift_points_and_nonzero_labels_over_ten_times(XY):
    X, Y = XY
    X_t, Y_t = td_arrays(X, Y)
    t = torch.linspace(0, 10, 10)[:, None, None]
    torch.testing.assert_close(X_t, X + t, rtol=0, atol=1e-5)
    torch.testing.assert_close(Y_t, Y * (1 + t), rtol=0, atol=1e-5)
    assert X_t.dtype == Y_t.dtype == torch.float32


@pytest.mark.parametrize(
    "time",
    [[0, 1, 2, 3], [0, 0.1, 4, 4.5, 11], [0, 2, -1], torch.linspace(0, 1, 4) ** 2],
    ids=["uniform", "non-uniform", "backwards", "tensor"],
)
@pytest.mark.parametrize("functions", [{}, {"time_x_func": drift, "time_y_func": fade}])
def test_rel_agrees_with_abs_for_linear_functions(XY, time, functions):
    relative = td_arrays(*XY, **functions, time_func_mode="rel", time=time)
    absolute = td_arrays(*XY, **functions, time_func_mode="abs", time=time)
    torch.testing.assert_close(relative, absolute, rtol=0, atol=1e-5)
    assert not torch.equal(absolute[0][0], absolute[0][-1])


def test_what_the_functions_are_called_with():
    X, Y = torch.ones(1, 2), torch.ones(1, 8)

    def calls(mode):
        seen = []

        def double(X, t):
            seen.append((X[0, 0].item(), t))
            return 2 * X

        list(td_gen(X, Y, double, lambda Y, t: Y, mode, time=[1, 1.5, 4]))
        return seen

    assert calls("abs") == [(1, 1.0), (1, 1.5), (1, 4.0)]
    assert calls("rel") == [(1, 0.5), (2, 2.5)]


@pytest.mark.parametrize("mode", ["rel", "abs"])
@pytest.mark.parametrize(
    "time, kind",
    [
        (torch.linspace(0, 3, 4), torch.Tensor), (torch.arange(4), torch.Tensor),
        (np.linspace(0, 3, 4), np.float64), ([0.0, 1.0, 2.0, 3.0], float), (range(4), int),
    ],
)  # fmt: skip
def test_functions_get_elements_of_the_time_that_was_given(XY, mode, time, kind):
    def turn(X, t):
        assert isinstance(t, kind)
        return X + torch.sin(2 * t) if kind is torch.Tensor else X + t

    expected = [float(t) for t in time]
    X_t, _ = td_arrays(*XY, turn, lambda Y, t: Y, mode, time)
    assert len(X_t) == len(expected)
    if mode == "abs":
        moved = [np.sin(2 * t) if kind is torch.Tensor else t for t in expected]
        torch.testing.assert_close(X_t, torch.stack([XY[0] + float(m) for m in moved]))


@both_datasets
def test_functions_of_a_data_set_get_one_sample(XY, dataset):
    X, Y = XY

    def turned(x, t):
        assert x.shape == X.shape[1:]
        return torch.tensor([x[0] + t, x[1]])

    ds = dataset(X, Y, turned, lambda y, t: y * (y.argmax() + t), dt=0.5)
    ds.step()
    ds.step()
    torch.testing.assert_close(ds.tensors[0], X + torch.tensor([1.0, 0.0]))
    factors = [float((y.argmax() + 0.5) ** 2) for y in Y]
    torch.testing.assert_close(ds.tensors[1], Y * torch.tensor(factors)[:, None])


@both_datasets
def test_the_default_functions_give_the_same_sample_by_sample(XY, dataset):
    whole, single = dataset(*XY), dataset(*XY, lambda x, t: shift_points(x, t),
                                          lambda y, t: shift_labels(y, t))  # fmt: skip
    whole.step()
    single.step()
    assert all(map(torch.equal, whole.tensors, single.tensors))


def test_the_first_relative_step_is_untouched(XY):
    X, Y = next(td_gen(*XY, time=[3, 4]))
    assert torch.equal(X, XY[0])
    assert torch.equal(Y, XY[1])
    X, Y = next(td_gen(*XY, time=[3, 4], time_func_mode="abs"))
    torch.testing.assert_close(X, XY[0] + 3)


@pytest.mark.parametrize("mode", ["rel", "abs"])
def test_motion_leaves_the_initial_arrays_alone(XY, mode):
    before = [tensor.clone() for tensor in XY]
    td_arrays(*XY, time_func_mode=mode)
    assert all(map(torch.equal, XY, before))


@pytest.mark.parametrize("mode", ["rel", "abs"])
def test_times_are_read_one_by_one(XY, mode):
    times = iter([0.0, 1.0, 2.0])
    next(td_gen(*XY, time_func_mode=mode, time=times))
    assert next(times) == 1.0


@pytest.mark.parametrize("mode", ["rel", "abs"])
def test_no_time_no_step(XY, mode):
    assert list(td_gen(*XY, time_func_mode=mode, time=[])) == []


def test_errors_of_motion_come_with_the_call(XY):
    X, Y = XY
    with pytest.raises(ValueError, match="time_func_mode is 'relative'; expected 'rel'"):
        td_gen(X, Y, time_func_mode="relative")
    for make in td_gen, TimeDependentTensorDataset, TimeDependentIterDataset:
        with pytest.raises(ValueError, match=r"X has shape \(24, 2\) and Y \(8, 8\)"):
            make(X, Y[:8])


def test_arrays_from_itr_stacks_in_order():
    pairs = [(torch.full((3, 2), float(k)), torch.full((3, 8), -float(k))) for k in range(5)]
    X_t, Y_t = arrays_from_itr(iter(pairs))
    assert X_t.shape == (5, 3, 2)
    assert Y_t.shape == (5, 3, 8)
    assert X_t[:, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert Y_t[:, 0, 0].tolist() == [0, -1, -2, -3, -4]


def test_arrays_from_itr_names_what_it_cannot_stack():
    with pytest.raises(ValueError, match="none at all"):
        arrays_from_itr(iter([]))
    ragged = [(torch.ones(n, 2), torch.ones(n, 8)) for n in (4, 3)]
    with pytest.raises(ValueError, match=r"\(\(3, 2\), \(3, 8\)\), \(\(4, 2\), \(4, 8\)\)"):
        arrays_from_itr(ragged)


# --- data sets -----------------------------------------------------------------------------------


@both_datasets
@pytest.mark.parametrize(
    "functions",
    [{}, {"time_x_func": drift, "time_y_func": fade}, {"time_x_func": lambda X, t: X * (1 + t)}],
    ids=["default", "linear", "nonlinear"],
)
def test_steps_of_a_dataset_agree_with_td_gen(XY, dataset, functions):
    ds = dataset(*XY, **functions, dt=0.25)
    X_t, Y_t = tdds_arrays(ds, nsteps=4)
    expected = td_arrays(*XY, **functions, time=[0, 0.25, 0.5, 0.75])
    assert X_t.shape == (4, 24, 2)
    assert Y_t.shape == (4, 24, 8)
    assert torch.equal(X_t, expected[0])
    assert torch.equal(Y_t, expected[1])


@both_datasets
def test_items_are_those_of_the_current_time(XY, dataset):
    X, Y = XY
    ds = dataset(X, Y, dt=0.5)
    assert ds.time == 0
    for step in range(3):
        assert ds.time == 0.5 * step
        items = list(ds) if dataset is TimeDependentIterDataset else [ds[i] for i in range(24)]
        X_now, Y_now = arrays_from_itr(items)
        torch.testing.assert_close(X_now, X + ds.time)
        torch.testing.assert_close(Y_now, Y * (1 + ds.time))
        ds.step()


@both_datasets
def test_a_step_is_one_unit_of_time_by_default(XY, dataset):
    ds = dataset(*XY)
    ds.step()
    assert ds.time == 1
    torch.testing.assert_close(ds.tensors[0], XY[0] + 1)


@both_datasets
def test_a_second_call_goes_on_where_the_first_ended(XY, dataset):
    ds = dataset(*XY)
    first, _ = tdds_arrays(ds, nsteps=2)
    assert ds.time == 2
    second, _ = tdds_arrays(ds, nsteps=2)
    whole, _ = tdds_arrays(dataset(*XY), nsteps=4)
    assert torch.equal(torch.cat([first, second]), whole)


@both_datasets
def test_batches_come_in_order_step_by_step(XY, dataset):
    X_t, Y_t = td_arrays(*XY, time=[0, 1])
    batches = list(tdds_gen(dataset(*XY), nsteps=2, batch_size=10))
    assert [len(X) for X, _ in batches] == [10, 10, 4, 10, 10, 4]
    assert torch.equal(torch.cat([X for X, _ in batches]), X_t.flatten(0, 1))
    assert torch.equal(torch.cat([Y for _, Y in batches]), Y_t.flatten(0, 1))


@both_datasets
def test_batches_equal_those_of_a_data_loader(XY, dataset):
    ds = dataset(*XY)
    loader = DataLoader(ds, batch_size=10, generator=torch.Generator())
    for (X, Y), (X_loaded, Y_loaded) in zip(tdds_gen(ds, 1, 10), loader, strict=True):
        assert torch.equal(X, X_loaded)
        assert torch.equal(Y, Y_loaded)


def test_stacked_batches(XY):
    X_t, Y_t = tdds_arrays(TimeDependentTensorDataset(*XY), nsteps=2, batch_size=8)
    assert X_t.shape == (6, 8, 2)
    assert Y_t.shape == (6, 8, 8)
    with pytest.raises(ValueError, match="the last batch a smaller one"):
        tdds_arrays(TimeDependentTensorDataset(*XY), nsteps=2, batch_size=10)


def test_what_torch_takes_the_datasets_for(XY):
    by_index, by_iterator = TimeDependentTensorDataset(*XY), TimeDependentIterDataset(*XY)
    assert isinstance(by_index, TensorDataset)
    assert len(by_index) == 24
    assert isinstance(by_iterator, IterableDataset)


def test_a_step_during_an_iteration_shows_in_the_next(XY):
    ds = TimeDependentIterDataset(*XY)
    iterator = iter(ds)
    ds.step()
    assert torch.equal(next(iterator)[0], XY[0][0])
    assert torch.equal(next(iter(ds))[0], XY[0][0] + 1)


def test_workers_share_the_points(XY):
    ds = TimeDependentIterDataset(*XY)
    ds.step()
    loader = DataLoader(ds, batch_size=None, num_workers=2, generator=torch.Generator())
    X, _ = arrays_from_itr(loader)
    torch.testing.assert_close(X.sort(dim=0).values, (XY[0] + 1).sort(dim=0).values)


# --- the module ----------------------------------------------------------------------------------


def test_every_public_name_is_offered():
    assert all(hasattr(generate, name) for name in generate.__all__)
    assert generate.__all__ == sorted(generate.__all__)
