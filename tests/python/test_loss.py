# SPDX-License-Identifier: BSD-3-Clause
"""The losses give the values and gradients of plain PyTorch."""

import unittest

import networks
import torch
import torchcyborg as cyborg
from torch import nn


def close(test, found, wanted, tolerance):
    test.assertLess(
        float((found - wanted).detach().abs().max()),
        tolerance * (1 + float(wanted.detach().abs().max())),
    )


class Losses(unittest.TestCase):
    def compare(self, criterion, distance, dtype, tolerance, net=None):
        torch.manual_seed(3)
        net = (net or networks.Small()).to(dtype)
        images, labels, maps = networks.batch(dtype=dtype)
        with cyborg.watch(net) as hook:
            logits = net(images)
            terms = criterion(logits, labels, hook, maps)
            self.assertTrue(hook.observation.exact, repr(hook))
            found = networks.gradients(terms.total, net)
        logits = net(images)
        cams = networks.cam(net.features(images), net.fc.weight, labels)
        total, task, saliency = networks.guided(
            logits, labels, cams, maps, distance, criterion.alpha
        )
        wanted = networks.gradients(total, net)
        close(self, terms.total, total, tolerance)
        close(self, terms.classification, task, tolerance)
        close(self, terms.saliency, saliency, tolerance)
        self.assertEqual(int(terms.annotated_count), len(labels) - 1)
        for name in wanted:
            close(self, found[name], wanted[name], tolerance)

    def test_each_loss_is_that_of_plain_pytorch(self):
        for distance in networks.DISTANCES:
            for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
                with self.subTest(distance=distance, dtype=dtype):
                    net = networks.Small().eval()
                    self.compare(
                        cyborg.SaliencyGuidedLoss(distance, alpha=0.3),
                        distance,
                        dtype,
                        tolerance,
                        net,
                    )

    def test_the_named_losses_are_their_distances(self):
        for made, distance in (
            (cyborg.CyborgL1Loss, "l1"),
            (cyborg.CyborgL2Loss, "l2"),
            (cyborg.CyborgKLLoss, "kl"),
        ):
            self.compare(made(0.7), distance, torch.float64, 1e-12, networks.Small().eval())

    def test_a_distance_may_be_a_function_of_python(self):
        def mine(model, human):
            return (model - human).square().mean(1)

        images, labels, maps = networks.batch(dtype=torch.float64)
        net = networks.Small().double()
        with cyborg.watch(net) as hook:
            logits = net(images)
            own = cyborg.SaliencyGuidedLoss(mine)(logits, labels, hook, maps)
            ours = cyborg.CyborgL2Loss()(logits, labels, hook, maps)
            close(self, own.total, ours.total, 1e-12)
            found = networks.gradients(own.total, net)
            logits = net(images)
            wanted = networks.gradients(
                cyborg.CyborgL2Loss()(logits, labels, hook, maps).total, net
            )
        for name in wanted:
            close(self, found[name], wanted[name], 1e-11)

    def test_a_distance_of_python_names_its_normalisers(self):
        class Mine:
            map_normalizer = "softmax"
            human_normalizer = "sum"

            def __call__(self, model, human):
                self.sums = model.sum(1), human.sum(1)
                return (model - human).abs().sum(1)

        distance = Mine()
        net = networks.Small()
        images, labels, maps = networks.batch()
        with cyborg.watch(net) as hook:
            cyborg.SaliencyGuidedLoss(distance)(net(images), labels, hook, maps)
        ones = torch.tensor([1.0, 0, 1, 1, 1, 1], device=networks.DEVICE)  # sample 1 has no map
        close(self, distance.sums[0], ones, 1e-5)
        close(self, distance.sums[1], ones, 1e-5)

    def test_an_error_in_a_distance_of_python_arrives_as_it_is(self):
        def wrong(model, human):
            raise KeyError("mine")

        net = networks.Small()
        images, labels, maps = networks.batch()
        with cyborg.watch(net) as hook:
            with self.assertRaisesRegex(KeyError, "mine"):
                cyborg.SaliencyGuidedLoss(wrong)(net(images), labels, hook, maps)
            with self.assertRaisesRegex(TypeError, "return a tensor"):
                cyborg.SaliencyGuidedLoss(lambda m, h: 3)(net(images), labels, hook, maps)

    def test_alpha_is_checked_and_may_change(self):
        criterion = cyborg.CyborgL2Loss(0.5)
        criterion.alpha = 0.25
        self.assertEqual(criterion.alpha, 0.25)
        for wrong in (-0.1, 1.1, float("nan")):
            with self.assertRaisesRegex(ValueError, r"alpha in \[0, 1\]"):
                criterion.alpha = wrong
        self.assertEqual(criterion.alpha, 0.25)
        with self.assertRaisesRegex(ValueError, "one of label, predicted"):
            cyborg.CyborgL2Loss(cam_class="labels")
        with self.assertRaisesRegex(ValueError, "distance to be one of l1"):
            cyborg.SaliencyGuidedLoss("l3")

    def test_what_is_no_tensor_is_named(self):
        images, labels, maps = networks.batch()
        net = networks.Small()
        hook = cyborg.CamHook(net)
        logits = net(images)
        criterion = cyborg.CyborgL2Loss()
        guidance = cyborg.Guidance().add("people", 0.5, "l2")
        for call, text in (
            (lambda: criterion(logits, labels, maps=maps), "got NoneType; make hook"),
            (lambda: criterion(logits, labels, net, maps), "a CamHook, .* got Small"),
            (lambda: guidance(logits, net, labels, maps=maps), "Guidance: .* got Small"),
            (lambda: criterion(logits, [0], hook, maps), "labels to be a tensor, got list"),
            (lambda: criterion(logits, labels, hook, 3), "maps to be a tensor, got int"),
            (lambda: criterion(net, labels, hook, maps), "logits to be .* got Small"),
            (lambda: criterion.combine(0.5), "task_loss to be a tensor, got float"),
            (lambda: guidance.step(net, images, labels), "a CamHook, got Small"),
            (lambda: guidance.step(hook, [1], labels), "images to be .* got list"),
            (lambda: guidance(logits, hook, labels, maps=1), "maps to be .* got int"),
            (lambda: guidance.step(hook, images, labels, map=maps), "argument 'map'"),
            (lambda: hook.cam(logits, [0]), "labels to be a tensor, got list"),
            (lambda: cyborg.GuidedHead(8, 3)([1]), "features to be a tensor, got list"),
        ):
            with self.subTest(text=text):
                with self.assertRaisesRegex(TypeError, text) as caught:
                    call()
                self.assertLess(len(str(caught.exception)), 200)

    def test_with_alpha_1_nothing_else_is_read(self):
        images, labels, _ = networks.batch()
        logits = networks.Small()(images)
        terms = cyborg.CyborgL2Loss(1.0)(logits, labels)
        close(self, terms.total, nn.functional.cross_entropy(logits, labels), 1e-6)

    def test_combine_takes_any_task(self):
        images, labels, maps = networks.batch(dtype=torch.float64)
        net = networks.Small().double()
        with cyborg.watch(net) as hook:
            logits = net(images)
            task = nn.functional.cross_entropy(logits, labels)
            cams = hook.cam(logits, labels)
            whole = cyborg.CyborgL2Loss()(logits, labels, hook, maps)
            own = cyborg.CyborgL2Loss().combine(task, cams, maps)
        close(self, own.total, whole.total, 1e-12)

    def test_the_predicted_class_and_one_logit(self):
        images, labels, maps = networks.batch(dtype=torch.float64, classes=2)
        net = networks.Small(classes=1).double()
        with cyborg.watch(net) as hook:
            logits = net(images)
            terms = cyborg.CyborgL2Loss()(logits, labels, hook, maps)
            cams = torch.einsum("bchw,c->bhw", net.features(images), net.fc.weight[0])
        sign = (2 * labels - 1).double()
        used = [0, 2, 3, 4, 5]
        wanted = networks.DISTANCES["l2"](
            (cams * sign[:, None, None]).flatten(1)[used], maps.flatten(1)[used]
        ).mean()
        self.assertLess(float((terms.saliency - wanted).abs()), 1e-6)


class Terms(unittest.TestCase):
    def test_the_names_are_those_of_the_programs(self):
        import os
        import re

        source = os.environ.get("CYBORG_SOURCE_DIR")
        if not source:
            self.skipTest("CYBORG_SOURCE_DIR does not name the sources of cyborg")
        with open(os.path.join(source, "examples/common/terms.cpp")) as file:
            text = file.read()
        text = text[text.index("make_kinds() {") : text.index("The names, with commas")]
        named = re.findall(r'(?:kind(?:<\w+>)?\(|\{)\s*"([a-z0-9-]+)",\s*"', text)
        named = [name for name in named if name not in ("score", "power", "levels")]
        known = list(cyborg.term_names())
        self.assertEqual([name for name in named if name in known], known)
        for name in named:  # what else stands there are options of terms
            self.assertIn(name, known + ["steps", "epsilon", "fraction", "threshold", "slack"])

    def test_a_distance_as_a_term_is_the_guided_loss(self):
        images, labels, maps = networks.batch(dtype=torch.float64)
        net = networks.Small().double()
        for distance in networks.DISTANCES:
            with self.subTest(distance=distance), cyborg.watch(net) as hook:
                logits = net(images)
                guidance = cyborg.Guidance().add("people", 0.5, distance)
                terms = guidance(logits, hook, labels, maps=maps)
                loss = cyborg.SaliencyGuidedLoss(distance, 0.5)(
                    logits, labels, hook, maps
                )
                close(self, terms.total, loss.total, 1e-11)
                self.assertEqual(int(terms.parts["people"].count), 5)

    def test_every_term_gives_a_loss_with_a_gradient(self):
        images, labels, maps = networks.batch(side=16)
        wrong = (maps.nan_to_num(0.3) > 0.5).float()
        for name in cyborg.term_names():
            with self.subTest(term=name):
                net = networks.Small().eval()
                hook = cyborg.CamHook(net)
                options = {"low": [-9.0], "high": [9.0]} if name == "perturbed" else {}
                guidance = cyborg.Guidance(blend="additive").add(name, 0.5, **options)
                terms = guidance.step(hook, images, labels, maps=maps, wrong=wrong)
                found = networks.gradients(terms.total, net)
                self.assertTrue(torch.isfinite(terms.total))
                plain = networks.gradients(terms_of_task(net, images, labels), net)
                self.assertTrue(
                    any((found[n] - plain[n]).abs().max() > 1e-7 for n in found)
                )
                with torch.no_grad():
                    again = guidance.step(hook, images, labels, maps=maps, wrong=wrong)
                self.assertFalse(again.total.requires_grad)
                if name not in ("sgt",):  # draws random pixels
                    close(self, again.total, terms.total, 1e-4)

    def test_right_reasons_is_the_squared_gradient_where_it_is_wrong(self):
        images, labels, _ = networks.batch(dtype=torch.float64)
        wrong = (torch.rand(6, 8, 8, device=networks.DEVICE) > 0.5).double()
        net = networks.Small().double().eval()
        hook = cyborg.CamHook(net)
        guidance = cyborg.Guidance(blend="additive").add("right-reasons", 1.0)
        terms = guidance.step(hook, images, labels, wrong=wrong)
        hook.remove()
        x = images.clone().requires_grad_()
        score = net(x).log_softmax(1).sum()
        (gradient,) = torch.autograd.grad(score, x, create_graph=True)
        wanted = (gradient * wrong[:, None]).square().flatten(1).sum(1).mean()
        close(self, terms.parts["right-reasons"].value, wanted, 1e-10)

    def test_a_term_may_be_a_function_of_python(self):
        def focus(seen):
            share = seen.map().flatten(1).softmax(1)
            return 1 - share.square().sum(1).sqrt()

        images, labels, maps = networks.batch(dtype=torch.float64)
        net = networks.Small().double()
        hook = cyborg.CamHook(net)
        guidance = cyborg.Guidance(blend="additive").add("focus", 0.1, focus)
        terms = guidance.step(hook, images, labels)
        cams = hook.cam(net(images), labels)
        share = cams.flatten(1).softmax(1)
        close(
            self,
            terms.parts["focus"].value,
            (1 - share.square().sum(1).sqrt()).mean(),
            1e-11,
        )

    def test_a_term_of_python_may_run_the_network_and_read_the_gradient(self):
        seen_by = {}

        class Mine:
            needs = ("input-gradient", "forward")

            def __call__(self, seen):
                seen_by["seen"] = seen
                other = seen.forward(seen.images.flip(3))
                (gradient,) = torch.autograd.grad(
                    seen.score().sum(), seen.images, create_graph=True
                )
                usable = torch.ones(len(other), dtype=torch.bool, device=other.device)
                return (other - seen.logits).square().sum(1) + gradient.square().sum(
                    (1, 2, 3)
                ), usable

        images, labels, maps = networks.batch()
        net = networks.Small()
        hook = cyborg.CamHook(net)
        guidance = cyborg.Guidance(blend="additive")
        guidance.add("mine", 0.1, Mine()).add("people", 0.2, "l2")
        terms = guidance.step(hook, images, labels, maps=maps)
        terms.total.backward()
        self.assertEqual(int(terms.parts["mine"].count), 6)
        with self.assertRaisesRegex(ValueError, "ends with the term"):
            seen_by["seen"].logits
        with self.assertRaisesRegex(ValueError, "guidance.step"):
            guidance(net(images), hook, labels, maps=maps)

    def test_wrong_terms_are_errors_at_once(self):
        guidance = cyborg.Guidance()
        with self.assertRaisesRegex(ValueError, "a term among l1, l2"):
            guidance.add("people", 0.5, "l5")
        with self.assertRaisesRegex(TypeError, "has no option power; it has cam_class"):
            guidance.add("people", 0.5, "l2", power=2)
        with self.assertRaisesRegex(ValueError, "add up to at most 1"):
            guidance.add("people", 1.5, "l2")
        with self.assertRaisesRegex(TypeError, "another type for the option power"):
            guidance.add("right-reasons", 0.5, power="two")
        guidance.add("people", 0.5, "l2")
        with self.assertRaisesRegex(ValueError, "already"):
            guidance.add("people", 0.5, "l2")
        with self.assertRaisesRegex(ValueError, "one of people, got persons"):
            guidance.set_strength("persons", 0.1)


def terms_of_task(net, images, labels):
    return nn.functional.cross_entropy(net(images), labels)


class Heads(unittest.TestCase):
    def test_a_guided_head_is_pooling_and_a_linear_layer(self):
        linear = nn.Linear(8, 3).double().to(networks.DEVICE)
        head = cyborg.GuidedHead.from_linear(linear)
        features = torch.randn(
            4, 8, 5, 5, dtype=torch.double, device=networks.DEVICE, requires_grad=True
        )
        labels = torch.tensor([0, 2, 1, 1], device=networks.DEVICE)
        out = head.guided(features, labels)
        close(self, out.logits, linear(features.mean((2, 3))), 1e-12)
        close(self, out.cam, networks.cam(features, linear.weight, labels), 1e-12)
        loss = (out.logits.square().sum() + out.cam.square().sum())
        loss.backward()
        found = features.grad.clone(), head.weight.grad.clone()
        features.grad = None
        wanted = linear(features.mean((2, 3))).square().sum() + networks.cam(
            features, linear.weight, labels
        ).square().sum()
        wanted.backward()
        close(self, found[0], features.grad, 1e-11)
        close(self, found[1], linear.weight.grad, 1e-11)
        self.assertEqual(list(head.state_dict()), ["weight", "bias"])
        linear.load_state_dict(head.state_dict())
        close(self, head.to_linear().weight, linear.weight, 1e-12)

    def test_a_hook_takes_the_maps_of_a_guided_head(self):
        net = networks.Small().double()
        images, labels, maps = networks.batch(dtype=torch.float64)
        with cyborg.watch(net) as hook:
            wanted = cyborg.CyborgL2Loss()(net(images), labels, hook, maps)

        class Guided(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = net.body
                self.fc = cyborg.GuidedHead.from_linear(net.fc)

            def forward(self, x):
                return self.fc(self.body(x))

        guided = Guided()
        with cyborg.watch(guided) as hook:
            terms = cyborg.CyborgL2Loss()(guided(images), labels, hook, maps)
            self.assertTrue(hook.observation.exact)
            if networks.DEVICE.type == "cpu":  # elsewhere it consists of operators
                self.assertIn("GuidedHead", hook.observation.reduction)
        close(self, terms.total, wanted.total, 1e-12)
        with self.assertRaisesRegex(ValueError, "expected features of 8 channels"):
            guided.fc(torch.rand(2, 9, 4, 4, device=networks.DEVICE).double())


class Functions(unittest.TestCase):
    def test_maps_and_measures(self):
        maps = torch.tensor([[2.0, 4.0, 6.0]])
        self.assertEqual(cyborg.maps.normalize(maps).tolist(), [[0, 0.5, 1]])
        self.assertEqual(cyborg.maps.resize(torch.ones(2, 8, 8), [4, 4]).shape, (2, 4, 4))
        boxes = cyborg.human.draw_boxes(torch.tensor([[1.0, 0, 3, 2]]), [4, 4])
        self.assertEqual(boxes.sum(), 4)
        mean = cyborg.human.mean_of([boxes, None, 3 * boxes])
        self.assertEqual(mean.max(), 2)
        self.assertTrue(cyborg.human.missing([2, 2]).isnan().all())
        points = cyborg.human.draw_points(torch.tensor([[2.0, 2.0]]), [4, 4], 1.0)
        self.assertEqual(points.shape, (4, 4))
        scores, labels = torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1])
        self.assertEqual(cyborg.measure.roc_auc(scores, labels), 0.75)
        self.assertEqual(cyborg.measure.pointing_hit(boxes, boxes), 1)
        with self.assertRaisesRegex(ValueError, "one of none, min-max"):
            cyborg.maps.normalize(maps, "minmax")
        with self.assertRaisesRegex(ValueError, "torchcyborg.measure.roc_auc"):
            cyborg.measure.roc_auc(scores, labels[:2])
        shuffled = cyborg.human.shuffled(
            torch.rand(4, 3, 3), torch.Generator().manual_seed(0)
        )
        self.assertEqual(shuffled.shape, (4, 3, 3))


if __name__ == "__main__":
    unittest.main()
