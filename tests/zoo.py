#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Compares a hook's maps of torchvision's and timm's networks with PyTorch's.

    cmake --build build/test --target cyborg_zoo
    python3 tests/zoo.py --runner build/test/bin/cyborg_zoo --cache DIR

needs a Python with torch, torchvision and timm. Nothing is downloaded: every
network has random weights, random statistics and a random head.

For each network, PyTorch computes Grad-CAM at the map that is known to be the
last one: what `forward_features` of timm returns, or what the network's global
pooling reads if that is later; for torchvision, the output of the module that
is named below. The network becomes a TorchScript file, and the program
cyborg_zoo runs it under a hook. The verdict is

  right    the same shape, and values within 1e-3 of the largest one;
  refused  the hook threw an error (wanted, where the network has tokens and no
           map);
  wrong    anything else;
  skipped  there is nothing to compare.

A second comparison knows no names. The gradient of one position of the hook's
map with respect to the picture has its energy around some place. Over nine
positions, this place must correlate with the position by at least 0.9 in y and
in x. The column "energy" has both correlations.

With --cache, scripts and references are kept in DIR (about 100 MB for each
network), and later runs repeat the hook alone.
"""

import argparse
import collections
import copy
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import timm
import torch
import torchvision

CLASSES = 5
LABELS = [1, 3]
SIZES = [(224, 192), (256, 192)]  # if a network accepts none: its own size
TOLERANCE = 1e-3  # of the largest value of the map
CORRELATION = 0.9
PARAMETERS = 150e6  # larger networks are skipped

# The module of a torchvision network whose output is the last map; None: there
# is no map. A function runs the network and shows its map to `tap`.
TORCHVISION = {
    "alexnet": "avgpool",
    "vgg11_bn": "avgpool",
    "resnet18": "layer4",
    "resnet50": "layer4",
    "resnext50_32x4d": "layer4",
    "wide_resnet50_2": "layer4",
    "densenet121": lambda model, x, tap: model.classifier(
        tap(model.features(x).relu()).mean((2, 3))
    ),
    "googlenet": "inception5b",
    "inception_v3": "Mixed_7c",
    "mobilenet_v2": "features",
    "mobilenet_v3_large": "features",
    "mobilenet_v3_small": "features",
    "mnasnet1_0": "layers",
    "shufflenet_v2_x1_0": "conv5",
    "squeezenet1_1": "classifier.2",
    "efficientnet_b0": "features",
    "efficientnet_v2_s": "features",
    "regnet_y_400mf": "trunk_output",
    "convnext_tiny": "features",
    "swin_t": "permute",
    "swin_v2_t": "permute",
    "maxvit_t": "blocks.3",
    "vit_b_16": None,
}

TIMM = """
swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 tiny_vit_5m_224
nest_tiny_jx pvt_v2_b0 efficientnet_b0
resnet18 resnet26t seresnet18 ecaresnet26t resnetaa34d resnetblur18
seresnext26d_32x4d resnet50_gn resnetv2_18 resnetv2_50 resnetv2_50x1_bit
resnest14d res2net50_14w_8s res2next50 skresnet18 densenet121 dla34 dla46x_c
dpn48b dpn68 hrnet_w18_small cspresnet50 cspresnext50 cspdarknet53 darknet53
cs3darknet_focus_s cspnext_tiny vgg11 vgg11_bn nf_regnet_b0 nf_resnet26
nfnet_l0 eca_nfnet_l0 rexnet_100 selecsls42 tresnet_m ese_vovnet19b_slim_dw
vovnet39a legacy_seresnet18 legacy_seresnext26_32x4d legacy_xception xception41
xception41p inception_v3 inception_v4 inception_resnet_v2 nasnetalarge
pnasnet5large regnetx_002 regnety_002 regnetv_040 regnetz_005
efficientnetv2_rw_t efficientnet_es efficientnet_cc_b0_4e efficientnet_b0_gn
efficientnet_b0_g16_evos tf_efficientnet_b0 tf_efficientnet_lite0
tf_efficientnetv2_b0 mixnet_s tf_mixnet_s mnasnet_050 semnasnet_050 spnasnet_100
fbnetc_100 mobilenetv1_100 mobilenetv2_035 mobilenet_edgetpu_v2_xs tinynet_e
hardcorenas_a mobilenetv3_small_050 mobilenetv3_rw tf_mobilenetv3_small_075
fbnetv3_b lcnet_035 lcnetv2_small mobilenetv4_conv_small_035
mobilenetv4_hybrid_medium ghostnet_050 ghostnetv2_100 ghostnetv3_050
repghostnet_050 repvit_m0_9 repvgg_a0 mobileone_s0 gernet_s resnet32ts
resnext26ts gcresnext26ts eca_resnext26ts seresnext26ts bat_resnext26ts
eca_botnext26ts_256 botnet26t_256 halonet26t lambda_resnet26t
lamhalobotnet50ts_256 regnetz_b16 resnet50_clip resnet50_clip_gap resnet50_mlp
starnet_s050 fasternet_t0 mambaout_femto rdnet_tiny hgnet_tiny hgnetv2_b0
convnext_atto convnext_femto_ols convnext_zepto_rms convnextv2_atto
convmixer_768_32 convmixer_1024_20_ks9_p14 inception_next_atto
poolformer_s12 poolformerv2_s12 caformer_s18 convformer_s18 nextvit_small
shvit_s1 swiftformer_xs edgenext_xx_small efficientformer_l1
efficientformerv2_s0 efficientvit_b0 efficientvit_l1 efficientvit_m0
efficientvim_m1 fastvit_t8 fastvit_sa12 focalnet_tiny_srf gcvit_xxtiny
davit_tiny iformer_t lowformer_b0 cpubone_nano csatv2 mobilevit_xxs
mobilevitv2_050 coatnet_pico_rw_224 coatnet_nano_cc_224 coatnext_nano_rw_224
maxvit_pico_rw_256 maxvit_tiny_tf_224 maxxvitv2_nano_rw_256 hiera_tiny_224
sam2_hiera_tiny swin_s3_tiny_224 swinv2_cr_tiny_224 twins_pcpvt_small
twins_svt_small sequencer2d_s visformer_tiny mvitv2_tiny levit_128s
levit_conv_128s coat_tiny coat_lite_tiny pit_ti_224 volo_d1_224
xcit_nano_12_p16_224 crossvit_tiny_240 cait_xxs24_224 convit_tiny
deit_tiny_patch16_224 vit_tiny_patch16_224 vit_relpos_small_patch16_224
vit_tiny_r_s16_p8_224 eva02_tiny_patch14_224 samvit_base_patch16_224
vitamin_small_224 tnt_s_patch16_224 beit_base_patch16_224 mixer_s32_224
gmixer_12_224 gmlp_ti16_224 resmlp_12_224
"""


class Skip(Exception):
    """Why a network is not compared."""


def all_names():
    return ["torchvision/" + name for name in TORCHVISION] + TIMM.split()


def make(name, size):
    """The network with CLASSES classes, for pictures of `size` if it asks."""
    if name.startswith("torchvision/"):
        options = {"num_classes": CLASSES, "weights": None}
        kind = name.split("/")[1]
        if kind in ("googlenet", "inception_v3"):
            options["init_weights"] = False
        if kind == "googlenet":
            options["aux_logits"] = False
        return torchvision.models.get_model(kind, **options)
    if not timm.is_model(name):
        raise Skip("this timm has no network of this name")
    try:
        return timm.create_model(name, num_classes=CLASSES, img_size=size)
    except TypeError:  # no option of this name
        return timm.create_model(name, num_classes=CLASSES)


def pictures_of(count, size):
    """Random pictures with structures of all sizes, as photographs have them.

    Of noise alone, batch norms would amplify the small differences that are
    left after some layers, and the gradients would be those of chaos.
    """
    total = torch.zeros(count, 3, *size)
    for cells in (2, 4, 8, 16, 32, 64):
        noise = torch.randn(count, 3, cells, cells)
        total += torch.nn.functional.interpolate(
            noise, size, mode="bilinear", align_corners=False
        )
    return total / total.std()


def own_size(name):
    if name.startswith("torchvision/"):
        return (224, 224)
    return timm.get_pretrained_cfg(name).input_size[1:]


def randomise(model, size):
    """Random values for everything that an initialisation leaves constant."""
    for parameter in model.parameters():
        value = parameter.data.flatten()[0].item()
        if not (parameter.data == value).all():
            continue
        if parameter.numel() == 1:
            parameter.data += 0.3 if value == 0 else 0
        elif value == 0:
            parameter.data.normal_(0, 0.05)
        elif abs(value) < 0.1:  # the scale of a layer
            parameter.data.uniform_(0.1, 0.3)
        else:
            parameter.data *= torch.empty_like(parameter).uniform_(0.5, 1.5)
    for module in model.modules():
        outputs = getattr(module, "out_features", 0) or (
            getattr(module, "out_channels", 0)
        )
        linear = isinstance(module, (torch.nn.Linear, torch.nn.Conv2d))
        if linear and outputs == CLASSES:
            weight = module.weight.data
            weight.normal_(0, weight[0].numel() ** -0.5)
    for module in readers_of_means(model, size):
        module.weight.data *= 0.1
    # The statistics of a batch, so that no layer dies, then moved away from it.
    norms = [
        module
        for module in model.modules()
        if isinstance(getattr(module, "running_var", None), torch.Tensor)
    ]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        model(pictures_of(4, size))
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
        norm.eval()
        spread = norm.running_var.sqrt()
        norm.running_mean += 0.2 * spread * torch.randn_like(spread)
        norm.running_var *= torch.empty_like(spread).uniform_(0.5, 1.5)


def readers_of_means(model, size):
    """The layers of a gate, which read one value per channel.

    With large weights they make each position a function of the whole picture,
    and the second comparison could not tell one position from another.
    """
    found = []

    def look(module, inputs, output):
        one = inputs[0].dim() == 2 or inputs[0].shape[2:].numel() == 1
        if one and module.weight.shape[0] != CLASSES:
            found.append(module)

    handles = [
        module.register_forward_hook(look)
        for module in model.modules()
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d))
    ]
    with torch.no_grad():
        model(pictures_of(2, size))
    for handle in handles:
        handle.remove()
    return list(dict.fromkeys(found))


def prepare(name):
    """The network in evaluation mode, and pictures of a size that it takes."""
    sizes = [*SIZES, own_size(name)]
    for size in sizes:
        torch.manual_seed(1)
        try:
            model = make(name, size)
            count = sum(p.numel() for p in model.parameters())
            if count > PARAMETERS:
                raise Skip(f"{count / 1e6:.0f} million parameters")
            model.eval()
            with torch.no_grad():
                model(pictures_of(1, size))
        except (AssertionError, RuntimeError, ValueError):
            if size == sizes[-1]:
                raise
            continue
        randomise(model, size)
        return settled(model, pictures_of(2, size))


def settled(model, pictures):
    """Both in float32 or, where rounding changes the logits, in float64."""
    with torch.no_grad():
        single = first(model(pictures))
        double = first(copy.deepcopy(model).double()(pictures.double()))
    if (single - double).abs().max() <= 1e-4 * double.abs().max():
        return model, pictures
    return model.double(), pictures.double()


def first(output):
    """The logits of what a network returns."""
    return output[0] if isinstance(output, tuple) else output


def script(model, pictures, file):
    """Saves the TorchScript of the network; returns how it was made."""
    try:
        torch.jit.script(model).save(str(file))
        return "scripted"
    except Exception:  # many networks use what TorchScript does not know
        traced = torch.jit.trace(model, pictures, check_trace=False)
        traced.save(str(file))
        return "traced"


def run_with_taps(name, model, pictures):
    """Runs the network; returns logits and what may be the last map."""
    taps = {}

    def tap(where, tensor):
        taps[where] = tensor
        return tensor.clone()  # an in-place operator must not change the tap

    if name.startswith("torchvision/"):
        where = TORCHVISION[name.split("/")[1]]
        if callable(where):
            logits = where(
                model, pictures, lambda map_: tap("the last map", map_)
            )
            return logits, taps
        if where:
            model.get_submodule(where).register_forward_hook(
                lambda module, inputs, output: tap(where, output)
            )
        return model(pictures), taps

    forward_features = model.forward_features

    def features(*arguments, **options):
        output = forward_features(*arguments, **options)
        if not isinstance(output, torch.Tensor):
            return output
        return tap("forward_features", output)

    def pooling(module, inputs):
        if inputs[0].dim() == 4 and min(inputs[0].shape[1:]) > 1:
            if "forward_features" in taps:
                return (tap("the global pooling", inputs[0]), *inputs[1:])

    model.forward_features = features
    for path, module in model.named_modules():
        kind = type(module).__name__
        if (
            "AdaptiveAvgPool" in kind
            or "SelectAdaptivePool" in kind
            or (path.endswith("global_pool") and not list(module.children()))
            or path == "pre_logits.fc1"  # VGG's; it pools before that
        ):
            module.register_forward_pre_hook(pooling)
    return model(pictures), taps


def channel_axis(model, shape, size):
    """The axis of the channels of a tensor of rank 4, and a doubt about it."""
    keys = ("num_features", "head_hidden_size")
    counts = {getattr(model, key, None) for key in keys}
    if not counts - {None}:  # torchvision's taps are all of this kind
        return 1, ""
    height, width = size
    for before, after in (
        (shape[1] in counts, shape[3] in counts),
        # Or by the proportions of the picture.
        (shape[2] * width == shape[3] * height,
         shape[1] * width == shape[2] * height),
    ):
        if before != after:
            return (1 if before else 3), ""
    last = getattr(model, "output_fmt", "NCHW") == "NHWC"
    return (3 if last else 1), "the channel axis is that of output_fmt"


def grad_cam(tensor, gradient, channel):
    """In the unit of the logits: sum over c of (sum over s of dz/dF) F."""
    tensor, gradient = tensor.movedim(channel, 1), gradient.movedim(channel, 1)
    weights = gradient.flatten(2).sum(2)
    return torch.einsum("bc,bc...->b...", weights, tensor)


def nodes_between(logits, tensor):
    """The names of the graph's nodes from the tensor to the logits."""
    target, order, reaches = tensor.grad_fn, [], {}
    stack = [(logits.grad_fn, False)]
    while stack:
        node, done = stack.pop()
        children = [child for child, _ in node.next_functions if child]
        if done:
            reaches[node] = any(reaches.get(child) for child in children)
            if reaches[node]:
                order.append(node.name())
        elif node not in reaches:
            reaches[node] = node is target
            if node is not target:
                stack.append((node, True))
                stack.extend(
                    (child, False) for child in children if child not in reaches
                )
    return short(order)


def nodes_below(tensor):
    """The names of the nodes that made the tensor, back to a convolution."""
    names, node = [], tensor.grad_fn
    while node and len(names) < 40:
        names.append(node.name())
        if "Convolution" in names[-1]:
            break
        node = next((n for n, _ in node.next_functions if n), None)
    return short(reversed(names))[-20:]


def short(names):
    """The nodes without what every graph has, and without repetition."""
    names = [name.split("::")[-1].replace("Backward", "").rstrip("0123456789")
             for name in names]
    found = []
    for name in names:
        if name not in ("Clone", "AccumulateGrad") and name not in found[-1:]:
            found.append(name)
    return found


def labels_for(logits):
    """LABELS, or the largest logits where a ReLU made others zero."""
    return logits.argmax(1) if (logits == 0).any() else torch.tensor(LABELS)


def reference(name, model, pictures, labels):
    """Grad-CAM in PyTorch at the last tap, and what leads to the logits."""
    plain = first(model(pictures))
    logits, taps = run_with_taps(name, model, pictures)
    logits = first(logits)
    if not torch.allclose(plain, logits, atol=1e-4 * plain.abs().max().item()):
        raise Skip("the network gives other logits with taps")
    chosen = logits.gather(1, labels[:, None]).sum()
    found = {"logits": plain.detach(), "where": "", "map": None, "doubt": ""}
    gradients = taps and torch.autograd.grad(
        chosen, list(taps.values()), allow_unused=True, retain_graph=True
    )
    for (where, tensor), gradient in zip(taps.items(), gradients):
        if gradient is None:
            continue
        same = found["where"] and tensor.shape == found["tensor"].shape and (
            torch.equal(tensor, found["tensor"])
        )
        if same:
            continue
        found.update(where=where, tensor=tensor)
        found["shape"] = list(tensor.shape)
        found["path"] = nodes_between(logits, tensor)
        found["below"] = nodes_below(tensor)
        found["rank"] = tensor.dim()
        if tensor.dim() == 4:
            channel, found["doubt"] = channel_axis(
                model, tensor.shape, pictures.shape[2:]
            )
            found["layout"] = "NCHW" if channel == 1 else "NHWC"
        elif tensor.dim() == 3:
            channel, found["layout"] = 2, "tokens"
        else:
            continue
        found["map"] = grad_cam(tensor, gradient, channel).detach()
    found.pop("tensor", None)
    return found


def export(name, folder):
    """Writes script, data and reference of a network into the folder."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    start = time.time()
    try:
        model, pictures = prepare(name)
        with torch.no_grad():
            labels = labels_for(first(model(pictures)))
        data = {"input": pictures, "labels": labels}
        torch.save(data, folder / "data.pt")
        how = script(model, pictures, folder / "script.pt")
        found = reference(name, model, pictures, labels)
        found.update(
            how=how,
            size=tuple(pictures.shape[2:]),
            parameters=sum(p.numel() for p in model.parameters()),
        )
    except Skip as why:
        found = {"skip": str(why)}
    except Exception as error:
        traceback.print_exc()
        text = str(error).strip().splitlines() or [""]
        found = {"skip": f"export: {type(error).__name__}: {text[0]}"}
    found["seconds"] = round(time.time() - start, 1)
    torch.save(found, folder / "reference.pt")


def exported(name, cache, limit):
    """The folder of the network's files, which are made if they are missing."""
    folder = cache / name.replace("/", "_")
    if not (folder / "reference.pt").exists():
        folder.mkdir(parents=True, exist_ok=True)
        # A process of its own: TorchScript never frees a network's types.
        child = multiprocessing.get_context("fork").Process(
            target=export, args=(name, folder)
        )
        child.start()
        child.join(limit)
        if child.is_alive():
            child.kill()
            child.join()
            torch.save(
                {"skip": f"export took more than {limit} s"},
                folder / "reference.pt",
            )
        elif not (folder / "reference.pt").exists():
            torch.save(
                {"skip": f"export ended with {child.exitcode}"},
                folder / "reference.pt",
            )
    return folder


def correlations(centres):
    """How the places of the energy follow the positions, in y and in x."""
    found = []
    for axis in (0, 1):
        pair = centres[:, [axis, axis + 2]].T
        if pair[0].min() == pair[0].max():
            found.append(float("nan"))  # a map of one row
        else:
            found.append(torch.corrcoef(pair)[0, 1].item())
    return found


def difference(made, wanted):
    """How two maps differ, in words; empty if they are equal."""
    if made.shape != wanted.shape:
        return f"shape {list(made.shape)} instead of {list(wanted.shape)}"
    largest = wanted.abs().max().item()
    error = (made - wanted).abs().max().item() / largest
    if error <= TOLERANCE:
        return ""
    correlation = torch.corrcoef(
        torch.stack([made.flatten(), wanted.flatten()]).double()
    )[0, 1].item()
    return f"off by {error:.2g} of the largest value, r = {correlation:.3f}"


def verdict(found, result):
    """(verdict, note) of one network."""
    wanted = found["map"]
    has_map = wanted is not None and found["rank"] == 4
    if "error" in result:
        text = " ".join(result["error"].split())
        for prefix in ("cyborg::CamHook::forward: ", "cyborg::"):
            text = text.removeprefix(prefix)
        return ("refused" if has_map else "refused, as wanted"), text
    scale = found["logits"].abs().max().item()
    if (result["logits"] - found["logits"]).abs().max().item() > 1e-3 * scale:
        return "skipped", "the script gives other logits than the network"
    note = result["reason"]
    made = result["map"]
    if has_map:
        text = difference(made, wanted)
        return ("wrong", f"{text}; {note}") if text else ("right", note)
    if wanted is not None and made[0].numel() == wanted[0].numel():
        text = difference(made.flatten(1), wanted)
        if not text:
            return "right, of tokens", note
        return "wrong", f"of tokens: {text}; {note}"
    return "wrong", f"a map where none is; {note}"


def compare(name, cache, options):
    """A row of the table, as a dictionary."""
    folder = exported(name, cache, options.timeout)
    found = torch.load(folder / "reference.pt")
    row = {"name": name, "found": found, "energy": [], "result": {}}
    if "skip" in found:
        return row | {"verdict": "skipped", "note": found["skip"]}
    file = folder / "result.pt"
    file.unlink(missing_ok=True)
    command = [options.runner, folder / "script.pt", folder / "data.pt", file]
    try:
        run = subprocess.run(
            command, timeout=options.timeout, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired:
        note = f"the hook took more than {options.timeout} s"
        return row | {"verdict": "skipped", "note": note}
    if run.returncode:
        lines = run.stderr.strip().splitlines()[-1:] or [""]
        kind = "skipped" if run.returncode == 1 else "wrong"
        note = f"the runner ended with {run.returncode}: {lines[0]}"
        return row | {"verdict": kind, "note": note}
    result = torch.load(file, weights_only=False)
    row["verdict"], row["note"] = verdict(found, result)
    row["result"] = result
    if "centres" in result:
        row["energy"] = correlations(result["centres"])
    return row


def cells(row):
    """The row's texts for the table."""
    found, result = row["found"], row["result"]
    exact = {True: "yes", False: "no", None: ""}[result.get("exact")]
    energy = ", ".join(f"{value:.2f}" for value in row["energy"])
    if any(value < CORRELATION for value in row["energy"]):
        energy = f"**{energy}**"
    note = row["note"] if len(row["note"]) < 200 else row["note"][:197] + "..."
    doubt = f" ({found['doubt']})" if found.get("doubt") else ""
    shape = "×".join(str(size) for size in found.get("shape", []))
    kind = row["verdict"]
    return [
        row["name"],
        f"**{kind}**" if kind in ("wrong", "refused") else kind,
        f"{found.get('where', '')} {shape} {found.get('layout', '')}".strip(),
        "×".join(str(size) for size in result.get("features", [])),
        result.get("layer", ""),
        exact,
        energy,
        note.replace("|", "/") + doubt,
    ]


def table(rows):
    """The result of all networks, in Markdown."""
    title = [
        "network", "verdict", "PyTorch's map", "hook's map", "layer", "exact",
        "energy", "note",
    ]
    lines = [title, ["---"] * len(title)] + [cells(row) for row in rows]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
    text += "\n" + summary(rows) + "\n"
    lost = [
        row
        for row in rows
        if row["verdict"] in ("wrong", "refused") and "path" in row["found"]
    ]
    if lost:
        text += "\nNodes of the graph, of the networks wrong or refused:\n\n"
    for row in lost:
        found = row["found"]
        text += f"* {row['name']} ({found['how']}), "
        text += f"from a convolution to the map: {' '.join(found['below'])}; "
        text += f"from the map to the logits: {' '.join(found['path'])}\n"
    return text


def summary(rows):
    counts = collections.Counter(row["verdict"] for row in rows)
    lines = [f"{count} {kind}" for kind, count in counts.most_common()]
    with_map = [
        row["verdict"]
        for row in rows
        if row["found"].get("rank") == 4 and row["verdict"] != "skipped"
    ]
    share = 100 * with_map.count("right") / max(1, len(with_map))
    return (
        f"{len(rows)} networks: " + ", ".join(lines) + f". Of {len(with_map)} "
        f"that have a map, {share:.0f} % are right."
    )


def read_options():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--runner", required=True, help="the program cyborg_zoo")
    add("--names", help="only these networks, with commas between them")
    add("--out", type=Path, help="a file for the table, in Markdown")
    add("--cache", type=Path, metavar="DIR",
        help="keep scripts and references here")
    add("--timeout", type=int, default=180, metavar="SECONDS",
        help="for each network's export and for its run; default 180")
    return parser.parse_args()


def main():
    options = read_options()
    torch.set_num_threads(1)
    names = options.names.split(",") if options.names else all_names()
    cache = options.cache or Path(tempfile.mkdtemp(prefix="cyborg_zoo_"))
    rows = []
    try:
        for name in names:
            start = time.time()
            rows.append(compare(name, cache, options))
            seconds = time.time() - start
            line = " | ".join(cells(rows[-1]))
            print(f"{seconds:4.0f} s  {line}", flush=True)
            if options.out:
                options.out.write_text(table(rows))
    finally:
        if not options.cache:
            shutil.rmtree(cache)
    print(summary(rows))
    return any(row["verdict"] == "wrong" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
