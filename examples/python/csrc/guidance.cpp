// SPDX-License-Identifier: BSD-3-Clause
// `Guidance`. Python keeps what the terms are; the C++ object lives during one
// call, so that no term, which may be a Python object, is held by C++.
#include "common.hpp"
#include "terms.hpp"

#include <cyborg/guide/guidance.hpp>

#include <memory>
#include <tuple>
#include <variant>
#include <vector>

namespace torchcyborg {

namespace {

using cyborg::Balance;
using cyborg::Blend;
using cyborg::Observation;
using cyborg::PerSample;
using cyborg::RegressionLoss;
using cyborg::Seen;
using cyborg::Task;

constexpr std::array<Choice<Blend>, 2> kBlends = {
    {{"convex", Blend::kConvex}, {"additive", Blend::kAdditive}}};
constexpr std::array<Choice<Balance>, 3> kBalances = {
    {{"fixed", Balance::kFixed},
     {"task-share", Balance::kTaskShare},
     {"task-share-attached", Balance::kTaskShareAttached}}};
constexpr std::array<Choice<Task>, 3> kTasks = {
    {{"classification", Task::kClassification},
     {"multi-label", Task::kMultiLabel},
     {"regression", Task::kRegression}}};
constexpr std::array<Choice<RegressionLoss>, 3> kRegressions = {
    {{"l1", RegressionLoss::kL1},
     {"l2", RegressionLoss::kL2},
     {"smooth", RegressionLoss::kSmooth}}};

/// A `Seen` as a term of Python gets it. It is empty after the term returned,
/// because the batch may be gone then.
class SeenByPython {
 public:
  explicit SeenByPython(const Seen& seen) : seen_(&seen) {}

  void close() { seen_ = nullptr; }

  const Seen& get() const {
    if (seen_ == nullptr) {
      throw py::value_error(
          "torchcyborg: the forward pass that a term was given ends with the "
          "term; compute what you need inside it");
    }
    return *seen_;
  }

 private:
  const Seen* seen_;
};

py::object as_object(const PerSample& loss) {
  return py::make_tuple(loss.value, loss.usable);
}

/// What a term of Python returned: values, or (values, usable).
PerSample per_sample_of(const std::string& name, const py::object& result) {
  const auto tensor = [](const py::handle& object) {
    return THPVariable_Check(object.ptr());
  };
  if (tensor(result)) {
    return {result.cast<Tensor>(), {}};
  }
  if (py::isinstance<py::tuple>(result)) {
    const auto pair = result.cast<py::tuple>();
    if (pair.size() == 2 && tensor(pair[0]) &&
        (pair[1].is_none() || tensor(pair[1]))) {
      return {
          pair[0].cast<Tensor>(),
          pair[1].is_none() ? Tensor() : pair[1].cast<Tensor>()};
    }
  }
  throw py::type_error(
      "torchcyborg.Guidance: expected the term " + name +
      " to return a tensor [B], or (values [B], usable [B]), got " +
      py::repr(py::type::of(result)).cast<std::string>());
}

/// A term that is a function of Python. Its attribute `needs` may hold
/// "input-gradient" and "forward".
Term python_term(const std::string& name, const py::object& object) {
  Term term;
  if (py::hasattr(object, "needs")) {
    for (const auto& need : object.attr("needs")) {
      term.needs |= need_named(need.cast<std::string>());
    }
  }
  term.loss = [name,
               call = python_function<py::object>(object)](const Seen& seen) {
    const py::gil_scoped_acquire python;
    const auto shown = std::make_shared<SeenByPython>(seen);
    struct Close {
      SeenByPython& shown;
      ~Close() { shown.close(); }
    } close{*shown};
    return per_sample_of(name, call(py::cast(shown)));
  };
  return term;
}

/// What Python asks to be added: name, strength, term, blend.
struct Asked {
  std::string name;
  double strength = 0;
  Term term;
  std::optional<Blend> blend;
};

/// A `Guidance` of these options with these terms.
class Made {
 public:
  Made(
      const std::string& blend, const std::string& balance,
      const std::string& reduction, const std::string& task,
      const Given& class_weight, double label_smoothing, double focal,
      const std::string& regression)
      : guidance_(cyborg::GuidanceOptions()
                      .blend(chosen("blend", kBlends, blend))
                      .balance(chosen("balance", kBalances, balance))
                      .reduction(chosen("reduction", kReductions, reduction))
                      .task(cyborg::TaskOptions()
                                .task(chosen("task", kTasks, task))
                                .class_weight(tensor_of(class_weight))
                                .label_smoothing(label_smoothing)
                                .focal(focal)
                                .regression(chosen(
                                    "regression", kRegressions, regression)))) {
  }

  void add(
      const std::string& name, double strength, const py::object& term,
      const py::dict& options, const std::optional<std::string>& blend) {
    const auto how =
        blend ? std::optional<Blend>(chosen("blend", kBlends, *blend))
              : std::nullopt;
    Term made = py::isinstance<py::str>(term)
                    ? term_named(term.cast<std::string>(), options)
                    : python_term(name, term);
    needs_ |= strength > 0 || guidance_.options().balance() != Balance::kFixed
                  ? made.needs
                  : 0;
    guidance_.add(name, strength, LateTerm{std::move(made.loss)}, how);
  }

  unsigned needs() const { return needs_; }

  py::object compute(
      const Tensor& logits, const std::variant<Tensor, Observation>& source,
      const cyborg::Batch& batch, const py::object& forward) const {
    cyborg::GuidanceTerms found;
    if (forward.is_none()) {
      const py::gil_scoped_release others_run;
      found = std::visit(
          [&](const auto& from) { return guidance_(logits, from, batch); },
          source);
    } else {
      const auto run = [&](const Tensor& images) {
        const py::gil_scoped_acquire python;
        return forward(images).template cast<Tensor>();
      };
      const py::gil_scoped_release others_run;
      found = std::visit(
          [&](const auto& from) { return guidance_(logits, from, batch, run); },
          source);
    }
    py::list parts;
    for (const auto& part : found.parts) {
      parts.append(py::make_tuple(
          part.name, part.value, part.count, part.strength,
          name_of(kBlends, part.blend)));
    }
    return py::make_tuple(found.total, found.task, found.task_count, parts);
  }

 private:
  /// A term whose needs are counted by `Made`.
  struct LateTerm {
    std::function<PerSample(const Seen&)> loss;
    PerSample operator()(const Seen& seen) const { return loss(seen); }
  };

  cyborg::Guidance guidance_;
  unsigned needs_ = 0;
};

}  // namespace

void bind_guidance(py::module_& module) {
  py::class_<cyborg::Batch>(module, "Batch", py::module_local())
      .def(py::init([](const Given& images, const Given& labels,
                       const Given& maps, const Given& wrong,
                       const Given& annotated, const Given& weight,
                       const Given& positions) {
        return cyborg::Batch{tensor_of(images),    tensor_of(labels),
                             tensor_of(maps),      tensor_of(wrong),
                             tensor_of(annotated), tensor_of(weight),
                             tensor_of(positions)};
      }));

  py::class_<SeenByPython, std::shared_ptr<SeenByPython>> seen(
      module, "Seen", py::module_local());
  const auto part = [&](const char* name, Tensor cyborg::Batch::*member) {
    seen.def_property_readonly(name, [member](const SeenByPython& one) {
      return one.get().batch.*member;
    });
  };
  part("labels", &cyborg::Batch::labels);
  part("maps", &cyborg::Batch::maps);
  part("wrong", &cyborg::Batch::wrong);
  part("annotated", &cyborg::Batch::annotated);
  part("weight", &cyborg::Batch::weight);
  part("positions", &cyborg::Batch::positions);
  seen.def_property_readonly(
          "images", [](const SeenByPython& one) { return one.get().images; })
      .def_property_readonly(
          "logits", [](const SeenByPython& one) { return one.get().logits; })
      .def_property_readonly(
          "observation",
          [](const SeenByPython& one) { return one.get().observation; })
      .def(
          "classes",
          [](const SeenByPython& one) { return one.get().classes(); })
      .def("known", [](const SeenByPython& one) { return one.get().known(); })
      .def("score", [](const SeenByPython& one) { return one.get().score(); })
      .def(
          "map",
          [](const SeenByPython& one, const std::string& which, int64_t fixed) {
            const auto& from = one.get();
            const auto of = chosen("cam_class", kClasses, which);
            const py::gil_scoped_release others_run;
            return from.map(of, fixed);
          },
          py::arg("cam_class") = "label", py::arg("fixed_class") = 0)
      .def(
          "loss_of",
          [](const SeenByPython& one, const Tensor& logits) {
            return as_object(one.get().loss_of(logits));
          })
      .def("forward", [](const SeenByPython& one, const Tensor& images) {
        const auto& from = one.get();
        if (!from.forward) {
          throw py::value_error(
              "torchcyborg: a term that runs the network again says so with "
              "needs = (\"forward\",), and is called by guidance.step(...)");
        }
        return from.forward(images);
      });

  py::class_<Made>(module, "Guidance", py::module_local())
      .def(py::init<
           const std::string&, const std::string&, const std::string&,
           const std::string&, const Given&, double, double,
           const std::string&>())
      .def("add", &Made::add)
      .def_property_readonly("needs", &Made::needs)
      .def("compute", &Made::compute);

  module.def("term_kinds", [] {
    py::dict kinds;
    for (const auto& kind : term_kinds()) {
      py::dict one;
      one["help"] = kind.help;
      one["options"] = kind.options;
      one["needs"] = kind.needs;
      kinds[kind.name] = one;
    }
    return kinds;
  });
}

}  // namespace torchcyborg
