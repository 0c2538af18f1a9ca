// SPDX-License-Identifier: BSD-3-Clause

// Runs one TorchScript network under a hook, for zoo.py beside this file.
//
//     cyborg_zoo SCRIPT DATA RESULT
//
// DATA holds a dictionary of tensors: "input" [B, 3, H, W] and "labels" [B].
// RESULT gets a dictionary: the "map" of the labels in the unit of the logits,
// what the hook says of it, and "centres", or the text of an "error".

#include <cyborg/jit.hpp>

#include <torch/autograd.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/csrc/jit/serialization/pickle.h>
#include <torch/types.h>

#include <cstdint>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

namespace {

using Result = c10::impl::GenericDict;

c10::IValue read(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  return torch::jit::pickle_load(bytes);
}

void write(const char* path, const Result& result) {
  const auto bytes = torch::jit::pickle_save(result);
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// The middle of `weights` along `axis`, as a share of the axis.
double centre(const torch::Tensor& weights, int64_t axis) {
  const auto along = weights.sum(1 - axis);
  const auto places =
      (torch::arange(along.numel(), torch::kDouble) + 0.5) / along.numel();
  return ((along * places).sum() / along.sum()).item<double>();
}

/// Where in the picture nine positions of the map come from. A row holds y and
/// x of the position, then y and x of the middle of its gradient's energy, all
/// as shares of the axis.
torch::Tensor centres(const torch::Tensor& map, const torch::Tensor& input) {
  const auto height = map.size(2);
  const auto width = map.size(3);
  const auto share = [](int64_t place, int64_t count) {
    return (static_cast<double>(place) + 0.5) / static_cast<double>(count);
  };
  // Not the sum over the channels, which is constant after a layer norm.
  const auto direction = torch::randn({map.size(1)}, map.options());
  std::vector<double> rows;
  for (const auto y : std::set<int64_t>{0, height / 2, height - 1}) {
    for (const auto x : std::set<int64_t>{0, width / 2, width - 1}) {
      const auto position = map.select(3, x).select(2, y).matmul(direction);
      const auto gradient =
          torch::autograd::grad(
              {position.sum()}, {input}, {}, /*retain_graph=*/true)[0]
              .to(torch::kDouble);
      const auto energy = gradient.pow(2).sum(torch::IntArrayRef{0, 1});
      if (energy.sum().item<double>() == 0) {  // a ReLU returned zero
        continue;
      }
      rows.push_back(share(y, height));
      rows.push_back(share(x, width));
      rows.push_back(centre(energy, 0));
      rows.push_back(centre(energy, 1));
    }
  }
  return torch::tensor(rows, torch::kDouble).view({-1, 4});
}

void observe(torch::jit::Module& net, const c10::IValue& data, Result& result) {
  const auto dictionary = data.toGenericDict();
  const auto input = dictionary.at("input").toTensor().requires_grad_();
  const auto labels = dictionary.at("labels").toTensor();
  cyborg::CamHook hook(net);
  const auto output = hook.forward([&] { return net.forward({input}); });
  // GoogLeNet and Inception return a tuple.
  const auto logits = output.isTuple()
                          ? output.toTupleRef().elements()[0].toTensor()
                          : output.toTensor();
  result.insert("logits", logits.detach());
  const auto map = hook.cam(logits, labels) * hook.logit_scale();
  const auto& seen = hook.observation();
  result.insert("layer", seen.layer);
  result.insert("exact", seen.exact);
  result.insert("reason", seen.reason);
  result.insert("features", seen.features.sizes().vec());
  result.insert("map", map.detach().contiguous());
  if (seen.features.dim() == 4) {
    result.insert("centres", centres(seen.features, input));
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) {
    std::cerr << "usage: cyborg_zoo SCRIPT DATA RESULT\n";
    return 2;
  }
  torch::set_num_threads(1);
  torch::manual_seed(1);
  Result result(c10::StringType::get(), c10::AnyType::get());
  try {
    auto net = torch::jit::load(arguments[1]);
    net.eval();
    try {
      observe(net, read(arguments[2]), result);
    } catch (const c10::Error& error) {
      result.insert("error", std::string(error.what_without_backtrace()));
    } catch (const std::exception& error) {
      result.insert("error", std::string(error.what()));
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  write(arguments[3], result);
  return 0;
}
