// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A trained network as a TorchScript file.

#include "options.hpp"

#include "../common/network.hpp"

#include <torch/types.h>

#include <filesystem>

namespace programs {

/// Throws: `cyborg::io::FileError` where --export names a file that could not
/// be written in the end.
void check_export(const TrainOptions& options);

/// Writes a network in evaluation mode, with its weights. A native network is
/// traced with `images` [B, C, H, W]; other sizes and numbers of pictures are
/// possible afterwards. The names of weights stay as they are.
/// Throws: `cyborg::io::FileError`; `std::runtime_error` where the file's
/// network gives other logits.
void export_network(
    Network& network, const torch::Tensor& images,
    const std::filesystem::path& file);

}  // namespace programs
