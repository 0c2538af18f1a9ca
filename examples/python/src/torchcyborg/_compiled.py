# SPDX-License-Identifier: BSD-3-Clause
"""Networks under torch.compile.

The operators of a compiled network do not report themselves. So the layer whose output
the head reads is found once, in an eager forward in evaluation mode, and then a forward
hook reads that output in each compiled forward. That the map explains the logits is
proven in the eager forward and checked against the logits of the compiled ones.
"""

import contextlib
import threading
import weakref

import torch

from ._results import mapped, tensors_of

_CHECK_EVERY = 64  # forwards, away from the CPU, where a check waits for the device


def compiled_parts(module):
    """Whether a part of the network is compiled by itself. It is asked before each
    forward, so it reads the modules' dictionaries: `modules()` and `hasattr` take a
    millisecond in a ResNet-18."""
    seen = set()
    stack = [module]
    while stack:
        one = stack.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        parts = one._modules
        if "_orig_mod" in parts or one.__dict__.get("_compiled_call_impl") is not None:
            return True
        stack += parts.values()
    return False


def ran_compiled(logits):
    """Whether something compiled is on the graph of the logits."""
    seen = set()
    stack = [logits.grad_fn]
    while stack and len(seen) < 10000:
        node = stack.pop()
        if node is None or node in seen:
            continue
        if "CompiledFunction" in node.name():
            return True
        seen.add(node)
        stack += [edge for edge, _ in node.next_functions]
    return False


@contextlib.contextmanager
def _eagerly(module):
    """Inside, nothing is compiled, the network is in evaluation mode, and random numbers
    that it draws are given back."""
    modes = [(m, m.training) for m in module.modules()]
    devices = sorted({p.get_device() for p in module.parameters() if p.is_cuda})
    with contextlib.ExitStack() as stack:
        if hasattr(torch.compiler, "set_stance"):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(torch.random.fork_rng(devices))
        try:
            module.eval()
            yield
        finally:
            for m, training in modes:
                m.training = training


def _autocasts(device_type):
    try:
        return torch.is_autocast_enabled(device_type)
    except TypeError:  # torch before 2.4
        return torch.is_autocast_enabled() or torch.is_autocast_cpu_enabled()


@contextlib.contextmanager
def _without_autocast(module, args):
    """Inside, autocast is off: it gives the head a copy of its weight, which is not the
    parameter any more. Yields the arguments in the type of the network."""
    first = next((p for p in module.parameters() if p.is_floating_point()), None)
    if first is None or not _autocasts(first.device.type):
        yield args
        return

    def cast(tensor):
        half = tensor.dtype in (torch.float16, torch.bfloat16)
        return tensor.to(first.dtype) if half else tensor

    with torch.autocast(first.device.type, enabled=False):
        yield mapped(args, cast)


class _Read:
    """The forward hook of the layer that is read. A copy of it reads nothing."""

    def __init__(self, reader=None):
        self._reader = (lambda: None) if reader is None else weakref.ref(reader)

    def __reduce__(self):
        return type(self), ()

    def __call__(self, module, args, output):
        if torch.compiler.is_compiling():
            _read_compiled(self, module, output)
            return
        reader = self._reader()
        if reader is not None:
            reader.read(module, output)


@torch.compiler.disable
def _read_compiled(read, module, output):
    reader = read._reader()
    if reader is not None:
        reader.read(module, output)


class Reader:
    """Reads the features of a compiled network, or says why it cannot."""

    def __init__(self, problem=""):
        self.problem = problem
        self._here = threading.local()
        self._handle = None
        self._forwards = 0

    @classmethod
    def find(cls, hook, core, module, args, kwargs):
        """Runs the network once, eagerly, and looks for the layer whose output is the
        map that the logits come from."""
        outputs = {}

        def keep(m, _, output):
            if isinstance(output, torch.Tensor) and output.dim() >= 3:
                outputs.pop(m, None)
                outputs[m] = output  # in the order in which they end

        handles = [m.register_forward_hook(keep) for m in module.modules() if m is not module]
        try:
            with _eagerly(module), _without_autocast(module, (args, kwargs)) as given:
                args, kwargs = given
                core.begin(lambda: list(module.named_parameters()))
                try:
                    result = module.forward(*args, **kwargs)
                    tensors, problem = tensors_of(result, hook.logits_of)
                    core.end(tensors, problem, lambda: list(module.named_parameters()))
                except BaseException:
                    core.cancel()
                    raise
        finally:
            for handle in handles:
                handle.remove()
        seen = core.observation
        core.clear()
        if not seen.defined:
            return cls(seen.reason)
        layers = [m for m, output in outputs.items() if output is seen.features]
        if not layers:
            return cls(
                f"the network is compiled, and no submodule returns the map that its "
                f"head reads (the nearest is '{seen.layer}'). Make the operators behind "
                "it submodules, compile the part before them alone, or name a layer "
                'with CamHook(net, layer=name, method="cam")'
            )
        if not seen.exact and hook.method != "cam":
            return cls(
                f"the network is compiled, and CAM is not exact ({seen.reason}): "
                "Grad-CAM needs second derivatives, which a compiled network does not "
                "have. Do not compile what lies behind the features"
            )
        names = {p.data_ptr(): name for name, p in module.named_parameters()}
        weight = names.get(seen.weight.data_ptr()) if seen.weight is not None else None
        bias = names.get(seen.bias.data_ptr()) if seen.bias is not None else None
        if weight is None or (seen.bias is not None and bias is None):
            return cls(
                "the network is compiled, and the weight of its head is computed from "
                "other parameters; do not compile the head"
            )
        return cls()._reads(module, layers[-1], weight, bias, seen.exact)

    def _reads(self, module, layer, weight, bias, exact):
        self._module = weakref.ref(module)
        self._weight = weight
        self._bias = bias
        self._exact = exact
        self._handle = layer.register_forward_hook(_Read(self))
        return self

    def remove(self):
        if self._handle is not None:
            self._handle.remove()

    def start(self):
        self._here.features = None
        self._here.open = True

    def read(self, module, output):
        if getattr(self._here, "open", False):
            self._here.features = output

    def stop(self):
        features = getattr(self._here, "features", None)
        self._here.features = None
        self._here.open = False
        return features

    def capture(self, core, features, logits):
        """Gives the core what was read. Returns why not, or ""."""
        if features is None:
            return (
                "the compiled network did not run the layer that the hook reads. Was it "
                "compiled and run before the hook was made? Then call "
                "torch._dynamo.reset() after making the hook"
            )
        module = self._module()
        weight = module.get_parameter(self._weight)
        bias = module.get_parameter(self._bias) if self._bias else None
        if self._exact and not _drops(module):
            if self._forwards % (1 if features.is_cpu else _CHECK_EVERY) == 0:
                if not _explains(features, weight, bias, logits):
                    return (
                        "the compiled logits are not W x + b of the mean of the map, as "
                        "they were in the eager forward in evaluation mode"
                    )
            self._forwards += 1
        core.capture(features, weight.flatten(1), bias)
        return ""


def _drops(module):
    """Whether dropout may stand between the mean and the head: then what the head reads
    is not known, and nothing can be compared."""
    return any(
        m.training and m.p > 0
        for m in module.modules()
        if isinstance(m, torch.nn.modules.dropout._DropoutNd)
    )


def _rounding(dtype):
    """The rounding of the factors of a matrix product of this type. PyTorch may be told
    to make those of float32 with less precision (torch.set_float32_matmul_precision)."""
    if dtype != torch.float32:
        return torch.finfo(dtype).eps
    try:
        precision = torch.get_float32_matmul_precision()
    except RuntimeError:  # the devices differ: the largest rounding is assumed
        precision = "medium"
    return {"highest": torch.finfo(dtype).eps, "high": 2.0**-10}.get(
        precision, torch.finfo(torch.bfloat16).eps
    )


@torch.no_grad()
def _explains(features, weight, bias, logits):
    """Whether the logits are W x + b of the mean x of the features."""
    with torch.autocast(features.device.type, enabled=False):
        mean = features.double().flatten(2).mean(2)
        found = mean @ weight.double().flatten(1).t()
        if bias is not None:
            found = found + bias.double()
        size = mean.abs() @ weight.double().flatten(1).abs().t() + 1e-30
        unit = max(_rounding(t.dtype) for t in (features, weight, logits))
        error = (logits.double().reshape(found.shape) - found).abs()
        return bool((error <= size * (64 * unit)).all())
