// SPDX-License-Identifier: BSD-3-Clause
// This file is compiled as without the CMake target cyborg::distributed, and is
// linked with a file that is compiled with it. Both must see the same functions
// and classes.
#undef CYBORG_WITH_DISTRIBUTED

#include "without_c10d.hpp"

#include <cyborg/train/distributed.hpp>
#include <cyborg/train/sync_batch_norm.hpp>

namespace without_c10d {

using cyborg::train::DataParallel;
using cyborg::train::Group;

Group group_from_environment(const cyborg::train::GroupOptions& options) {
  return Group::from_environment(options);
}

torch::Tensor all_reduce(const Group& group, const torch::Tensor& tensor) {
  group.all_reduce(tensor);
  return tensor;
}

torch::Tensor sum_over_ranks(const Group& group, const torch::Tensor& tensor) {
  return cyborg::train::sum_over_ranks(tensor, group);
}

std::unique_ptr<DataParallel> data_parallel(
    const Group& group, const std::vector<torch::Tensor>& parameters) {
  return std::make_unique<DataParallel>(
      parameters, std::vector<torch::Tensor>(), group);
}

void finish(DataParallel& parallel) {
  parallel.finish();
}

}  // namespace without_c10d
