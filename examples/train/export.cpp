// SPDX-License-Identifier: BSD-3-Clause
#include "export.hpp"

#include "../common/file_checks.hpp"

#include <cyborg/io/file.hpp>

#include <fmt/format.h>
#include <torch/script.h>

#include <sstream>
#include <stdexcept>
#include <string>

namespace programs {

namespace fs = std::filesystem;

void check_export(const TrainOptions& options) {
  const auto& file = options.export_to;
  if (file.empty()) {
    return;
  }
  // The output folder is made when the training begins.
  const auto folder = fs::absolute(file).lexically_normal().parent_path();
  if (fs::is_directory(folder) ||
      folder != fs::absolute(options.out).lexically_normal()) {
    writable_file("--export", file);
  }
}

void export_network(
    Network& network, const torch::Tensor& images, const fs::path& file) {
  const torch::NoGradGuard no_grad;
  network.train(false);
  const auto script = network.scripted(images);
  std::ostringstream stream;
  script.save(stream);
  std::istringstream again(stream.str());
  auto read = torch::jit::load(again, images.device());
  // Another number of pictures than in the trace.
  const auto more = torch::cat({images, images.flip(/*dims=*/{-1})});
  auto out = read.forward({more});
  const auto logits = out.isTuple() ? out.toTupleRef().elements()[0].toTensor()
                                    : out.toTensor();
  const auto expected = network.forward(more);
  const auto difference = (logits - expected).abs().max().item<double>();
  const auto limit = 1e-5 * (1 + expected.abs().max().item<double>());
  if (!(difference <= limit)) {
    throw std::runtime_error(fmt::format(
        "--export: {} is not written: its network gives logits that differ by "
        "{}",
        file.string(), difference));
  }
  cyborg::io::write_file(file, stream.str(), "--export");
}

}  // namespace programs
