"""Weights that share few values: how they are clustered, how many bits they get, and what training leaves as it is."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgeprune.errors import ModelError, UsageError
from edgeprune.pruning.bit_allocation import BitAllocation
from edgeprune.pruning.clustering import cluster
from edgeprune.pruning.folding import folded
from edgeprune.pruning.shared_network import SharedNetwork
from edgeprune.pruning.sharing import share
from edgeprune.values.packing import SharingSpec
from edgeprune.values.spec import FinetuneSpec

NORMAL = {name: np.random.default_rng(i).standard_normal(400).astype(np.float32) for i, name in enumerate("ab")}
weights = st.lists(st.floats(-4, 4, width=32, allow_subnormal=False), min_size=1, max_size=80)


class TestClustering:
    @given(weights, st.integers(1, 16))
    @settings(max_examples=60)
    def test_each_weight_has_the_nearest_value(self, given_weights, count):
        array = np.array(given_weights, np.float32)
        found = cluster(array, count)
        assert 1 <= len(found.centroids) <= count
        gaps = np.abs(array[:, None] - found.centroids)
        assert np.all(gaps[np.arange(len(array)), found.codes] <= gaps.min(1) + 1e-5)

    @given(weights)
    @settings(max_examples=30)
    def test_as_many_values_as_weights_lose_nothing(self, given_weights):
        array = np.array(given_weights, np.float32)
        found = cluster(array, len(array))
        assert np.array_equal(found.centroids[found.codes], array)

    def test_the_few_large_weights_keep_values_of_their_own(self):
        array = np.concatenate([np.linspace(-0.1, 0.1, 999), [5.0]]).astype(np.float32)
        assert cluster(array, 4).centroids[-1] == 5.0

    def test_values_are_the_means_of_their_weights(self):
        found = cluster(np.array([0.0, 0.1, 0.2, 2.0, 2.2, 2.4], np.float32), 2)
        assert found.centroids == pytest.approx([0.1, 2.2])
        assert found.entropy_bits == pytest.approx(1.0)


class TestBits:
    @staticmethod
    def loss(weigh):
        def measured(clusters):
            return sum(weigh[n] * float(np.mean((c.centroids[c.codes] - NORMAL[n]) ** 2)) for n, c in clusters.items())

        return measured

    def test_go_to_the_tensor_that_the_loss_depends_on(self):
        allocation = BitAllocation(NORMAL, self.loss({"a": 10.0, "b": 0.1}), 6)
        clusters = allocation.within(0.05)
        assert self.loss({"a": 10.0, "b": 0.1})(clusters) <= 0.05
        assert allocation.bits["a"] > allocation.bits["b"]

    def test_are_the_most_where_no_less_is_within_the_budget(self):
        allocation = BitAllocation(NORMAL, self.loss({"a": 1.0, "b": 1.0}), 5)
        allocation.within(0.0)
        assert allocation.bits == {"a": 5, "b": 5}


class Net(nn.Sequential):
    """Convolution, batch norm and a linear layer over 8 x 8 pixels."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, 4)
        )


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(256, 1, 8, 8, generator=generator)
    return [(part, (part.mean((1, 2, 3)) > 0).long()) for part in x.split(32)]


@pytest.fixture
def net(data):
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for inputs, targets in data * 3:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    with torch.no_grad():
        model[5].weight[model[5].weight.abs() < 0.05] = 0
    return model.eval()


class TestSharing:
    spec = SharingSpec(0.05, training=FinetuneSpec(epochs=1))

    def test_leaves_few_values_and_every_zero(self, net, data):
        found = share(net, self.spec, example_inputs=(data[0][0][:1],), train=data)
        for row, weight in zip(found.report.tensors, (found.model[0].weight, found.model[5].weight), strict=True):
            values = weight.detach().unique()
            assert len(values[values != 0]) <= row.values <= 2**row.bits
        assert torch.equal(found.model[5].weight == 0, net[5].weight == 0)
        assert found.report.loss_shared <= found.report.loss_before + self.spec.loss_budget

    def test_leaves_the_given_model_as_it_was(self, net, data):
        before = copy.deepcopy(net.state_dict())
        share(net, self.spec, example_inputs=(data[0][0][:1],), train=data)
        assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())

    def test_without_training_keeps_the_loss_of_the_clusters(self, net, data):
        found = share(
            net, SharingSpec(0.05, training=FinetuneSpec(epochs=0)), example_inputs=(data[0][0][:1],), train=data
        )
        assert found.report.loss_trained == pytest.approx(found.report.loss_shared)

    def test_needs_weights(self, data):
        with pytest.raises(ModelError, match="no weights"):
            share(nn.Flatten(), self.spec, example_inputs=(data[0][0][:1],), train=data)

    def test_refuses_a_budget_that_is_none(self):
        with pytest.raises(UsageError, match="loss budget"):
            SharingSpec(0.0)


def test_the_gradient_of_a_value_is_the_sum_of_those_of_its_weights():
    layer = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.0, 2.0], [1.0, 2.0, 2.0]]))
    network = SharedNetwork(layer, {"weight": cluster(np.array([1, 2, 1, 2, 2], np.float32), 2)})
    x = torch.tensor([[1.0, 10.0, 100.0]])
    network(x).sum().backward()
    assert network.tables[0].values.grad.tolist() == [2.0, 210.0]


class TestFolding:
    def test_gives_the_same_outputs_without_the_norm(self, net, data):
        found = folded(net, (data[0][0][:2],))
        assert isinstance(found[1], nn.Identity)
        with torch.no_grad():
            assert torch.allclose(found(data[0][0]), net(data[0][0]), atol=1e-4)

    def test_leaves_a_layer_whose_output_is_read_elsewhere(self):
        class Branching(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

            def forward(self, x):
                x = self.layer(x)
                return x + self.norm(x)

        model = Branching().eval()
        model.norm.running_var.fill_(4.0)
        assert folded(model, (torch.randn(2, 4),)) is model
