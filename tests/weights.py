#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Files of weights as people have them, for tests/test_python.cpp.

Writes into the folder named: resnet18 of torchvision with random weights, as
several kinds of file, and what it makes of a picture of ones.
"""

import sys

import torch
import torchvision

torch.manual_seed(3)
model = torchvision.models.resnet18(num_classes=2).eval()
folder = sys.argv[1] + "/"
state = model.state_dict()
torch.save(state, folder + "plain.pt")
torch.save(state, folder + "legacy.pt", _use_new_zipfile_serialization=False)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
torch.save(
    {
        "epoch": 4,
        "state_dict": torch.nn.DataParallel(model).state_dict(),
        "optimizer": optimizer.state_dict(),
    },
    folder + "final_model.pth",
)
torch.save(model, folder + "whole.pth")
compiled = {"module._orig_mod." + name: value for name, value in state.items()}
torch.save({"step": torch.ones(1), "model": compiled}, folder + "compiled.pt")
with torch.no_grad():
    torch.save({"logits": model(torch.ones(1, 3, 64, 64))}, folder + "logits.pt")
