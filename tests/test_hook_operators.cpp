// SPDX-License-Identifier: BSD-3-Clause
//
// Every operator that the hook knows by name; each is one row of a table.
#include "reading.hpp"

#include <string>
#include <tuple>
#include <utility>
#include <vector>

using cyborg::CamHook;
using networks::headed;
using networks::Headed;
using reading::Change;
using reading::Changes;
using reading::check_exact;
using reading::check_inexact;
using reading::look;
using reading::pooled;
using reading::Seen;
using support::close;
using support::contains;
using torch::Tensor;

TEST_CASE("Every averaging operator is recognised", "[hook]") {
  const std::vector<std::tuple<const char*, const char*, Change>> cases = {
      {"mean", "aten::mean", [](auto& x) { return x.mean({2, 3}); }},
      {"adaptive_avg_pool1d", "aten::flatten, aten::adaptive_avg_pool1d",
       [](auto& x) { return torch::adaptive_avg_pool1d(x.flatten(2), 1); }},
      {"adaptive_avg_pool2d", "aten::adaptive_avg_pool2d",
       [](auto& x) { return torch::adaptive_avg_pool2d(x, {1, 1}); }},
      {"adaptive_avg_pool3d", "aten::unsqueeze, aten::adaptive_avg_pool3d",
       [](auto& x) {
         return torch::adaptive_avg_pool3d(x.unsqueeze(2), {1, 1, 1});
       }},
      {"avg_pool1d", "aten::flatten, aten::avg_pool1d",
       [](auto& x) { return torch::avg_pool1d(x.flatten(2), 24); }},
      {"avg_pool2d", "aten::avg_pool2d",
       [](auto& x) { return torch::avg_pool2d(x, {6, 4}); }},
      {"avg_pool3d", "aten::unsqueeze, aten::avg_pool3d",
       [](auto& x) { return torch::avg_pool3d(x.unsqueeze(2), {1, 6, 4}); }},
  };
  for (const auto& c : cases) {
    INFO(std::get<0>(c));
    const auto average = std::get<2>(c);
    auto net = headed(
        [=](Headed& n, Tensor x) { return n.fc(average(x).flatten(1)); });
    check_exact(*net);
    const auto seen = look(*net).observation;
    CHECK(seen.layer == "a");
    CHECK(seen.reduction == std::get<1>(c));
  }
}

TEST_CASE("An operator that leaves one row collapses the map", "[hook]") {
  const Changes reducing = {
      {"mean", [](auto& x) { return x.mean({3}, true); }},
      {"sum", [](auto& x) { return x.sum({3}, true); }},
      {"amax", [](auto& x) { return x.amax({3}, true); }},
      {"max", [](auto& x) { return std::get<0>(x.max(3, true)); }},
      {"logsumexp", [](auto& x) { return x.logsumexp({3}, true); }},
      {"norm", [](auto& x) { return x.norm(2, {3}, true); }},
      {"adaptive_avg_pool2d",
       [](auto& x) { return torch::adaptive_avg_pool2d(x, {6, 1}); }},
      {"adaptive_max_pool2d",
       [](auto& x) {
         return std::get<0>(torch::adaptive_max_pool2d(x, {6, 1}));
       }},
  };
  for (const auto& [name, reduce] : reducing) {
    INFO(name);
    const auto change = reduce;
    auto net =
        headed([=](Headed& n, Tensor x) { return n.fc(pooled(change(x))); });
    const Seen seen = look(*net);
    CHECK(seen.observation.features.is_same(net->truth));
    CHECK(contains(seen.observation.reduction, std::string("aten::") + name));
    CHECK(contains(seen.observation.reduction, ", aten::mean"));
  }
  // Pooling with a window makes another map, of one column here.
  const Changes pooling = {
      {"avg_pool2d", [](auto& x) { return torch::avg_pool2d(x, {1, 4}); }},
      {"max_pool2d", [](auto& x) { return torch::max_pool2d(x, {1, 4}); }},
  };
  for (const auto& [name, pool] : pooling) {
    INFO(name);
    const auto change = pool;
    auto net = headed(
        [=](Headed& n, Tensor x) { return n.fc(pooled(n.see(change(x)))); });
    check_exact(*net);
    CHECK(net->truth.size(3) == 1);
  }
}

TEST_CASE("The head reads a mean through every view and cast", "[hook]") {
  const Tensor like = torch::empty({2, 8}, torch::kDouble);
  // Of a mean [2, 8, 1, 1].
  const Changes views = {
      {"view", [](auto& p) { return p.view({2, 8}); }},
      {"reshape", [](auto& p) { return p.reshape({2, 8}); }},
      {"flatten", [](auto& p) { return p.flatten(1); }},
      {"unflatten", [](auto& p) { return p.unflatten(1, {1, 8}); }},
      {"squeeze", [](auto& p) { return p.squeeze(3); }},
      {"unsqueeze", [](auto& p) { return p.unsqueeze(1); }},
      {"permute", [](auto& p) { return p.permute({0, 2, 3, 1}); }},
      {"transpose", [](auto& p) { return p.transpose(1, 3); }},
      {"movedim", [](auto& p) { return p.movedim(1, 3); }},
      {"moveaxis", [](auto& p) { return p.moveaxis(1, 3); }},
      {"swapaxes", [](auto& p) { return p.swapaxes(1, 3); }},
      {"swapdims", [](auto& p) { return p.swapdims(1, 3); }},
      {"view_as", [=](auto& p) { return p.view_as(like); }},
      {"reshape_as", [=](auto& p) { return p.reshape_as(like); }},
      {"contiguous",
       [](auto& p) { return p.contiguous(at::MemoryFormat::ChannelsLast); }},
      {"clone", [](auto& p) { return p.clone(); }},
      {"_unsafe_view", [](auto& p) { return at::_unsafe_view(p, {2, 8}); }},
      {"alias", [](auto& p) { return at::alias(p); }},
      {"squeeze_", [](auto p) { return p.squeeze_(3); }},
      {"to", [](auto& p) { return p.to(torch::kFloat).to(torch::kDouble); }},
      {"_to_copy",
       [](auto& p) { return at::_to_copy(p, torch::dtype(torch::kDouble)); }},
      {"type_as",
       [=](auto& p) { return p.type_as(torch::ones(1)).type_as(like); }},
  };
  for (const auto& [name, view] : views) {
    INFO(name);
    const auto change = view;
    const bool rounds =
        std::string(name) == "to" || std::string(name) == "type_as";
    auto net = headed([=](Headed& n, Tensor x) {
      return n.fc(change(x.mean({2, 3}, true)).reshape({2, 8}));
    });
    if (!rounds) {
      check_exact(*net);
      continue;
    }
    const Seen seen = look(*net);
    CHECK(seen.observation.exact);
    CHECK(close(
        seen.maps.mean({2, 3}) + seen.observation.bias, seen.logits, 1e-6));
  }
}

TEST_CASE("The head reads a mean through every dropout", "[hook]") {
  const Changes dropouts = {
      {"dropout", [](auto& p) { return torch::dropout(p, 0.5, true); }},
      // So little that nothing is dropped: a drop would change the mean itself.
      {"dropout_", [](auto p) { return torch::dropout_(p, 1e-15, true); }},
      {"native_dropout",
       [](auto& p) { return std::get<0>(at::native_dropout(p, 0.5, true)); }},
      {"feature_dropout",
       [](auto& p) { return torch::feature_dropout(p, 0.5, true); }},
  };
  for (const auto& [name, drop] : dropouts) {
    INFO(name);
    const auto change = drop;
    auto net = headed(
        [=](Headed& n, Tensor x) { return n.fc(change(pooled(x) * 1)); });
    // A product with a number is more than a mean; dropout alone is not.
    check_inexact(
        *net,
        "there is more than a mean between the map and the head (aten::mean, "
        "...)");
    net = headed([=](Headed& n, Tensor x) { return n.fc(change(pooled(x))); });
    check_exact(*net, /*training=*/true);
  }
  // Alpha dropout shifts the values that it keeps.
  for (const bool features : {false, true}) {
    CAPTURE(features);
    auto net = headed([=](Headed& n, Tensor x) {
      const bool train = n.is_training();
      const auto p = pooled(x);
      return n.fc(
          features ? torch::feature_alpha_dropout(p, 0.5, train)
                   : torch::alpha_dropout(p, 0.5, train));
    });
    CHECK_FALSE(look(*net, /*training=*/true).observation.exact);
    check_exact(*net);  // in evaluation mode it does nothing
  }
}

TEST_CASE("A mean in another type is read by a head of that type", "[hook]") {
  for (const auto type : {torch::kFloat, torch::kBFloat16, torch::kHalf}) {
    INFO(c10::toString(type));
    auto net = headed([=](Headed& n, Tensor x) {
      return torch::linear(
          pooled(x).to(type), n.fc->weight.to(type), n.fc->bias.to(type));
    });
    const Seen seen = look(*net);
    CHECK(seen.observation.features.is_same(net->truth));
    CHECK(seen.observation.exact);
    CHECK(seen.observation.weight.scalar_type() == type);
    CHECK(close(
        seen.maps.mean({2, 3}) + net->fc->bias, seen.logits,
        type == torch::kFloat ? 1e-6 : 3e-2));
  }
  // The whole network in bfloat16: a mean is distinguished from a partial one.
  const auto x = torch::rand({2, 3, 8, 8}).to(torch::kBFloat16);
  for (const int64_t rows : {8, 5}) {
    CAPTURE(rows);
    auto net = headed([=](Headed& n, Tensor y) {
      const auto ramp = torch::linspace(0, 4, 8).view({8, 1}).to(y.dtype());
      n.see(y * ramp);
      return n.fc(torch::avg_pool2d(n.truth, {rows, 8}).flatten(1));
    });
    net->to(torch::kBFloat16);
    CamHook hook(*net);
    hook.forward([&] { return net->forward(x); });
    CHECK(hook.observation().features.is_same(net->truth));
    CHECK(hook.observation().exact == (rows == 8));
  }
}

TEST_CASE(
    "A view with its axes in another order stands for the map", "[hook]") {
  const Changes swaps = {
      {"permute", [](auto& x) { return x.permute({0, 3, 2, 1}); }},
      {"transpose", [](auto& x) { return x.transpose(1, 3); }},
      {"movedim", [](auto& x) { return x.movedim({1, 3}, {3, 1}); }},
      {"moveaxis", [](auto& x) { return x.moveaxis({1, 3}, {3, 1}); }},
      {"swapaxes", [](auto& x) { return x.swapaxes(1, 3); }},
      {"swapdims", [](auto& x) { return x.swapdims(1, 3); }},
  };
  for (const auto& [name, swap] : swaps) {
    INFO(name);
    const auto change = swap;
    auto net = headed(
        [=](Headed& n, Tensor x) { return n.fc(change(x).mean({1, 2})); });
    check_exact(*net);
    // What is computed from it is a new map, with its channels last.
    net = headed([=](Headed& n, Tensor x) {
      n.see(torch::relu(change(x)));
      return n.fc(n.truth.mean({1, 2}));
    });
    check_exact(*net);
    const auto seen = look(*net).observation;
    CHECK(torch::equal(seen.features, net->truth.permute({0, 3, 2, 1})));
    // Grad-CAM also reads the channels where they are.
    net = headed([=](Headed& n, Tensor x) {
      n.see(torch::relu(change(x)));
      return n.fc(n.truth.amax({1, 2}));
    });
    const Seen max = look(*net);
    CHECK(torch::equal(
        max.observation.features, net->truth.permute({0, 3, 2, 1})));
    const Tensor score = max.logits.select(1, 0);
    CHECK(close(
        max.maps.select(1, 0),
        cyborg::functional::grad_cam(
            net->truth, score, cyborg::GradCamOptions(), 3)
            .transpose(1, 2)));
  }
}

TEST_CASE("Views that make a map again are followed", "[hook]") {
  const Changes shuffles = {
      {"transpose", [](auto& x) { return x.transpose(1, 2); }},
      {"permute", [](auto& x) { return x.permute({0, 2, 1, 3, 4}); }},
      {"swapaxes", [](auto& x) { return x.swapaxes(1, 2); }},
  };
  for (const auto& [name, swap] : shuffles) {
    INFO(name);
    const auto change = swap;
    auto net = headed([=](Headed& n, Tensor x) {
      const auto groups = x.view({2, 2, 4, 6, 4});
      n.see(change(groups).reshape({2, 8, 6, 4}));
      return n.fc(pooled(n.truth));
    });
    check_exact(*net);
    // A shuffle in the middle of a network.
    net = headed([=](Headed& n, Tensor x) {
      const auto groups = x.view({2, 2, 4, 6, 4});
      n.see(torch::relu(change(groups).contiguous().view({2, 8, 6, 4})));
      return n.fc(pooled(n.truth));
    });
    check_exact(*net);
  }
  auto tokens = headed([](Headed& n, Tensor x) {
    const auto rows = x.flatten(2).transpose(1, 2);
    n.see(rows.transpose(1, 2).view({2, 8, 6, 4}));
    return n.fc(pooled(n.truth));
  });
  check_exact(*tokens);
}

TEST_CASE("Views of a mean or a maximum are not maps", "[hook]") {
  // A mean over rows, its columns laid out as 2 x 2.
  auto net = headed([](Headed& n, Tensor x) {
    return n.fc(pooled(x.mean(2).view({2, 8, 2, 2})));
  });
  check_exact(*net);
  // A maximum over columns, copied as it is.
  net = headed([](Headed& n, Tensor x) {
    return n.fc(pooled(x.amax({3}, true).clone()));
  });
  const Seen seen = look(*net);
  CHECK(seen.observation.features.is_same(net->truth));
  CHECK_FALSE(seen.observation.exact);
}

TEST_CASE("Each part of a split is a map", "[hook]") {
  const Changes splits = {
      {"chunk", [](auto& x) { return x.chunk(2, 1)[1]; }},
      {"split", [](auto& x) { return x.split(4, 1)[1]; }},
      {"split_with_sizes",
       [](auto& x) { return x.split_with_sizes({4, 4}, 1)[1]; }},
      {"tensor_split", [](auto& x) { return x.tensor_split(2, 1)[1]; }},
  };
  for (const auto& [name, split] : splits) {
    INFO(name);
    const auto change = split;
    auto net = headed(
        [=](Headed& n, Tensor x) { return n.fc(pooled(n.see(change(x)))); },
        /*channels=*/4);
    check_exact(*net);
    CHECK(net->truth.size(1) == 4);
  }
}
