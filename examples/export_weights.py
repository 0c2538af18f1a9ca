#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write a network's weights so that `train --weights` can read them.

    export_weights.py final_model.pth weights.pt       # a checkpoint of yours
    export_weights.py --torchvision resnet50 resnet50.pt    # ImageNet's

The output is a dictionary of tensors by name, in the format of torch.save. The
script needs Python's torch, and for --torchvision also torchvision, which
downloads weights that are not in its cache.
"""

import argparse
import sys


def state_of(loaded):
    """The state_dict in what torch.load returned."""
    if hasattr(loaded, "state_dict"):
        return loaded.state_dict()
    if isinstance(loaded, dict):
        for key in ("state_dict", "model_state_dict", "model", "tensors"):
            if isinstance(loaded.get(key), dict) or hasattr(loaded.get(key), "state_dict"):
                return state_of(loaded[key])
        return loaded
    raise SystemExit(f"the file holds a {type(loaded).__name__}, expected a state_dict")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", nargs="?", help="a file that torch.save wrote")
    parser.add_argument("output", help="the file to write")
    parser.add_argument(
        "--torchvision", metavar="NAME", help="a network of torchvision instead"
    )
    arguments = parser.parse_args()
    if bool(arguments.source) == bool(arguments.torchvision):
        parser.error("expected a file, or a network with --torchvision")
    import torch

    if arguments.torchvision:
        import torchvision

        model = torchvision.models.get_model(arguments.torchvision, weights="DEFAULT")
        loaded = model.state_dict()
    else:
        try:
            loaded = torch.load(arguments.source, map_location="cpu", weights_only=True)
        except Exception as error:
            print(
                f"{arguments.source}: not only tensors ({type(error).__name__}). Reading it as a "
                "pickle, which can run code: press Ctrl-C if you do not trust the file.",
                file=sys.stderr,
            )
            sys.path.insert(0, ".")  # where the classes of a pickled model may be
            try:
                loaded = torch.load(
                    arguments.source, map_location="cpu", weights_only=False
                )
            except Exception as error:
                raise SystemExit(
                    f"{arguments.source}: torch.load cannot read it "
                    f"({type(error).__name__}: {error})"
                ) from None
    tensors = {
        name: value.detach().cpu().contiguous().clone()
        for name, value in state_of(loaded).items()
        if isinstance(value, torch.Tensor)
    }
    if not tensors:
        raise SystemExit(f"{arguments.source}: contains no tensors with names")
    torch.save(tensors, arguments.output)
    print(f"{arguments.output}: {len(tensors)} tensors")


if __name__ == "__main__":
    main()
