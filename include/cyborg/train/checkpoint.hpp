// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/io/file.hpp>
#include <cyborg/train/optimizer_state.hpp>
#include <cyborg/train/state.hpp>

#include <ATen/core/Dict.h>
#include <ATen/core/jit_type.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/serialization/pickle.h>
#include <torch/csrc/jit/serialization/pickler.h>
#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

// Files from which a training can continue and a model can be used.

namespace cyborg::train {

/// The content of one file: texts (for example settings, as JSON) and groups of
/// named tensors (for example "model" and "optimizer").
///
/// The file is a pickled dictionary in a zip archive, the format of
/// `torch.save`, so that Python reads it with `torch.load(path)`, also with
/// `weights_only=True`: `{"format": 2, "texts": {name: str},
/// "tensors": {group: {name: tensor}}}`.
struct Checkpoint {
  std::map<std::string, std::string> texts;     ///< by name
  std::map<std::string, NamedTensors> tensors;  ///< by the name of the group
};

namespace detail {

/// The number in the files that `save_checkpoint` writes. Files without one are
/// of format 1; their dictionaries had types, which `weights_only` rejects.
constexpr int64_t kCheckpointFormat = 2;

/// The tensors as a dictionary that can be pickled. Each is a contiguous tensor
/// on the CPU with a storage of its own, since a view would be written with all
/// that it is a part of.
inline c10::impl::GenericDict dictionary_of(const NamedTensors& tensors) {
  c10::impl::GenericDict out(c10::StringType::get(), c10::TensorType::get());
  for (const auto& [name, tensor] : tensors) {
    auto own = tensor.detach().to(at::kCPU).contiguous();
    if (own.storage().nbytes() != own.nbytes()) {
      own = own.clone();
    }
    out.insert(name, own);
  }
  return out;
}

/// The bytes of a file of `torch.save`. The dictionaries are written without
/// LibTorch's note of their types (`torch::jit::pickle_save` adds it), which
/// `torch.load` accepts with `weights_only=False` alone.
inline std::string pickled(const c10::IValue& value) {
  std::string pickle;
  torch::jit::Pickler pickler(
      [&](const char* bytes, size_t count) { pickle.append(bytes, count); },
      /*tensor_table=*/nullptr, /*type_renamer=*/nullptr,
      /*memoized_class_types=*/nullptr, /*get_tensor_id=*/nullptr,
      /*tag_aggregates=*/false);
  pickler.protocol();
  pickler.pushIValue(value);
  pickler.stop();
  std::string archive;
  caffe2::serialize::PyTorchStreamWriter writer(
      [&](const void* bytes, size_t count) {
        archive.append(static_cast<const char*>(bytes), count);
        return count;
      });
  writer.writeRecord("data.pkl", pickle.data(), pickle.size());
  size_t number = 0;
  for (const auto& tensor : pickler.tensorData()) {
    writer.writeRecord(
        "data/" + std::to_string(number++), tensor.storage().data(),
        tensor.storage().nbytes());
  }
  writer.writeEndOfFile();
  return archive;
}

/// Throws the error of `load_checkpoint`.
[[noreturn]] inline void bad_checkpoint(
    const std::filesystem::path& path, const std::string& reason) {
  throw io::FileError("cyborg::train::load_checkpoint", path, reason);
}

/// The value of a name in a dictionary; none where it has no such name.
inline const c10::IValue* find_entry(
    const c10::impl::GenericDict& dictionary, const char* name) {
  for (const auto& item : dictionary) {
    if (item.key().isString() && item.key().toStringRef() == name) {
      return &item.value();
    }
  }
  return nullptr;
}

/// The same in the dictionary that was read from `path`, which must have it.
inline const c10::IValue& entry(
    const c10::impl::GenericDict& dictionary, const char* name,
    const std::filesystem::path& path) {
  const auto* value = find_entry(dictionary, name);
  if (value == nullptr) {
    bad_checkpoint(
        path, std::string("has no entry \"") + name +
                  "\": it is not a checkpoint that cyborg wrote");
  }
  return *value;
}

/// Throws for a file of a later format, which may mean something else.
inline void check_format(
    const c10::impl::GenericDict& all, const std::filesystem::path& path) {
  const auto* format = find_entry(all, "format");
  if (format == nullptr) {
    return;
  }
  if (!format->isInt() || format->toInt() > kCheckpointFormat) {
    bad_checkpoint(
        path, "is of format " +
                  (format->isInt() ? std::to_string(format->toInt())
                                   : std::string("unknown")) +
                  ", and this version of cyborg reads formats up to " +
                  std::to_string(kCheckpointFormat));
  }
}

}  // namespace detail

/// Writes a checkpoint.
///
/// The data go to a temporary file, which then gets the name `path`. So even
/// after a crash or on a full disk, `path` is the old file or the new one, and
/// never a part of one. Values that are not finite are written as they are; see
/// `not_finite`.
/// Throws: `io::FileError` for a file that cannot be written.
/// Example:
///     cyborg::train::save_checkpoint(
///         "last.pt", {{{"settings", json}},
///                     {{"model", cyborg::train::state_of(*net)}}});
inline void save_checkpoint(
    const std::filesystem::path& path, const Checkpoint& checkpoint) {
  const auto dictionary = [] {
    return c10::impl::GenericDict(c10::StringType::get(), c10::AnyType::get());
  };
  auto texts = dictionary();
  for (const auto& [name, text] : checkpoint.texts) {
    texts.insert(name, text);
  }
  auto groups = dictionary();
  for (const auto& [name, tensors] : checkpoint.tensors) {
    groups.insert(name, detail::dictionary_of(tensors));
  }
  auto all = dictionary();
  all.insert("format", detail::kCheckpointFormat);
  all.insert("texts", texts);
  all.insert("tensors", groups);
  io::write_file(path, detail::pickled(all), "cyborg::train::save_checkpoint");
}

/// Reads a checkpoint that `save_checkpoint` wrote. The tensors are on the CPU.
///
/// Throws: `io::FileError` for a file that is missing or damaged, for one that
/// this library did not write, and for one of a later format.
/// Example:
///     const auto checkpoint = cyborg::train::load_checkpoint("last.pt");
///     cyborg::train::load_state(
///         cyborg::train::state_of(*net), checkpoint.tensors.at("model"));
inline Checkpoint load_checkpoint(const std::filesystem::path& path) {
  const auto bytes = io::read_file(
      path, std::numeric_limits<uint64_t>::max(),
      "cyborg::train::load_checkpoint");
  c10::IValue value;
  try {
    value = torch::jit::pickle_load({bytes.begin(), bytes.end()});
  } catch (const std::exception&) {  // its text is about the format of pickle
    detail::bad_checkpoint(path, "is damaged, or is not a checkpoint");
  }
  if (!value.isGenericDict()) {
    detail::bad_checkpoint(path, "is not a checkpoint that cyborg wrote");
  }
  const auto all = value.toGenericDict();
  detail::check_format(all, path);
  Checkpoint out;
  const auto& texts = detail::entry(all, "texts", path);
  const auto& groups = detail::entry(all, "tensors", path);
  try {
    for (const auto& text : texts.toGenericDict()) {
      out.texts[text.key().toStringRef()] = text.value().toStringRef();
    }
    for (const auto& group : groups.toGenericDict()) {
      auto& tensors = out.tensors[group.key().toStringRef()];
      for (const auto& one : group.value().toGenericDict()) {
        tensors.emplace_back(one.key().toStringRef(), one.value().toTensor());
      }
    }
  } catch (const c10::Error&) {
    detail::bad_checkpoint(path, "is not a checkpoint that cyborg wrote");
  }
  return out;
}

}  // namespace cyborg::train
