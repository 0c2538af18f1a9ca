# SPDX-License-Identifier: BSD-3-Clause
"""A hook lives with what people use around their networks."""

import datetime
import gc
import os
import sys
import tempfile
import unittest
import unittest.mock

import networks
import torch
import torchcyborg as cyborg
from torch import nn
from torch.utils.checkpoint import checkpoint

IMAGES, LABELS, MAPS = networks.batch()
CRITERION = cyborg.CyborgL2Loss()
LIMIT = 300  # seconds that a process may take, on a busy machine


def step(net, hook, images=IMAGES, labels=LABELS, maps=MAPS):
    return CRITERION(net(images), labels, hook, maps)


class Training(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(1)
        self.net = networks.Small()
        self.hook = cyborg.CamHook(self.net)

    def exact(self):
        self.assertTrue(self.hook.observation.exact, repr(self.hook))

    def test_autocast(self):
        with torch.autocast(networks.DEVICE.type, torch.bfloat16):
            terms = step(self.net, self.hook)
        self.exact()
        self.assertEqual(terms.total.dtype, torch.float32)
        terms.total.backward()
        self.assertTrue(self.net.body[0].weight.grad.isfinite().all())

    def test_gradscaler(self):
        scaler = torch.amp.GradScaler(networks.DEVICE.type, init_scale=64.0) if hasattr(
            torch.amp, "GradScaler"
        ) else self.skipTest("this torch has no torch.amp.GradScaler")
        optimizer = torch.optim.SGD(self.net.parameters(), 0.1)
        before = self.net.fc.weight.clone()
        terms = step(self.net, self.hook)
        scaler.scale(terms.total).backward()
        scaler.unscale_(optimizer)
        found = self.net.fc.weight.grad.clone()
        scaler.step(optimizer)
        scaler.update()
        self.assertLess(
            float((before - 0.1 * found - self.net.fc.weight).abs().max()), networks.about(1e-6)
        )

    def test_channels_last(self):
        wanted = networks.gradients(step(self.net, self.hook).total, self.net)
        self.net.to(memory_format=torch.channels_last)
        terms = step(self.net, self.hook, IMAGES.to(memory_format=torch.channels_last))
        self.exact()
        found = networks.gradients(terms.total, self.net)
        for name in wanted:
            self.assertLess(float((found[name] - wanted[name]).abs().max()), networks.about(1e-5))

    def test_no_grad_also_for_frozen_networks(self):
        self.net.requires_grad_(False)
        with torch.no_grad():
            logits = self.net(IMAGES)
            self.assertFalse(torch.is_grad_enabled())
            maps = self.hook.cam(logits, LABELS)
        self.assertFalse(logits.requires_grad or maps.requires_grad)
        self.assertFalse(any(p.requires_grad for p in self.net.parameters()))
        self.exact()

    def test_inference_mode_is_a_forward_without_a_map(self):
        with torch.inference_mode():
            logits = self.net(IMAGES)
        self.assertEqual(logits.shape, (6, 3))
        with self.assertRaisesRegex(ValueError, r"inference mode .* torch.no_grad\(\)"):
            self.hook.cam(logits, LABELS)
        self.net(IMAGES)
        self.exact()

    def test_accumulation(self):
        self.net.eval()
        whole = networks.gradients(
            CRITERION(self.net(IMAGES[2:]), LABELS[2:], self.hook, MAPS[2:]).total,
            self.net,
        )
        self.net.zero_grad()
        for part in (slice(2, 4), slice(4, 6)):
            terms = CRITERION(
                self.net(IMAGES[part]), LABELS[part], self.hook, MAPS[part]
            )
            (terms.total / 2).backward()
        for name, p in self.net.named_parameters():
            self.assertLess(float((p.grad - whole[name]).abs().max()), networks.about(1e-6))

    def test_checkpointing_without_reentry(self):
        wanted = networks.gradients(step(self.net, self.hook).total, self.net)
        body = self.net.body

        class Checkpointed(nn.Module):
            def __init__(self, net):
                super().__init__()
                self.body, self.fc = net.body, net.fc

            def forward(self, x):
                x = checkpoint(self.body[:3], x, use_reentrant=False)
                x = checkpoint(self.body[3:], x, use_reentrant=False)
                return self.fc(x.mean((2, 3)))

        net = Checkpointed(self.net)
        with cyborg.watch(net) as hook:
            terms = step(net, hook)
            self.assertTrue(hook.observation.exact, repr(hook))
            found = networks.gradients(terms.total, net)
        self.assertIs(net.body, body)
        for name in wanted:
            self.assertLess(float((found[name] - wanted[name]).abs().max()), networks.about(1e-6))

    def test_reentrant_checkpointing_says_what_to_do(self):
        class Checkpointed(networks.Small):
            def forward(self, x):
                x = checkpoint(self.body, x, use_reentrant=True)
                return self.fc(x.mean((2, 3)))

        net = Checkpointed()
        with cyborg.watch(net) as hook:
            net(IMAGES.clone().requires_grad_())
            with self.assertRaisesRegex(ValueError, "use_reentrant=False"):
                hook.require()

    def test_full_backward_hooks_change_nothing(self):
        wanted = networks.gradients(step(self.net, self.hook).total, self.net)
        calls = []
        for module in self.net.modules():
            module.register_full_backward_hook(lambda *_: calls.append(1))
        terms = step(self.net, self.hook)
        self.exact()
        self.assertEqual(self.hook.observation.layer, "body")
        found = networks.gradients(terms.total, self.net)
        for name in wanted:
            self.assertLess(float((found[name] - wanted[name]).abs().max()), networks.about(1e-6))
        self.assertEqual(len(calls), len(list(self.net.modules())))
        logits = self.net(IMAGES)
        with torch.no_grad():
            self.assertFalse(self.net(IMAGES).requires_grad)
        self.assertEqual(logits.shape, (6, 3))

    def test_weight_norm_spectral_norm_and_parametrisations(self):
        from torch.nn.utils import parametrizations, parametrize

        class Double(nn.Module):
            def forward(self, x):
                return 2 * x

        parametrizations.weight_norm(self.net.body[0])
        parametrizations.spectral_norm(self.net.body[3])
        parametrize.register_parametrization(self.net.fc, "weight", Double())
        terms = step(self.net, self.hook)
        self.exact()
        terms.total.backward()
        logits = self.net(IMAGES)
        found = self.hook.cam(logits, LABELS)
        self.hook.remove()
        self.net.eval()  # spectral_norm takes a step in training mode
        self.assertEqual(found.shape, (6, 8, 8))
        self.assertTrue(self.net.fc.parametrizations.weight.original.grad.any())

    def test_old_weight_norm(self):
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nn.utils.weight_norm(self.net.fc)
        step(self.net, self.hook).total.backward()
        self.exact()

    def test_meta_and_fake_tensors(self):
        from torch._subclasses.fake_tensor import FakeTensorMode

        net = networks.Small().to("meta")
        with cyborg.watch(net) as hook:
            logits = net(IMAGES.to("meta"))
            self.assertTrue(logits.is_meta)
            with self.assertRaisesRegex(ValueError, "meta or fake tensors"):
                hook.cam(logits, LABELS)
        with FakeTensorMode() as mode, cyborg.watch(self.net) as hook:
            made = networks.Small()
            with cyborg.watch(made) as hook:
                made(torch.empty(2, 3, 8, 8, device=networks.DEVICE))
                with self.assertRaisesRegex(ValueError, "meta or fake tensors"):
                    hook.require()
        self.assertIsNotNone(mode)

    def test_tracing_goes_through_a_hook(self):
        traced = torch.jit.trace(self.net.eval(), IMAGES)
        wanted = self.net(IMAGES)
        self.exact()
        self.assertLess(float((traced(IMAGES) - wanted).abs().max()), networks.about(1e-6))

    def test_many_steps_leave_memory_and_references_as_they_are(self):
        steps = int(os.environ.get("CYBORG_TEST_STEPS", "2000"))
        optimizer = torch.optim.SGD(self.net.parameters(), 1e-3)

        def run(count):
            for _ in range(count):
                terms = step(self.net, self.hook)
                optimizer.zero_grad()
                terms.total.backward()
                optimizer.step()
            gc.collect()
            with open("/proc/self/statm") as file:
                pages = int(file.read().split()[1])
            counts = [sys.getrefcount(one) for one in (self.net, self.hook, MAPS)]
            tensors = sum(isinstance(o, torch.Tensor) for o in gc.get_objects())
            if networks.DEVICE.type == "cuda":
                counts.append(torch.cuda.memory_allocated())
            return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, counts, tensors

        run(50)
        before, counts, tensors = run(50)
        after, counts_after, tensors_after = run(steps)
        self.assertEqual(counts, counts_after)
        self.assertEqual(tensors, tensors_after)
        self.assertLess(after - before, 8)  # MiB


class Compiled(unittest.TestCase):
    """torch.compile: compiled networks are guided, and as eager ones."""

    def setUp(self):
        if not hasattr(torch.compiler, "set_stance"):
            self.skipTest("torch.compiler.set_stance is in torch 2.6 and newer")
        torch._dynamo.reset()
        torch.manual_seed(1)
        self.net = networks.Small().eval()
        with cyborg.watch(self.net) as hook:
            self.wanted = networks.gradients(step(self.net, hook).total, self.net)

    def check(self, run, hook):
        for _ in range(3):
            terms = run()
            found = networks.gradients(terms.total, self.net)
            self.assertTrue(hook.observation.defined, repr(hook))
            for name in self.wanted:
                self.assertLess(
                    float((found[name] - self.wanted[name]).abs().max()),
                    networks.about(1e-5),
                    name,
                )

    def test_the_whole_network(self):
        compiled = torch.compile(self.net, backend="aot_eager")
        hook = cyborg.CamHook(compiled)
        self.assertIs(hook.module, self.net)
        self.check(lambda: step(compiled, hook), hook)
        with torch.no_grad():
            logits = compiled(IMAGES)
            self.assertEqual(hook.cam(logits, LABELS).shape, (6, 8, 8))

    def test_a_network_compiled_in_place(self):
        hook = cyborg.CamHook(self.net)
        self.net.compile(backend="aot_eager")
        self.check(lambda: step(self.net, hook), hook)

    def test_the_backbone_alone(self):
        plain = self.net.body
        self.net.body = torch.compile(plain, backend="aot_eager")
        hook = cyborg.CamHook(self.net)
        self.wanted = {
            k.replace("body.", "body._orig_mod."): v for k, v in self.wanted.items()
        }
        self.check(lambda: step(self.net, hook), hook)

    def test_the_train_step(self):
        hook = cyborg.CamHook(self.net)
        compiled = torch.compile(
            lambda images: step(self.net, hook, images), backend="aot_eager"
        )
        self.check(lambda: compiled(IMAGES), hook)

    def test_dropout_in_training_and_autocast(self):
        class Drops(networks.Small):
            def __init__(self):
                super().__init__()
                self.drop = nn.Dropout(0.5)

            def forward(self, x):
                return self.fc(self.drop(self.body(x).mean((2, 3))))

        net = Drops().train()
        compiled = torch.compile(net, backend="aot_eager")
        hook = cyborg.CamHook(compiled)
        for _ in range(2):
            step(compiled, hook).total.backward()
        self.assertTrue(hook.observation.defined)
        net.eval()
        with torch.autocast(networks.DEVICE.type, torch.bfloat16):
            step(compiled, hook).total.backward()
        self.assertTrue(hook.observation.defined)

    def test_autocast_from_the_first_forward(self):
        for given in (IMAGES, IMAGES.bfloat16()):
            torch._dynamo.reset()
            compiled = torch.compile(self.net, backend="aot_eager")
            with cyborg.watch(compiled) as hook:
                for _ in range(2):
                    with torch.autocast(networks.DEVICE.type, torch.bfloat16):
                        terms = step(compiled, hook, given)
                    found = networks.gradients(terms.total, self.net)
                    self.assertEqual(hook.observation.features.dtype, torch.bfloat16)
                    for name, wanted in self.wanted.items():
                        error = float((found[name] - wanted).abs().max())
                        self.assertLess(error, 0.1 * float(wanted.abs().max()) + 1e-3)

    def test_products_of_less_precision_are_no_other_logits(self):
        """torch.compile advises to make products of float32 in TF32 on a GPU."""

        class Rounded(networks.Small):
            step = 0.0

            def forward(self, x):
                x = self.body(x).mean((2, 3))
                return self.fc(x * (1 + self.step))  # for products in TF32

        before = torch.get_float32_matmul_precision()
        try:
            for precision, rounding, right in (
                ("highest", 0.0, True),
                ("highest", 2.0**-12, False),
                ("high", 2.0**-12, True),
                ("high", 0.3, False),
            ):
                torch._dynamo.reset()
                torch.set_float32_matmul_precision(precision)
                net = Rounded().eval()
                reader = cyborg._compiled.Reader()
                reader._reads(net, net.body, "fc.weight", "fc.bias", exact=True)
                net.step = rounding
                features, logits = net.features(IMAGES), net(IMAGES)
                core = cyborg.CamHook(net)._core_of(net)
                with self.subTest(precision=precision, rounding=rounding):
                    problem = reader.capture(core, features, logits)
                    self.assertEqual("are not W x + b" in problem, not right, problem)
                reader.remove()
        finally:
            torch.set_float32_matmul_precision(before)

    def test_what_cannot_be_read_is_explained(self):
        class Functional(networks.Small):
            def forward(self, x):
                return self.fc((self.body(x) + 1).mean((2, 3)))

        net = torch.compile(Functional(), backend="aot_eager")
        hook = cyborg.CamHook(net)
        logits = net(IMAGES)
        with self.assertRaisesRegex(ValueError, "no submodule returns the map"):
            hook.cam(logits, LABELS)

    def test_batch_norm_counts_each_batch_once(self):
        net = networks.Small().train()
        compiled = torch.compile(net, backend="aot_eager")
        hook = cyborg.CamHook(compiled)
        for _ in range(3):
            step(compiled, hook).total.backward()
        self.assertEqual(int(net.body[1].num_batches_tracked), 3)
        self.assertTrue(net.training and net.body[1].training)


def _rank(rank, store, kind, queue):
    """One of two processes: four and two samples, of which four and none are guided.
    gloo is for the CPU, so this stays there."""
    import torch.distributed as distributed
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        f"file://{store}",
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=LIMIT),
    )
    torch.manual_seed(1)
    net = networks.Small(device="cpu").double().eval()
    wrapped = DistributedDataParallel(net, find_unused_parameters=kind == "unused")
    hook = cyborg.CamHook(wrapped)
    images, labels, maps = _whole()
    mine = slice(0, 4) if rank == 0 else slice(4, 6)
    logits = wrapped(images[mine])
    if kind == "guidance":
        criterion = None
        terms = cyborg.Guidance().add("l2", 0.5)(
            logits, hook, labels[mine], maps=maps[mine]
        )
    else:
        criterion = cyborg.CyborgL2Loss(0.5)
        terms = criterion(logits, labels[mine], hook, maps[mine])
    total = cyborg.whole_batch_total(criterion, terms, len(labels[mine]))
    total.backward()
    exact = hook.observation.exact and "method=CAM" in repr(hook)
    queue.put((rank, exact, [p.grad.tolist() for p in net.parameters()]))
    distributed.barrier()
    queue.close()
    queue.join_thread()
    # Nothing is taken down. torch 2.13 sometimes hangs there: whoever destroys the
    # last reference to the group holds Python's lock and waits for a thread of gloo,
    # and that thread waits for the lock, because it still frees what it sent.
    os._exit(0)


def _whole():
    images, labels, maps = networks.batch(dtype=torch.float64, device="cpu")
    maps[1] = maps[0].flip(0)
    maps[4:] = float("nan")
    return images, labels, maps


class Processes(unittest.TestCase):
    def test_two_processes_have_the_gradient_of_one(self):
        import torch.distributed as distributed
        import torch.multiprocessing as multiprocessing

        if not distributed.is_available() or not distributed.is_gloo_available():
            self.skipTest("this torch has no gloo")
        torch.manual_seed(1)
        net = networks.Small(device="cpu").double().eval()
        images, labels, maps = _whole()
        with cyborg.watch(net) as hook:
            total = cyborg.CyborgL2Loss(0.5)(net(images), labels, hook, maps).total
            wanted = networks.gradients(total, net)
        context = multiprocessing.get_context("spawn")
        for kind in ("plain", "unused", "guidance"):
            with self.subTest(kind=kind), tempfile.TemporaryDirectory() as folder:
                queue = context.Queue()
                store = os.path.join(folder, "store")
                ranks = [
                    context.Process(target=_rank, args=(rank, store, kind, queue))
                    for rank in range(2)
                ]
                with unittest.mock.patch.dict(os.environ, CYBORG_TEST_DEVICE="cpu"):
                    for one in ranks:
                        one.start()
                        self.addCleanup(one.kill)
                found = [queue.get(timeout=LIMIT) for _ in ranks]
                for one in ranks:
                    one.join(LIMIT)
                    self.assertEqual(one.exitcode, 0)
                for _, exact, gradients in found:
                    self.assertTrue(exact)
                    for one, name in zip(gradients, wanted):
                        error = (torch.tensor(one, dtype=torch.double) - wanted[name]).abs().max()
                        self.assertLess(float(error), 1e-10)

    def test_workers_of_a_data_loader_are_not_disturbed(self):
        from torch.utils.data import DataLoader, TensorDataset

        net = networks.Small()
        hook = cyborg.CamHook(net)
        step(net, hook).total.backward()
        # Workers are forks, which cannot use a GPU: the data set is on the CPU.
        data = TensorDataset(IMAGES.cpu(), LABELS.cpu(), MAPS.cpu())
        for batch in DataLoader(data, batch_size=3, num_workers=2, timeout=LIMIT):
            images, labels, maps = (one.to(networks.DEVICE) for one in batch)
            step(net, hook, images, labels, maps).total.backward()
        self.assertTrue(hook.observation.exact)


class Torchvision(unittest.TestCase):
    """All of them with CYBORG_TEST_ALL=1, else the small ones."""

    SMALL = "mobilenet_v3_small resnet18 shufflenet_v2_x0_5 squeezenet1_1".split()
    LARGE = (
        "alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet "
        "inception_v3 mnasnet0_5 mobilenet_v2 regnet_x_400mf regnet_y_400mf resnet50 "
        "resnext50_32x4d vgg11 vgg11_bn wide_resnet50_2"
    ).split()

    def test_convolutional_networks_have_a_map_with_a_gradient(self):
        try:
            from torchvision import models
        except ImportError:
            self.skipTest("torchvision was not found")
        torch.manual_seed(0)
        everything = os.environ.get("CYBORG_TEST_ALL")
        for name in self.SMALL + (self.LARGE if everything else []):
            with self.subTest(network=name):
                net = models.get_model(name, weights=None, num_classes=3)
                net.to(networks.DEVICE).eval()
                side = 299 if name == "inception_v3" else 64
                images = torch.randn(2, 3, side, side, device=networks.DEVICE)
                hook = cyborg.CamHook(net)
                logits = net(images)
                hook.require()
                maps = hook.cam(logits, torch.tensor([0, 1], device=networks.DEVICE))
                self.assertEqual(maps.dim(), 3)
                first = next(p for p in net.parameters() if p.dim() == 4)
                (gradient,) = torch.autograd.grad(maps.square().sum(), first)
                self.assertTrue(gradient.any())
                if everything:
                    print(name, hook)

    def test_transformers_are_refused_with_an_explanation(self):
        try:
            from torchvision import models
        except ImportError:
            self.skipTest("torchvision was not found")
        net = models.vit_b_32(weights=None, num_classes=3).to(networks.DEVICE)
        with cyborg.watch(net) as hook:
            net(torch.randn(1, 3, 224, 224, device=networks.DEVICE))
            with self.assertRaisesRegex(ValueError, "tokens"):
                hook.require()


if __name__ == "__main__":
    unittest.main()
