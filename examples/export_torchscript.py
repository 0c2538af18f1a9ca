#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write a Python network as TorchScript, for `train --model`.

    export_torchscript.py resnet18 resnet18.pt                 # torchvision
    export_torchscript.py timm:tf_efficientnet_b0 b0.pt        # timm
    export_torchscript.py mymodels:build net.pt --classes 2    # your function

The network is scripted or, if that is not possible, traced. In a traced network
batch norm and dropout layers still differ between training and evaluation; what
else differs between the two is always as in evaluation. With --classes N the
constructor gets the number of classes. Without it, `train` replaces the last
layer if its number of classes is another one.
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
            "--pretrained has the 1000 classes of ImageNet: leave out --classes; "
            "`train` replaces the last layer"
        )
    return torchvision.models.get_model(
        name, weights="DEFAULT" if pretrained else None, **options
    )


def script_layers(model):
    """Scripts the layers that act differently in training, because a trace of them
    would keep the mode in which it was made."""
    import torch

    kinds = (torch.nn.modules.batchnorm._NormBase, torch.nn.modules.dropout._DropoutNd)
    for name, layer in list(model.named_children()):
        if isinstance(layer, kinds):
            setattr(model, name, torch.jit.script(layer))
        else:
            script_layers(layer)


def trace(model, picture):
    """The network as a trace, in training mode."""
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
    parser.add_argument(
        "--size", type=int, default=224, help="side of the picture for tracing (default 224)"
    )
    parser.add_argument(
        "--channels", type=int, default=3, help="channels of that picture (default 3)"
    )
    parser.add_argument("--trace", action="store_true", help="trace without trying to script")
    arguments = parser.parse_args()
    import torch

    # Python's torch warns that TorchScript is old; but LibTorch reads it.
    warnings.filterwarnings("ignore", message=".*torch.jit", category=FutureWarning)
    model = build(arguments.name, arguments.classes, arguments.pretrained)
    script = None
    if not arguments.trace:
        try:
            script = torch.jit.script(model)
        except Exception as error:
            reason = str(error).strip().splitlines()
            print(f"traced, because it cannot be scripted: {reason[0] if reason else error}",
                  file=sys.stderr)
    if script is None:
        picture = torch.rand(2, arguments.channels, arguments.size, arguments.size)
        script = trace(model, picture)
    script.save(arguments.output)
    print(f"{arguments.output}: {sum(p.numel() for p in model.parameters())} parameters")


if __name__ == "__main__":
    main()
