// SPDX-License-Identifier: BSD-3-Clause
//
// What a forward may return: where the logits are found in it, and what of it
// is detached for a caller with gradients off.
#include "catch.hpp"
#include "networks.hpp"
#include "support.hpp"

#include <cyborg/cam/hook.hpp>

#include <ATen/core/Dict.h>
#include <ATen/core/List.h>
#include <ATen/core/ivalue.h>

#include <functional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

using c10::IValue;
using cyborg::CamHook;
using support::contains;
using support::error_of;
using torch::Tensor;

namespace {

using Strings = std::vector<std::pair<std::string, IValue>>;

IValue tuple_of(std::vector<IValue> items) {
  return c10::ivalue::Tuple::create(std::move(items));
}

IValue dict_of(const Strings& items) {
  c10::impl::GenericDict dict(c10::StringType::get(), c10::AnyType::get());
  for (const auto& [name, value] : items) {
    dict.insert(name, value);
  }
  return dict;
}

IValue list_of(const std::vector<Tensor>& items) {
  return IValue(c10::List<Tensor>(at::ArrayRef<Tensor>(items)));
}

/// All tensors in a value.
void collect(const IValue& value, std::vector<Tensor>& tensors) {
  if (value.isTensor()) {
    tensors.push_back(value.toTensor());
  } else if (value.isTensorList()) {
    for (const Tensor& item : value.toTensorVector()) {
      tensors.push_back(item);
    }
  } else if (value.isTuple()) {
    for (const IValue& item : value.toTupleRef().elements()) {
      collect(item, tensors);
    }
  } else if (value.isGenericDict()) {
    for (const auto& item : value.toGenericDict()) {
      collect(item.value(), tensors);
    }
  }
}

/// How a network returns logits together with something of another map.
struct Returned {
  const char* name;
  std::function<IValue(const Tensor& logits, const Tensor& other)> make;
};

std::vector<Returned> returned() {
  return {
      {"a tensor", [](auto& logits, auto&) { return IValue(logits); }},
      {"a list of tensors",
       [](auto& logits, auto& other) { return list_of({logits, other}); }},
      {"a tuple",
       [](auto& logits, auto& other) { return tuple_of({logits, other}); }},
      {"a tuple that begins with a number",
       [](auto& logits, auto& other) {
         return tuple_of({IValue(int64_t{3}), logits, other});
       }},
      {"a tuple that begins with an empty list",
       [](auto& logits, auto& other) {
         return tuple_of({list_of({}), logits, other});
       }},
      {"a tuple in a tuple",
       [](auto& logits, auto& other) {
         return tuple_of({tuple_of({IValue(true), logits}), other});
       }},
      {"a list in a tuple",
       [](auto& logits, auto& other) {
         return tuple_of({list_of({logits, other}), other});
       }},
      {"a dictionary with logits",
       [](auto& logits, auto& other) {
         return dict_of({{"aux", other}, {"logits", logits}});
       }},
      {"a dictionary with out, as segmentation has",
       [](auto& logits, auto& other) {
         return dict_of({{"aux", other}, {"out", logits}});
       }},
      {"a dictionary with both: logits come first",
       [](auto& logits, auto& other) {
         return dict_of({{"out", other}, {"logits", logits}});
       }},
      {"a list in a dictionary",
       [](auto& logits, auto& other) {
         return dict_of({{"logits", list_of({logits, other})}});
       }},
      {"a dictionary in a tuple",
       [](auto& logits, auto& other) {
         return tuple_of({dict_of({{"logits", logits}}), other});
       }},
      {"logits in front of a dictionary without logits",
       [](auto& logits, auto& other) {
         return tuple_of({logits, dict_of({{"aux", other}})});
       }},
      {"logits in front of an empty dictionary",
       [](auto& logits, auto& other) {
         return tuple_of({logits, dict_of({}), other});
       }},
      {"a dictionary in a dictionary",
       [](auto& logits, auto& other) {
         return dict_of({{"out", dict_of({{"out", logits}})}, {"aux", other}});
       }},
  };
}

/// Logits of `a`, and others of `b`, which has another map.
struct TwoHeads : networks::Net {
  torch::nn::Conv2d a{nullptr}, b{nullptr};
  torch::nn::Linear fc{nullptr}, fc2{nullptr};

  TwoHeads() {
    a = conv("a", 3, 8);
    b = conv("b", 3, 8);
    fc = linear("fc", 8, 2);
    fc2 = linear("fc2", 8, 2);
  }
  Tensor forward(Tensor x) override {
    return fc(see(torch::relu(a(x))).mean({2, 3}));
  }
  Tensor other(const Tensor& x) { return fc2(torch::relu(b(x)).mean({2, 3})); }
};

}  // namespace

TEST_CASE("Logits are found in any IValue that holds them", "[hook]") {
  TwoHeads net;
  const auto x = torch::randn({2, 3, 8, 8});
  const auto expected = net.forward(x).detach();
  CamHook hook(net);
  for (const auto& c : returned()) {
    INFO(c.name);
    for (const bool recording : {true, false}) {
      INFO("gradients " << (recording ? "on" : "off"));
      const at::AutoGradMode mode(recording);
      const IValue result =
          hook.forward([&] { return c.make(net.forward(x), net.other(x)); });
      CHECK(hook.observation().features.is_same(net.truth));
      CHECK(hook.observation().exact);
      std::vector<Tensor> tensors;
      collect(result, tensors);
      CHECK_FALSE(tensors.empty());
      bool found = false;
      for (const Tensor& tensor : tensors) {
        CHECK(tensor.requires_grad() == recording);
        found |= torch::equal(tensor, expected);
      }
      CHECK(found);
      if (!recording) {
        // The returned logits have lost their graph, those of the hook have
        // not: Grad-CAM needs one.
        auto seen = hook.observation();
        seen.method = cyborg::CamMethod::kGradCam;
        CHECK(support::close(
            seen.cam(expected, cyborg::CamClass::kAll) * seen.logit_scale(),
            hook.cam(expected, cyborg::CamClass::kAll), 1e-5));
      }
    }
  }
}

TEST_CASE(
    "With gradients off, values that are not tensors stay as they are",
    "[hook]") {
  TwoHeads net;
  const auto x = torch::randn({2, 3, 8, 8});
  CamHook hook(net);
  const torch::NoGradGuard off;
  const IValue result = hook.forward([&] {
    return tuple_of(
        {IValue(int64_t{3}),
         dict_of({{"logits", net.forward(x)}, {"name", IValue("net")}})});
  });
  const auto& items = result.toTupleRef().elements();
  REQUIRE(items.size() == 2);
  CHECK(items[0].toInt() == 3);
  const auto dict = items[1].toGenericDict();
  CHECK(dict.size() == 2);
  CHECK(dict.at("name").toStringRef() == "net");
  CHECK_FALSE(dict.at("logits").toTensor().requires_grad());
}

TEST_CASE("Logits are found in C++ types that hold them", "[hook]") {
  TwoHeads net;
  const auto x = torch::randn({2, 3, 8, 8});
  CamHook hook(net);
  const auto check = [&](bool recording, const std::vector<Tensor>& tensors) {
    CHECK(hook.observation().features.is_same(net.truth));
    for (const Tensor& tensor : tensors) {
      CHECK(tensor.requires_grad() == recording);
    }
  };
  for (const bool recording : {true, false}) {
    CAPTURE(recording);
    const at::AutoGradMode mode(recording);
    const auto list = hook.forward(
        [&] { return std::vector<Tensor>{net.forward(x), net.other(x)}; });
    REQUIRE(list.size() == 2);
    check(recording, list);
    const auto pair = hook.forward(
        [&] { return std::make_pair(net.forward(x), net.other(x)); });
    check(recording, {pair.first, pair.second});
    const auto nested = hook.forward([&] {
      return std::make_tuple(
          std::make_pair(net.forward(x), 3),
          std::vector<std::vector<Tensor>>{{net.other(x)}, {}}, Tensor());
    });
    check(recording, {std::get<0>(nested).first, std::get<1>(nested)[0][0]});
    CHECK(std::get<0>(nested).second == 3);
    CHECK_FALSE(std::get<2>(nested).defined());
    const auto values = hook.forward([&] {
      return std::make_pair(
          std::vector<IValue>{tuple_of({net.forward(x)}), net.other(x)},
          net.other(x));
    });
    check(
        recording, {values.first[0].toTupleRef().elements()[0].toTensor(),
                    values.first[1].toTensor(), values.second});
  }
}

TEST_CASE("A result without logits is refused", "[hook][error]") {
  TwoHeads net;
  const auto x = torch::randn({2, 3, 8, 8});
  CamHook hook(net);
  const std::string none =
      "cyborg::CamHook::forward: the callable returned no tensor";
  const std::vector<std::pair<const char*, std::function<IValue()>>> cases = {
      {"nothing", [] { return IValue(); }},
      {"a number", [] { return IValue(1.5); }},
      {"an empty list", [] { return list_of({}); }},
      {"an empty tuple", [] { return tuple_of({}); }},
  };
  for (const auto& [name, make] : cases) {
    INFO(name);
    const auto run = make;
    hook.forward(run);
    CHECK(error_of([&] { hook.require(); }) == none);
    CHECK_FALSE(hook.observation().defined());
  }
  hook.forward([&] {
    return dict_of({{"scores", net.forward(x)}, {"other", net.other(x)}});
  });
  CHECK(
      error_of([&] { hook.require(); }) ==
      "cyborg::CamHook::forward: expected a dictionary with an entry 'logits' "
      "or 'out', got one with scores, other; name the logits with "
      "forward(callable, logits_of)");
  CHECK(error_of([&] {
          hook.forward([&] {
            net.forward(x);
            return std::vector<Tensor>();
          });
          hook.require();
        }) == none);
}

TEST_CASE("logits_of returns the logits of a result of any type", "[hook]") {
  struct Output {
    Tensor other, scores;
  };
  TwoHeads net;
  const auto x = torch::randn({2, 3, 8, 8});
  CamHook hook(net);
  const auto run = [&] { return Output{net.other(x), net.forward(x)}; };
  const auto scores = [](const Output& out) { return out.scores; };
  CHECK(hook.forward(run, scores).scores.requires_grad());
  CHECK(hook.observation().features.is_same(net.truth));
  const torch::NoGradGuard off;
  // A hook cannot detach a type that it does not know.
  const Output out = hook.forward(run, scores);
  CHECK(out.scores.requires_grad());
  CHECK(hook.observation().features.is_same(net.truth));
  CHECK(hook.cam(out.scores, cyborg::CamClass::kPredicted).dim() == 3);
  // It also says which of several tensors are the logits.
  const auto pair = hook.forward(
      [&] { return std::make_pair(net.other(x), net.forward(x)); },
      [](const auto& both) { return both.second; });
  CHECK(hook.observation().features.is_same(net.truth));
  CHECK_FALSE(pair.first.requires_grad());
  CHECK_FALSE(pair.second.requires_grad());
}
