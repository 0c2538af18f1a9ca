// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "common.hpp"

#include <cyborg/cam/hook.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace torchcyborg {

using Submodules = cyborg::detail::ModuleView::Submodules;

/// What a hook may ask of a Python module.
struct Source {
  Submodules submodules;
  /// Returns [(name, parameter)]; null between two calls from Python.
  const py::object* parameters = nullptr;
};

/// A Python module, as a hook takes one.
struct PythonModule {
  std::shared_ptr<Source> source;
};

}  // namespace torchcyborg

namespace cyborg::detail {

template <>
struct ModuleAccess<torchcyborg::PythonModule> {
  static ModuleView view(const torchcyborg::PythonModule& module) {
    namespace py = pybind11;
    ModuleView view;
    view.parameters = [source = module.source] {
      ModuleView::Parameters list;
      if (source->parameters != nullptr) {
        const py::gil_scoped_acquire python;
        for (const auto& item : (*source->parameters)()) {
          const auto pair = py::cast<py::tuple>(item);
          list.emplace_back(
              pair[0].cast<std::string>(), pair[1].cast<torch::Tensor>());
        }
      }
      return list;
    };
    view.submodules = [source = module.source] { return source->submodules; };
    return view;
  }
};

}  // namespace cyborg::detail

namespace torchcyborg {

/// A `cyborg::CamHook` of a Python module.
class Core {
 public:
  /// `submodules`: path and type of each submodule. `parameters`: a function
  /// that returns [(name, parameter)]; it is not kept.
  Core(
      Submodules submodules, const py::object& parameters,
      const std::string& layer, const std::string& method, bool detach_weights);

  void begin(const py::object& parameters);
  /// Returns whether gradients were on before.
  bool end(
      std::vector<Given> results, std::string problem,
      const py::object& parameters);
  void cancel();

  cyborg::CamHook& hook() { return *hook_; }

 private:
  /// Runs `work` without the interpreter's lock, which is taken for each
  /// question. With the lock, two threads could wait for each other: one for the
  /// lock, the other one for the mutex of the frozen parameters.
  template <class Work>
  void asking(const py::object& parameters, const Work& work) {
    source_->parameters = &parameters;
    struct Forget {
      Source& source;
      ~Forget() { source.parameters = nullptr; }
    } forget{*source_};
    const py::gil_scoped_release others_run;
    work();
  }

  std::shared_ptr<Source> source_;
  std::unique_ptr<cyborg::CamHook> hook_;
};

}  // namespace torchcyborg
