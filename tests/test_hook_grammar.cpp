// SPDX-License-Identifier: BSD-3-Clause
//
// Random networks, and what the hook says about each of them. By hand:
//
//     CYBORG_GRAMMAR_NETWORKS=2000 CYBORG_GRAMMAR_SEED=1 test_hook "[grammar]"
//
// then also prints how many networks of each kind are right, wrong, refused.
#include "catch.hpp"
#include "grammar.hpp"
#include "operations.hpp"
#include "support.hpp"

#include <cyborg/cam/detail/operators.hpp>
#include <cyborg/cam/hook.hpp>

#include <ATen/autocast_mode.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

using torch::Tensor;

namespace grammar_test {
namespace {

using grammar::Batch;
using grammar::Kind;
using grammar::Network;
using grammar::Output;
using grammar::Reference;
using grammar::Value;

int64_t number_from(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoll(text);
}

/// While it lives, autocast is on if the network wants it. What was cast then
/// is forgotten.
class AutocastOf {
 public:
  explicit AutocastOf(const Network& network) {
    if (network.autocast()) {
      autocast_.emplace();
    }
  }
  ~AutocastOf() {
    if (autocast_.has_value()) {
      at::autocast::clear_cache();
    }
  }
  AutocastOf(const AutocastOf&) = delete;
  AutocastOf& operator=(const AutocastOf&) = delete;

 private:
  std::optional<support::CpuAutocast> autocast_;
};

/// The largest difference, relative to the size of `wanted`; infinite where the
/// shapes differ.
double relative(const Tensor& found, const Tensor& wanted, double size = 0) {
  size = std::max(size, wanted.detach().abs().max().item<double>());
  return support::distance(found, wanted) / std::max(size, 1e-12);
}

/// The gradients of all parameters, one after the other; 0 where there is none.
Tensor gradients(Network& network, const Tensor& maps, const Tensor& factors) {
  const auto parameters = network.parameters();
  const Tensor scalar = (maps.to(torch::kDouble) * factors).sum();
  std::vector<Tensor> found;
  if (scalar.requires_grad()) {
    found = torch::autograd::grad(
        {scalar}, parameters, {}, /*retain_graph=*/true,
        /*create_graph=*/false, /*allow_unused=*/true);
  }
  std::vector<Tensor> flat;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const bool used = i < found.size() && found[i].defined();
    flat.push_back((used ? found[i] : torch::zeros_like(parameters[i]))
                       .detach()
                       .to(torch::kDouble)
                       .flatten());
  }
  return torch::cat(flat);
}

enum class Verdict { kRight, kWrong, kRefused };

struct Judgement {
  Verdict verdict = Verdict::kRight;
  std::string words;  // why it is not right
};

/// Runs the network under the hook. The result may have any of the types in
/// which networks return two tensors.
std::vector<Tensor> observe(
    cyborg::CamHook& hook, Network& network, const Batch& batch, size_t form) {
  const auto run = [&] {
    const AutocastOf autocast(network);
    return network.forward(batch.pictures);
  };
  if (!network.two_outputs()) {
    return {hook.forward([&] { return run()[0]; })};
  }
  if (form == 0) {
    return hook.forward(run);
  }
  if (form == 1) {
    const auto pair = hook.forward([&] {
      const auto made = run();
      return std::make_pair(made[0], made[1]);
    });
    return {pair.first, pair.second};
  }
  const auto tuple = hook.forward([&] {
    const auto made = run();
    return std::make_tuple(made[0], made[1]);
  });
  return {std::get<0>(tuple), std::get<1>(tuple)};
}

Judgement wrong(const std::string& words) {
  return {Verdict::kWrong, words};
}

Judgement judge(
    cyborg::CamHook& hook, Network& network, const Batch& batch, size_t form) {
  network.train(batch.training);
  Tensor maps, labels;
  double scale = 1;
  try {
    const at::AutoGradMode mode(batch.recording);
    const auto made = observe(hook, network, batch, form);
    const Tensor logits = network.changed(made[network.chosen_result()]);
    const int64_t classes = logits.dim() == 1 ? 1 : logits.size(1);
    labels = torch::randint(std::max<int64_t>(classes, 2), {logits.size(0)});
    maps = hook.cam(logits, labels);
    scale = hook.logit_scale(logits);
  } catch (const std::exception& error) {
    std::string text = error.what();
    text = text.substr(0, text.find("\nException raised"));
    const bool ours = text.rfind("cyborg::", 0) == 0;
    return {ours ? Verdict::kRefused : Verdict::kWrong, text};
  }
  const Output output = network.asked();
  const Reference reference = grammar::reference_of(output, labels);
  if (!std::isfinite(reference.size)) {
    return {};  // only the batches after that of a NaN must be right
  }
  // The factor tells how these logits were answered: by CAM it is 1, by
  // Grad-CAM the number of positions.
  const bool exact = scale == 1;
  std::vector<Tensor> accepted;
  const bool decided = !network.undecidable(batch) && !network.autocast();
  if (output.kind == Kind::kExact && (decided || exact)) {
    accepted = {reference.cam};
  } else if (output.kind == Kind::kExact || output.kind == Kind::kEither) {
    accepted = {exact ? reference.cam : reference.grad_cam};
  } else {
    accepted = {reference.grad_cam};
  }
  if (network.autocast() && output.kind <= Kind::kEither) {
    accepted = {reference.cam, reference.grad_cam};
  }
  std::ostringstream words;
  for (const Tensor& wanted : accepted) {
    words << grammar::name_of(output.kind) << (exact ? ", exact" : "") << ", "
          << hook.observation().reduction << " (" << hook.observation().reason
          << "): ";
    const Tensor scaled = maps * scale;
    const double off = relative(scaled, wanted, reference.size);
    if (!(off <= network.tolerance())) {
      words << "map " << scaled.sizes() << " for " << wanted.sizes()
            << " is off by " << off << "; ";
      continue;
    }
    // Of blank pictures, batch norm divides rounding by almost nothing.
    if (!batch.recording || (network.autocast() && batch.blank)) {
      return {};
    }
    const Tensor factors = torch::randn(wanted.sizes(), torch::kDouble);
    const Tensor right = gradients(network, wanted, factors);
    if (!at::isfinite(right).all().item<bool>()) {
      return {};  // the norm of a vector that was dropped, a NaN replaced
    }
    const double slope = relative(
        gradients(network, scaled, factors), right,
        // What rounding leaves of a gradient that is 0.
        .1 * reference.size);
    if (slope <= (network.autocast() ? 5 : 10) * network.tolerance()) {
      return {};
    }
    words << "gradient is off by " << slope << "; ";
  }
  return wrong(words.str());
}

/// How many networks were right, wrong and refused.
using Counts = std::array<int64_t, 3>;

int64_t total(const Counts& counts) {
  return counts[0] + counts[1] + counts[2];
}

struct Summary {
  Counts with_map{}, without_map{};
  std::map<std::string, Counts> tags, pieces;
  std::map<std::string, Counts> pieces_with_map;  // of networks with a map
  std::vector<std::string> failures;

  void add(const Network& network, const Judgement& judgement, bool has_map) {
    const auto place = static_cast<size_t>(judgement.verdict);
    ++(has_map ? with_map : without_map)[place];
    for (const auto& name : network.tags()) {
      ++tags[name][place];
    }
    for (const auto& name : network.pieces()) {
      ++pieces[name][place];
      if (has_map) {
        ++pieces_with_map[name][place];
      }
    }
    if (judgement.verdict == Verdict::kWrong) {
      failures.push_back(network.text() + "\n    " + judgement.words);
    }
  }
};

void print(
    std::ostream& out, const std::string& title,
    const std::map<std::string, Counts>& rows) {
  out << title << ": right, wrong, refused\n";
  for (const auto& [name, c] : rows) {
    out << "  " << name << ": " << c[0] << ", " << c[1] << ", " << c[2] << "\n";
  }
}

constexpr std::array<const char*, 15> kShares = {
    "tokens to map and back",
    "C = h or w",
    "non-square",
    "windows",
    "roll",
    "NHWC",
    "width before height",
    "in-place ReLU",
    "in-place dropout",
    "train/eval order",
    "partial pooling windows",
    "bf16 autocast",
    "two outputs",
    "zero head",
    "residual past attention"};

}  // namespace
}  // namespace grammar_test

TEST_CASE("The hook is right about random networks", "[hook][grammar]") {
  using namespace grammar_test;
  const int64_t networks = number_from("CYBORG_GRAMMAR_NETWORKS", 200);
  const int64_t first = number_from("CYBORG_GRAMMAR_SEED", 1);
  const bool by_hand = std::getenv("CYBORG_GRAMMAR_NETWORKS") != nullptr ||
                       std::getenv("CYBORG_GRAMMAR_SEED") != nullptr;
  Summary summary;
  std::map<std::string, int64_t> refusals;
  for (int64_t seed = first; seed < first + networks; ++seed) {
    Network network(static_cast<uint64_t>(seed));
    INFO(network.text());  // what a crash would be the last to say
    cyborg::CamHook hook(network);
    Judgement worst;
    bool has_map = true;
    for (const Batch& batch : network.all_batches()) {
      const Judgement judgement =
          judge(hook, network, batch, static_cast<size_t>(seed % 3));
      has_map = network.last().empty() ||  // the network failed
                network.chosen().kind != Kind::kNoMap;
      if (judgement.verdict == Verdict::kRefused && by_hand) {
        ++refusals[judgement.words.substr(0, 90)];
      }
      if (worst.verdict != Verdict::kWrong &&
          judgement.verdict != Verdict::kRight) {
        worst = judgement;
      }
    }
    summary.add(network, worst, has_map);
  }
  std::ostringstream report;
  for (size_t i = 0; i < summary.failures.size() && (i < 20 || by_hand); ++i) {
    report << summary.failures[i] << "\n";
  }
  if (by_hand) {
    print(report, "tags", summary.tags);
    print(report, "pieces", summary.pieces);
    print(
        report, "all",
        {{"with a map", summary.with_map},
         {"without a map", summary.without_map}});
    for (const auto& [words, count] : refusals) {
      report << count << " times refused: " << words << "\n";
    }
    WARN(report.str());
  } else {
    UNSCOPED_INFO(report.str());
  }
  CHECK(summary.with_map[1] + summary.without_map[1] == 0);
  CHECK(summary.with_map[2] * 10 <= total(summary.with_map));
  // An operator that the hook does not follow makes it refuse the networks that
  // need it.
  for (const auto& [name, count] : summary.pieces_with_map) {
    if (name.rfind("class-token", 0) != 0 && total(count) >= 2) {
      INFO(name << ": " << count[2] << " of " << total(count) << " refused");
      CHECK(count[2] < total(count));
      CHECK((total(count) < 6 || count[2] * 2 <= total(count)));
    }
  }
  if (networks >= 200) {
    for (const char* name : kShares) {
      INFO(name);
      CHECK(total(summary.tags[name]) * 20 >= networks);
    }
  }
}

namespace grammar_test {
namespace {

/// The names of all nodes between the result of an operation and what it read.
std::set<std::string> nodes_of(const grammar::Operation& operation) {
  std::vector<int64_t> sizes{2, 4};
  sizes.resize(operation.rank == 0 ? 4 : operation.rank + 2, 4);
  const auto double_type = torch::dtype(torch::kDouble).requires_grad(true);
  const Tensor result = operation.place == grammar::Operation::kHead
                            ? operation.head(
                                  torch::randn({2, 4}, double_type),
                                  torch::randn({3, 4}, double_type))
                            : operation.run(torch::randn(sizes, double_type));
  std::set<std::string> names;
  // Nodes belong to intrusive or shared pointers, by the release of LibTorch.
  std::vector<const torch::autograd::Node*> left{result.grad_fn().get()};
  while (!left.empty()) {
    const auto* node = left.back();
    left.pop_back();
    names.insert(std::string(cyborg::detail::base_name(node->name())));
    for (const auto& edge : node->next_edges()) {
      if (edge.function) {
        left.push_back(edge.function.get());
      }
    }
  }
  return names;
}

/// Rows for nodes that no operation above leaves: other devices and libraries,
/// complex numbers, other releases of LibTorch.
const std::set<std::string> kElsewhere = {
    "BatchNorm",
    "BatchNormNoUpdate",
    "BatchNormWithUpdate",
    "Chunk",
    "Conj",
    "CudnnBatchNorm",
    "FusedDropout",
    "LazyClone",
    "LiftFresh",
    "Linear",
    "MaxPool2D",
    "MiopenBatchNorm",
    "MkldnnAdaptiveAvgPool2D",
    "MkldnnLinear",
    "MkldnnMaxPool2D",
    "MkldnnMaxPool3D",
    "MkldnnReshape",
    "NativeBatchNormLegit",
    "NativeBatchNormLegitNoTraining",
    "Prelu",
    "Relu6",
    "ReshapeCopy",
    "Selu",
    "Square",
    "ToDense",
    "ToMkldnn"};

}  // namespace
}  // namespace grammar_test

TEST_CASE("Each row of the table makes a network readable", "[hook][grammar]") {
  using namespace grammar_test;
  std::set<std::string> covered = kElsewhere;
  std::string absent;
  int64_t count = 0;
  for (const auto& operation : grammar::operations()) {
    INFO(operation.row);
    covered.insert(operation.row);
    if (nodes_of(operation).count(operation.row) == 0) {
      absent += " " + operation.row;
      ++count;
      continue;
    }
    int64_t right = 0;
    std::string why;
    for (uint64_t seed = 1; seed <= 3; ++seed) {
      Network network(seed, operation);
      INFO(network.text());
      cyborg::CamHook hook(network);
      bool all = true;
      for (const Batch& batch : network.all_batches()) {
        const Judgement judgement = judge(hook, network, batch, 0);
        INFO(judgement.words);
        CHECK(judgement.verdict != Verdict::kWrong);
        all = all && judgement.verdict == Verdict::kRight;
        if (!judgement.words.empty()) {
          why += network.text() + "\n    " + judgement.words + "\n";
        }
      }
      right += all ? 1 : 0;
    }
    INFO(why);
    CHECK(right >= 2);
  }
  INFO("in this LibTorch no node has these names:" << absent);
  CHECK(count <= 12);
  for (const auto& [row, rule] : cyborg::detail::rules()) {
    INFO(row << " has no operation in operations.hpp");
    CHECK(covered.count(std::string(row)) == 1);
  }
}

namespace grammar_test {
namespace {

/// Where the gradient energy of one position lies in the picture, as a fraction
/// of each axis; empty where the position has none. Other samples must have
/// none.
std::vector<double> place_of(
    const Value& map, const Tensor& pictures, int64_t sample,
    const std::vector<int64_t>& position) {
  Tensor column = map.x.select(map.dim('b'), sample);
  std::string axes = map.axes;
  axes.erase(axes.find('b'), 1);
  for (size_t i = 0; i < position.size(); ++i) {
    const size_t dim = axes.find(static_cast<char>('0' + i));
    column = column.select(static_cast<int64_t>(dim), position[i]);
    axes.erase(dim, 1);
  }
  const Tensor energy =
      torch::autograd::grad(
          {column.square().sum()}, {pictures}, {}, /*retain_graph=*/true)[0]
          .square()
          .sum(1);
  const Tensor own = energy[sample];
  REQUIRE(
      energy.sum().item<double>() ==
      Approx(own.sum().item<double>()).margin(1e-30));
  if (own.sum().item<double>() < 1e-20) {
    return {};
  }
  std::vector<double> place;
  for (int64_t i = 0; i < own.dim(); ++i) {
    std::vector<int64_t> others;
    for (int64_t d = 0; d < own.dim(); ++d) {
      if (d != i) {
        others.push_back(d);
      }
    }
    const Tensor line = others.empty() ? own : own.sum(others);
    const Tensor at =
        (torch::arange(line.size(0), line.options()) + .5) / line.size(0);
    place.push_back(((line * at).sum() / line.sum()).item<double>());
  }
  return place;
}

}  // namespace
}  // namespace grammar_test

TEST_CASE("Random networks know where their positions are", "[grammar]") {
  using namespace grammar_test;
  int64_t compared = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Network network(seed);
    INFO(network.text());
    network.to(torch::kDouble);
    network.eval();
    network.keep_local(true);
    // Larger pictures: one position sees a small part of them.
    std::vector<int64_t> sizes =
        network.all_batches()[0].pictures.sizes().vec();
    const int64_t sample = sizes[0] - 1;
    for (size_t i = 2; i < sizes.size(); ++i) {
      sizes[i] *= sizes.size() == 5 ? 2 : 4;
    }
    const Tensor pictures = torch::randn(sizes, torch::kDouble);
    for (const Value& map : network.maps(pictures.requires_grad_())) {
      REQUIRE(map.x.dim() == static_cast<int64_t>(map.axes.size()));
      REQUIRE(map.size('b') == sizes[0]);
      const auto rank = map.position_dims().size();
      const std::vector<int64_t> origin(rank, 0);
      const auto from = place_of(map, pictures, sample, origin);
      for (size_t axis = 0; axis < rank; ++axis) {
        // A step along one axis of the map is one along that of the picture.
        std::vector<int64_t> position = origin;
        position[axis] = map.size(static_cast<char>('0' + axis)) - 1;
        const auto to = place_of(map, pictures, sample, position);
        for (size_t i = 0; i < rank && !from.empty() && !to.empty(); ++i) {
          INFO(map.axes << " axis " << i << " " << from[i] << " " << to[i]);
          CHECK((to[i] - from[i] > .25) == (i == axis));
          ++compared;
        }
      }
    }
  }
  CHECK(compared >= 300);
}

TEST_CASE("Random networks know their own references", "[grammar]") {
  using namespace grammar_test;
  int64_t exact = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Network network(seed);
    INFO(network.text());
    if (network.autocast()) {
      continue;
    }
    network.eval();
    const Batch& batch = network.all_batches().back();
    network.forward(batch.pictures);
    for (const Output& output : network.last()) {
      const auto samples = output.logits.size(0);
      const Tensor labels = torch::ones({samples}, torch::kLong);
      const Reference reference = grammar::reference_of(output, labels);
      REQUIRE(reference.grad_cam.defined());
      const Tensor logit =
          output.classes() == 1
              ? output.logits.reshape({-1})
              : output.logits.gather(1, labels.unsqueeze(1)).squeeze(1);
      // The mean of a class activation map and the bias are the logit.
      if (output.weight.defined()) {
        ++exact;
        Tensor mean = reference.cam.flatten(1).mean(1);
        if (output.bias.defined()) {
          mean = mean + output.bias[output.classes() == 1 ? 0 : 1];
        }
        CHECK(relative(mean, logit) < 1e-5);
        CHECK(relative(reference.grad_cam, reference.cam, 1e-6) < 1e-5);
      }
      // The weight of a channel is what the logit gains when the whole channel
      // gains the same.
      const torch::NoGradGuard no_grad;
      const double step = network.tolerance() > 1e-8 ? 3e-3 : 1e-5;
      for (int64_t c = 0; c < output.tap.size('c'); ++c) {
        const auto moved = [&](double by) {
          Tensor x = output.tap.x.detach().clone();
          x.select(output.tap.dim('c'), c).add_(by);
          const Tensor y = output.rest(output.tap.with(x)).to(torch::kDouble);
          return output.classes() == 1
                     ? y.reshape({-1})
                     : y.gather(1, labels.unsqueeze(1)).squeeze(1);
        };
        const Tensor slope = (moved(step) - moved(-step)) / (2 * step);
        INFO("channel " << c);
        CHECK(relative(slope, reference.weights.select(1, c), 1e-1) < 1e-3);
      }
    }
  }
  CHECK(exact >= 10);
}
