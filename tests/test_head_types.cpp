// SPDX-License-Identifier: BSD-3-Clause
//
// The guided head with other types and memory, its parameters and its errors.
#include <cyborg/cam/head.hpp>
#include <cyborg/cam/methods.hpp>

#include <torch/torch.h>

#include "catch.hpp"
#include "support.hpp"

#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

using cyborg::CamClass;
using cyborg::GradCamOptions;
using cyborg::GuidedHead;
using cyborg::GuidedHeadOptions;
using support::close;
using support::error_of;
using support::labels;
using support::t;
using torch::Tensor;
namespace cam = cyborg::functional;

namespace {

Tensor double_of(const Tensor& tensor) {
  return tensor.detach().to(torch::kDouble);
}

std::string text_of(const GuidedHead& head) {
  std::ostringstream text;
  text << head;
  return text.str();
}

}  // namespace

TEST_CASE("A guided head reads features in any memory and type", "[head]") {
  torch::manual_seed(1);
  const Tensor plain = torch::randn({3, 6, 4, 5});
  const std::vector<std::pair<const char*, Tensor>> memories = {
      {"contiguous", plain},
      {"channels last", plain.contiguous(torch::MemoryFormat::ChannelsLast)},
      {"a part of a larger tensor",
       torch::stack({plain, plain + 1}, 2).select(2, 0)},
      {"turned", plain.transpose(2, 3).contiguous().transpose(2, 3)},
      {"expanded", plain.narrow(1, 0, 1).expand({3, 6, 4, 5})},
      {"negative by a flag", torch::_neg_view(-plain)},
  };
  for (const int64_t classes : {1, 3, 9}) {
    for (const auto type :
         {torch::kDouble, torch::kFloat, torch::kBFloat16, torch::kHalf}) {
      for (const auto& memory : memories) {
        INFO(memory.first << ", " << c10::toString(type) << ", " << classes);
        GuidedHead head(6, classes);
        head->to(type);
        const Tensor features = memory.second.to(type);
        const Tensor target =
            classes == 1 ? labels({1, 0, 1}) : labels({2, 0, 1});
        const bool half = type == torch::kBFloat16 || type == torch::kHalf;
        const double within = half                    ? 2e-2
                              : type == torch::kFloat ? 2e-6
                                                      : 1e-12;
        const Tensor f = double_of(features), w = double_of(head->weight);
        const Tensor logits =
            torch::linear(f.flatten(2).mean(2), w, double_of(head->bias));
        const Tensor all = cam::cam_all(f, w);
        const auto out = head->guided(features, target);
        const auto each = head->guided(features, CamClass::kAll);
        const auto predicted = head->guided(features, CamClass::kPredicted);
        for (const Tensor& z :
             {head->forward(features), out.logits, each.logits,
              predicted.logits}) {
          CHECK(z.scalar_type() == type);
          CHECK(close(z, logits, within));
        }
        // Maps are made in float32 at least.
        const double map_within = half ? 2e-6 : within;
        CHECK(
            out.cam.scalar_type() ==
            (type == torch::kDouble ? torch::kDouble : torch::kFloat));
        CHECK(close(out.cam, cam::cam(f, w, target), map_within));
        CHECK(close(each.cam, all, map_within));
        const Tensor best = classes == 1 ? predicted.logits.squeeze(1).gt(0)
                                         : predicted.logits.argmax(1);
        CHECK(close(
            predicted.cam, cam::cam(f, w, best.to(torch::kLong)), map_within));
      }
    }
  }
}

TEST_CASE("A guided head has every derivative of its parts", "[head]") {
  torch::manual_seed(2);
  for (const int64_t classes : {1, 3, 9}) {
    for (int kind = 1; kind < 8; ++kind) {
      CAPTURE(classes, kind);
      GuidedHead head(4, classes);
      head->to(torch::kDouble);
      const Tensor features = torch::randn({2, 4, 3, 2}, torch::kDouble);
      const std::vector<Tensor> leaves = {features, head->weight, head->bias};
      std::vector<Tensor> wanted;
      for (size_t i = 0; i < 3; ++i) {
        leaves[i].requires_grad_((kind >> i & 1) != 0);
        if (leaves[i].requires_grad()) {
          wanted.push_back(leaves[i]);
        }
      }
      const auto slopes = [&](const Tensor& logits, const Tensor& maps) {
        auto sum = logits.pow(3).sum();
        if (maps.defined()) {
          sum = sum + maps.pow(2).sum();
        }
        return torch::autograd::grad({sum}, wanted, {}, /*retain_graph=*/true);
      };
      const Tensor logits =
          torch::linear(features.flatten(2).mean(2), head->weight, head->bias);
      const auto all = head->guided(features, CamClass::kAll);
      const auto target = classes == 1 ? labels({0, 1}) : labels({2, 2});
      const auto out = head->guided(features, target);
      const std::vector<std::pair<std::vector<Tensor>, std::vector<Tensor>>>
          pairs = {
              {slopes(head->forward(features), {}), slopes(logits, {})},
              {slopes(all.logits, all.cam),
               slopes(
                   logits, torch::matmul(head->weight, features.flatten(2)))},
              {slopes(out.logits, out.cam),
               slopes(logits, cam::cam(features, head->weight, target))}};
      for (const auto& pair : pairs) {
        for (size_t i = 0; i < wanted.size(); ++i) {
          CHECK(close(pair.first[i], pair.second[i], 1e-11));
        }
      }
    }
  }
}

TEST_CASE("A guided head keeps its options in every copy", "[head]") {
  for (const bool bias : {true, false}) {
    GuidedHead head(GuidedHeadOptions(6, 4).bias(bias));
    head->to(torch::kDouble);
    head->eval();
    CHECK(
        text_of(head) == std::string("cyborg::GuidedHead(channels=6, ") +
                             "classes=4, bias=" + (bias ? "true)" : "false)"));
    const auto copy =
        std::dynamic_pointer_cast<cyborg::GuidedHeadImpl>(head->clone());
    REQUIRE(copy);
    CHECK(copy->bias.defined() == bias);
    CHECK(copy->options.channels() == 6);
    CHECK(copy->options.classes() == 4);
    CHECK(copy->weight.scalar_type() == torch::kDouble);
    CHECK(copy->parameters().size() == head->parameters().size());
    const Tensor x = torch::randn({2, 6, 3}, torch::kDouble);
    CHECK(torch::equal(copy->forward(x), head->forward(x)));
    // The copy's parameters are those that it registered.
    {
      const torch::NoGradGuard off;
      copy->named_parameters()["weight"].fill_(0);
    }
    CHECK(copy->weight.eq(0).all().item<bool>());
    CHECK_FALSE(head->weight.eq(0).any().item<bool>());
    const auto linear = head->to_linear();
    CHECK(linear->options.in_features() == 6);
    CHECK(linear->options.out_features() == 4);
    CHECK(linear->bias.defined() == bias);
    CHECK(linear->bias.requires_grad() == bias);
    GuidedHead again(GuidedHeadOptions(6, 4).bias(bias));
    again->to(torch::kDouble);
    again->from_linear(linear);
    CHECK(torch::equal(again->forward(x), head->forward(x)));
    CHECK(again->weight.requires_grad());
    // New parameters have other values.
    again->reset_parameters();
    CHECK_FALSE(torch::equal(again->weight, head->weight));
    if (bias) {
      CHECK_FALSE(torch::equal(again->bias, head->bias));
    }
  }
  CHECK(GuidedHeadOptions(6, 4).bias());
  CHECK(
      error_of([] {
        const torch::nn::Linear linear(6, 4);
        GuidedHead(GuidedHeadOptions(6, 4).bias(false))->from_linear(linear);
      }) ==
      "cyborg::GuidedHead::from_linear: expected weight [4, 6] and no bias, "
      "got [4, 6] and a bias");
  for (const auto& [channels, classes] :
       std::vector<std::pair<int64_t, int64_t>>{{4, 0}, {-1, 2}, {0, 0}}) {
    CHECK(
        error_of([&, c = channels, k = classes] { GuidedHead(c, k); }) ==
        c10::str(
            "cyborg::GuidedHead: expected channels and classes above 0, got ",
            channels, " and ", classes));
  }
}

TEST_CASE("An empty batch has empty maps and no gradient", "[head]") {
  for (const int64_t classes : {1, 4, 9}) {
    CAPTURE(classes);
    GuidedHead head(6, classes);
    const Tensor none = torch::empty({0, 6, 3, 2}).requires_grad_();
    const auto all = head->guided(none, CamClass::kAll);
    CHECK(all.logits.sizes() == at::IntArrayRef({0, classes}));
    CHECK(all.cam.sizes() == at::IntArrayRef({0, classes, 3, 2}));
    const auto best = head->guided(none, CamClass::kPredicted);
    CHECK(best.cam.sizes() == at::IntArrayRef({0, 3, 2}));
    const auto out = head->guided(none, torch::empty({0}, torch::kLong));
    (out.logits.sum() + out.cam.sum() + all.cam.sum()).backward();
    CHECK(none.grad().sizes() == none.sizes());
    CHECK(head->weight.grad().eq(0).all().item<bool>());
    CHECK(head->bias.grad().eq(0).all().item<bool>());
  }
  CHECK(
      cam::cam(
          torch::empty({0, 3, 2}), torch::ones({2, 3}),
          torch::empty({0}, torch::kLong))
          .sizes() == at::IntArrayRef({0, 2}));
}

TEST_CASE("Tensors on another device are named in the error", "[cam][error]") {
  const Tensor features = torch::rand({2, 3, 4});
  const Tensor weight = torch::rand({2, 3});
  const auto on_meta = [](const Tensor& tensor) {
    return tensor.to(torch::kMeta);
  };
  using support::contains;
  CHECK(contains(
      error_of([&] { cam::cam(features, on_meta(weight), labels({0, 1})); }),
      ": expected weight on cpu, got meta"));
  CHECK(contains(
      error_of([&] { cam::cam(features, weight, on_meta(labels({0, 1}))); }),
      ": expected labels on cpu, got meta"));
  CHECK(contains(
      error_of([&] { cam::cam_all(features, on_meta(weight)); }),
      ": expected weight on cpu, got meta"));
  CHECK(contains(
      error_of(
          [&] { GuidedHead(3, 2)->guided(features, on_meta(labels({0, 1}))); }),
      "cyborg::GuidedHead::guided: expected labels on cpu, got meta"));
  for (const auto& sizes :
       std::vector<std::vector<int64_t>>{{2, 3, 0}, {2, 0, 4}}) {
    CHECK(contains(
        error_of([&] { cam::cam_all(torch::rand(sizes), weight); }),
        c10::str(
            ": expected features [B, C, *S], got ", at::IntArrayRef(sizes))));
  }
  CHECK(contains(
      error_of([&] { cam::cam_all(features, weight.narrow(0, 0, 0)); }),
      ": expected weight [K, 3], got [0, 3]"));
}

TEST_CASE("Grad-CAM and HiResCAM clip at zero with the option relu", "[cam]") {
  const Tensor features = t({1, 3, -2, 0}, {1, 2, 2}).requires_grad_();
  // G = (1, 1; 2, 2): one position above zero and one below.
  const Tensor score =
      (features * t({1, 1, 2, 2}, {1, 2, 2})).flatten(1).sum(1);
  const auto relu = GradCamOptions().relu(true);
  CHECK(close(cam::grad_cam(features, score), t({-3, 3}, {1, 2}), 0));
  CHECK(close(cam::grad_cam(features, score, relu), t({0, 3}, {1, 2}), 0));
  CHECK(close(cam::hires_cam(features, score), t({-3, 3}, {1, 2}), 0));
  CHECK(close(cam::hires_cam(features, score, relu), t({0, 3}, {1, 2}), 0));
  for (const int64_t dim : {0, -1, 3}) {
    CHECK(support::contains(
        error_of([&] { cam::hires_cam(features, score, {}, dim); }),
        c10::str(": expected channel_dim in [1, 2], got ", dim)));
  }
  CHECK(support::contains(
      error_of([&] { cam::grad_cam(features, Tensor()); }),
      ": expected score [1], one number a sample, got []"));
}
