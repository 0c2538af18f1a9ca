// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// What all files of the extension share: choices by name, optional tensors, and
// the words of Python in errors.

#include <cyborg/cam/methods.hpp>
#include <cyborg/maps/normalize.hpp>
#include <cyborg/maps/resize.hpp>

#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/utils/pybind.h>

#include <array>
#include <optional>
#include <string>
#include <utility>

namespace torchcyborg {

namespace py = pybind11;
using torch::Tensor;
using Given = std::optional<Tensor>;

/// A tensor, or an undefined one where Python gave None.
inline Tensor tensor_of(const Given& given) {
  return given.value_or(Tensor());
}

/// A name and what it chooses.
template <class T>
using Choice = std::pair<const char*, T>;

/// The choice of a name.
/// Throws: `ValueError` that lists the names.
template <class T, size_t N>
T chosen(
    const char* what, const std::array<Choice<T>, N>& choices,
    const std::string& name) {
  std::string names;
  for (const auto& [known, value] : choices) {
    if (name == known) {
      return value;
    }
    names += (names.empty() ? "" : ", ") + std::string(known);
  }
  throw py::value_error(
      "torchcyborg: expected " + std::string(what) + " to be one of " + names +
      ", got '" + name + "'");
}

/// The name of a choice.
template <class T, size_t N>
std::string name_of(const std::array<Choice<T>, N>& choices, T value) {
  for (const auto& [known, one] : choices) {
    if (one == value) {
      return known;
    }
  }
  return "";
}

using cyborg::CamClass;
using cyborg::CamMethod;
using cyborg::Normalizer;

inline constexpr std::array<Choice<CamClass>, 5> kClasses = {
    {{"label", CamClass::kLabel},
     {"predicted", CamClass::kPredicted},
     {"difference", CamClass::kDifference},
     {"fixed", CamClass::kFixed},
     {"all", CamClass::kAll}}};
inline constexpr std::array<Choice<CamMethod>, 4> kMethods = {
    {{"auto", CamMethod::kAuto},
     {"cam", CamMethod::kCam},
     {"grad-cam", CamMethod::kGradCam},
     {"hires-cam", CamMethod::kHiResCam}}};
inline constexpr std::array<Choice<Normalizer>, 5> kNormalizers = {
    {{"none", Normalizer::kNone},
     {"min-max", Normalizer::kMinMax},
     {"max", Normalizer::kMax},
     {"sum", Normalizer::kSum},
     {"softmax", Normalizer::kSoftmax}}};

/// A normaliser that may be left open.
inline std::optional<Normalizer> normalizer_of(
    const char* what, const std::optional<std::string>& name) {
  return name ? std::optional<Normalizer>(chosen(what, kNormalizers, *name))
              : std::nullopt;
}

/// A text of the library with the names that they have in Python.
std::string in_python(std::string text);

void bind_hook(py::module_& module);
void bind_loss(py::module_& module);
void bind_guidance(py::module_& module);
void bind_maps(py::module_& module);
void bind_measure(py::module_& module);

}  // namespace torchcyborg
