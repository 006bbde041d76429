import numpy as np
import torch
from torch import nn

from nas_pipeline.data.loaders import Split
from nas_pipeline.train.batches import Batches
from nas_pipeline.train.calibration import calibrate, temperature


def labelled(count: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and labels drawn from the probabilities that they state."""
    stream = torch.Generator().manual_seed(0)
    logits = torch.randn(count, 5, generator=stream) * 2
    return logits, torch.multinomial(logits.softmax(1), 1, generator=stream).squeeze(1)


def test_temperature_is_the_factor_of_overconfident_logits():
    logits, labels = labelled()
    assert abs(temperature(logits, labels) - 1) < 0.1
    assert abs(temperature(logits * 2, labels) - 2) < 0.2
    assert abs(temperature(logits / 2, labels) - 0.5) < 0.05


def test_the_temperature_is_bounded_where_all_predictions_are_correct():
    labels = torch.arange(5).repeat(20)
    assert 0.25 <= temperature(nn.functional.one_hot(labels, 5).float(), labels) < 0.26


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(x.flatten(1))


def test_the_last_layer_is_scaled_and_no_prediction_changes():
    stream = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4000, 1, 2, 2), generator=stream, dtype=torch.uint8).numpy()
    net = Linear()
    with torch.no_grad():
        net.classifier.weight.copy_(torch.randn(5, 4, generator=stream))
        net.classifier.bias.zero_()
        unlabelled = Batches(Split(images, np.zeros(4000, np.int64)), (0.5,), (0.3,), torch.device("cpu"))
        logits = net(next(unlabelled.in_order(4000))[0])
        labels = torch.multinomial(logits.softmax(1), 1, generator=stream).squeeze(1)
        for parameter in net.parameters():
            parameter.mul_(3)
    val = Batches(Split(images, labels.numpy()), (0.5,), (0.3,), torch.device("cpu"))
    divisor = calibrate(net, net, val)
    assert abs(divisor - 3) < 0.3
    torch.testing.assert_close(net(next(val.in_order(4000))[0]), logits * 3 / divisor)
