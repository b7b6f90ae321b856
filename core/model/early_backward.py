"""Runs the backward pass of one part of the loss before the rest is computed, if the rest cannot add to its gradients.

On a GPU the visual branch's gradients are computed while the host turns its predictions into captions. They wait in the
graph until the whole loss is differentiated, once: so accumulation, scaling by a share of the step and
DistributedDataParallel, which all hook on to that pass, see one ordinary loss.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn


class DifferentiatedLoss(NamedTuple):
    """A loss, and the gradients of the parameters that it reaches."""

    loss: Tensor
    parameters: list[nn.Parameter]
    gradients: list[Tensor]

    def attached(self) -> Tensor:
        """The loss as part of a graph again; the backward pass through it adds the known gradients, scaled, once.

        Call it after everything else: autograd goes back through the latest part first, so that other processes get these
        gradients, most of all there are, while the rest is still computed.
        """
        return KnownGradients.apply(self.loss, self.gradients, *self.parameters)


def backward_early(loss: Tensor, parameters: Iterable[nn.Parameter]) -> DifferentiatedLoss:
    """Differentiate a loss now and free its graph; `.grad` stays as it is."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    with torch.autocast(loss.device.type, enabled=False):  # a backward pass has its types from the forward pass
        gradients = torch.autograd.grad(loss, trained, allow_unused=True)
    pairs = zip(trained, gradients, strict=True)
    reached = [(parameter, gradient) for parameter, gradient in pairs if gradient is not None]
    return DifferentiatedLoss(loss.detach(), [parameter for parameter, _ in reached], [gradient for _, gradient in reached])


class KnownGradients(torch.autograd.Function):
    """The graph of a loss whose gradients are known."""

    @staticmethod
    def forward(context, loss: Tensor, gradients: list[Tensor], *parameters: nn.Parameter) -> Tensor:
        context.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(context, factor: Tensor) -> tuple[Tensor | None, ...]:
        gradients, context.gradients = context.gradients, None  # not kept beside `.grad`, or they would take memory twice
        torch._foreach_mul_(gradients, factor)
        return None, None, *gradients


def saves_time(device: torch.device) -> bool:
    """Whether the early pass saves time: the device works asynchronously, and gradients need no scaler."""
    if device.type != "cuda":
        return False
    return not (torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda") == torch.float16)
