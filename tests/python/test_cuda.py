# SPDX-License-Identifier: BSD-3-Clause
"""On a GPU the numbers are those of the CPU, and training does not wait for it.

    CYBORG_TEST_DEVICE=cuda python -m unittest test_cuda
"""

import contextlib
import os
import socket
import unittest
import unittest.mock
import warnings

import networks
import torch
import torchcyborg as cyborg
from torch import nn

GPU = networks.DEVICE
CPU = torch.device("cpu")


def on_the_cpu(value):
    """The same value with every tensor in it on the CPU, without a graph."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {key: on_the_cpu(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [on_the_cpu(one) for one in value]
    return value


def small(device, **options):
    """The same network on any device, in double."""
    torch.manual_seed(3)
    return networks.Small(**options).to(device, torch.double).eval()


def data(device, **options):
    return networks.batch(dtype=torch.double, device=device, side=16, **options)


class Same(unittest.TestCase):
    def same(self, make, tolerance=1e-10):
        """`make(device)` returns the same on both devices."""
        wanted, found = on_the_cpu(make(CPU)), on_the_cpu(make(GPU))
        torch.testing.assert_close(
            found, wanted, rtol=tolerance, atol=tolerance, equal_nan=True
        )


class TwoLayers(networks.Small):
    """Its head is more than a linear layer, so that its maps are Grad-CAM's."""

    def __init__(self, **options):
        super().__init__(act=nn.Softplus(), **options)
        self.more = nn.Sequential(nn.Linear(8, 8), nn.Tanh())
        self.to(networks.DEVICE)

    def forward(self, x):
        return self.fc(self.more(self.body(x).mean((2, 3))))


@networks.needs_cuda
class Numbers(Same):
    """Values and gradients in double."""

    def loss(self, make):
        """The loss that `make(net, hook, images, labels, maps)` returns, its parts and
        its gradient."""

        def run(device, kind=networks.Small):
            torch.manual_seed(3)
            net = kind().to(device, torch.double).eval()
            images, labels, maps = data(device)
            with cyborg.watch(net) as hook:
                terms = make(net, hook, images, labels, maps)
                self.assertEqual(hook.observation.exact, kind is networks.Small)
                cams = hook.observation.features
                self.assertEqual(terms.total.device, device)
                found = networks.gradients(terms.total, net)
            return {"terms": terms, "gradients": found, "features": cams}

        def compared(device, kind):
            found = run(device, kind)
            terms = found["terms"]
            if isinstance(terms, cyborg.GuidanceTerms):
                parts = {n: (p.value, p.count) for n, p in terms.parts.items()}
                found["terms"] = (terms.total, terms.task, parts)
            return found

        for kind in (networks.Small, TwoLayers):
            with self.subTest(network=kind.__name__):
                self.same(lambda device, kind=kind: compared(device, kind))

    def test_each_loss(self):
        names = [n for n in cyborg.term_names() if n in networks.DISTANCES]
        for distance in names + ["ssim", "energy", "outside"]:
            with self.subTest(distance=distance):
                criterion = cyborg.SaliencyGuidedLoss(distance, 0.3)

                def run(net, hook, images, labels, maps, criterion=criterion):
                    annotated = torch.arange(6, device=images.device) != 2
                    weight = torch.linspace(
                        0.5, 1.5, 6, dtype=torch.double, device=images.device
                    )
                    return criterion(net(images), labels, hook, maps, annotated, weight)

                self.loss(run)

    def test_the_class_and_normalisers_of_a_loss(self):
        for options in (
            {"cam_class": "predicted"},
            {"cam_class": "difference"},
            {"cam_class": "fixed", "fixed_class": 1},
            {"map_normalizer": "softmax", "human_normalizer": "sum"},
            {"map_normalizer": "max", "reduction": "sum"},
            {"distance": lambda model, human: (model - human).abs().sum(1)},
        ):
            with self.subTest(options=str(options)):
                criterion = cyborg.SaliencyGuidedLoss(**options)
                self.loss(
                    lambda net, hook, x, y, maps, criterion=criterion: criterion(
                        net(x), y, hook, maps
                    )
                )

    def test_maps_larger_than_the_features(self):
        def run(net, hook, images, labels, maps):
            larger = cyborg.maps.resize(maps, [24, 20])
            return cyborg.CyborgL2Loss()(net(images), labels, hook, larger)

        self.loss(run)

    def test_each_term(self):
        for name in cyborg.term_names():
            if name == "sgt":  # random numbers of the device
                continue
            with self.subTest(term=name):
                options = {"low": [-9.0], "high": [9.0]} if name == "perturbed" else {}
                guidance = cyborg.Guidance(blend="additive").add(name, 0.5, **options)

                def run(net, hook, images, labels, maps, guidance=guidance):
                    wrong = (maps.nan_to_num(0.3) > 0.5).double()
                    return guidance.step(hook, images, labels, maps=maps, wrong=wrong)

                self.loss(run)

    def test_the_term_that_draws_random_pixels_is_finite(self):
        net, (images, labels, _) = small(GPU), data(GPU)
        hook = cyborg.CamHook(net)
        guidance = cyborg.Guidance(blend="additive").add("sgt", 0.5)
        terms = guidance.step(hook, images, labels)
        found = networks.gradients(terms.total, net)
        self.assertTrue(all(one.isfinite().all() for one in found.values()))
        self.assertEqual(int(terms.parts["sgt"].count), 6)

    def test_a_guidance_of_several_terms_and_classes(self):
        def run(net, hook, images, labels, maps):
            guidance = cyborg.Guidance(
                class_weight=torch.tensor([1.0, 2.0, 0.5], dtype=torch.double),
                label_smoothing=0.1,
            ).to(images.device)
            guidance.add("people", 0.3, "pearson").add("focus", 0.2, "cam-entropy")
            # Some positions are padding.
            positions = torch.ones(6, 16, 16, dtype=torch.bool, device=images.device)
            positions[:, 12:] = False
            return guidance(
                net(images), hook, labels, maps=maps, positions=positions
            )

        self.loss(run)

    def test_a_balanced_guidance(self):
        for balance in ("task-share", "task-share-attached"):

            def run(net, hook, images, labels, maps, balance=balance):
                guidance = cyborg.Guidance(balance=balance).add("people", 0.5, "l2")
                return guidance(net(images), hook, labels, maps=maps)

            with self.subTest(balance=balance):
                self.loss(run)

    def test_each_method_and_class(self):
        for method in ("auto", "cam", "grad-cam", "hires-cam"):
            for detach in (False, True):
                for kind in (networks.Small, TwoLayers):
                    if method == "cam" and kind is TwoLayers:
                        continue

                    def run(device, kind=kind, method=method, detach=detach):
                        torch.manual_seed(3)
                        net = kind().to(device, torch.double).eval()
                        images, labels, _ = data(device)
                        hook = cyborg.CamHook(net, method=method, detach_weights=detach)
                        logits = net(images)
                        maps = hook.cam(logits, labels)
                        found = {
                            "labels": maps,
                            "predicted": hook.cam(logits, which="predicted"),
                            "scale": hook.logit_scale(logits),
                            "gradients": networks.gradients(maps.square().sum(), net),
                        }
                        if hook.observation.exact:
                            found["all"] = hook.cam(net(images), which="all")
                        with torch.no_grad():
                            found["no_grad"] = hook.cam(net(images), labels)
                        return found

                    with self.subTest(method=method, detach=detach, network=kind.__name__):
                        self.same(run)

    def test_a_guided_head(self):
        def run(device):
            torch.manual_seed(0)
            linear = nn.Linear(8, 3).to(device, torch.double)
            features = torch.randn(4, 8, 5, 5, dtype=torch.double).to(device)
            features.requires_grad_()
            # It draws its first weights by the generator of its device.
            head = cyborg.GuidedHead.from_linear(linear)
            labels = torch.tensor([0, 2, 1, 1], device=device)
            outs = [
                head.guided(features, labels),
                head.guided(features, which="predicted"),
                head.guided(features, which="all"),
            ]
            logits = head(features)
            total = logits.square().sum()
            for out in outs:
                total = total + out.logits.exp().sum() + out.cam.square().sum()
            grads = torch.autograd.grad(total, [features, *head.parameters()])
            return {"outs": outs, "logits": logits, "grads": grads}

        self.same(run)

    def test_the_maps_of_a_guided_head_in_a_network(self):
        def run(device):
            net = small(device)
            guided = nn.Sequential(net.body, cyborg.GuidedHead.from_linear(net.fc))
            images, labels, maps = data(device)
            with cyborg.watch(guided) as hook:
                terms = cyborg.CyborgL2Loss()(guided(images), labels, hook, maps)
                self.assertTrue(hook.observation.exact, repr(hook))
            return {"terms": terms, "grads": networks.gradients(terms.total, guided)}

        self.same(run)


@networks.needs_cuda
class Functions(Same):
    """maps, human and measure."""

    def test_resize_and_normalize(self):
        for mode in ("antialias", "area", "nearest"):
            for size in ([5, 7], [8, 8], [1, 1], [3, 1], [20, 33]):
                with self.subTest(mode=mode, size=size):
                    self.same(
                        lambda device, mode=mode, size=size: cyborg.maps.resize(
                            data(device)[2], size, mode=mode
                        )
                    )
        for normalizer in ("none", "min-max", "max", "sum", "softmax"):
            with self.subTest(normalizer=normalizer):
                self.same(
                    lambda device, normalizer=normalizer: cyborg.maps.normalize(
                        data(device)[2], normalizer
                    )
                )

    def test_one_and_three_dimensions(self):
        def run(device):
            made = torch.Generator().manual_seed(0)
            line = torch.rand(3, 9, generator=made, dtype=torch.double).to(device)
            cube = torch.rand(3, 6, 5, 4, generator=made, dtype=torch.double).to(device)
            return [
                cyborg.maps.resize(line, [4]),
                cyborg.maps.resize(cube, [3, 2, 2]),
                cyborg.maps.normalize(line),
                cyborg.maps.normalize(cube, "softmax"),
            ]

        self.same(run)

    def test_maps_of_people(self):
        def run(device):
            _, labels, maps = data(device)
            others = data(device, seed=1)[2]
            others[0] = float("nan")
            given = [maps, None, others]
            human = cyborg.human
            found = {
                "blur": human.blur(maps, 1.5),
                "blur, replicate": human.blur(maps, 1.5, border="replicate"),
                "clickme_blur": human.clickme_blur(maps),
                "annotated": human.annotated(maps),
                "inverted": human.inverted(maps),
                "mean_of": human.mean_of(given),
                "union_of": human.union_of(given, 0.5),
                "agreement_weighted_of": human.agreement_weighted_of(given),
                "features_of_interest": human.features_of_interest(given, 0.5),
                "area_of_interest": human.area_of_interest(given, 0.5, 0.5),
                "box_of_interest": human.box_of_interest(given, 0.9, 0.5),
            }
            for name, one in found.items():
                self.assertEqual(one.device, device, name)
            # Random numbers are of the CPU, so that they are the same everywhere.
            draws = {
                "shuffled": human.shuffled(maps, torch.Generator().manual_seed(1)),
                "shuffled_within_class": human.shuffled_within_class(
                    maps, labels, torch.Generator().manual_seed(1)
                ),
                "random_like": human.random_like(maps, torch.Generator().manual_seed(1)),
            }
            for name, one in draws.items():
                self.assertEqual(one.device, device, name)
            return {**found, **draws}

        self.same(run)

    def test_shapes_that_are_drawn(self):
        def run(device):
            points = torch.tensor([[2.0, 3.0, 1.0], [9.5, 4.0, 2.0]], device=device)
            corners = torch.tensor([[1.0, 1], [9, 2], [5, 8]], device=device)
            human, size = cyborg.human, [12, 10]
            return [
                human.draw_points(points, size, 1.5),
                human.draw_boxes(torch.tensor([[1.0, 0, 3, 2]], device=device), size),
                human.draw_polygons([corners], size),
                human.draw_strokes([(corners, 2.0)], size),
            ]

        self.same(run)

    def test_measures(self):
        def run(device):
            made = torch.Generator().manual_seed(0)
            scores = torch.rand(40, generator=made, dtype=torch.double).to(device)
            truth = (torch.arange(40) % 3 == 0).long().to(device)
            logits = torch.randn(40, 3, generator=made, dtype=torch.double).to(device)
            labels = (torch.arange(40) % 3).to(device)
            maps = torch.rand(4, 8, 8, generator=made, dtype=torch.double).to(device)
            people = torch.rand(4, 8, 8, generator=made, dtype=torch.double).to(device)
            people[2] = float("nan")
            region = (people.nan_to_num(0.7) > 0.5).double()
            m = cyborg.measure
            confusion = m.confusion_matrix(logits.argmax(1), labels, 3)
            return {
                "roc_auc": m.roc_auc(scores, truth),
                "d_prime": m.d_prime(scores, truth),
                "equal_error_rate": m.equal_error_rate(scores, truth),
                "tpr_at_fpr": m.tpr_at_fpr(scores, truth, 0.1),
                "threshold_at_fpr": m.threshold_at_fpr(scores, truth, 0.1),
                "roc_curve": m.roc_curve(scores, truth),
                "accuracy": m.accuracy(logits, labels),
                "confusion_matrix": confusion,
                "balanced_accuracy": m.balanced_accuracy(confusion.to(device)),
                "map_correlation": m.map_correlation(maps, people),
                "map_rank_correlation": m.map_rank_correlation(maps, people),
                "map_similarity": m.map_similarity(maps, people),
                "map_divergence": m.map_divergence(maps, people),
                "map_absolute_error": m.map_absolute_error(maps, people),
                "map_entropy": m.map_entropy(maps),
                "map_iou": m.map_iou(maps, people),
                "map_dice": m.map_dice(maps, people, top=0.2),
                "nss": m.nss(maps, region),
                "energy_inside": m.energy_inside(maps, region),
                "pointing_hit": m.pointing_hit(maps, region),
                "auc_judd": m.auc_judd(maps, region),
                "wrong_reason": m.wrong_reason(maps, region),
            }

        self.same(run)


@contextlib.contextmanager
def nothing_waits():
    """Inside, an operator that makes the host wait for the device is an error."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@networks.needs_cuda
class Waiting(unittest.TestCase):
    def test_waiting_is_noticed(self):
        with self.assertRaisesRegex(RuntimeError, "synchroniz"), nothing_waits():
            torch.ones(3, device=GPU).sum().item()

    def test_a_step_does_not_wait(self):
        """docs/loss.md and docs/hook.md: after the first forward of a shape, until the
        64th, where what was refuted is read."""
        # With as many channels as rows, the mean's axes would be found by values.
        images, labels, maps = networks.batch(side=10)
        large = networks.batch(side=10)[2].repeat_interleave(3, 1).repeat_interleave(2, 2)
        annotated = torch.arange(6, device=GPU) != 2
        weight = torch.linspace(0.5, 1.5, 6, device=GPU)
        for criterion in (
            cyborg.CyborgL1Loss(),
            cyborg.CyborgL2Loss(),
            cyborg.CyborgKLLoss(),
            cyborg.SaliencyGuidedLoss("pearson"),
            cyborg.CyborgL2Loss(cam_class="predicted"),
        ):
            for half in (False, True):
                for given in (
                    (maps,),
                    (large,),
                    (maps, annotated, weight),
                ):
                    with self.subTest(
                        loss=str(criterion), half=half, maps=list(given[0].shape), given=len(given)
                    ):
                        net = networks.Small().train()
                        hook = cyborg.CamHook(net)

                        def step(criterion=criterion, half=half, given=given, net=net, hook=hook):
                            with torch.autocast(GPU.type, torch.bfloat16, enabled=half):
                                logits = net(images)
                                terms = criterion(logits, labels, hook, *given)
                            terms.total.backward()

                        for _ in range(3):
                            step()
                        self.assertTrue(hook.observation.exact, repr(hook))
                        with nothing_waits():
                            for _ in range(20):
                                step()
                        self.assertTrue(hook.observation.exact, repr(hook))

    def test_a_guided_head_does_not_wait(self):
        images, labels, maps = networks.batch()
        net = networks.Small()
        head = cyborg.GuidedHead.from_linear(net.fc)
        criterion = cyborg.CyborgL2Loss()

        def step():
            out = head.guided(net.body(images), labels)
            criterion(out.logits, labels, out.cam, maps).total.backward()

        step()
        with nothing_waits():
            step()

    def test_resize_does_not_wait(self):
        maps = networks.batch()[2]
        for mode in ("antialias", "area", "nearest"):
            cyborg.maps.resize(maps, [5, 3], mode=mode)
            with self.subTest(mode=mode), nothing_waits():
                cyborg.maps.resize(maps, [5, 3], mode=mode)

    def test_what_is_refuted_later_is_read_at_the_64th_forward(self):
        class Scaled(networks.Small):
            alpha = 1.0

            def forward(self, x):
                pooled = self.body(x).mean((2, 3))
                return torch.addmm(self.fc.bias, pooled, self.fc.weight.t(), alpha=self.alpha)

        net = Scaled()
        images = networks.batch()[0]
        with cyborg.watch(net) as hook:
            for _ in range(3):
                net(images)
            self.assertTrue(hook.observation.exact, repr(hook))
            net.alpha = 2.0
            for _ in range(64):
                net(images)
            self.assertFalse(hook.observation.exact, repr(hook))


def elsewhere(tensor):
    return tensor.cpu()


@networks.needs_cuda
class Devices(unittest.TestCase):
    """What is on two devices is an error that names them, or the right number."""

    def setUp(self):
        self.net = networks.Small()
        self.hook = cyborg.CamHook(self.net)
        self.images, self.labels, self.maps = networks.batch()
        self.given = {
            "labels": self.labels,
            "maps": self.maps,
            "annotated": torch.ones(6, dtype=torch.bool, device=GPU),
            "weight": torch.ones(6, device=GPU),
        }
        self.criterion = cyborg.CyborgL2Loss()

    def refused(self, name):
        other = elsewhere(self.maps).device
        return self.assertRaisesRegex(ValueError, f"expected {name} on {GPU}, got {other}")

    def test_what_a_loss_is_given(self):
        logits = self.net(self.images)
        for name, called in (
            ("labels", "labels"),
            ("maps", "maps of people"),
            ("annotated", "annotated"),
            ("weight", "weight"),
        ):
            given = {**self.given, name: elsewhere(self.given[name])}
            with self.subTest(name=name):
                with self.refused(called):
                    self.criterion(logits, source=self.hook, **given)
                labels = given.pop("labels")
                guidance = cyborg.Guidance().add("people", 0.5, "l2")
                with self.refused(called):
                    guidance(logits, self.hook, labels, **given)
        # After the errors the same hook and logits still work.
        terms = self.criterion(logits, source=self.hook, **self.given)
        self.assertTrue(terms.total.isfinite())

    def test_what_a_hook_is_given(self):
        logits = self.net(self.images)
        with self.refused("labels"):
            self.hook.cam(logits, elsewhere(self.labels))
        own = self.hook.cam(logits, self.labels)
        with self.refused("a map of the model"):
            self.criterion(logits, self.labels, elsewhere(own), self.maps)
        with self.refused("maps of people"):
            self.criterion.combine(logits.sum(), own, elsewhere(self.maps))
        # Logits that were copied are those of another forward, or the same numbers.
        with contextlib.suppress(ValueError, RuntimeError):
            found = self.hook.cam(elsewhere(logits), elsewhere(self.labels))
            torch.testing.assert_close(found.cpu(), own.cpu(), rtol=1e-5, atol=1e-6)

    def test_what_a_guidance_is_given(self):
        wrong = (self.maps.nan_to_num(0.3) > 0.5).float()
        for name, term in (
            ("masks of what is wrong", "right-reasons"),
            ("masks of what is wrong", "perturbed"),
        ):
            options = {"low": [-9.0], "high": [9.0]} if term == "perturbed" else {}
            guidance = cyborg.Guidance(blend="additive").add(term, 0.5, **options)
            with self.subTest(term=term), self.refused(name):
                guidance.step(self.hook, self.images, self.labels, wrong=elsewhere(wrong))
        for term in ("gradia", "haics", "res-g", "harmonize"):
            guidance = cyborg.Guidance(blend="additive").add(term, 0.5)
            with self.subTest(term=term), self.refused("maps of people"):
                guidance.step(self.hook, self.images, self.labels, maps=elsewhere(self.maps))
        guidance = cyborg.Guidance(class_weight=elsewhere(torch.ones(3, device=GPU))).add("people", 0.5, "l2")
        logits = self.net(self.images)
        with self.refused("class_weight"):
            guidance(logits, self.hook, self.labels, maps=self.maps)
        guidance = cyborg.Guidance(class_weight=torch.ones(3)).to(GPU)
        guidance.add("people", 0.5, "l2")
        guidance(logits, self.hook, self.labels, maps=self.maps)
        positions = elsewhere(torch.ones(6, 8, 8, dtype=torch.bool, device=GPU))
        with self.assertRaises((ValueError, RuntimeError)):  # of torch
            guidance(
                logits, self.hook, self.labels, maps=self.maps, positions=positions
            )

    def test_a_guided_head(self):
        head = cyborg.GuidedHead(8, 3, device=GPU)
        features = torch.rand(6, 8, 4, 4, device=GPU)
        with self.refused("labels"):
            head.guided(features, elsewhere(self.labels))
        with self.assertRaises((ValueError, RuntimeError)):
            head(elsewhere(features))

    def test_pictures_on_the_cpu_leave_the_hook_usable(self):
        with self.assertRaises(RuntimeError):
            self.net(elsewhere(self.images))
        self.assertFalse(self.hook.observation.defined)
        self.net(self.images)
        self.assertTrue(self.hook.observation.exact, repr(self.hook))

    def test_a_network_that_moves(self):
        self.net.eval()
        wanted = networks.gradients(
            self.criterion(self.net(self.images), self.labels, self.hook, self.maps).total,
            self.net,
        )
        self.net.zero_grad()
        self.hook.remove()
        self.net.cpu()
        hook = cyborg.CamHook(self.net)  # it has seen the CPU first
        for device in (CPU, GPU, CPU, GPU):
            self.net.to(device)
            images, labels, maps = networks.batch(device=device)
            for _ in range(2):
                terms = self.criterion(self.net(images), labels, hook, maps)
                self.assertTrue(hook.observation.exact, repr(hook))
                self.assertEqual(hook.observation.features.device, device)
                found = networks.gradients(terms.total, self.net)
                for name, one in found.items():
                    error = (one.cpu() - wanted[name].cpu()).abs().max()
                    self.assertLess(float(error), 1e-5, name)

    def test_the_generator_of_controls_is_of_the_cpu(self):
        with self.assertRaisesRegex(ValueError, "expected a CPU generator"):
            cyborg.human.shuffled(self.maps, torch.Generator(GPU))


class Step(unittest.TestCase):
    """The gradients of a step, beside those in float32."""

    def setUp(self):
        torch.manual_seed(1)
        self.net = networks.Small().eval()
        self.images, self.labels, self.maps = networks.batch()
        self.criterion = cyborg.CyborgL2Loss()
        with cyborg.watch(self.net) as hook:
            self.wanted = networks.gradients(self.total(self.net, hook), self.net)

    def total(self, net, hook, images=None):
        logits = net(self.images if images is None else images)
        return self.criterion(logits, self.labels, hook, self.maps).total

    def near(self, found, tolerance):
        """Whether gradients are those of float32, as a part of the largest one."""
        for name, wanted in self.wanted.items():
            size = float(wanted.abs().max())
            error = float((found[name].float() - wanted).abs().max())
            self.assertLess(error, tolerance * max(size, 1e-2), name)


@networks.needs_cuda
class Training(Step):
    def test_gradscaler_and_float16(self):
        hook = cyborg.CamHook(self.net)
        scaler = torch.amp.GradScaler(GPU.type, init_scale=1024.0)
        optimizer = torch.optim.SGD(self.net.parameters(), 0.1)
        before = self.net.fc.weight.detach().clone()
        with torch.autocast(GPU.type, torch.float16):
            total = self.total(self.net, hook)
        self.assertTrue(hook.observation.exact, repr(hook))
        self.assertEqual(hook.observation.features.dtype, torch.float16)
        self.assertEqual(total.dtype, torch.float32)
        scaler.scale(total).backward()
        scaler.unscale_(optimizer)
        found = {name: p.grad.clone() for name, p in self.net.named_parameters()}
        self.near(found, 5e-2)
        scaler.step(optimizer)
        scaler.update()
        moved = before - 0.1 * found["fc.weight"] - self.net.fc.weight.detach()
        self.assertLess(float(moved.abs().max()), 1e-6)

    def test_an_overflow_skips_the_step(self):
        hook = cyborg.CamHook(self.net)
        scaler = torch.amp.GradScaler(GPU.type, init_scale=2.0**60)
        optimizer = torch.optim.SGD(self.net.parameters(), 0.1)
        before = self.net.fc.weight.detach().clone()
        with torch.autocast(GPU.type, torch.float16):
            total = self.total(self.net, hook)
        scaler.scale(total).backward()
        scaler.step(optimizer)
        scaler.update()
        self.assertTrue(torch.equal(before, self.net.fc.weight.detach()))
        self.assertLess(scaler.get_scale(), 2.0**60)

    def test_bfloat16(self):
        hook = cyborg.CamHook(self.net)
        with torch.autocast(GPU.type, torch.bfloat16):
            total = self.total(self.net, hook)
        self.assertTrue(hook.observation.exact, repr(hook))
        self.near(networks.gradients(total, self.net), 0.2)

    def test_channels_last(self):
        self.net.to(memory_format=torch.channels_last)
        hook = cyborg.CamHook(self.net)
        images = self.images.to(memory_format=torch.channels_last)
        total = self.total(self.net, hook, images)
        self.assertTrue(hook.observation.exact, repr(hook))
        self.near(networks.gradients(total, self.net), 1e-4)
        with torch.autocast(GPU.type, torch.float16):
            total = self.total(self.net, hook, images)
        self.assertTrue(hook.observation.exact, repr(hook))
        self.near(networks.gradients(total, self.net), 5e-2)

    def test_tensor_cores_for_float32_give_no_wrong_map(self):
        """With TF32 the logits are rounded more than float32: the map is CAM or
        Grad-CAM, which are the same here."""
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        try:
            with cyborg.watch(self.net) as hook:
                for _ in range(3):
                    total = self.total(self.net, hook)
                    if not hook.observation.exact:
                        warnings.warn(f"with TF32: {hook}", stacklevel=1)
                    self.near(networks.gradients(total, self.net), 5e-2)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False

    def test_one_process_with_nccl(self):
        import torch.distributed as distributed
        from torch.nn.parallel import DistributedDataParallel

        if not distributed.is_available() or not distributed.is_nccl_available():
            self.skipTest("this torch has no nccl")
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        torch.cuda.set_device(GPU)
        with unittest.mock.patch.dict(os.environ, NCCL_SOCKET_IFNAME="lo"):
            distributed.init_process_group(
                "nccl", f"tcp://127.0.0.1:{port}", rank=0, world_size=1
            )
            try:
                wrapped = DistributedDataParallel(self.net, device_ids=[GPU.index])
                hook = cyborg.CamHook(wrapped)
                for _ in range(3):
                    logits = wrapped(self.images)
                    terms = self.criterion(logits, self.labels, hook, self.maps)
                    self.assertTrue(hook.observation.exact, repr(hook))
                    total = cyborg.whole_batch_total(self.criterion, terms, 6)
                    self.near(networks.gradients(total, self.net), 1e-4)
                guidance = cyborg.Guidance().add("people", 0.5, "l2")
                terms = guidance(wrapped(self.images), hook, self.labels, maps=self.maps)
                total = cyborg.whole_batch_total(None, terms, 6)
                self.near(networks.gradients(total, self.net), 1e-4)
            finally:
                distributed.destroy_process_group()


@networks.needs_cuda
class Compiled(Step):
    """torch.compile with its own compiler, which makes kernels for this GPU."""

    def test_the_whole_network(self):
        torch._dynamo.reset()
        compiled = torch.compile(self.net)
        hook = cyborg.CamHook(compiled)
        for _ in range(3):
            total = self.total(compiled, hook)
            self.assertTrue(hook.observation.defined, repr(hook))
            self.near(networks.gradients(total, self.net), 1e-3)
        with torch.no_grad():
            logits = compiled(self.images)
            wanted = networks.cam(
                self.net.features(self.images), self.net.fc.weight, self.labels
            )
            found = hook.cam(logits, self.labels)
            self.assertLess(float((found - wanted).abs().max()), 1e-4)

    def test_the_whole_network_in_float16(self):
        torch._dynamo.reset()
        compiled = torch.compile(self.net)
        hook = cyborg.CamHook(compiled)
        for _ in range(2):
            with torch.autocast(GPU.type, torch.float16):
                total = self.total(compiled, hook)
            self.assertTrue(hook.observation.defined, repr(hook))
            self.near(networks.gradients(total, self.net), 5e-2)

    def test_the_whole_network_with_tensor_cores_for_float32(self):
        torch.set_float32_matmul_precision("high")
        try:
            torch._dynamo.reset()
            compiled = torch.compile(self.net)
            hook = cyborg.CamHook(compiled)
            for _ in range(2):
                total = self.total(compiled, hook)
                self.assertTrue(hook.observation.defined, repr(hook))
                self.near(networks.gradients(total, self.net), 5e-2)
        finally:
            torch.set_float32_matmul_precision("highest")

    def test_the_backbone_alone(self):
        torch._dynamo.reset()
        plain = self.net.body
        self.net.body = torch.compile(plain)
        hook = cyborg.CamHook(self.net)
        for _ in range(3):
            total = self.total(self.net, hook)
            self.assertTrue(hook.observation.defined, repr(hook))
            found = networks.gradients(total, self.net)
            self.near({k.replace("_orig_mod.", ""): v for k, v in found.items()}, 1e-3)


if __name__ == "__main__":
    unittest.main()
