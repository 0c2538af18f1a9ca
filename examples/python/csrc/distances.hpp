// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Distances by name, and distances that are functions of Python.

#include "common.hpp"

#include <cyborg/guide/distances.hpp>
#include <cyborg/guide/reduction.hpp>

#include <functional>
#include <memory>
#include <string>

namespace torchcyborg {

using cyborg::Reduction;

inline constexpr std::array<Choice<Reduction>, 2> kReductions = {
    {{"mean", Reduction::kMean}, {"sum", Reduction::kSum}}};

using DistanceFunction = std::function<Tensor(const Tensor&, const Tensor&)>;

/// A distance that is known when the program runs. Its normalisers are in the
/// options of whoever uses it.
struct AnyDistance {
  static constexpr Normalizer map_normalizer = Normalizer::kMinMax;
  static constexpr Normalizer human_normalizer = Normalizer::kMinMax;
  DistanceFunction function;

  Tensor operator()(const Tensor& model, const Tensor& human) const {
    return function(model, human);
  }
};

/// A distance with its normalisers. It lives during one call from Python.
struct Distance {
  std::string name;  // empty for a function of Python
  Normalizer map_normalizer = Normalizer::kMinMax;
  Normalizer human_normalizer = Normalizer::kMinMax;
  DistanceFunction function;
};

/// Calls `use(name, distance)` for each distance of the library.
template <class Use>
void for_each_distance(const Use& use) {
  use("l1", cyborg::L1());
  use("l2", cyborg::L2());
  use("kl", cyborg::KL());
  use("cosine", cyborg::Cosine());
  use("pearson", cyborg::Pearson());
  use("dice", cyborg::Dice());
  use("bce", cyborg::BceWithLogits());
  use("ssim", cyborg::Ssim());
  use("energy", cyborg::EnergyInside());
  use("outside", cyborg::OutsideSquare());
}

/// A function of Python that takes and returns tensors. It is copied and
/// destroyed without the interpreter's lock, so the object is shared.
template <class... Arguments>
std::function<py::object(const Arguments&...)> python_function(
    const py::object& object) {
  const std::shared_ptr<py::object> held(
      new py::object(object), [](py::object* one) {
        const py::gil_scoped_acquire python;
        delete one;
      });
  return [held](const Arguments&... arguments) {
    return (*held)(arguments...);  // the caller has the lock
  };
}

/// The distance of a name or of a callable.
inline Distance distance_of(const py::object& object) {
  Distance distance;
  if (!py::isinstance<py::str>(object)) {
    distance.function = [call = python_function<Tensor, Tensor>(object)](
                            const Tensor& model, const Tensor& human) {
      const py::gil_scoped_acquire python;
      const py::object result = call(model, human);
      if (!THPVariable_Check(result.ptr())) {
        throw py::type_error(
            "torchcyborg: expected a distance to return a tensor [B], got " +
            py::repr(py::type::of(result)).cast<std::string>());
      }
      return result.cast<Tensor>();
    };
    return distance;
  }
  const auto wanted = object.cast<std::string>();
  std::string names;
  for_each_distance([&](const char* name, auto found) {
    names += (names.empty() ? "" : ", ") + std::string(name);
    if (wanted == name) {
      distance = {
          name, decltype(found)::map_normalizer,
          decltype(found)::human_normalizer, DistanceFunction(found)};
    }
  });
  if (distance.name.empty()) {
    throw py::value_error(
        "torchcyborg: expected distance to be one of " + names +
        ", or a function (model [B, P], human [B, P]) -> [B], got '" + wanted +
        "'");
  }
  return distance;
}

}  // namespace torchcyborg
