// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// What most programs include. It needs LibTorch and nothing else.

#include <cyborg/cam/hook.hpp>               // CamHook, Observation
#include <cyborg/guide/distances.hpp>        // L1, L2, KL
#include <cyborg/guide/saliency_guided.hpp>  // SaliencyGuidedLoss, LossTerms
