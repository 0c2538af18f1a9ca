# SPDX-License-Identifier: BSD-3-Clause
"""The losses: `SaliencyGuidedLoss` and `Guidance`."""

from typing import Any, Dict, NamedTuple, Optional

import torch

from . import _C
from ._results import expect_tensors
from .hook import CamHook

_INPUT_GRADIENT, _FORWARD = 1, 2


class LossTerms(NamedTuple):
    """What a guided loss returns: tensors without dimensions, on the device."""

    total: torch.Tensor  # run backward from this
    classification: torch.Tensor  # the task's own loss
    saliency: torch.Tensor  # distance over the guided samples
    annotated_count: torch.Tensor  # how many samples were guided, int64


class Part(NamedTuple):
    """One term's part in a `Guidance`."""

    value: torch.Tensor  # over the samples that count; not times strength
    count: torch.Tensor  # how many samples counted
    strength: float
    blend: str


class GuidanceTerms(NamedTuple):
    """What `Guidance` returns."""

    total: torch.Tensor  # run backward from this
    task: torch.Tensor  # the task's own loss
    task_count: torch.Tensor  # the sum of the weights of its mean
    parts: Dict[str, Part]


def _source(of, source):
    """What the core reads maps from: an observation or a tensor."""
    if isinstance(source, CamHook):
        return source.observation
    if not isinstance(source, (_C.Observation, torch.Tensor)):
        raise TypeError(
            f"torchcyborg.{of}: expected a CamHook, an Observation or maps of the model "
            f"[B, *S], got {type(source).__name__}; make hook = CamHook(net) once, before "
            "the network runs, and give the hook"
        )
    return source


class SaliencyGuidedLoss(torch.nn.Module):
    """The task's loss and the distance between where the model looks and where people
    look, weighted.

        total = a task + (1 - a) S,    a = 1 - (1 - alpha) n / B

    n of the B samples are guided, and S is the mean distance over them. A sample is not
    guided when its human map is constant or has a NaN, when its entry of `annotated` is
    false, or when the model's map is constant or not finite.

    Args:
        distance: "l1", "l2", "kl", "cosine", "pearson", "dice", "bce", "ssim", "energy",
            "outside", or a function (model [B, P], human [B, P]) -> [B].
        alpha: weight of the classification, in [0, 1]; it may be set between steps.
        cam_class: "label", "predicted", "difference" or "fixed" (then `fixed_class`).
        map_normalizer, human_normalizer: "none", "min-max", "max", "sum", "softmax".
            Default: the distance's own; for a function its attribute of this name, else
            "min-max".
        reduction: "mean", or "sum": B times the mean.
    """

    def __init__(
        self,
        distance="l2",
        alpha=0.5,
        *,
        cam_class="label",
        fixed_class=0,
        map_normalizer=None,
        human_normalizer=None,
        reduction="mean",
    ):
        super().__init__()
        self.distance = distance
        self._options = {
            "alpha": alpha,
            "cam_class": cam_class,
            "fixed_class": fixed_class,
            "map_normalizer": map_normalizer
            or getattr(distance, "map_normalizer", None),
            "human_normalizer": human_normalizer
            or getattr(distance, "human_normalizer", None),
            "reduction": reduction,
        }
        if not callable(distance) and not isinstance(distance, str):
            raise TypeError(
                "torchcyborg.SaliencyGuidedLoss: expected distance to be a name or a "
                f"function, got {type(distance).__name__}"
            )
        _C.check_loss(*self._made())

    @property
    def alpha(self):
        """The weight of the classification."""
        return self._options["alpha"]

    @alpha.setter
    def alpha(self, value):
        changed = {**self._options, "alpha": value}
        _C.check_loss(_C.Distance(self.distance), _C.LossOptions(**changed))
        self._options = changed

    def _made(self):
        return _C.Distance(self.distance), _C.LossOptions(**self._options)

    @torch.compiler.disable
    def forward(self, logits, labels, source=None, maps=None, annotated=None, weight=None):
        """The loss of one batch, as `LossTerms`.

        Args:
            logits: [B, K], or [B] for one logit, whose loss is the binary cross entropy.
            labels: [B], integers.
            source: a `CamHook`, an `Observation`, or maps [B, *S]. Not read if alpha is 1.
            maps: [B, *S'] or [B, 1, *S'], where people look; NaN: not annotated.
            annotated: [B] bool.
            weight: [B], factors of the samples' whole loss.
        Raises:
            ValueError: for shapes, types and devices that do not fit, and where the hook
                found no map.
        """
        expect_tensors(
            "SaliencyGuidedLoss",
            logits=logits,
            labels=labels,
            maps=maps,
            annotated=annotated,
            weight=weight,
        )
        if self.alpha == 1:
            source = logits.new_zeros(0)
        from_ = _source("SaliencyGuidedLoss", source)
        return LossTerms(
            *_C.saliency_guided_loss(
                *self._made(), logits, labels, from_, maps, annotated, weight
            )
        )

    @torch.compiler.disable
    def combine(self, task_loss, cam=None, maps=None, annotated=None, weight=None):
        """The same for any task loss: one number, a mean over the samples. `cam`
        [B, *S] is the model's map."""
        expect_tensors(
            "SaliencyGuidedLoss.combine",
            task_loss=task_loss,
            cam=cam,
            maps=maps,
            annotated=annotated,
            weight=weight,
        )
        return LossTerms(
            *_C.combine(*self._made(), task_loss, cam, maps, annotated, weight)
        )

    def extra_repr(self):
        changed = {"distance": self.distance, **self._options}
        plain = {"cam_class": "label", "fixed_class": 0, "reduction": "mean"}
        return ", ".join(
            f"{name}={value!r}"
            for name, value in changed.items()
            if value is not None and plain.get(name) != value
        )


class CyborgL1Loss(SaliencyGuidedLoss):
    """The guided loss with the mean absolute difference."""

    def __init__(self, alpha=0.5, **options):
        super().__init__("l1", alpha, **options)


class CyborgL2Loss(SaliencyGuidedLoss):
    """The guided loss with the mean squared difference: the published one."""

    def __init__(self, alpha=0.5, **options):
        super().__init__("l2", alpha, **options)


class CyborgKLLoss(SaliencyGuidedLoss):
    """The guided loss with the Kullback-Leibler divergence."""

    def __init__(self, alpha=0.5, **options):
        super().__init__("kl", alpha, **options)


def term_names():
    """The terms that `Guidance.add` knows by name, and what each does."""
    return {name: kind["help"] for name, kind in _C.term_kinds().items()}


class _Term(NamedTuple):
    strength: float
    term: Any
    blend: Optional[str]
    options: Dict[str, Any]


class Guidance(torch.nn.Module):
    """The task's loss and any number of terms that steer what the network looks at.

        "convex"    total = (1 - sum of s_t n_t / B) task + sum of s_t n_t / B S_t
        "additive"  total = task + sum of s_t n_t / B S_t

    Args:
        blend: "convex" or "additive".
        balance: who sets the strength: "fixed", "task-share" or "task-share-attached".
        reduction: "mean" or "sum".
        task: "classification", "multi-label" or "regression".
        class_weight: [K]; label_smoothing, focal: of the task's loss.
        regression: "l1", "l2" or "smooth".

    Example:
        guidance = cyborg.Guidance(blend="additive")
        guidance.add("people", 0.5, "pearson")
        guidance.add("reasons", 1.0, "right-reasons", power=2)
        terms = guidance.step(hook, images, labels, maps=maps, wrong=wrong)
        terms.total.backward()
    """

    def __init__(
        self,
        *,
        blend="convex",
        balance="fixed",
        reduction="mean",
        task="classification",
        class_weight=None,
        label_smoothing=0.0,
        focal=0.0,
        regression="l1",
    ):
        super().__init__()
        self._options = (blend, balance, reduction, task)
        self._task = (label_smoothing, focal, regression)
        self.register_buffer("class_weight", class_weight, persistent=False)
        self._terms = {}
        self._made({})

    def _made(self, terms):
        made = _C.Guidance(*self._options, self.class_weight, *self._task)
        for name, one in terms.items():
            made.add(name, one.strength, one.term, one.options, one.blend)
        return made

    def add(self, name, strength, term=None, *, blend=None, **options):
        """Adds a term.

        Args:
            name: of this term, in `GuidanceTerms.parts`.
            strength: its factor in `total`, from 0; with 0 it is not computed.
            term: a name (see `term_names`; default: `name`), or a function that takes
                what was seen (`labels`, `maps`, `logits`, `map()` ...) and returns
                values [B], or (values [B], usable [B]).
            options: of a term with a name, as `cam_class="predicted"`.
        Returns: this object.
        Raises: ValueError, TypeError for what does not fit.
        """
        if name in self._terms:
            raise ValueError(f"torchcyborg.Guidance: there is a term {name} already")
        if options and callable(term):
            raise TypeError(
                "torchcyborg.Guidance: a function has no options, got "
                + ", ".join(options)
            )
        one = _Term(float(strength), name if term is None else term, blend, options)
        terms = {**self._terms, name: one}
        self._made(terms)
        self._terms = terms
        return self

    def set_strength(self, name, strength):
        """Sets the strength of a term, for schedules."""
        if name not in self._terms:
            raise ValueError(
                f"torchcyborg.Guidance: expected one of {', '.join(self._terms)}, got "
                f"{name}"
            )
        terms = dict(self._terms)
        terms[name] = terms[name]._replace(strength=float(strength))
        self._made(terms)
        self._terms = terms

    def strength(self, name):
        """The strength of a term."""
        return self._terms[name].strength

    @torch.compiler.disable
    def forward(self, logits, source, labels, *, images=None, **batch):
        """The loss of a forward pass that you ran yourself, as `GuidanceTerms`.

        Args:
            logits: [B, K] or [B].
            source: a `CamHook`, an `Observation`, or maps [B, *S].
            labels: what the task wants.
            maps, wrong: [B, *S'], where people look, and what must not be used.
            annotated: [B] bool; weight: [B]; positions: [B, *S] bool.
            images: for terms that need the gradient of the pictures: the pictures that
                went into the network, which require a gradient.
        """
        source = _source("Guidance", source)
        expect_tensors("Guidance", logits=logits, labels=labels, images=images, **batch)
        made = self._made(self._terms)
        if made.needs & _FORWARD:
            raise ValueError(
                "torchcyborg.Guidance: a term runs the network again: call "
                "guidance.step(hook, images, labels)"
            )
        if made.needs & _INPUT_GRADIENT and (images is None or not images.requires_grad):
            raise ValueError(
                "torchcyborg.Guidance: a term needs the gradient of the pictures: call "
                "guidance.step(hook, images, labels), or give images that require a "
                "gradient to the network and to this call"
            )
        return self._compute(made, logits, source, labels, images, batch, None)

    @torch.compiler.disable
    def step(self, hook, images, labels, *, net=None, **batch):
        """Runs the network under the hook, and computes the loss. Where a term needs the
        gradient of the pictures, they require one in this same forward.

        Args:
            net: what is called with the images, where that is not the hook's network
                itself but a wrapper (DistributedDataParallel, torch.compile).
            The others: as `forward`.
        """
        if not isinstance(hook, CamHook):
            raise TypeError(
                "torchcyborg.Guidance.step: expected a CamHook, got "
                f"{type(hook).__name__}; make hook = CamHook(net) once, and give the hook"
            )
        expect_tensors("Guidance.step", images=images, labels=labels, **batch)
        net = hook.module if net is None else net
        made = self._made(self._terms)
        wanted = torch.is_grad_enabled()
        gradient = bool(made.needs & _INPUT_GRADIENT)
        if gradient:
            if not images.is_floating_point():
                raise ValueError(
                    "torchcyborg.Guidance: a term needs the gradient of the pictures: "
                    f"expected images of floating point, got {images.dtype}"
                )
            images = images.detach().requires_grad_()

        def again(others):
            with hook.paused():
                return hook.logits_in(net(others))

        with torch.set_grad_enabled(wanted or gradient):
            logits = hook.logits_in(net(images))
            terms = self._compute(
                made, logits, hook.observation, labels, images, batch, again
            )
        if wanted:
            return terms
        return terms._replace(
            total=terms.total.detach(),
            task=terms.task.detach(),
            parts={
                name: part._replace(value=part.value.detach())
                for name, part in terms.parts.items()
            },
        )

    @staticmethod
    def _compute(made, logits, source, labels, images, batch, again):
        def whole(
            maps=None, wrong=None, annotated=None, weight=None, positions=None
        ):
            return _C.Batch(images, labels, maps, wrong, annotated, weight, positions)

        total, task, count, parts = made.compute(logits, source, whole(**batch), again)
        return GuidanceTerms(
            total, task, count, {name: Part(*rest) for name, *rest in parts}
        )

    def extra_repr(self):
        blend, balance, reduction, task = self._options
        lines = [f"blend={blend!r}, balance={balance!r}, task={task!r}"]
        for name, one in self._terms.items():
            lines.append(f"{name}: {one.strength} {one.term!r} {one.options or ''}")
        return "\n".join(lines)


def whole_batch_total(criterion, terms, samples, group=None):
    """The number from which each process starts its backward, so that the gradients that
    `DistributedDataParallel` averages are those of the loss over the samples of all
    processes in one batch. Samples and annotations may be spread in any way.

    Args:
        criterion: the `SaliencyGuidedLoss`, or None for the terms of a `Guidance`.
        terms: the `LossTerms` or `GuidanceTerms` of this process.
        samples: how many samples this process has.
        group: the process group; default: all processes.
    Returns: one number with a graph.
    """
    import torch.distributed as distributed

    if samples < 1:
        raise ValueError(
            f"torchcyborg.whole_batch_total: expected samples > 0, got {samples}"
        )
    ranks = distributed.get_world_size(group)
    if isinstance(terms, LossTerms):
        if criterion._options["reduction"] != "mean":
            raise ValueError(
                "torchcyborg.whole_batch_total: expected a loss of reduction \"mean\", "
                "got \"sum\""
            )
        task, task_count = terms.classification, None
        strength = 1 - criterion.alpha
        parts = [(strength, "convex", terms.saliency, terms.annotated_count)]
    else:
        task, task_count = terms.task, terms.task_count
        parts = [(p.strength, p.blend, p.value, p.count) for p in terms.parts.values()]
    here = [torch.full((), samples, dtype=torch.double, device=task.device)]
    here.append(here[0] if task_count is None else task_count.detach().double())
    here += [count.detach().double() for *_, count in parts]
    counts = torch.stack(here)
    own = counts.clone()
    distributed.all_reduce(counts, group=group)
    batch = counts[0]
    left = torch.ones_like(batch)
    total = 0
    for i, (strength, blend, value, _) in enumerate(parts):
        if blend == "convex":
            left = left - strength * counts[i + 2] / batch
        total = total + (strength * ranks * own[i + 2] / batch).to(value.dtype) * value
    share = own[1] / counts[1].clamp_min(1e-300) * ranks * left
    return share.to(task.dtype) * task + total
