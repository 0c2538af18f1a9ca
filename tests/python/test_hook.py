# SPDX-License-Identifier: BSD-3-Clause
"""`logits = net(images)` stays as it is, whatever it returns and wherever it runs."""

import collections
import copy
import dataclasses
import gc
import io
import pickle
import threading
import unittest
import weakref

import networks
import torch
import torchcyborg as cyborg
from torch import nn


class Returns(networks.Small):
    """A network that returns its logits inside something."""

    def __init__(self, wrap):
        super().__init__()
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(super().forward(x))


class TwoLayers(networks.Small):
    """Its head is more than a linear layer, so that its maps are Grad-CAM's."""

    def __init__(self):
        super().__init__(act=nn.Softplus())
        self.more = nn.Sequential(nn.Linear(8, 8), nn.Tanh()).to(networks.DEVICE)

    def forward(self, x):
        return self.fc(self.more(self.body(x).mean((2, 3))))


@dataclasses.dataclass
class Output:
    loss: object
    logits: torch.Tensor


Pair = collections.namedtuple("Pair", "logits others")
IMAGES, LABELS, MAPS = networks.batch()


class Outputs(unittest.TestCase):
    def logits_found(self, wrap, read, **options):
        net = Returns(wrap)
        for recording in (True, False):
            with cyborg.watch(net, **options) as hook:
                with torch.set_grad_enabled(recording):
                    logits = read(net(IMAGES))
                    self.assertEqual(logits.requires_grad, recording)
                    maps = hook.cam(logits, LABELS)
                self.assertTrue(hook.observation.exact, repr(hook))
                wanted = networks.cam(net.features(IMAGES), net.fc.weight, LABELS)
                self.assertLess(float((maps - wanted).abs().max()), 1e-5)
                self.assertFalse(maps.requires_grad and not recording)

    def test_any_output_with_logits_is_understood(self):
        self.logits_found(lambda z: z, lambda out: out)
        self.logits_found(lambda z: (z, z * 2), lambda out: out[0])
        self.logits_found(lambda z: [z, "other"], lambda out: out[0])
        self.logits_found(lambda z: Pair(z, None), lambda out: out.logits)
        self.logits_found(lambda z: {"loss": 0, "logits": z}, lambda out: out["logits"])
        self.logits_found(
            lambda z: collections.OrderedDict(out=z, aux=z + 1), lambda out: out["out"]
        )
        self.logits_found(lambda z: Output(None, z), lambda out: out.logits)

    def test_logits_of_reads_any_other_output(self):
        self.logits_found(
            lambda z: {"scores": z},
            lambda out: out["scores"],
            logits_of=lambda out: out["scores"],
        )

    def test_an_output_without_logits_is_explained(self):
        for wrap, wanted in (
            (lambda z: {"scores": z}, "got dict with scores; name the logits with"),
            (lambda z: str(z), "got str"),
        ):
            net = Returns(wrap)
            with cyborg.watch(net) as hook:
                net(IMAGES)
                with self.assertRaisesRegex(ValueError, wanted):
                    hook.require()

    def test_keyword_arguments_arrive(self):
        class Net(networks.Small):
            def forward(self, *, pixels, scale=1):
                return super().forward(pixels * scale)

        net = Net()
        with cyborg.watch(net) as hook:
            logits = net(pixels=IMAGES, scale=2)
            self.assertEqual(hook.cam(logits, LABELS).shape, (6, 8, 8))


class Life(unittest.TestCase):
    def setUp(self):
        self.net = networks.Small()

    def test_the_hook_says_what_it_found(self):
        hook = cyborg.CamHook(self.net)
        self.assertEqual(repr(hook), "CamHook(nothing observed yet)")
        with self.assertRaisesRegex(ValueError, "run the network under this hook"):
            hook.cam(torch.rand(6, 3, device=networks.DEVICE), LABELS)
        self.net(IMAGES)
        self.assertRegex(repr(hook), r"^CamHook\(layer=body, features=\[6, 8, 8, 8\]")
        self.assertIn("exact=yes", repr(hook))

    def test_errors_speak_python(self):
        net = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)).to(networks.DEVICE)
        with cyborg.watch(net) as hook:
            net(IMAGES)
            with self.assertRaises(ValueError) as caught:
                hook.require()
        text = str(caught.exception)
        self.assertTrue(text.startswith("torchcyborg.CamHook: no convolution"), text)
        for word in ("::", "std", "CamHookOptions", "callable", "Exception raised"):
            self.assertNotIn(word, text)

    def test_a_map_that_needs_the_graph_is_asked_for_before_the_backward(self):
        net = TwoLayers()
        with cyborg.watch(net) as hook:
            logits = net(IMAGES)
            hook.cam(logits, LABELS).sum().backward()
            with self.assertRaises(RuntimeError) as caught:
                hook.cam(logits, LABELS)
        text = str(caught.exception)
        self.assertIn("before it, or call backward(retain_graph=True)", text)

    def test_a_removed_hook_observes_nothing(self):
        hook = cyborg.CamHook(self.net)
        hook.remove()
        self.net(IMAGES)
        self.assertFalse(hook.observation.defined)
        self.assertFalse(self.net._forward_hooks or self.net._forward_pre_hooks)

    def test_a_forgotten_hook_takes_its_hooks_along(self):
        hook = cyborg.CamHook(self.net)
        del hook
        gc.collect()
        self.assertFalse(self.net._forward_hooks or self.net._forward_pre_hooks)

    def test_neither_keeps_the_other_alive(self):
        gc.disable()
        try:
            hook = cyborg.CamHook(self.net)
            criterion = cyborg.CyborgL2Loss()
            criterion(self.net(IMAGES), LABELS, hook, MAPS).total.backward()
            gone = weakref.ref(self.net)
            del self.net
            self.assertIsNone(gone())
            self.assertEqual(repr(hook), "CamHook(the network is gone)")
            with self.assertRaisesRegex(ReferenceError, "gone"):
                hook.module
        finally:
            gc.enable()

    def test_an_error_in_the_network_leaves_nothing_behind(self):
        class Raises(networks.Small):
            fails = True

            def forward(self, x):
                if self.fails:
                    raise KeyError("mine")
                return super().forward(x)

        net = Raises()
        hook = cyborg.CamHook(net)
        with torch.no_grad():
            with self.assertRaises(KeyError):
                net(IMAGES)
            self.assertFalse(torch.is_grad_enabled())
        net.fails = False
        logits = net(IMAGES)
        self.assertTrue(hook.observation.exact)
        net.fails = True
        with self.assertRaises(KeyError):
            net(IMAGES)
        self.assertFalse(hook.observation.defined)
        self.assertTrue(torch.isfinite(logits).all())

    def test_an_interrupt_is_forgotten_at_the_next_forward(self):
        class Stops(networks.Small):
            stops = True

            def forward(self, x):
                if self.stops:
                    raise KeyboardInterrupt
                return super().forward(x)

        net = Stops()
        hook = cyborg.CamHook(net)
        with self.assertRaises(KeyboardInterrupt):
            net(IMAGES)
        net.stops = False
        logits = net(IMAGES)
        self.assertEqual(hook.cam(logits, LABELS).shape, (6, 8, 8))

    def test_a_network_that_calls_itself_is_one_forward(self):
        class Twice(networks.Small):
            def forward(self, x, again=True):
                if again:
                    with torch.no_grad():
                        self(x, again=False)
                return super().forward(x)

        net = Twice()
        with cyborg.watch(net) as hook:
            logits = net(IMAGES)
            self.assertTrue(hook.observation.exact)
            self.assertEqual(hook.cam(logits, LABELS).shape, (6, 8, 8))

    def test_two_hooks_on_one_network_and_one_inside(self):
        one, two = cyborg.CamHook(self.net), cyborg.CamHook(self.net, layer="body.0")
        inner = cyborg.CamHook(self.net.body)
        logits = self.net(IMAGES)
        self.assertTrue(one.observation.exact)
        self.assertEqual(two.observation.layer, "body.0")
        self.assertFalse(inner.observation.defined)  # it returns a map
        one.remove()
        self.net(IMAGES)
        self.assertTrue(two.observation.defined)
        self.assertFalse(one.observation.defined)
        self.assertTrue(torch.isfinite(logits).all())

    def test_a_function_can_be_observed(self):
        hook = cyborg.CamHook(self.net)
        logits = hook.forward(
            lambda: self.net.fc(self.net.body(IMAGES).mean((2, 3)))
        )
        self.assertTrue(hook.observation.exact)
        also = hook.forward(lambda: self.net(IMAGES))
        self.assertEqual(hook.cam(also, LABELS).shape, (6, 8, 8))
        with self.assertRaisesRegex(ValueError, "another forward"):
            hook.cam(logits, LABELS)
        with torch.no_grad():
            self.assertFalse(hook.forward(lambda: self.net(IMAGES)).requires_grad)

    def test_layers_and_methods(self):
        hook = cyborg.CamHook(self.net, layer="body.3", method="cam")
        logits = self.net(IMAGES)
        self.assertEqual(hook.observation.layer, "body.3")
        self.assertEqual(hook.observation.method, "cam")
        self.assertEqual(hook.cam(logits, which="all").shape, (6, 3, 8, 8))
        with self.assertRaisesRegex(ValueError, "expected a layer among"):
            cyborg.CamHook(self.net, layer="bodies")
        with self.assertRaisesRegex(ValueError, "one of auto, cam, grad-cam"):
            cyborg.CamHook(self.net, method="gradcam")
        with self.assertRaisesRegex(TypeError, "expected a torch.nn.Module, got int"):
            cyborg.CamHook(3)
        with self.assertRaisesRegex(TypeError, "got TorchScript"):
            cyborg.CamHook(torch.jit.trace(networks.Small().eval(), IMAGES))

    def test_grad_cam_is_that_of_plain_pytorch(self):
        net = TwoLayers().double()
        images = IMAGES.double()
        with cyborg.watch(net) as hook:
            logits = net(images)
            self.assertFalse(hook.observation.exact)
            maps = hook.cam(logits, LABELS)
        features = net.body(images)
        z = net.fc(net.more(features.mean((2, 3))))
        score = z.gather(1, LABELS[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, features, create_graph=True)
        wanted = (gradient.mean((2, 3))[:, :, None, None] * features).sum(1)
        self.assertLess(float((maps - wanted).abs().max()), networks.about(1e-12))
        found = networks.gradients(maps.square().sum(), net)
        wanted = networks.gradients(wanted.square().sum(), net)
        for name in found:
            self.assertLess(float((found[name] - wanted[name]).abs().max()), networks.about(1e-12))


class Copies(unittest.TestCase):
    """A copy of a module that owns a hook observes itself."""

    def owner(self):
        net = networks.Small()
        net.hook = cyborg.CamHook(net)
        return net

    def check(self, copied, net):
        self.assertIsNot(copied.hook, net.hook)
        self.assertIs(copied.hook.module, copied)
        logits = copied(IMAGES)
        self.assertTrue(copied.hook.observation.exact)
        self.assertEqual(copied.hook.cam(logits, LABELS).shape, (6, 8, 8))
        self.assertFalse(net.hook.observation.defined)
        copied.hook.remove()
        self.assertFalse(copied._forward_hooks)
        self.assertTrue(net._forward_hooks)
        net(IMAGES)
        self.assertTrue(net.hook.observation.exact)

    def test_deepcopy(self):
        net = self.owner()
        self.check(copy.deepcopy(net), net)

    def test_pickle(self):
        net = self.owner()
        self.check(pickle.loads(pickle.dumps(net)), net)

    def test_torch_save(self):
        net = self.owner()
        file = io.BytesIO()
        torch.save(net, file)
        file.seek(0)
        self.check(torch.load(file, weights_only=False), net)

    def test_a_copy_of_a_watched_network_is_not_watched(self):
        net = networks.Small()
        hook = cyborg.CamHook(net)
        for copied in (copy.deepcopy(net), copy.copy(net)):
            logits = copied(IMAGES)
            self.assertFalse(hook.observation.defined)
            self.assertTrue(torch.isfinite(logits).all())

    def test_losses_can_be_copied_and_saved(self):
        guidance = cyborg.Guidance(class_weight=torch.ones(3)).add("people", 0.5, "l2")
        criterion = cyborg.CyborgKLLoss(0.2, cam_class="predicted")
        for one in (
            copy.deepcopy((guidance, criterion)),
            pickle.loads(pickle.dumps((guidance, criterion))),
        ):
            self.assertEqual(one[0].strength("people"), 0.5)
            self.assertEqual(one[1].alpha, 0.2)
            self.assertEqual(repr(one[1]), repr(criterion))


class Threads(unittest.TestCase):
    def test_each_thread_has_its_own_observation(self):
        net = networks.Small().eval()
        hook = cyborg.CamHook(net)
        errors = []

        def run(seed):
            try:
                images, labels, maps = networks.batch(seed=seed)
                for _ in range(10):
                    logits = net(images)
                    found = hook.cam(logits, labels)
                    wanted = networks.cam(net.features(images), net.fc.weight, labels)
                    assert (found - wanted).abs().max() < 1e-5
                    cyborg.CyborgL2Loss()(logits, labels, hook, maps).total.backward()
                    with torch.no_grad():
                        assert not net(images).requires_grad
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])

    def test_the_lock_of_python_is_released(self):
        net = networks.Small(channels=64)
        hook = cyborg.CamHook(net)
        images, labels, maps = networks.batch(side=64)
        logits = net(images)
        turns, done = [], threading.Event()

        def count():
            while not done.is_set():
                turns.append(1)

        thread = threading.Thread(target=count)
        thread.start()
        try:
            for _ in range(20):
                cyborg.CyborgL2Loss()(logits, labels, hook, maps)
        finally:
            done.set()
            thread.join()
        self.assertGreater(len(turns), 1000)


if __name__ == "__main__":
    unittest.main()
