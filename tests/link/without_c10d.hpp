// SPDX-License-Identifier: BSD-3-Clause
// What without_c10d.cpp, a file that knows nothing of c10d, does for
// test_distributed.cpp.
#pragma once

#include <cyborg/train/data_parallel.hpp>
#include <cyborg/train/group.hpp>

#include <torch/types.h>

#include <memory>
#include <vector>

namespace without_c10d {

cyborg::train::Group group_from_environment(
    const cyborg::train::GroupOptions& options = {});

/// Calls `all_reduce`, and returns the tensor.
torch::Tensor all_reduce(
    const cyborg::train::Group& group, const torch::Tensor& tensor);

/// Calls `sum_over_ranks`, whose result has a gradient.
torch::Tensor sum_over_ranks(
    const cyborg::train::Group& group, const torch::Tensor& tensor);

std::unique_ptr<cyborg::train::DataParallel> data_parallel(
    const cyborg::train::Group& group,
    const std::vector<torch::Tensor>& parameters);

void finish(cyborg::train::DataParallel& parallel);

}  // namespace without_c10d
