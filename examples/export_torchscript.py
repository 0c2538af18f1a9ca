#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write a Python network as TorchScript, for `train --model`.

    export_torchscript.py resnet18 resnet18.pt                 # torchvision
    export_torchscript.py timm:tf_efficientnet_b0 b0.pt        # timm
    export_torchscript.py mymodels:build net.pt --classes 2    # your function

It is scripted, or traced where it cannot be scripted: then batch norm and
dropout layers act as they should in training and in evaluation, and whatever
else differs between the two is as in evaluation. With --classes N the
constructor is asked for N classes; without it, `train` replaces the last layer
where the number differs.
"""

import argparse
import importlib
import sys
import warnings


def build(name, classes, pretrained):
    """The network that a name stands for."""
    options = {} if classes is None else {"num_classes": classes}
    if name.startswith("timm:"):
        import timm

        return timm.create_model(name[5:], pretrained=pretrained, **options)
    if ":" in name:
        module, function = name.split(":", 1)
        sys.path.insert(0, ".")
        return getattr(importlib.import_module(module), function)(**options)
    import torchvision

    if pretrained and classes is not None:
        raise SystemExit(
            "--pretrained has ImageNet's 1000 classes: leave --classes out, "
            "`train` replaces the last layer"
        )
    return torchvision.models.get_model(
        name, weights="DEFAULT" if pretrained else None, **options
    )


def script_layers(model):
    """Scripts the layers that act differently in training: a trace of theirs
    would stay in the mode in which it was made."""
    import torch

    kinds = (torch.nn.modules.batchnorm._NormBase, torch.nn.modules.dropout._DropoutNd)
    for name, layer in list(model.named_children()):
        if isinstance(layer, kinds):
            setattr(model, name, torch.jit.script(layer))
        else:
            script_layers(layer)


def trace(model, picture):
    import torch

    script_layers(model.eval())
    return torch.jit.trace(model, picture, check_trace=False).train()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="torchvision name, timm:NAME or module:function")
    parser.add_argument("output", help="the file to write")
    parser.add_argument("--classes", type=int, help="classes of the last layer")
    parser.add_argument(
        "--pretrained", action="store_true", help="with the weights of torchvision or timm"
    )
    parser.add_argument("--size", type=int, default=224, help="side of a traced picture (224)")
    parser.add_argument("--channels", type=int, default=3, help="of a traced picture (3)")
    parser.add_argument("--trace", action="store_true", help="trace at once")
    arguments = parser.parse_args()
    import torch

    # What is said of TorchScript: it is what LibTorch reads.
    warnings.filterwarnings("ignore", message=".*torch.jit", category=FutureWarning)
    model = build(arguments.name, arguments.classes, arguments.pretrained)
    script = None
    if not arguments.trace:
        try:
            script = torch.jit.script(model)
        except Exception as error:
            reason = str(error).strip().splitlines()
            print(f"traced, since it cannot be scripted: {reason[0] if reason else error}",
                  file=sys.stderr)
    if script is None:
        picture = torch.rand(2, arguments.channels, arguments.size, arguments.size)
        script = trace(model, picture)
    script.save(arguments.output)
    print(f"{arguments.output}: {sum(p.numel() for p in model.parameters())} parameters")


if __name__ == "__main__":
    main()
