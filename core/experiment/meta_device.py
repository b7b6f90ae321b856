"""Models without values: on the meta device, and not initialised either."""

from torch.utils._device import DeviceContext


class MetaDevice(DeviceContext):
    """The meta device, on which `torch.nn.init` leaves tensors alone: there is nothing to fill, and trying takes time."""

    def __init__(self):
        super().__init__("meta")

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return super().__torch_function__(function, types, args, kwargs)
