// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Weights that Python wrote, into a network here.

#include "network.hpp"

#include <filesystem>
#include <string>

namespace programs {

/// The tensors of a file: a checkpoint of ours, or what `torch.save` wrote of a
/// `state_dict`, of a dictionary that holds one as "state_dict",
/// "model_state_dict" or "model" (the published final_model.pth), or of what
/// examples/export_weights.py made. What DataParallel ("module.") and
/// torch.compile ("_orig_mod.") put before every name is taken off.
///
/// Throws: `cyborg::data::FileError`, which says what to do where LibTorch
/// cannot read the file.
cyborg::train::NamedTensors read_weights(const std::filesystem::path& path);

/// Loads them, and says in a few lines what did not fit: nothing, where all of
/// it did. The last layer may have another number of classes; it then keeps
/// its fresh values. A file of which nothing fits is an error.
std::string load_weights(Network& network, const std::filesystem::path& path);

}  // namespace programs
