"""CUDA graphs: what a part of reading asks of a GPU is recorded once and then asked for with one call.

Reading is many small kernels, and at small batches the host takes longer to ask for each than the GPU to compute it. A part is
a function that never waits for the device, and whose kernels depend on nothing but the shapes of its tensors. It is recorded
when a shape comes for the second time, so that a shape which comes once, as that of a last batch, costs nothing.

Everywhere else (on a CPU, in training, outside of inference mode) a part is simply called.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from core.model.attention import KeysValues

logger = logging.getLogger(__name__)

Key = tuple[Any, ...]


class StaticTensors:
    """Tensors in fixed places of memory, into which those of every call are copied."""

    def __init__(self, tensors: Sequence[Tensor]):
        self.tensors = list(map(torch.empty_like, tensors))
        self.source: list[ref[Tensor]] = []

    def fill(self, tensors: Sequence[Tensor]) -> None:
        for place, tensor in zip(self.tensors, tensors, strict=True):
            place.copy_(tensor)

    def fill_once(self, tensors: Sequence[Tensor]) -> None:
        """`fill`, unless the last call had the very same tensors; for what nobody writes to."""
        if len(self.source) != len(tensors) or any(old() is not new for old, new in zip(self.source, tensors, strict=True)):
            self.fill(tensors)
            self.source = [ref(tensor) for tensor in tensors]


class Graph:
    """The kernels of one call, in a CUDA graph.

    Args:
        call: the part, as a function of nothing; it reads from places and leaves its result in the graph's memory.
        beside: a graph whose memory it shares: whatever stays there between two replays is referenced.

    Raises:
        RuntimeError: the call waits for the device, or does something else that a graph cannot.
    """

    def __init__(self, call: Callable[[], Any], beside: "Graph | None"):
        self.graph = torch.cuda.CUDAGraph()
        stream, current = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(current)
        torch.clear_autocast_cache()  # the graph has casts of its own: others are freed when autocast ends
        try:
            with torch.cuda.stream(stream):
                pool = () if beside is None else (beside.graph.pool(),)
                self.graph.capture_begin(*pool, capture_error_mode="thread_local")  # a loader's thread may go on
                try:
                    self.result = call()
                finally:
                    self.graph.capture_end()
        except RuntimeError:
            generator = torch.cuda.default_generators[current.device_index]
            generator.graphsafe_set_state(generator.clone_state())  # it would wait for the end of the recording for ever
            raise
        finally:
            torch.clear_autocast_cache()  # nobody else reads the graph's casts
        current.wait_stream(stream)

    def replay(self) -> Any:
        """The result, which the next replay overwrites."""
        self.graph.replay()
        return self.result


class ModuleGraphs:
    """All graphs of a module's parts."""

    def __init__(self, module: nn.Module):
        self.weights = list(module.parameters())
        self.where = self.addresses()
        self.seen: set[Key] = set()
        self.refused: set[Key] = set()
        self.graphs: dict[Key, Graph] = {}
        self.inputs: dict[Key, StaticTensors] = {}
        self.memories: dict[Key, StaticTensors] = {}  # one for all parts of a shape

    def addresses(self) -> list[int]:
        return [weight.data_ptr() for weight in self.weights]


GRAPHS: WeakKeyDictionary[nn.Module, ModuleGraphs] = WeakKeyDictionary()


def can_replay(module: nn.Module, device: torch.device) -> bool:
    """Whether a part of this module would be recorded now."""
    return device.type == "cuda" and torch.is_inference_mode_enabled() and not module.training


def forget(module: nn.Module) -> None:
    """Throw away what was recorded of a module, as its parts are no longer what they were."""
    GRAPHS.pop(module, None)


def forget_parts(module: nn.Module) -> None:
    """`forget` a module and every module in it: what was recorded holds memory of the device."""
    for part in module.modules():
        forget(part)


def replayed(
    part: Callable[..., Any], module: nn.Module, memory: Sequence[KeysValues], *tensors: Any, settings: tuple = ()
) -> Any:
    """part(module, memory, *tensors, *settings), by a graph where one can be replayed; the result is the caller's own.

    Args:
        part: a function, not a closure: with its settings and shapes it says all that is asked for.
        memory: keys and values that nobody writes to; they are copied to their place only once while they stay the same.
        tensors: further tensors, also in lists or `KeysValues`, of a structure that the part alone decides.
        settings: hashable values.
    """
    flat, form = pytree.tree_flatten(tensors)
    read, memory_form = pytree.tree_flatten(list(memory))
    if not flat or not can_replay(module, flat[0].device):
        return part(module, memory, *tensors, *settings)
    known = GRAPHS.get(module)
    if known is None or known.where != known.addresses():
        GRAPHS[module] = known = ModuleGraphs(module)
    types = (torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda"))
    shapes = tuple((tensor.shape, tensor.dtype) for tensor in read)
    key = (part, settings, types, shapes, *((tensor.shape, tensor.dtype) for tensor in flat))
    if key in known.refused or key not in known.seen:
        known.seen.add(key)
        return part(module, memory, *tensors, *settings)
    places = (
        known.memories.get(shapes) or known.memories.setdefault(shapes, StaticTensors(read)),
        known.inputs.get(key) or known.inputs.setdefault(key, StaticTensors(flat)),
    )
    places[0].fill_once(read)
    places[1].fill(flat)
    if key not in known.graphs:
        inputs = [pytree.tree_unflatten(each.tensors, spec) for each, spec in zip(places, (memory_form, form), strict=True)]
        try:
            beside = next(iter(known.graphs.values()), None)
            known.graphs[key] = Graph(lambda: part(module, inputs[0], *inputs[1], *settings), beside)
        except RuntimeError as error:
            logger.warning("no CUDA graph of %s, which is slower: %s", part.__qualname__, error)
            known.refused.add(key)
            return part(module, memory, *tensors, *settings)
    return pytree.tree_map(torch.clone, known.graphs[key].replay())


def room_for(count: int, most: int, device: torch.device) -> int:
    """How many rows to compute where `count` of `most` are needed: on a GPU few different numbers, as each is known."""
    return min(most, 1 << (count - 1).bit_length()) if device.type == "cuda" else count
