"""Real conversions cost seconds, so each network is exported once for all tests."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeprune.exporting import Exporter, export_all
from edgeprune.values.spec import ExportSpec

PRECISIONS = ("fp32", "int8", "fp16", "int8-dynamic")
WAYS = [(format_name, precision) for format_name in ("onnx", "tflite") for precision in PRECISIONS]


def block(n_in, n_out, kernel=3, groups=1):
    convolution = nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU())


class DigitNet(nn.Module):
    """Convolution, batch norm, residual sum, depthwise and pointwise convolution: 46 k parameters."""

    def __init__(self):
        super().__init__()
        self.stem = block(1, 24)
        self.first, self.second = block(24, 48), block(48, 48)
        self.depthwise, self.pointwise = block(48, 48, groups=48), block(48, 96, kernel=1)
        self.head = nn.Linear(96 * 4, 10)

    def forward(self, x):
        x = self.first(self.stem(x))
        x = F.max_pool2d(x + self.second(x), 2)
        x = F.max_pool2d(self.pointwise(self.depthwise(x)), 2)
        return self.head(x.flatten(1))


class TwoByTwo(nn.Module):
    """Two inputs, and two outputs in a dict."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(8, 6), nn.Conv1d(3, 4, 3)

    def forward(self, x, y):
        right = self.right(y).mean(2)
        return {"joined": torch.cat([torch.relu(self.left(x)), right], 1), "right": right * 2 + 1}


@pytest.fixture(scope="session", autouse=True)
def one_thread(torchlib_is_read_once):
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits():
    """The scikit-learn digits: training batches of (inputs, targets), and a held-out pair."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(data.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images, labels = images[order], labels[order]
    train = [(images[i : i + 64], labels[i : i + 64]) for i in range(0, 1280, 64)]
    return train, (images[1280:], labels[1280:])


@pytest.fixture(scope="session")
def digit_net(digits):
    torch.manual_seed(0)
    model = DigitNet()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(2):
        for inputs, targets in digits[0]:
            loss = F.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


@pytest.fixture(scope="session")
def digit_exporter(digit_net, digits):
    """Converts the network once for all specs."""
    return Exporter(digit_net, example_inputs=(torch.zeros(1, 1, 8, 8),), calibration=digits[0])


@pytest.fixture(scope="session")
def artifacts(digit_net, digits, tmp_path_factory):
    """Every format in every precision, by (format, precision)."""
    specs = [ExportSpec(format=format_name, precision=precision) for format_name, precision in WAYS]
    folder = tmp_path_factory.mktemp("artifacts") / "made" / "here"
    made = export_all(digit_net, specs, example_inputs=(torch.zeros(1, 1, 8, 8),), calibration=digits[0], folder=folder)
    return dict(zip(WAYS, made, strict=True))


@pytest.fixture(scope="session")
def two_by_two():
    torch.manual_seed(1)
    return TwoByTwo()


@pytest.fixture(scope="session")
def two_by_two_artifacts(two_by_two, tmp_path_factory):
    """Both formats in fp32 and int8, inputs named against the alphabet."""
    folder = tmp_path_factory.mktemp("two-by-two")
    generator = torch.Generator().manual_seed(2)
    rows = [((torch.randn(16, 8, generator=generator), torch.randn(16, 3, 10, generator=generator)), None)] * 4
    exporter = Exporter(two_by_two, example_inputs=(torch.zeros(1, 8), torch.zeros(1, 3, 10)), calibration=rows)
    return {
        (format_name, precision): exporter.export(
            ExportSpec(format=format_name, precision=precision, input_names=("zeta", "alpha")),
            folder / f"{precision}.{format_name}",
        )
        for format_name, precision in WAYS
        if precision in ("fp32", "int8")
    }
