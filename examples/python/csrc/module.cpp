// SPDX-License-Identifier: BSD-3-Clause
#include "common.hpp"

#include <cyborg/version.hpp>

#include <c10/util/Exception.h>

#include <cctype>
#include <exception>
#include <string_view>

namespace torchcyborg {

namespace {

/// What an error of the library says, and what one says in Python. Longer
/// phrases stand before those that they contain.
constexpr std::pair<std::string_view, std::string_view> kWords[] = {
    {"run the network inside hook.forward([&] { ... }) every time",
     "run the network under this hook every time"},
    {"run the network inside hook.forward([&] { ... })",
     "run the network under this hook"},
    {"forward(callable, logits_of)", "CamHook(net, logits_of=...)"},
    {"CamHookOptions().layer(name)", "CamHook(net, layer=name)"},
    {"CamHookOptions().detach_weights(true)",
     "CamHook(net, detach_weights=True)"},
    {"name the layer before it", "name the layer before it"},
    {"C++ modules report nothing else", "the hook knows a layer by these"},
    {"a hook.forward each", "one forward each"},
    {"outside hook.forward", "outside"},
    {"hook.capture(", "hook.capture("},
    {"give backward(/*gradient=*/{}, /*retain_graph=*/true)",
     "call backward(retain_graph=True)"},
    {"labels.to(torch::kLong)", "labels.long()"},
    {"torch::NoGradGuard", "torch.no_grad()"},
    {"(a NoGradGuard in predict())", "(a torch.no_grad() in the network)"},
    {"inside such a guard", "inside it"},
    {"the callable returned", "the network returned"},
    {"inside the callable", "inside the network"},
    {"(std::thread, data_parallel, fork)", "(threads, DataParallel)"},
    {"(std::thread, data_parallel)", "(threads, DataParallel)"},
    {"(data_parallel)", "(DataParallel)"},
    {"a torch::jit member of a native module", "a member of TorchScript"},
    {"inside a checkpoint",
     "inside a checkpoint (use_reentrant=False is seen)"},
    {"call guidance(hook, forward, batch)",
     "call guidance.step(hook, images, labels)"},
    {"CamMethod::kCam", "method=\"cam\""},
    {"CamMethod::kAuto", "method=\"auto\""},
    {"CamClass::kAll", "\"all\""},
    {"CamClass::kFixed", "\"fixed\""},
    {"CamClass::kPredicted", "\"predicted\""},
    {"Task::kMultiLabel", "task=\"multi-label\""},
    {"kConvex", "\"convex\""},
    {"kAdditive", "\"additive\""},
    {"kLabel", "\"label\""},
    {"kPredicted", "\"predicted\""},
    {"kDifference", "\"difference\""},
    {"kFixed", "\"fixed\""},
    {"kAll", "\"all\""},
    {"kMean", "\"mean\""},
    {"kSum", "\"sum\""},
    {"kNone", "\"none\""},
    {"CamHook::forward: ", "CamHook: "},
};

}  // namespace

std::string in_python(std::string text) {
  for (const auto& [from, to] : kWords) {
    for (auto at = text.find(from); at != std::string::npos;
         at = text.find(from, at + to.size())) {
      text.replace(at, from.size(), to);
    }
  }
  constexpr std::string_view kSpace = "cyborg::";
  for (auto at = text.find(kSpace); at != std::string::npos;
       at = text.find(kSpace, at)) {
    text.replace(at, kSpace.size(), "torchcyborg.");
    for (auto end = at; end < text.size(); ++end) {
      if (text.compare(end, 2, "::") == 0) {
        text.replace(end, 2, ".");
      } else if (
          std::isalnum(static_cast<unsigned char>(text[end])) == 0 &&
          text[end] != '_' && text[end] != '.') {
        break;
      }
    }
  }
  return text;
}

namespace {

/// Errors of LibTorch as Python's, without the addresses of a C++ stack.
void translate(std::exception_ptr error) {
  const auto raise = [](PyObject* type, const c10::Error& what) {
    PyErr_SetString(type, in_python(what.what_without_backtrace()).c_str());
  };
  try {
    std::rethrow_exception(std::move(error));
  } catch (const c10::ValueError& what) {
    raise(PyExc_ValueError, what);
  } catch (const c10::IndexError& what) {
    raise(PyExc_IndexError, what);
  } catch (const c10::TypeError& what) {
    raise(PyExc_TypeError, what);
  } catch (const c10::NotImplementedError& what) {
    raise(PyExc_NotImplementedError, what);
  } catch (const c10::Error& what) {
    raise(PyExc_RuntimeError, what);
  }
}

}  // namespace
}  // namespace torchcyborg

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  pybind11::register_local_exception_translator(&torchcyborg::translate);
  module.attr("version") = std::to_string(CYBORG_VERSION_MAJOR) + "." +
                           std::to_string(CYBORG_VERSION_MINOR) + "." +
                           std::to_string(CYBORG_VERSION_PATCH);
  module.def("in_python", &torchcyborg::in_python);
  torchcyborg::bind_hook(module);
  torchcyborg::bind_loss(module);
  torchcyborg::bind_guidance(module);
  torchcyborg::bind_maps(module);
  torchcyborg::bind_measure(module);
}
