# SPDX-License-Identifier: BSD-3-Clause
"""`CamHook`: shows where a network looks, without a change to the network.

The hook arms itself by the forward hooks of torch.nn.Module around a core in C++, which
observes the operators of the thread. The core holds no Python object, the module holds
the hook weakly and the hook holds the module weakly, so neither keeps the other alive.
"""

import contextlib
import sys
import threading
import weakref

import torch
import torch.utils._python_dispatch
from torch.nn.parallel import DistributedDataParallel

from . import _C
from ._compiled import Reader, compiled_parts, ran_compiled
from ._results import detached, expect_tensors, tensors_of

Observation = _C.Observation


def _parameters_of(module):
    """A function that lists the parameters, for one call of the core."""
    return lambda: list(module.named_parameters())


class _State:
    """What a hook knows on one thread."""

    def __init__(self, core):
        self.core = core
        self.frame = None  # of the call that is observed; None: no call
        self.nested = 0  # calls of the module inside that call
        self.paused = 0
        self.problem = ""  # why nothing was observed
        self.reader = None  # reads the features in this call, where it is compiled

    def end(self):
        self.frame = None
        self.nested = 0
        self.reader = None


class _Arm:
    """A forward hook. It holds its `CamHook` weakly; a copy belongs to the copy of it."""

    def __init__(self, hook):
        self._hook = (lambda: None) if hook is None else weakref.ref(hook)

    def __reduce__(self):
        return type(self), (self._hook(),)


class _Before(_Arm):
    def __call__(self, module, args, kwargs):
        # Under torch.compile this is the constant True.
        if torch.compiler.is_compiling():
            return _before_compiled(self, module, args, kwargs)
        hook = self._hook()
        if hook is not None:
            hook._before(module, args, kwargs, False)
        return None


class _After(_Arm):
    def __call__(self, module, args, kwargs, result):
        if torch.compiler.is_compiling():
            return _after_compiled(self, module, args, kwargs, result)
        hook = self._hook()
        return None if hook is None else hook._after(module, args, kwargs, result)


@torch.compiler.disable
def _before_compiled(arm, module, args, kwargs):
    hook = arm._hook()
    if hook is not None:
        hook._before(module, args, kwargs, True)


@torch.compiler.disable
def _after_compiled(arm, module, args, kwargs, result):
    hook = arm._hook()
    return None if hook is None else hook._after(module, args, kwargs, result)


def _inner(module):
    """The network inside torch.compile's and DistributedDataParallel's wrappers."""
    while True:
        if hasattr(module, "_orig_mod"):
            module = module._orig_mod
        elif isinstance(module, DistributedDataParallel):
            module = module.module
        else:
            return module


class CamHook:
    """Shows where a network looks, without a change to the network.

    From its construction to `remove()`, each call of the network is observed:
    `logits = net(images)` stays as it is. The features are found by following the data
    back from the logits to the operator that collapsed space: they are the map
    [B, C, *S] that this operator read. The last observation of each thread is kept.

    Args:
        module: the network, also inside `torch.compile` or `DistributedDataParallel`.
            It must outlive the hook, which holds it weakly.
        layer: the submodule whose output is wanted ("layer3"). Default: the map that
            the logits come from.
        method: "auto" (CAM where it is exact, else Grad-CAM), "cam", "grad-cam" or
            "hires-cam".
        detach_weights: treat the gradient in Grad-CAM and HiResCAM as a constant.
        logits_of: a function that takes what the network returned and returns the
            logits [B, K] or [B]. Not needed for tensors, tuples that begin with the
            logits, and dictionaries or objects with `logits` or `out`.

    Where the features cannot be found nothing is raised by `net(images)`. `cam` and
    `require` raise the explanation, and `print(hook)` shows it.

    Example:
        hook = cyborg.CamHook(net)
        logits = net(images)
        maps = hook.cam(logits, labels)   # [B, *S]
        print(hook)                       # layer, shape, exact or not, and why
    """

    def __init__(
        self, module, layer=None, method="auto", *, detach_weights=False, logits_of=None
    ):
        module = _inner(module)
        if not isinstance(module, torch.nn.Module):
            raise TypeError(
                "torchcyborg.CamHook: expected a torch.nn.Module, got "
                f"{type(module).__name__}"
            )
        if isinstance(module, torch.jit.ScriptModule):
            raise TypeError(
                "torchcyborg.CamHook: expected a torch.nn.Module, got TorchScript; hook "
                "the module that it was made from"
            )
        self.layer = layer
        self.method = method
        self.detach_weights = detach_weights
        self.logits_of = logits_of
        self._attach(module)
        self._core_of(module)  # wrong names are errors now
        # The last hook of a module ends first.
        handles = (
            module.register_forward_pre_hook(
                _Before(self), prepend=True, with_kwargs=True
            ),
            module.register_forward_hook(
                _After(self), with_kwargs=True, always_call=True
            ),
        )
        self._keep(handles)

    # ------------------------------------------------------------- what a user calls

    @property
    def module(self):
        """The network. Raises `ReferenceError` where it is gone."""
        module = self._module()
        if module is None:
            raise ReferenceError("torchcyborg.CamHook: the network of this hook is gone")
        return module

    @property
    def observation(self):
        """What the last forward of this thread showed, as an `Observation`."""
        state = self._state()
        if state.problem:
            raise ValueError(f"torchcyborg.CamHook: {state.problem}")
        return state.core.observation

    def cam(self, logits, labels=None, *, which="label"):
        """Maps of the labels' classes, not normalised.

        Args:
            logits: [B, K] or [B], of the observed forward.
            labels: [B], integers. With one logit, label 0 negates the map.
            which: "label", or without labels "predicted" or "all".
        Returns:
            [B, *S]; with "all" [B, K, *S]. In gradient mode with a graph.
        Raises:
            ValueError: where no map was found, with the explanation; for other shapes
                and for logits of another forward.
            RuntimeError: after the backward, where the map is Grad-CAM: it needs the
                graph. Ask before it.
        """
        expect_tensors("CamHook.cam", logits=logits, labels=labels)
        return self.observation.cam(logits, labels, which=which)

    def require(self):
        """Raises `ValueError` with an explanation unless the last forward found a map."""
        self.observation.require()

    def logit_scale(self, logits=None):
        """The factor that brings the maps to the unit of the logits."""
        return self.observation.logit_scale(logits)

    def forward(self, function):
        """Runs `function()` under observation and returns its result, for what is not
        one call of the network: `hook.forward(lambda: net.head(net.body(images)))`."""
        state = self._state()
        module = self.module
        self._begin(state, module, sys._getframe())
        try:
            result = function()
        except BaseException:
            self._cancel(state)
            raise
        changed = self._end(state, module, result)
        return result if changed is None else changed

    def capture(self, features, weight=None, bias=None):
        """Takes features [B, C, *S], and the linear head [K, C], [K] that reads their
        mean, from you. Without a weight the map is Grad-CAM."""
        state = self._state()
        state.problem = ""
        state.core.capture(features, weight, bias)

    def clear(self):
        """Forgets the last observation, and frees the features and graph it holds."""
        state = self._state()
        state.problem = ""
        state.core.clear()

    def remove(self):
        """Ends it: the network is not observed any more."""
        self._finalizer()
        if self._readers is not None:
            self._readers.remove()
        self._threads = threading.local()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.remove()

    def __repr__(self):
        if self._module() is None:
            return "CamHook(the network is gone)"
        state = self._state()
        if state.problem:
            return f"CamHook(no map: {state.problem})"
        seen = state.core.observation
        if not seen.defined and not seen.reason:
            return "CamHook(nothing observed yet)"
        return repr(seen).replace("torchcyborg.Observation", "CamHook", 1)

    # ------------------------------------------------------------------ for the losses

    def logits_in(self, result):
        """The logits in what the network returned."""
        tensors, problem = tensors_of(result, self.logits_of)
        if problem or not tensors:
            raise ValueError(
                f"torchcyborg.CamHook: {problem or 'the network returned no tensor'}"
            )
        return tensors[0]

    @contextlib.contextmanager
    def paused(self):
        """Inside, calls of the network are not observed, and the last observation
        stays."""
        state = self._state()
        state.paused += 1
        try:
            yield
        finally:
            state.paused -= 1

    # ---------------------------------------------------------------------- its insides

    def _attach(self, module):
        self._module = weakref.ref(module)
        self._threads = threading.local()
        self._readers = None

    def _keep(self, handles):
        def remove():
            for handle in handles:
                handle.remove()

        self._handles = handles
        self._finalizer = weakref.finalize(self, remove)
        self._finalizer.atexit = False

    def __getstate__(self):
        return {
            "module": self._module(),
            "handles": self._handles,
            "layer": self.layer,
            "method": self.method,
            "detach_weights": self.detach_weights,
            "logits_of": self.logits_of,
        }

    def __setstate__(self, state):
        module = state.pop("module")
        handles = state.pop("handles")
        self.__dict__.update(state)
        if module is None:
            self._module = lambda: None
            self._threads = threading.local()
            self._readers = None
        else:
            self._attach(module)
        self._keep(handles)

    def _core_of(self, module):
        return _C.Core(
            [(name, type(m).__name__) for name, m in module.named_modules() if name],
            _parameters_of(module),
            self.layer or "",
            self.method,
            self.detach_weights,
        )

    def _state(self):
        state = getattr(self._threads, "state", None)
        if state is None:
            state = self._threads.state = _State(self._core_of(self.module))
        return state

    def _cancel(self, state):
        state.core.cancel()
        state.end()

    def _begin(self, state, module, frame):
        if state.frame is not None:
            raise RuntimeError(
                "torchcyborg.CamHook: this hook is already observing; a forward inside "
                "a forward needs its own hook"
            )
        state.problem = ""
        if torch.is_inference_mode_enabled():
            state.problem = (
                "inference mode leaves no graph to follow; use torch.no_grad(), or give "
                "the features to hook.capture(features, weight)"
            )
        elif torch.jit.is_tracing():
            state.problem = "a network that is traced is not observed"
        elif _has_no_values(module):
            state.problem = (
                "the network ran on meta or fake tensors, which have shapes and no "
                "values, so there is no map"
            )
        if state.problem:
            state.core.clear()
            return
        state.core.begin(_parameters_of(module))
        state.frame = frame

    def _end(self, state, module, result):
        """Returns what the network returns instead, or None."""
        if state.frame is None:  # there was a problem at the beginning
            return None
        try:
            tensors, problem = tensors_of(result, self.logits_of)
            kept = state.core.end(tensors, problem, _parameters_of(module))
        except BaseException:
            self._cancel(state)
            raise
        state.end()
        return None if kept else detached(result)

    def _before(self, module, args, kwargs, compiled):
        if module is not self._module():
            return  # a copy of the network, of which this hook knows nothing
        state = self._state()
        if state.paused:
            return
        caller = sys._getframe(2)
        if state.frame is not None:
            if _runs(state.frame, caller):
                state.nested += 1
                return
            self._cancel(state)  # an interrupt left it open
        if compiled or self._readers is not None or compiled_parts(module):
            self._begin_reading(state, module, args, kwargs, caller)
        else:
            self._begin(state, module, caller)

    def _after(self, module, args, kwargs, result):
        if module is not self._module():
            return None
        state = self._state()
        if state.paused or state.frame is None:
            return None
        if state.nested:
            state.nested -= 1
            return None
        if result is None:  # the network raised
            self._cancel(state)
            return None
        if state.reader is not None:
            self._end_reading(state, result)
            return None
        changed = self._end(state, module, result)
        if not state.problem and not state.core.observation.defined:
            tensors, _ = tensors_of(result, self.logits_of)
            if tensors and ran_compiled(tensors[0]):
                # The features are inside the compiled part: they are read from now on.
                # Its first forward has to be repeated.
                self._find(state, module, args, kwargs)
                return module(*args, **kwargs)
        return changed

    # ------------------------------------------------------------- compiled networks

    def _find(self, state, module, args, kwargs):
        """Finds the layer in an eager forward, in evaluation mode."""
        self._readers = Reader.find(self, state.core, module, args, kwargs)

    def _begin_reading(self, state, module, args, kwargs, frame):
        if self._readers is None:
            self._find(state, module, args, kwargs)
        state.core.clear()
        state.problem = self._readers.problem
        state.reader = self._readers
        state.frame = frame
        self._readers.start()

    def _end_reading(self, state, result):
        reader = state.reader
        state.end()
        features = reader.stop()
        if not state.problem:
            tensors, problem = tensors_of(result, self.logits_of)
            state.problem = problem or reader.capture(state.core, features, tensors[0])


def _runs(wanted, frame):
    """Whether a call is still on the stack that ends with `frame`."""
    while frame is not None and frame is not wanted:
        frame = frame.f_back
    return frame is wanted


def _has_no_values(module):
    """Whether the network runs on meta or fake tensors."""
    first = next(module.parameters(), None)
    if first is not None and (first.is_meta or type(first).__name__ == "FakeTensor"):
        return True
    if torch._C._len_torch_dispatch_stack() == 0:
        return False
    modes = torch.utils._python_dispatch._get_current_dispatch_mode_stack()
    return any(type(mode).__name__ == "FakeTensorMode" for mode in modes)


def watch(module, layer=None, method="auto", **options):
    """A `CamHook` for a with statement, at whose end the hook is removed:

    with cyborg.watch(net) as hook:
        maps = hook.cam(net(images), labels)
    """
    return CamHook(module, layer, method, **options)
