"""Tuning a few of the tower's own weights: biases (BitFit, Ben Zaken et al. 2022) or layer norms."""

from torch import Tensor, nn

from adapters.backbone import image_parameters, require_frozen


class Partial(nn.Module):
    """The tower with some of its weights trained; they keep the tower's learning rate."""

    def __init__(self, towers: nn.Module, chosen: list[nn.Parameter]):
        super().__init__()
        method = type(self).__name__
        require_frozen(towers, method)
        inside = {id(parameter) for parameter in image_parameters(towers)}
        chosen = [parameter for parameter in chosen if id(parameter) in inside]
        if not chosen:
            raise ValueError(f"{method}: the image tower of {towers.arch} has no such weights")
        for parameter in chosen:
            parameter.requires_grad_(True)

    def forward(self, towers: nn.Module, images: Tensor) -> Tensor:
        return towers.encode_image(images)


class BitFit(Partial):
    """Every bias of the image tower."""

    def __init__(self, towers: nn.Module):
        super().__init__(towers, [parameter for name, parameter in towers.named_parameters() if name.endswith("bias")])


class LayerNormTuning(Partial):
    """Gain and bias of every layer norm of the image tower."""

    def __init__(self, towers: nn.Module):
        norms = [module for module in towers.modules() if isinstance(module, nn.LayerNorm)]
        super().__init__(towers, [parameter for norm in norms for parameter in norm.parameters()])
