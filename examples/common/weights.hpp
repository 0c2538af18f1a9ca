// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Weights that Python wrote.

#include "network.hpp"

#include <filesystem>
#include <string>

namespace programs {

/// The tensors of a file by name. It may be a checkpoint of `train`, a file
/// that examples/export_weights.py wrote, or one that `torch.save` wrote of a
/// plain dictionary of tensors, also inside a dictionary as "state_dict",
/// "model_state_dict" or "model". The prefixes of DataParallel ("module.") and
/// torch.compile ("_orig_mod.") are removed. LibTorch cannot read the
/// OrderedDict that `state_dict()` returns; export_weights.py converts it.
///
/// Throws: `cyborg::io::FileError`, which says what to do.
cyborg::train::NamedTensors read_weights(const std::filesystem::path& path);

/// Loads the tensors whose names and shapes are the network's. Returns a text
/// that lists what does not fit, "" where everything fits. The last layer may
/// have another number of classes; it then keeps its values.
/// Throws: `cyborg::io::FileError` as above, and where nothing fits.
std::string load_weights(Network& network, const std::filesystem::path& path);

}  // namespace programs
