// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Weights that Python wrote, into a network here.

#include "network.hpp"

#include <filesystem>
#include <string>

namespace programs {

/// The tensors of a file: a checkpoint of ours, what examples/export_weights.py
/// made, or what `torch.save` wrote of a plain dictionary of tensors, or of one
/// that holds it as "state_dict", "model_state_dict" or "model". What
/// DataParallel ("module.") and torch.compile ("_orig_mod.") put before every
/// name is taken off. A `state_dict()` as it is, an OrderedDict, LibTorch
/// cannot read: export_weights.py rewrites it.
///
/// Throws: `cyborg::io::FileError`, which says what to do where LibTorch
/// cannot read the file.
cyborg::train::NamedTensors read_weights(const std::filesystem::path& path);

/// Loads them, and says in a few lines what did not fit: nothing, where all of
/// it did. The last layer may have another number of classes; it then keeps
/// its fresh values. A file of which nothing fits is an error.
std::string load_weights(Network& network, const std::filesystem::path& path);

}  // namespace programs
