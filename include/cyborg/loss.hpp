// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The hook and the loss: what most programs include. It needs only LibTorch.

#include <cyborg/cam/hook.hpp>               // CamHook, Observation
#include <cyborg/guide/distances.hpp>        // L1, L2, KL
#include <cyborg/guide/saliency_guided.hpp>  // SaliencyGuidedLoss, LossTerms
#include <cyborg/human/maps.hpp>             // missing, annotated, blur
