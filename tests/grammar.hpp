// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Random networks whose map is known by construction.
//
// A seed composes one network and its batches. While the network runs it keeps,
// for each of its outputs, the last map on the way to it: the last value in
// which the samples, the channels and every axis of the positions are
// dimensions of their own. The order of these dimensions is known, so plain
// autograd gives the map that a hook must find. Nothing of cyborg is included.

#include <torch/torch.h>
#include <torch/version.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace grammar {

namespace nn = torch::nn;
using torch::Tensor;
using Sizes = std::vector<int64_t>;

/// Draws numbers that are the same with every standard library.
class Dice {
 public:
  explicit Dice(uint64_t seed) : engine_(seed * 0x9E3779B97F4A7C15ULL + 1) {}

  int64_t below(int64_t n) {
    return static_cast<int64_t>((engine_() >> 11) % static_cast<uint64_t>(n));
  }
  bool chance(int64_t percent) { return below(100) < percent; }
  template <class T>
  T pick(std::initializer_list<T> values) {
    return values.begin()[below(static_cast<int64_t>(values.size()))];
  }

 private:
  std::mt19937_64 engine_;
};

/// A tensor and the meaning of its dimensions.
///
/// `axes` has one letter for each dimension: b (samples), c (channels), and
/// 0, 1, 2 for the position axes in the order of the pictures. So "bc01" is
/// NCHW, "b01c" is NHWC, and "bc10" has the width before the height.
struct Value {
  Tensor x;
  std::string axes;

  int64_t dim(char axis) const { return static_cast<int64_t>(axes.find(axis)); }
  int64_t size(char axis) const { return x.size(dim(axis)); }
  /// The letters of the positions, in the order of the tensor.
  std::string positions() const {
    std::string found;
    for (const char axis : axes) {
      found +=
          axis == 'b' || axis == 'c' ? std::string() : std::string(1, axis);
    }
    return found;
  }
  /// The dimensions of the positions, in the order of the tensor.
  Sizes position_dims() const {
    Sizes dims;
    for (const char axis : positions()) {
      dims.push_back(dim(axis));
    }
    return dims;
  }
  Sizes position_sizes() const {
    Sizes sizes;
    for (const int64_t d : position_dims()) {
      sizes.push_back(x.size(d));
    }
    return sizes;
  }
  int64_t count() const {
    int64_t product = 1;
    for (const int64_t size : position_sizes()) {
      product *= size;
    }
    return product;
  }
  Value with(const Tensor& y) const { return {y, axes}; }
};

/// `v` with its dimensions in the order `axes`, as a view.
inline Value arranged(const Value& v, const std::string& axes) {
  Sizes dims;
  for (const char axis : axes) {
    dims.push_back(v.dim(axis));
  }
  return {v.x.permute(dims), axes};
}

inline Value channels_first(const Value& v) {
  return arranged(v, "bc" + v.positions());
}

/// Whether the reference has its positions in the order of the picture, height
/// before width, or in the order in which the network has them.
inline constexpr bool kPictureOrder = true;

/// `v` as [B, C, *S], with the positions in the order of a reference.
inline Value reference_order(const Value& v) {
  std::string positions = v.positions();
  if (kPictureOrder) {
    std::sort(positions.begin(), positions.end());
  }
  return arranged(v, "bc" + positions);
}

/// `front`, then `middle`, then `back`: sizes for a view.
inline Sizes joined(Sizes front, const Sizes& middle, const Sizes& back = {}) {
  front.insert(front.end(), middle.begin(), middle.end());
  front.insert(front.end(), back.begin(), back.end());
  return front;
}

/// What a hook must say about an output.
enum class Kind {
  kExact,    // the mean of all positions and a linear head: CAM
  kEither,   // the same in arithmetic that need not be recognised
  kGradCam,  // anything else that comes from a map: Grad-CAM
  kNoMap     // tokens that never become a map again: an error is right, too
};

inline const char* name_of(Kind kind) {
  static const char* const kNames[] = {"exact", "either", "gradcam", "no map"};
  return kNames[static_cast<size_t>(kind)];
}

/// One output of a network: what it is, and what it was made of in the last
/// forward.
struct Output {
  Value tap;      // the last map on the way to the output, on its graph
  Tensor logits;  // [B, K] or [B], with a graph
  Tensor weight;  // [K, C] of a linear head, else undefined
  Tensor bias;    // [K], undefined where there is none
  Kind kind = Kind::kGradCam;
  bool zero_head = false;
  /// Runs again what follows the map.
  std::function<Tensor(const Value&)> rest;

  int64_t classes() const { return logits.dim() == 1 ? 1 : logits.size(1); }
};

/// The maps of the labels in the unit of the logits, [B, *S].
struct Reference {
  Tensor cam;       // sum over c of W[y, c] F[b, c, s]; undefined: no such head
  Tensor weights;   // [B, C], the sum over positions of d logit / dF
  Tensor grad_cam;  // sum over c of weights[b, c] F[b, c, s]
  /// The size of the terms of these sums, in which rounding is counted. The
  /// terms may cancel, as those of a cosine head do, and the weights may be 0.
  double size = 0;
};

inline Reference reference_of(const Output& output, const Tensor& labels) {
  Reference reference;
  const at::AutoGradMode graph_on(true);
  const Value features = reference_order(output.tap);
  const Tensor f = features.x.to(torch::kDouble).flatten(2);
  const Sizes sizes = joined({features.size('b')}, features.position_sizes());
  const bool one = output.classes() == 1;
  const Tensor sign = labels.to(torch::kDouble).mul(2).sub(1);
  const Tensor columns =
      output.logits.dim() == 1 ? output.logits.unsqueeze(1) : output.logits;
  const Tensor score = one ? columns.squeeze(1) * sign
                           : columns.gather(1, labels.unsqueeze(1)).squeeze(1);
  const Tensor gradient = torch::autograd::grad(
      {score.sum()}, {output.tap.x}, {}, /*retain_graph=*/true,
      /*create_graph=*/true, /*allow_unused=*/true)[0];
  if (gradient.defined()) {
    reference.weights = reference_order({gradient, output.tap.axes})
                            .x.to(torch::kDouble)
                            .flatten(2)
                            .sum(2);
    reference.grad_cam =
        (reference.weights.unsqueeze(2) * f).sum(1).reshape(sizes);
    reference.size = std::max(
        (reference.weights.unsqueeze(2) * f)
            .detach()
            .abs()
            .sum(1)
            .max()
            .item<double>(),
        1e-3 * f.detach().abs().max().item<double>());
  }
  if (output.weight.defined()) {
    const Tensor w = output.weight.to(torch::kDouble);
    const Tensor rows = one ? w.expand({labels.size(0), -1}) * sign.unsqueeze(1)
                            : w.index_select(0, labels);
    reference.cam = (rows.unsqueeze(2) * f).sum(1).reshape(sizes);
  }
  return reference;
}

/// What a network reads, and how.
struct Batch {
  Tensor pictures;
  bool training = false;
  bool recording = true;  // false: gradients are off
  bool finite = true;     // false: a picture has a NaN
  bool blank = false;     // the pictures are 0 everywhere
};

/// One operation that a test puts into random networks, at one place.
struct Operation {
  enum Place {
    kMap,       // [B, C, *S] -> [B, C', *S']: it makes the last map
    kCollapse,  // [B, C, *S] -> [B, C, *S without the last axis]: it reads it
    kHead       // [B, C] and a matrix [3, C] -> [B, 3]: after the mean
  };
  std::string row;   // the node that it leaves on the graph
  int64_t rank = 0;  // the number of position axes that it needs; 0: any
  Place place = kMap;
  std::function<Tensor(const Tensor&)> run = {};
  std::function<Tensor(const Tensor&, const Tensor&)> head = {};
};

/// One random network. `forward` returns one or two outputs.
class Network : public nn::Module {
 public:
  explicit Network(uint64_t seed) : dice_(seed) {
    torch::manual_seed(seed);
    text_ = "seed " + std::to_string(seed) + ":";
    rank_ = dice_.chance(88) ? 2 : dice_.pick<int64_t>({1, 3});
    autocast_ = dice_.chance(9);
    type_ = autocast_ ? torch::kFloat : torch::kDouble;
    tag(autocast_, "bf16 autocast");
    text_ += autocast_ ? " bf16" : "";
    body();
    outputs_.push_back(tail());
    results();
    to(type_);
    noise();
    batches();
  }

  /// A random body, then the operation, a mean of what is left of the positions
  /// and a linear head.
  Network(uint64_t seed, const Operation& operation) : dice_(seed) {
    torch::manual_seed(seed);
    text_ = "seed " + std::to_string(seed) + ", " + operation.row + ":";
    rank_ = operation.rank == 0 ? dice_.pick<int64_t>({2, 2, 1, 3})
                                : operation.rank;
    body();
    want_channels_first();
    smallest_ = 4;
    halves_ = true;
    if (operation.place == Operation::kMap) {
      const auto run = operation.run;
      channels_ =
          run(torch::randn(
                  joined({2, channels_}, Sizes(static_cast<size_t>(rank_), 4))))
              .size(1);
      add(operation.row, [run](const Value& v) { return v.with(run(v.x)); });
    }
    // Values do not show which axis a norm or a median took away.
    distinct_ = operation.place == Operation::kCollapse;
    outputs_.push_back(tail_of(operation));
    casts_ = operation.row == "ToCopy" ||
             operation.row == "FakeQuantizePerChannelAffineCachemask";
    to(type_);
    noise();
    batches();
  }

  std::vector<Tensor> forward(const Tensor& pictures) {
    Value v{pictures, all_axes()};
    Made auxiliary;
    for (size_t i = 0; i < steps_.size(); ++i) {
      v = steps_[i](v);
      if (has_auxiliary_ && i == auxiliary_after_) {
        auxiliary = outputs_[1].run(v);
        keep(1, v, auxiliary.logits);
      }
    }
    const Made made = outputs_[0].run(v);
    keep(0, v, made.logits);
    std::vector<Tensor> returned{made.logits};
    if (has_embedding_) {
      const Tail& tail = outputs_[0];
      last_.resize(2);
      last_[1] = Output();
      last_[1].tap = v;
      last_[1].logits = made.embedding;
      last_[1].kind = tail.kind_of_pool(v);
      if (last_[1].kind <= Kind::kEither) {
        // A head that is the identity: a hook may see that CAM is exact.
        last_[1].kind = Kind::kEither;
        last_[1].weight = torch::eye(v.size('c'), pictures.options());
      }
      last_[1].rest = [&tail](const Value& map) {
        return tail.run(map).embedding;
      };
      returned.insert(returned.begin(), made.embedding);
    } else if (has_auxiliary_) {
      returned.push_back(auxiliary.logits);
    }
    note(chosen().tap);
    return returned;
  }

  /// The last map of each output, without what follows it.
  std::vector<Value> maps(const Tensor& pictures) {
    Value v{pictures, all_axes()};
    Value auxiliary;
    for (size_t i = 0; i < steps_.size(); ++i) {
      v = steps_[i](v);
      auxiliary = i == auxiliary_after_ ? v : auxiliary;
    }
    return has_auxiliary_ ? std::vector<Value>{v, auxiliary}
                          : std::vector<Value>{v};
  }

  /// Which of the results the loss is given, and what is known about it.
  size_t chosen_result() const {
    return has_embedding_ ? 1 - chosen_ : chosen_;
  }
  const Output& chosen() const { return last_[chosen_]; }
  /// The chosen output as the loss is given it: sometimes something was done
  /// to the logits after the forward.
  Output asked() const {
    Output output = chosen();
    if (changes_logits()) {
      output.logits = changed(output.logits);
      output.weight = Tensor();
      output.kind = std::max(output.kind, Kind::kGradCam);
    }
    return output;
  }
  bool changes_logits() const { return change_ != 0; }
  Tensor changed(const Tensor& logits) const {
    switch (change_) {
      case 1:
        return -logits;
      case 2:
        return logits * 2 + 1;
      case 3:
        return logits.dim() == 2 && logits.size(1) > 1 ? logits.flip({1})
                                                       : logits * -1;
      case 4:
        return logits.dim() == 2 && logits.size(1) > 2 ? logits.slice(1, 1)
                                                       : logits * -1;
      default:
        return logits;
    }
  }
  const std::vector<Output>& last() const { return last_; }

  const std::vector<Batch>& all_batches() const { return batches_; }
  const std::set<std::string>& tags() const { return tags_; }
  const std::set<std::string>& pieces() const { return pieces_; }
  const std::string& text() const { return text_; }
  bool autocast() const { return autocast_; }
  bool two_outputs() const { return has_embedding_ || has_auxiliary_; }
  /// How many pixels of the picture, on each axis, belong to one position.
  int64_t stride() const { return stride_; }
  /// Relative difference that rounding explains.
  double tolerance() const { return autocast_ ? 2e-2 : casts_ ? 1e-6 : 1e-10; }
  /// Whether a mean cannot be told from other sums by its values.
  bool undecidable(const Batch& batch) const {
    return chosen().zero_head || batch.blank || !batch.finite;
  }
  /// Replaces attention by "each position sees itself" and gates by constants,
  /// so that every position shows its own place in the picture.
  void keep_local(bool local) { local_ = local; }

 private:
  using Step = std::function<Value(const Value&)>;
  using Map = std::function<Tensor(const Tensor&)>;

  struct Made {
    Tensor embedding, logits;
  };

  /// What follows the last map.
  struct Tail {
    std::function<Tensor(const Value&)> pool;  // [B, D], or [B, D, 1, 1]
    Map between = [](const Tensor& x) { return x; };
    Map head;
    std::function<Kind(const Value&)> kind_of_pool;
    Kind kind_of_head = Kind::kExact;
    std::function<Tensor()> weight = [] { return Tensor(); };
    std::function<Tensor()> bias = [] { return Tensor(); };
    bool zero_head = false;

    Made run(const Value& v) const {
      const Tensor pooled = pool(v);
      return {pooled.flatten(1), head(between(pooled))};
    }
  };

  // ------------------------------------------------------------ small helpers

  std::string all_axes() const {
    return std::string("bc012").substr(0, static_cast<size_t>(rank_ + 2));
  }
  void tag(bool condition, const char* name) {
    if (condition) {
      tags_.insert(name);
    }
  }
  void say(const std::string& piece) {
    text_ += " " + piece;
    pieces_.insert(piece.substr(0, piece.find('(')));
  }
  void add(const std::string& piece, Step step) {
    say(piece);
    steps_.push_back(std::move(step));
    axes_after_.push_back(axes_);
    channels_after_.push_back(channels_);
  }
  std::string next_name() { return "m" + std::to_string(named_++); }
  Tensor parameter(const Sizes& sizes, double size = .5) {
    return register_parameter(next_name(), torch::randn(sizes) * size);
  }
  template <class Holder>
  Map module(Holder holder) {
    register_module(next_name(), holder);
    return [holder](const Tensor& x) mutable { return holder->forward(x); };
  }
  void keep(size_t i, const Value& v, const Tensor& logits) {
    last_.resize(std::max(last_.size(), i + 1));
    Tail& tail = outputs_[i];
    Output& output = last_[i];
    output.tap = v;
    output.logits = logits;
    output.kind = std::max(tail.kind_of_pool(v), tail.kind_of_head);
    output.weight = output.kind <= Kind::kEither ? tail.weight() : Tensor();
    output.bias = tail.bias();
    output.zero_head = tail.zero_head;
    output.rest = [&tail](const Value& map) { return tail.run(map).logits; };
  }
  /// Tags that depend on the sizes of the last map.
  void note(const Value& v) {
    const Sizes sizes = v.position_sizes();
    const int64_t c = v.size('c');
    tag(std::count(sizes.begin(), sizes.end(), c) > 0, "C = h or w");
    tag(std::count(sizes.begin(), sizes.end(), c) > 1, "C = h = w");
    tag(v.size('b') == c, "B = C");
    tag(v.size('b') == 1, "B = 1");
    tag(sizes.size() > 1 && sizes.front() != sizes.back(), "non-square");
    tag(v.axes.back() == 'c', "last map is NHWC");
    tag(v.axes.find("10") != std::string::npos, "last map is W before H");
    tag(sizes.size() == 1, "1-D");
    tag(sizes.size() == 3, "3-D");
  }

  Map conv(
      int64_t in, int64_t out, int64_t kernel = 3, int64_t stride = 1,
      int64_t groups = 1) {
    const int64_t pad = kernel % 2 == 1 ? kernel / 2 : 0;
    const bool bias = dice_.chance(70);
    const auto options = [&](auto made) {
      return made.stride(stride).padding(pad).groups(groups).bias(bias);
    };
    switch (rank_) {
      case 1:
        return module(nn::Conv1d(options(nn::Conv1dOptions(in, out, kernel))));
      case 3:
        return module(nn::Conv3d(options(nn::Conv3dOptions(in, out, kernel))));
      default:
        return module(nn::Conv2d(options(nn::Conv2dOptions(in, out, kernel))));
    }
  }
  Map linear(int64_t in, int64_t out) {
    return module(
        nn::Linear(nn::LinearOptions(in, out).bias(dice_.chance(70))));
  }
  Map layer_norm(int64_t channels) {
    return module(nn::LayerNorm(nn::LayerNormOptions({channels})));
  }
  Map norm(int64_t channels) {
    switch (dice_.below(3)) {
      case 0:
        say("bn");
        return rank_ == 1   ? module(nn::BatchNorm1d(channels))
               : rank_ == 3 ? module(nn::BatchNorm3d(channels))
                            : module(nn::BatchNorm2d(channels));
      case 1: {
        say("gn");
        const Map group = module(nn::GroupNorm(2, channels));
        return [this, group](const Tensor& x) { return local_ ? x : group(x); };
      }
      default:
        return [](const Tensor& x) { return x; };
    }
  }
  /// An activation of a tensor that nobody else reads.
  Map activation() {
    switch (dice_.below(6)) {
      case 0:
      case 1:
        tag(true, "in-place ReLU");
        say("relu_");
        return [](Tensor x) { return x.relu_(); };
      case 2:
        say("gelu");
        return [](const Tensor& x) { return torch::gelu(x); };
      case 3:
      case 4:
        return rare_activation();
      default:
        say("relu");
        return [](const Tensor& x) { return torch::relu(x); };
    }
  }
  /// One operator of one operand, as networks and losses have them.
  Map rare_activation() {
    using Pointwise = Tensor (*)(const Tensor&);
    static const std::pair<const char*, Pointwise> kAll[] = {
        {"silu", [](const Tensor& x) { return torch::silu(x); }},
        {"mish", [](const Tensor& x) { return torch::mish(x); }},
        {"elu", [](const Tensor& x) { return torch::elu(x); }},
        {"celu", [](const Tensor& x) { return torch::celu(x); }},
        {"selu", [](const Tensor& x) { return torch::selu(x); }},
        {"leaky_relu",
         [](const Tensor& x) { return torch::leaky_relu(x, .1); }},
        {"relu6", [](const Tensor& x) { return torch::relu6(x); }},
        {"softplus", [](const Tensor& x) { return torch::softplus(x); }},
        {"softshrink",
         [](const Tensor& x) { return torch::softshrink(x, .1); }},
        {"hardshrink",
         [](const Tensor& x) { return torch::hardshrink(x, .1); }},
        {"hardtanh", [](const Tensor& x) { return torch::hardtanh(x); }},
        {"hardswish", [](const Tensor& x) { return torch::hardswish(x); }},
        {"hardsigmoid", [](const Tensor& x) { return torch::hardsigmoid(x); }},
        {"sigmoid", [](const Tensor& x) { return torch::sigmoid(x); }},
        {"log_sigmoid", [](const Tensor& x) { return torch::log_sigmoid(x); }},
        {"tanh", [](const Tensor& x) { return torch::tanh(x); }},
        {"threshold",
         [](const Tensor& x) { return torch::threshold(x, .1, 0); }},
        {"clamp", [](const Tensor& x) { return torch::clamp(x, -1, 1); }},
        {"clamp_max", [](const Tensor& x) { return torch::clamp_max(x, 1); }},
        {"abs", [](const Tensor& x) { return torch::abs(x); }},
        {"neg-exp", [](const Tensor& x) { return torch::exp(-x.abs()); }},
        {"expm1", [](const Tensor& x) { return torch::expm1(x.tanh()); }},
        {"log1p", [](const Tensor& x) { return torch::log1p(x.abs()); }},
        {"rsqrt", [](const Tensor& x) { return torch::rsqrt(x * x + 1); }},
        {"sqrt", [](const Tensor& x) { return torch::sqrt(x * x + 1) - 1; }},
        {"log", [](const Tensor& x) { return torch::log(x * x + 2); }},
        {"reciprocal", [](const Tensor& x) { return 1 / (1 + x.exp()); }},
        {"sin", [](const Tensor& x) { return torch::sin(x) + torch::cos(x); }},
        {"atan", [](const Tensor& x) { return torch::atan(x); }},
        {"erf", [](const Tensor& x) { return torch::erf(x); }},
        {"nan_to_num",
         [](const Tensor& x) { return torch::nan_to_num(x, 1.); }},
        {"masked_fill",
         [](const Tensor& x) { return x.masked_fill(x.detach() < -.2, -.2); }},
        {"rsub", [](const Tensor& x) { return torch::rsub(x, 1); }},
        {"softmax", [](const Tensor& x) { return torch::softmax(x, 1) * 3; }},
        {"log_softmax",
         [](const Tensor& x) { return torch::log_softmax(x, 1); }},
        {"clone", [](const Tensor& x) { return x.clone().relu_(); }},
    };
    const auto& [name, f] = kAll[dice_.below(std::size(kAll))];
    say(name);
    const Pointwise function = f;
    return [function](const Tensor& x) { return function(x); };
  }

  // -------------------------------------------------------- pieces of the body

  void want_channels_first() {
    const Value now{{}, axes_};
    if (axes_[1] != 'c') {
      arrange("bc" + now.positions());
    }
  }
  void want_channels_last() {
    const Value now{{}, axes_};
    if (axes_.back() != 'c') {
      arrange("b" + now.positions() + "c");
      tag(true, "NHWC");
    }
  }
  void arrange(const std::string& axes) {
    const bool copied = dice_.chance(30);
    axes_ = axes;
    add("permute(" + axes + (copied ? ",contiguous)" : ")"),
        [axes, copied](const Value& v) {
          Value turned = arranged(v, axes);
          return copied ? turned.with(turned.x.contiguous()) : turned;
        });
  }
  /// Exchanges the last two position axes.
  void swap_positions() {
    const Value now{{}, axes_};
    const std::string p = now.positions();
    const char a = p[p.size() - 2];
    const char b = p[p.size() - 1];
    std::string axes = axes_;
    std::swap(
        axes[static_cast<size_t>(now.dim(a))],
        axes[static_cast<size_t>(now.dim(b))]);
    tag(b == '2' || (b == '1' && rank_ == 2), "width before height");
    axes_ = axes;
    add("swap(" + axes + ")", [a, b, axes](const Value& v) {
      return Value{v.x.transpose(v.dim(a), v.dim(b)), axes};
    });
  }

  int64_t draw_channels() { return dice_.pick<int64_t>({4, 4, 6, 8}); }

  void conv_block(int64_t out, int64_t stride) {
    want_channels_first();
    const int64_t kernel = stride == 2 && dice_.chance(40) ? 2 : 3;
    say("[conv" + std::to_string(out) + (stride == 2 ? "/2" : ""));
    const Map c = conv(channels_, out, kernel, stride);
    const Map n = norm(out);
    const Map act = activation();
    stride_ *= stride;
    channels_ = out;
    unit_ = std::lcm(unit_, stride_);
    add("]", [=](const Value& v) { return v.with(act(n(c(v.x)))); });
  }
  void residual() {
    want_channels_first();
    say("residual[");
    const Map c1 = conv(channels_, channels_);
    const Map n1 = norm(channels_);
    const Map a1 = activation();
    const Map c2 = conv(channels_, channels_);
    const Map n2 = norm(channels_);
    const bool in_place = dice_.chance(50);
    const Map a2 = activation();
    add(in_place ? "+=]" : "+]", [=](const Value& v) {
      Tensor y = n2(c2(a1(n1(c1(v.x)))));
      if (in_place) {
        y += v.x;
      } else {
        y = y + v.x;
      }
      return v.with(a2(y));
    });
  }
  void depthwise() {
    want_channels_first();
    say("depthwise[");
    // Of 3-D pictures in bfloat16, oneDNN's gradient of a depthwise weight is
    // wrong on processors with AVX-512 (LibTorch 2.13), so there is no
    // reference.
    const bool grouped = !(autocast_ && rank_ == 3);
    const Map c1 = conv(channels_, channels_, 3, 1, grouped ? channels_ : 1);
    const Map a1 = activation();
    const Map c2 = conv(channels_, channels_, 1);
    const Map a2 = activation();
    add("]", [=](const Value& v) { return v.with(a2(c2(a1(c1(v.x))))); });
  }
  void squeeze_excitation() {
    const Map down = linear(channels_, 2);
    const Map up = linear(2, channels_);
    const bool last = axes_.back() == 'c';
    add("squeeze-excite", [=](const Value& v) {
      Tensor gate =
          up(torch::relu(down(v.x.mean(v.position_dims())))).sigmoid();
      Sizes sizes(static_cast<size_t>(v.x.dim()), 1);
      sizes[0] = v.size('b');
      sizes[last ? sizes.size() - 1 : 1] = v.size('c');
      gate = gate.view(sizes);
      return v.with(v.x * (local_ ? torch::ones_like(gate) : gate));
    });
  }
  /// A gate with one value for each row.
  void row_gate() {
    add("row-gate", [=](const Value& v) {
      const Tensor gate =
          v.x.mean({v.position_dims().back()}, /*keepdim=*/true).sigmoid();
      return v.with(v.x * (local_ ? torch::ones_like(gate) : gate));
    });
  }
  void shuffle() {
    want_channels_first();
    const bool view = dice_.chance(50);
    add("shuffle", [=](const Value& v) {
      const int64_t b = v.size('b');
      const int64_t c = v.size('c');
      const Sizes s = v.position_sizes();
      const Tensor y = v.x.reshape(joined({b, 2, c / 2}, s)).transpose(1, 2);
      return v.with(
          view ? y.contiguous().view(joined({b, c}, s))
               : y.reshape(joined({b, c}, s)));
    });
  }
  void temporal_shift() {
    want_channels_first();
    const int64_t part = channels_ / 4;
    add("shift", [=](const Value& v) {
      const int64_t n = v.x.size(2);
      Tensor y = torch::zeros_like(v.x);
      const auto at = [&](Tensor t, int64_t c0, int64_t c1, int64_t p0,
                          int64_t p1) {
        return t.slice(1, c0, c1).slice(2, p0, p1);
      };
      at(y, 0, part, 1, n).copy_(at(v.x, 0, part, 0, n - 1));
      at(y, part, 2 * part, 0, n - 1).copy_(at(v.x, part, 2 * part, 1, n));
      y.slice(1, 2 * part).copy_(v.x.slice(1, 2 * part));
      return v.with(y);
    });
  }
  void half_batches() {
    want_channels_first();
    const Map c1 = conv(channels_, channels_);
    const Map c2 = conv(channels_, channels_);
    const bool in_place = dice_.chance(60);
    add(in_place ? "half-batches-copied" : "half-batches-cat",
        [=](const Value& v) {
          const int64_t b = v.size('b');
          if (b == 1) {
            return v.with(torch::relu(c1(v.x)));
          }
          const Tensor first = c1(v.x.slice(0, 0, b / 2));
          const Tensor second = c2(v.x.slice(0, b / 2));
          if (!in_place) {
            return v.with(torch::cat({first, second}, 0));
          }
          Tensor y = torch::zeros(v.x.sizes(), first.options());
          y.slice(0, 0, b / 2).copy_(first);
          y.slice(0, b / 2).copy_(second);
          return v.with(y);
        });
  }
  void half_channels() {
    want_channels_first();
    const int64_t half = channels_ / 2;
    const bool split = dice_.chance(60);
    const bool chunk = dice_.chance(50);
    const int64_t in = split ? half : channels_;
    const Map c1 = conv(in, half);
    const Map c2 = conv(in, half, 1);
    const bool in_place = dice_.chance(60);
    add(in_place ? "half-channels-copied" : "half-channels-cat",
        [=](const Value& v) {
          std::vector<Tensor> parts{v.x, v.x};
          if (split) {
            parts = chunk ? v.x.chunk(2, 1)
                          : std::vector<Tensor>{
                                v.x.slice(1, 0, half), v.x.slice(1, half)};
          }
          const Tensor first = c1(parts[0]);
          const Tensor second = c2(parts[1]);
          if (!in_place) {
            return v.with(torch::cat({first, second}, 1));
          }
          Tensor y = torch::zeros(v.x.sizes(), first.options());
          y.slice(1, 0, half).copy_(first);
          y.slice(1, half).copy_(second);
          return v.with(y);
        });
  }
  void feature_dropout() {
    want_channels_first();
    add("dropout2d(map)", [=](const Value& v) {
      return v.with(torch::feature_dropout(v.x, .3, is_training()));
    });
  }

  // ---- pieces that read channels in the last dimension: [.., C] -> [.., C]

  Map mlp(int64_t channels) {
    const Map n = layer_norm(channels);
    const Map up = linear(channels, 2 * channels);
    const Map down = linear(2 * channels, channels);
    say("mlp");
    return [=](const Tensor& x) { return x + down(torch::gelu(up(n(x)))); };
  }
  Map dense(int64_t channels) {
    const Map n = layer_norm(channels);
    const Map fc = linear(channels, channels);
    const bool normed = dice_.chance(60);
    say(normed ? "ln-linear" : "linear");
    return [=](const Tensor& x) { return torch::gelu(fc(normed ? n(x) : x)); };
  }
  /// Attention of tokens [B, N, C], written by hand.
  Map attention(int64_t channels) {
    const Map n = layer_norm(channels);
    const Map qkv = linear(channels, 3 * channels);
    const Map k_of = linear(channels, channels);
    const Map v_of = linear(channels, channels);
    const Map out = linear(channels, channels);
    const Map one_k = linear(channels, channels / 2);
    const Map one_v = linear(channels, channels / 2);
    const bool residual = dice_.chance(60);
    // 0: one product for all; 1: three; 2: einsum; 3: unbind; 4: the heads
    // share keys and values.
    const int64_t form = dice_.below(5);
    const bool fused = may_fuse_ && form != 2 && dice_.chance(70);
    const int64_t heads = 2;
    tag(residual, "residual past attention");
    tag(true, "attention");
    say(std::string(fused ? "fused-" : "") + "attention" +
        std::to_string(form) + (residual ? "+" : ""));
    return [=](const Tensor& x) {
      const int64_t b = x.size(0);
      const int64_t l = x.size(1);
      const int64_t d = channels / heads;
      const Tensor t = n(x);
      Tensor q, k, v;
      if (form == 0 || form == 3) {
        const Tensor all =
            qkv(t).reshape({b, l, 3, heads, d}).permute({2, 0, 3, 1, 4});
        const auto parts = form == 3 ? all.unbind(0)
                                     : std::vector<Tensor>{
                                           all.select(0, 0), all.select(0, 1),
                                           all.select(0, 2)};
        q = parts[0];
        k = parts[1];
        v = parts[2];
      } else if (form == 4) {
        const auto repeat = [&](const Tensor& y) {
          return y.view({b, 1, 1, l, d})
              .expand({b, 1, heads, l, d})
              .reshape({b, heads, l, d});
        };
        q = k_of(t).view({b, l, heads, d}).transpose(1, 2);
        k = repeat(one_k(t));
        v = repeat(one_v(t));
      } else {
        const auto split = [&](const Tensor& y) {
          return y.view({b, l, heads, d}).transpose(1, 2);
        };
        q = split(k_of(x));
        k = split(k_of(t));
        v = split(v_of(t));
      }
      if (fused) {
        const Tensor y = local_ ? v : attend(q, k, v);
        const Tensor z = out(y.transpose(1, 2).reshape({b, l, channels}));
        return residual ? x + z : z;
      }
      q = q * (1 / std::sqrt(static_cast<double>(d)));
      Tensor a = form == 2 ? torch::einsum("bhid,bhjd->bhij", {q, k})
                           : torch::matmul(q, k.transpose(-2, -1));
      a = a.softmax(-1);
      if (local_) {
        a = torch::eye(l, a.options()).expand_as(a);
      }
      Tensor y = form == 2 ? torch::einsum("bhij,bhjd->bhid", {a, v.to(a)})
                           : torch::matmul(a, v.to(a));
      y = out(y.transpose(1, 2).reshape({b, l, channels}));
      return residual ? x + y : y;
    };
  }
  static Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v) {
#if TORCH_VERSION_MAJOR >= 2
    return torch::scaled_dot_product_attention(q, k, v);
#else
    const Tensor a = torch::matmul(q, k.transpose(-2, -1));
    return torch::matmul(
        (a / std::sqrt(static_cast<double>(q.size(-1)))).softmax(-1), v);
#endif
  }
  Map token_block(int64_t channels) {
    const Map first = dice_.chance(60)   ? attention(channels)
                      : dice_.chance(50) ? mlp(channels)
                                         : dense(channels);
    if (dice_.chance(60)) {
      return first;
    }
    const Map second = dice_.chance(50) ? mlp(channels) : dense(channels);
    return [=](const Tensor& x) { return second(first(x)); };
  }

  void last_axis() {
    want_channels_last();
    const Map f = dice_.chance(50) ? mlp(channels_) : dense(channels_);
    add("(nhwc)", [=](const Value& v) { return v.with(f(v.x)); });
  }
  void axial() {
    want_channels_last();
    const Map q = linear(channels_, channels_);
    const Map k = linear(channels_, channels_);
    const Map u = linear(channels_, channels_);
    const bool residual = dice_.chance(75);
    tag(residual, "residual past attention");
    tag(true, "attention");
    add("axial", [=](const Value& v) {
      Tensor a = torch::matmul(q(v.x), k(v.x).transpose(-2, -1)).softmax(-1);
      if (local_) {
        a = torch::eye(a.size(-1), a.options()).expand_as(a);
      }
      const Tensor y = torch::matmul(a, u(v.x).to(a));
      return v.with(residual ? v.x + y : y);
    });
  }
  void non_local() {
    want_channels_first();
    const Map q = conv(channels_, 2, 1);
    const Map k = conv(channels_, 2, 1);
    const Map u = conv(channels_, channels_, 1);
    tag(true, "residual past attention");
    tag(true, "attention");
    add("non-local", [=](const Value& v) {
      const Tensor keys = k(v.x).flatten(2);
      Tensor a =
          torch::bmm(q(v.x).flatten(2).transpose(1, 2), keys).softmax(-1);
      if (local_) {
        a = torch::eye(a.size(-1), a.options()).expand_as(a);
      }
      const Tensor values = u(v.x).flatten(2);
      const Tensor y = torch::bmm(values, a.to(values).transpose(1, 2));
      return v.with(v.x + y.view(v.x.sizes()));
    });
  }

  /// To tokens [B, N, C], and back to a map.
  void tokens() {
    tag(true, "tokens to map and back");
    if (dice_.chance(50)) {
      want_channels_first();
    }
    const bool first = axes_[1] == 'c';
    say("tokens[");
    const Map f = token_block(channels_);
    const int64_t form = dice_.below(4);
    const bool class_token = dice_.chance(5);
    const Tensor extra = class_token ? parameter({1, 1, channels_}) : Tensor();
    const std::string p = Value{{}, axes_}.positions();
    axes_ = form < 2 ? "bc" + p : "b" + p + "c";
    tag(form >= 2, "NHWC");
    const std::string axes = axes_;
    add(std::string(class_token ? "class-token" : "") + "]back" +
            std::to_string(form) + "(" + axes + ")",
        [=](const Value& v) {
          const int64_t b = v.size('b');
          const int64_t c = v.size('c');
          const Sizes s = v.position_sizes();
          Tensor t = first ? v.x.flatten(2).transpose(1, 2)
                           : v.x.reshape({b, v.count(), c});
          if (class_token) {
            t = torch::cat({extra.to(t).expand({b, -1, -1}), t}, 1);
          }
          t = f(t);
          if (class_token) {
            t = t.slice(1, 1);
          }
          switch (form) {
            case 0:
              return Value{t.transpose(1, 2).reshape(joined({b, c}, s)), axes};
            case 1:
              return Value{
                  t.transpose(1, 2).contiguous().view(joined({b, c}, s)), axes};
            case 2:
              return Value{t.reshape(joined({b}, s, {c})), axes};
            default:
              return Value{t.unflatten(1, s), axes};
          }
        });
  }
  void windows() {
    want_channels_last();
    const int64_t ws = window_;
    const int64_t shift = dice_.chance(75) ? 1 : 0;
    const bool residual = dice_.chance(50);
    tag(true, "windows");
    tag(shift > 0, "roll");
    const bool padded = dice_.chance(30);
    const bool grid = dice_.chance(20);  // every h/ws-th row is one window
    unit_ = padded ? unit_ : std::lcm(unit_, stride_ * ws);
    say(std::string(padded ? "padded-" : "") + (grid ? "grid" : "windows") +
        (shift > 0 ? "-rolled" : "") + (residual ? "+" : "") + "[" +
        std::to_string(ws));
    const Map f = token_block(channels_);
    add(residual ? "]+" : "]", [=](const Value& v) {
      const int64_t b = v.x.size(0);
      const int64_t c = v.x.size(3);
      Tensor x = v.x;
      if (padded) {
        x = torch::constant_pad_nd(
            x, {0, 0, 0, (ws - x.size(2) % ws) % ws, 0,
                (ws - x.size(1) % ws) % ws});
      }
      const int64_t h = x.size(1);
      const int64_t w = x.size(2);
      x = shift > 0 ? x.roll({-shift, -shift}, {1, 2}) : x;
      if (grid) {
        x = x.reshape({b, ws, h / ws, ws, w / ws, c});
        x = f(x.permute({0, 2, 4, 1, 3, 5}).reshape({-1, ws * ws, c}));
        x = x.view({b, h / ws, w / ws, ws, ws, c}).permute({0, 3, 1, 4, 2, 5});
      } else {
        x = x.reshape({b, h / ws, ws, w / ws, ws, c});
        x = f(x.permute({0, 1, 3, 2, 4, 5}).reshape({-1, ws * ws, c}));
        x = x.view({b, h / ws, w / ws, ws, ws, c}).permute({0, 1, 3, 2, 4, 5});
      }
      x = x.reshape({b, h, w, c});
      x = shift > 0 ? x.roll({shift, shift}, {1, 2}) : x;
      x = padded ? x.slice(1, 0, v.x.size(1)).slice(2, 0, v.x.size(2)) : x;
      return v.with(residual ? v.x + x : x);
    });
  }
  void merging() {
    want_channels_last();
    const bool slices = dice_.chance(50);
    const int64_t out = draw_channels();
    const Map n = layer_norm(4 * channels_);
    const Map fc = linear(4 * channels_, out);
    stride_ *= 2;
    unit_ = std::lcm(unit_, stride_);
    channels_ = out;
    add(slices ? "merge-slices" : "merge-reshape", [=](const Value& v) {
      const int64_t b = v.x.size(0);
      const int64_t h = v.x.size(1);
      const int64_t w = v.x.size(2);
      const int64_t c = v.x.size(3);
      if (slices) {
        std::vector<Tensor> parts;
        for (int64_t i = 0; i < 4; ++i) {
          parts.push_back(v.x.slice(1, i % 2, h, 2).slice(2, i / 2, w, 2));
        }
        return v.with(fc(n(torch::cat(parts, -1))));
      }
      return v.with(fc(n(v.x.reshape({b, h / 2, 2, w / 2, 2, c})
                             .permute({0, 1, 3, 4, 2, 5})
                             .flatten(3))));
    });
  }
  /// Blocks of 2 x 2 positions become channels.
  void space_to_depth() {
    want_channels_first();
    const int64_t form = dice_.below(2);
    const int64_t out = draw_channels();
    const Map c = conv(4 * channels_, out, 1);
    stride_ *= 2;
    unit_ = std::lcm(unit_, stride_);
    channels_ = out;
    add(form == 0 ? "space-to-depth" : "pixel-unshuffle", [=](const Value& v) {
      if (form == 1) {
        return v.with(c(torch::pixel_unshuffle(v.x, 2)));
      }
      const int64_t b = v.x.size(0);
      const int64_t n = v.x.size(1);
      const int64_t h = v.x.size(2);
      const int64_t w = v.x.size(3);
      return v.with(c(v.x.reshape({b, n, h / 2, 2, w / 2, 2})
                          .permute({0, 1, 3, 5, 2, 4})
                          .reshape({b, 4 * n, h / 2, w / 2})));
    });
  }
  /// Half the size and back, and a sum.
  void down_and_up() {
    want_channels_first();
    const Map c = conv(channels_, channels_);
    unit_ = std::lcm(unit_, 2 * stride_);
    halves_ = true;
    add("down-and-up", [=](const Value& v) {
      const Tensor small = c(torch::avg_pool2d(v.x, 2));
      return v.with(v.x + torch::upsample_nearest2d(small, v.position_sizes()));
    });
  }
  void gated() {
    want_channels_first();
    const Map c = conv(channels_, 2 * channels_);
    const bool glu = dice_.chance(50);
    add(glu ? "glu" : "chunk-gate", [=](const Value& v) {
      const Tensor y = c(v.x);
      if (glu) {
        return v.with(torch::glu(y, 1));
      }
      const auto halves = y.chunk(2, 1);
      return v.with(halves[0] * torch::tanh(halves[1]));
    });
  }
  void dense_cat() {
    want_channels_first();
    const Map c = conv(channels_, 2);
    channels_ += 2;
    add("dense-cat", [=](const Value& v) {
      return v.with(torch::cat({v.x, torch::relu(c(v.x))}, 1));
    });
  }
  /// A depthwise convolution, an MLP over the last axis, a scale, and a sum.
  void convnext() {
    want_channels_first();
    const Map c = conv(channels_, channels_, 3, 1, channels_);
    const Map n = layer_norm(channels_);
    const Map up = linear(channels_, 2 * channels_);
    const Map down = linear(2 * channels_, channels_);
    const Tensor gamma = parameter({channels_});
    tag(true, "NHWC");
    add("convnext", [=](const Value& v) {
      const Value last = arranged(v.with(c(v.x)), "b" + v.positions() + "c");
      const Tensor y = gamma * down(torch::gelu(up(n(last.x))));
      return v.with(v.x + arranged(last.with(y), v.axes).x);
    });
  }
  /// A residual sum that leaves out some samples in training.
  void stochastic_depth() {
    want_channels_first();
    const Map c = conv(channels_, channels_);
    add("stochastic-depth", [=](const Value& v) {
      const Tensor y = c(v.x);
      if (!is_training()) {
        return v.with(v.x + y);
      }
      Sizes sizes(static_cast<size_t>(v.x.dim()), 1);
      sizes[0] = v.size('b');
      return v.with(
          v.x + y * torch::empty(sizes, y.options()).bernoulli_(.7).div_(.7));
    });
  }
  void window_pool() {
    want_channels_first();
    static const std::array<const char*, 6> kForms = {
        "max_pool",
        "avg_pool",
        "adaptive_avg_pool",
        "adaptive_max_pool",
        "fractional_max_pool",
        "lp_pool"};
    const auto form = static_cast<size_t>(dice_.below(rank_ == 2 ? 6 : 4));
    stride_ *= 2;
    unit_ = std::lcm(unit_, stride_);
    add(kForms[form], [=](const Value& v) {
      Sizes half = v.position_sizes();
      for (int64_t& size : half) {
        size /= 2;
      }
      return v.with(smaller(v.x, half, form));
    });
  }
  Tensor smaller(const Tensor& x, const Sizes& half, size_t form) const {
    namespace F = nn::functional;
    switch (form) {
      case 0:
        return rank_ == 1   ? torch::max_pool1d(x, 2)
               : rank_ == 3 ? torch::max_pool3d(x, 2)
                            : torch::max_pool2d(x, 2);
      case 1:
        return rank_ == 1   ? torch::avg_pool1d(x, 2)
               : rank_ == 3 ? torch::avg_pool3d(x, 2)
                            : torch::avg_pool2d(x, 2);
      case 2:
        return rank_ == 1   ? torch::adaptive_avg_pool1d(x, half)
               : rank_ == 3 ? torch::adaptive_avg_pool3d(x, half)
                            : torch::adaptive_avg_pool2d(x, half);
      case 3:
        return rank_ == 1   ? std::get<0>(torch::adaptive_max_pool1d(x, half))
               : rank_ == 3 ? std::get<0>(torch::adaptive_max_pool3d(x, half))
                            : std::get<0>(torch::adaptive_max_pool2d(x, half));
      case 4:
        return std::get<0>(torch::fractional_max_pool2d(
            x, {2, 2}, half,
            torch::full({x.size(0), x.size(1), 2}, .5, x.options())));
      default:
        return F::lp_pool2d(x.abs() + .1, F::LPPool2dFuncOptions(2, 2));
    }
  }

  // ---- pieces whose result is known by one rule of views or sizes alone:
  // ---- nothing is added to it that has the axes already

  /// Several branches in a new dimension, which vanishes again.
  void selective() {
    want_channels_first();
    const int64_t n = dice_.pick<int64_t>({2, 2, 3});
    const int64_t c = channels_;
    std::vector<Map> branches;
    for (int64_t i = 0; i < n; ++i) {
      branches.push_back(conv(c, c, i == 0 ? 3 : 1));
    }
    const Map gate_of = linear(c, n * c);
    const Tensor weights = parameter({n});
    static const std::array<const char*, 7> kForms = {
        "stack-sum",    "stack-gate", "stack-weights", "stack-amax",
        "stack-unbind", "stack-mean", "stack-flatten"};
    const auto form = static_cast<size_t>(dice_.below(7));
    const int64_t at = form == 1 ? 1 : form == 6 ? 2 : dice_.below(rank_ + 3);
    channels_ = form == 6 && n * c <= 8 ? n * c : c;
    const bool longer = channels_ == n * c;
    const Map project = conv(n * c, c, 1);
    add(std::string(kForms[form]) + "(" + std::to_string(n) + "," +
            std::to_string(at) + ")",
        [=](const Value& v) {
          std::vector<Tensor> made;
          for (const Map& branch : branches) {
            made.push_back(branch(v.x));
          }
          const Tensor all = torch::stack(made, at);
          Sizes sizes(static_cast<size_t>(all.dim()), 1);
          switch (form) {
            case 0:
              return v.with(all.sum(at));
            case 1: {
              sizes[0] = v.size('b');
              sizes[1] = n;
              sizes[2] = c;
              const Tensor gate = gate_of(v.x.mean(v.position_dims()))
                                      .view({-1, n, c})
                                      .softmax(1)
                                      .reshape(sizes);
              return v.with(
                  (all * (local_ ? torch::ones_like(gate) : gate)).sum(1));
            }
            case 2:
              sizes[static_cast<size_t>(at)] = n;
              return v.with((all * weights.softmax(0).view(sizes)).sum(at));
            case 3:
              return v.with(all.amax(at));
            case 4: {
              const auto parts = torch::tanh(all).unbind(at);
              return v.with(parts[0] * torch::sigmoid(parts.back()));
            }
            case 5:
              return v.with(all.mean(at));
            default: {
              const Tensor y = all.flatten(1, 2);
              return v.with(longer ? y : project(y));
            }
          }
        });
  }
  /// Channels in groups, of which each is selected.
  void selected() {
    want_channels_first();
    const int64_t c = channels_;
    const Map both = conv(c, 2 * c);
    const bool unbound = dice_.chance(50);
    const bool fast = dice_.chance(50);  // the groups are the faster dimension
    add(std::string(unbound ? "unbind" : "select") + (fast ? "-fast" : ""),
        [=](const Value& v) {
          const Sizes groups =
              fast ? Sizes{v.size('b'), c, 2} : Sizes{v.size('b'), 2, c};
          const Tensor y = both(v.x).view(joined(groups, v.position_sizes()));
          const int64_t d = fast ? 2 : 1;
          if (unbound) {
            const auto parts = y.unbind(d);
            return v.with(torch::gelu(parts[0]) * parts[1]);
          }
          return v.with(torch::gelu(y.select(d, 0)) * y.select(d, 1));
        });
  }
  /// A view that names its sizes and strides.
  void strided() {
    const std::string p = Value{{}, axes_}.positions();
    axes_ = dice_.chance(50) ? "bc" + p : "b" + p + "c";
    tag(axes_.back() == 'c', "NHWC");
    const std::string axes = axes_;
    add("as-strided(" + axes + ")", [axes](const Value& v) {
      const Tensor x = torch::tanh(v.x).contiguous();
      const Value y = arranged(v.with(x), axes);
      return y.with(x.as_strided(y.x.sizes(), y.x.strides()));
    });
  }
  /// A border around the map, which a convolution or a crop takes away.
  void padded() {
    want_channels_first();
    namespace F = nn::functional;
    static const std::array<const char*, 5> kForms = {
        "pad-zeros", "pad-reflect", "pad-replicate", "pad-module", "pad-crop"};
    const auto form = static_cast<size_t>(dice_.below(5));
    const Tensor scale = parameter({channels_});
    Sizes channel(static_cast<size_t>(rank_ + 2), 1);
    channel[1] = channels_;
    const Tensor kernel = parameter(
        joined({channels_, channels_}, Sizes(static_cast<size_t>(rank_), 3)));
    const Sizes pads(static_cast<size_t>(2 * rank_), 1);
    nn::ZeroPad2d zeros(1);
    nn::ReplicationPad2d edges(1);
    register_module(next_name(), zeros);
    register_module(next_name(), edges);
    const bool zero = dice_.chance(50);
    add(kForms[form], [=](const Value& v) mutable {
      Tensor y;
      switch (form) {
        case 1:
          y = F::pad(v.x, F::PadFuncOptions(pads).mode(torch::kReflect));
          break;
        case 2:
          y = F::pad(v.x, F::PadFuncOptions(pads).mode(torch::kReplicate));
          break;
        case 3:
          y = rank_ != 2 ? torch::constant_pad_nd(v.x, pads, 1)
              : zero     ? zeros(v.x)
                         : edges(v.x);
          break;
        default:
          y = torch::constant_pad_nd(v.x, pads);
      }
      if (form == 4) {
        y = torch::gelu(y) * scale.view(channel);
        for (const int64_t d : v.position_dims()) {
          y = y.slice(d, 1, y.size(d) - 1);
        }
        return v.with(y);
      }
      return v.with(
          rank_ == 1   ? torch::conv1d(y, kernel)
          : rank_ == 3 ? torch::conv3d(y, kernel)
                       : torch::conv2d(y, kernel));
    });
  }
  /// Half the size, and back by another way; no shortcut.
  void resampled() {
    want_channels_first();
    static const std::array<const char*, 8> kForms = {
        "up-nearest",    "up-exact",   "up-linear",    "up-transposed",
        "pixel-shuffle", "up-bicubic", "up-antialias", "up-aligned"};
    const auto form = static_cast<size_t>(dice_.below(rank_ == 2 ? 8 : 4));
    const int64_t c = channels_;
    const Map down =
        conv(c, form == 4 ? 4 * c : c, dice_.pick<int64_t>({2, 3}), 2);
    const Tensor kernel =
        parameter(joined({c, c}, Sizes(static_cast<size_t>(rank_), 2)));
    unit_ = std::lcm(unit_, 2 * stride_);
    halves_ = true;
    add(kForms[form], [=](const Value& v) {
      return v.with(larger(down(v.x), v.position_sizes(), kernel, form));
    });
  }
  Tensor larger(
      const Tensor& x, const Sizes& sizes, const Tensor& kernel,
      size_t form) const {
    switch (form) {
      case 0:
        return rank_ == 1   ? torch::upsample_nearest1d(x, sizes)
               : rank_ == 3 ? torch::upsample_nearest3d(x, sizes)
                            : torch::upsample_nearest2d(x, sizes);
      case 1:
        return rank_ == 1   ? torch::_upsample_nearest_exact1d(x, sizes)
               : rank_ == 3 ? torch::_upsample_nearest_exact3d(x, sizes)
                            : torch::_upsample_nearest_exact2d(x, sizes);
      case 2:
        return rank_ == 1   ? torch::upsample_linear1d(x, sizes, false)
               : rank_ == 3 ? torch::upsample_trilinear3d(x, sizes, false)
                            : torch::upsample_bilinear2d(x, sizes, false);
      case 3:
        return rank_ == 1   ? torch::conv_transpose1d(x, kernel, {}, 2)
               : rank_ == 3 ? torch::conv_transpose3d(x, kernel, {}, 2)
                            : torch::conv_transpose2d(x, kernel, {}, 2);
      case 4:
        return torch::pixel_shuffle(x, 2);
      case 5:
        return torch::upsample_bicubic2d(x, sizes, false);
      case 6:
        return torch::_upsample_bilinear2d_aa(
            autocast_ ? x.to(torch::kFloat) : x, sizes, false);
      default:
        return torch::upsample_bilinear2d(x, sizes, true);
    }
  }
  /// Further channels, that have the same value at all positions.
  void context() {
    want_channels_first();
    const Map c = conv(channels_, channels_, 1);
    const Map image = conv(channels_, 2, 1);
    const bool project = dice_.chance(50);
    const Map p = conv(channels_ + 2, channels_, 1);
    channels_ += project ? 0 : 2;
    const int64_t form = dice_.below(rank_ == 2 ? 3 : 2);
    add("context" + std::to_string(form) + (project ? "-project" : ""),
        [=](const Value& v) {
          Tensor e = torch::relu(image(v.x.mean(v.position_dims(), true)));
          e = local_ ? torch::ones_like(e) : e;
          const Sizes s = v.position_sizes();
          const Tensor y = c(v.x);
          e = form == 2   ? torch::upsample_bilinear2d(e, s, false)
              : form == 1 ? e.expand(joined({-1, -1}, s))
                          : e.expand(joined({v.size('b'), 2}, s)).contiguous();
          const Tensor all = torch::cat({y, e.to(y)}, 1);
          return v.with(project ? p(all) : all);
        });
  }
  /// Channels that are copies of others.
  void expanded() {
    want_channels_first();
    const int64_t c = channels_;
    const bool one = dice_.chance(50);
    const Map narrow = conv(c, one ? 1 : c / 2);
    const Map own = conv(c, c, 3, 1, c);
    add(one ? "expand-channel" : "expand-groups", [=](const Value& v) {
      const Tensor y = torch::relu(narrow(v.x));
      if (one) {
        return v.with(own(y.expand_as(v.x)));
      }
      const Sizes s = v.position_sizes();
      return v.with(y.unsqueeze(2)
                        .expand(joined({v.size('b'), c / 2, 2}, s))
                        .reshape(v.x.sizes()));
    });
  }
  /// A gate that is expanded to the size of the map.
  void expanded_gate() {
    want_channels_first();
    const Map c = conv(channels_, channels_, 1);
    const bool places = dice_.chance(50);  // else one value for each channel
    add(places ? "place-gate-expanded" : "gate-expanded", [=](const Value& v) {
      const Tensor small =
          places ? c(v.x).mean(1, true) : c(v.x.mean(v.position_dims(), true));
      const Tensor gate = torch::sigmoid(small).expand_as(v.x);
      return v.with(v.x * (local_ ? torch::ones_like(gate) : gate));
    });
  }
  /// Attention of all positions to those of a smaller map.
  void reduced_attention() {
    want_channels_first();
    const int64_t c = channels_;
    const Map q_of = conv(c, c, 1);
    const Map k_of = conv(c, c, 2, 2);
    const Map v_of = conv(c, c, 2, 2);
    const bool fused = may_fuse_ && dice_.chance(60);
    tag(true, "attention");
    unit_ = std::lcm(unit_, 2 * stride_);
    halves_ = true;
    add(fused ? "fused-reduced" : "reduced", [=](const Value& v) {
      const auto heads = [&](const Tensor& y) {
        return y.reshape({y.size(0), 2, c / 2, -1}).transpose(2, 3);
      };
      const Tensor q = heads(q_of(v.x));
      const Tensor k = heads(k_of(v.x));
      const Tensor u = heads(v_of(v.x));
      Tensor y = q;
      if (!local_) {
        y = fused
                ? attend(q, k, u)
                : torch::matmul(
                      torch::matmul(q, k.transpose(2, 3)).softmax(-1).to(u), u);
      }
      return v.with(y.transpose(2, 3).reshape(v.x.sizes()));
    });
  }
  /// One operator of two branches.
  void two_branches() {
    want_channels_first();
    const Map c1 = conv(channels_, channels_);
    const Map c2 = conv(channels_, channels_, 1);
    using Pointwise = Tensor (*)(const Tensor&, const Tensor&);
    static const std::pair<const char*, Pointwise> kAll[] = {
        {"sub", [](const Tensor& x, const Tensor& y) { return x - y; }},
        {"div",
         [](const Tensor& x, const Tensor& y) { return x / (y.abs() + 1); }},
        {"maximum",
         [](const Tensor& x, const Tensor& y) { return torch::maximum(x, y); }},
        {"minimum",
         [](const Tensor& x, const Tensor& y) { return torch::minimum(x, y); }},
        {"where",
         [](const Tensor& x, const Tensor& y) {
           return torch::where(x > y, x.tanh(), y);
         }},
        {"lerp", [](const Tensor& x,
                    const Tensor& y) { return torch::lerp(x, y, .3); }},
        {"addcmul",
         [](const Tensor& x, const Tensor& y) {
           return torch::addcmul(x, x, y, .5);
         }},
        {"addcdiv",
         [](const Tensor& x, const Tensor& y) {
           return torch::addcdiv(x, y, x.abs() + 1, .5);
         }},
        {"logaddexp", [](const Tensor& x,
                         const Tensor& y) { return torch::logaddexp(x, y); }},
        {"hypot", [](const Tensor& x,
                     const Tensor& y) { return torch::hypot(x, y.abs() + 1); }},
    };
    const auto& [name, f] = kAll[dice_.below(std::size(kAll))];
    const Pointwise function = f;
    add(name, [=](const Value& v) {
      const Tensor x = c1(v.x);
      return v.with(function(x, c2(v.x).to(x)));
    });
  }

  void body() {
    axes_ = all_axes();
    window_ = dice_.pick<int64_t>({2, 2, 3});
    const int64_t width = draw_channels();
    channels_ = 3;
    conv_block(width, rank_ == 2 && dice_.chance(30) ? 2 : 1);
    if (dice_.chance(20)) {
      conv_block(draw_channels(), 1);
    }
    if (rank_ > 1 && dice_.chance(22)) {
      swap_positions();
    }
    if (dice_.chance(15)) {
      want_channels_last();
    }
    const int64_t blocks = dice_.below(5);
    for (int64_t i = 0; i < blocks; ++i) {
      block();
    }
    if (rank_ > 1 && dice_.chance(8)) {
      swap_positions();
      tag(true, "swapped at the end");
    }
    if (dice_.chance(40)) {
      want_channels_first();
    }
  }
  void block() {
    const bool flat = rank_ == 2;
    const bool small = stride_ >= 4;
    switch (dice_.below(44)) {
      case 0:
        return residual();
      case 1:
        return depthwise();
      case 2:
        return squeeze_excitation();
      case 3:
        return row_gate();
      case 4:
        return shuffle();
      case 5:
        return temporal_shift();
      case 6:
        return half_batches();
      case 7:
        return half_channels();
      case 8:
        return feature_dropout();
      case 9:
        return last_axis();
      case 10:
        return axial();
      case 11:
        return non_local();
      case 12:
        return !flat || small ? residual() : merging();
      case 13:
        return small ? residual() : window_pool();
      case 14:
        return !flat || small ? residual() : space_to_depth();
      case 15:
        return flat ? down_and_up() : gated();
      case 16:
        return gated();
      case 17:
        return dense_cat();
      case 18:
        return convnext();
      case 19:
        return stochastic_depth();
      case 20:
      case 21:
      case 22:
      case 23:
        return rank_ > 1 ? tokens() : last_axis();
      case 24:
      case 25:
        return selective();
      case 26:
        return selected();
      case 27:
      case 28:
        return padded();
      case 29:
      case 30:
        return resampled();
      case 31:
        return context();
      case 32:
        return expanded();
      case 33:
        return expanded_gate();
      case 34:
        return reduced_attention();
      case 35:
      case 36:
        return two_branches();
      case 37:
      case 38:
        return strided();
      default:
        return flat ? windows() : last_axis();
    }
  }

  // ----------------------------------------------------------------- the tail

  static std::function<Kind(const Value&)> always(Kind kind) {
    return [kind](const Value&) { return kind; };
  }

  /// Pooling, what is between, and a head for the map that the network has now.
  Tail tail() {
    Tail made;
    int64_t inputs = channels_;
    bool own = true;  // an operator in place may change what was pooled
    say("|");
    pool(made, inputs, own);
    say("|");
    const bool one_by_one = rank_ == 2 && kept_;
    between(made, own, inputs);
    say("|");
    head(made, inputs, one_by_one);
    return made;
  }

  /// What follows the map in a network that is made for one operation.
  Tail tail_of(const Operation& operation) {
    Tail made;
    made.kind_of_pool = always(Kind::kExact);
    made.pool = [](const Value& v) { return v.x.flatten(2).mean(2); };
    if (operation.place == Operation::kCollapse) {
      made.kind_of_pool = always(Kind::kGradCam);
      const auto run = operation.run;
      made.pool = [run](const Value& v) {
        const Tensor rest = run(v.x);
        return rest.dim() > 2 ? rest.flatten(2).mean(2) : rest;
      };
    }
    const Tensor weight = parameter({3, channels_});
    made.weight = [weight] { return weight; };
    auto head = operation.head;
    if (operation.place == Operation::kHead) {
      const bool linear = operation.row == "Mm" || operation.row == "Addmm";
      made.kind_of_head = linear ? Kind::kExact : Kind::kEither;
    } else {
      head = [](const Tensor& x, const Tensor& w) {
        return nn::functional::linear(x, w);
      };
    }
    made.head = [head, weight](const Tensor& x) { return head(x, weight); };
    return made;
  }

  void pool(Tail& made, int64_t& inputs, bool& own) {
    made.kind_of_pool = always(Kind::kExact);
    kept_ = false;
    const int64_t channels = channels_;
    const auto gradcam = [&] { made.kind_of_pool = always(Kind::kGradCam); };
    const bool first = axes_[1] == 'c';
    const int64_t drawn = dice_.below(100);
    if (drawn < 12) {
      samples_not_first(8);
      say("mean");
      made.pool = [](const Value& v) { return v.x.mean(v.position_dims()); };
    } else if (drawn < 14) {
      pool_channels_first("view-groups-mean");
      made.kind_of_pool = always(Kind::kEither);
      made.pool = [](const Value& v) {
        return v.x.reshape({v.x.size(0), 2, v.x.size(1) / 2, v.count()})
            .mean(3)
            .flatten(1);
      };
    } else if (drawn < 20) {
      say("mean-by-mean");
      made.pool = [](const Value& v) {
        Tensor x = v.x;
        const Sizes dims = v.position_dims();
        for (auto d = dims.rbegin(); d != dims.rend(); ++d) {
          x = x.mean(*d);
        }
        return x;
      };
    } else if (drawn < 28) {
      say("mean-keepdim");
      kept_ = first;
      made.pool = [first](const Value& v) {
        const Tensor x = v.x.mean(v.position_dims(), true);
        return first ? x : x.flatten(1);
      };
    } else if (drawn < 34) {
      say("flatten-mean");
      made.pool = [first, this](const Value& v) {
        return first ? v.x.flatten(2).mean(2)
                     : v.x.flatten(1, int(rank_)).mean(1);
      };
    } else if (drawn < 37) {
      say("sum/P");
      made.kind_of_pool = always(Kind::kEither);
      made.pool = [](const Value& v) {
        return v.x.sum(v.position_dims()) / v.count();
      };
    } else if (drawn < 40) {
      say("einsum/P");
      made.kind_of_pool = always(Kind::kEither);
      std::string letters = axes_;
      for (char& letter : letters) {
        letter = letter >= '0' && letter <= '2'
                     ? static_cast<char>('x' + (letter - '0'))
                     : letter;
      }
      made.pool = [letters](const Value& v) {
        return torch::einsum(letters + "->bc", {v.x}) / v.count();
      };
    } else if (drawn < 43) {
      say("matmul-ones/P");
      made.kind_of_pool = always(Kind::kEither);
      made.pool = [](const Value& v) {
        const Tensor x = channels_first(v).x.flatten(2);
        return torch::matmul(
            x, torch::full({v.count()}, 1. / double(v.count()), x.options()));
      };
    } else if (drawn < 53 || (drawn < 60 && rank_ != 2)) {
      const int64_t form = dice_.below(3);
      pool_channels_first("adaptive_avg_pool" + std::to_string(form));
      kept_ = form == 0;
      made.pool = [this, form](const Value& v) {
        const Tensor x = rank_ == 1 ? torch::adaptive_avg_pool1d(v.x, {1})
                         : rank_ == 3
                             ? torch::adaptive_avg_pool3d(v.x, {1, 1, 1})
                             : torch::adaptive_avg_pool2d(v.x, {1, 1});
        return form == 0   ? x
               : form == 1 ? x.flatten(1)
                           : x.view({x.size(0), x.size(1)});
      };
    } else if (drawn < 56) {
      pool_channels_first("avg_pool2d-whole");
      made.pool = [](const Value& v) {
        return torch::avg_pool2d(v.x, v.position_sizes()).flatten(1);
      };
    } else if (drawn < 68 && rank_ == 2) {
      tag(true, "partial pooling windows");
      const bool fixed = stride_ == unit_ && dice_.chance(50);
      if (fixed) {
        const int64_t k = dice_.pick<int64_t>({4, 5});
        window_of_tail_ = k;
        pool_channels_first("avg_pool2d(" + std::to_string(k) + ")");
        made.kind_of_pool = [k](const Value& v) {
          return v.x.size(2) == k && v.x.size(3) == k ? Kind::kExact
                                                      : Kind::kGradCam;
        };
        made.pool = [k](const Value& v) {
          return torch::avg_pool2d(v.x, {k, k}).flatten(1);
        };
      } else {
        const bool both = dice_.chance(60);
        pool_channels_first("avg_pool2d-partial");
        gradcam();
        smallest_ = 3;
        made.pool = [both](const Value& v) {
          const int64_t h = v.x.size(2) - (both ? 1 : 0);
          return torch::avg_pool2d(v.x, {h, v.x.size(3) - 1}).flatten(1);
        };
      }
    } else if (drawn < 71) {
      samples_not_first(30);
      say("amax");
      gradcam();
      own = false;  // its backward reads it: no change in place
      made.pool = [](const Value& v) { return v.x.amax(v.position_dims()); };
    } else if (drawn < 73) {
      say("max");
      gradcam();
      made.pool = [](const Value& v) {
        return std::get<0>(channels_first(v).x.flatten(2).max(2));
      };
    } else if (drawn < 76) {
      say("logsumexp");
      gradcam();
      own = false;  // its backward reads it: no change in place
      made.pool = [](const Value& v) {
        return v.x.logsumexp(v.position_dims());
      };
    } else if (drawn < 79) {
      add("clamp-pow",
          [](const Value& v) { return v.with(v.x.clamp_min(.5).pow(3)); });
      say("mean-root");
      gradcam();
      made.pool = [](const Value& v) {
        return v.x.mean(v.position_dims()).pow(1. / 3);
      };
    } else if (drawn < 82) {
      say("softmax-bmm");
      gradcam();
      const Tensor query = parameter({channels_, 1});
      made.pool = [query](const Value& v) {
        const Tensor x = channels_first(v).x.flatten(2);
        const Tensor a =
            torch::matmul(x.transpose(1, 2), query.to(x)).softmax(1);
        return torch::bmm(x, a.to(x)).squeeze(2);
      };
    } else if (drawn < 84) {
      const Tensor query = parameter({channels_});
      add("times-softmax", [query, this](const Value& v) {
        const Value f = channels_first(v);
        const Sizes s = joined({f.size('b'), 1}, f.position_sizes());
        const Tensor scores =
            torch::matmul(f.x.flatten(2).transpose(1, 2), query.to(f.x));
        const Tensor a =
            (local_ ? torch::ones_like(scores) : scores.softmax(1)).view(s);
        return arranged(f.with(f.x * a), v.axes);
      });
      say("sum");
      gradcam();
      made.pool = [](const Value& v) { return v.x.sum(v.position_dims()); };
    } else if (drawn < 87) {
      say("mean-and-max");
      gradcam();
      inputs = 2 * channels;
      made.pool = [](const Value& v) {
        return torch::cat(
            {v.x.mean(v.position_dims()), v.x.amax(v.position_dims())}, 1);
      };
    } else if (drawn < 90 && rank_ == 2) {
      want_channels_first();
      add("adaptive_avg_pool2d(2)", [](const Value& v) {
        return v.with(torch::adaptive_avg_pool2d(v.x, {2, 2}));
      });
      say("flatten");
      gradcam();
      own = false;
      inputs = 4 * channels;
      made.pool = [](const Value& v) { return v.x.flatten(1); };
    } else if (drawn < 93 && !one_size_) {
      say("flatten");
      gradcam();
      own = false;
      one_size_ = true;
      draw_sizes();
      inputs = channels;
      for (const int64_t size : map_sizes_) {
        inputs *= size;
      }
      made.pool = [](const Value& v) { return v.x.flatten(1); };
    } else if (drawn < 96 && rank_ > 1) {
      say("tokens[");
      made.kind_of_pool = always(Kind::kNoMap);
      may_fuse_ = false;  // no second derivative, which Grad-CAM needs here
      const Map f = token_block(channels_);
      const int64_t form = dice_.below(3);
      static const char* const kForms[] = {"]mean", "]max", "]query"};
      say(kForms[form]);
      own = form == 0;
      const Map k_of = linear(channels, channels);
      const Map v_of = linear(channels, channels);
      const Tensor query = parameter({1, 2, 1, channels / 2});
      made.pool = [=](const Value& v) {
        const Tensor t = f(channels_first(v).x.flatten(2).transpose(1, 2));
        if (form == 2) {
          const auto split = [&](const Tensor& y) {
            return y.view({y.size(0), y.size(1), 2, channels / 2})
                .transpose(1, 2);
          };
          const Tensor k = split(k_of(t));
          const Tensor a =
              torch::matmul(query.to(k), k.transpose(-2, -1)).softmax(-1);
          const Tensor u = split(v_of(t));
          return torch::matmul(a.to(u), u).transpose(1, 2).flatten(1);
        }
        return form == 0 ? t.mean(1) : t.amax(1);
      };
    } else {
      say("relu-flatten-mean");
      gradcam();
      made.pool = [](const Value& v) {
        return channels_first(v).x.flatten(2).relu().mean(2);
      };
      if (rank_ == 1) {
        made.pool = [](const Value& v) { return v.x.mean(v.position_dims()); };
        made.kind_of_pool = always(Kind::kExact);
      }
    }
  }
  void samples_not_first(int64_t percent) {
    if (dice_.chance(percent)) {
      const std::string p = Value{{}, axes_}.positions();
      arrange(
          dice_.chance(50) ? p + "bc" : p.substr(0, 1) + "bc" + p.substr(1));
      tag(true, "samples not first");
    }
  }
  void pool_channels_first(const std::string& piece) {
    want_channels_first();
    say(piece);
  }

  void between(Tail& made, bool own, int64_t inputs) {
    Map drop = [](const Tensor& x) { return x; };
    switch (dice_.below(own ? 8 : 5)) {
      case 0:
        say("dropout");
        drop = module(nn::Dropout(nn::DropoutOptions(.3)));
        break;
      case 1:
        say("dropout(functional)");
        drop = [this](const Tensor& x) {
          return torch::dropout(x, .3, is_training());
        };
        break;
      case 2:
        say("feature_dropout");
        drop = [this](const Tensor& x) {
          return torch::feature_dropout(x, .3, is_training());
        };
        break;
      case 5:
        say("dropout_");
        tag(true, "in-place dropout");
        drop = [this](Tensor x) {
          return torch::dropout_(x, .3, is_training());
        };
        break;
      case 6:
        say("dropout(inplace)");
        tag(true, "in-place dropout");
        drop = module(nn::Dropout(nn::DropoutOptions(.3).inplace(true)));
        break;
      default:
        break;
    }
    Map after = [](const Tensor& x) { return x; };
    switch (dice_.below(12)) {
      case 0:
        say("view");
        after = [inputs](const Tensor& x) {
          return x.reshape({-1, inputs}).view_as(x);
        };
        break;
      case 1:
        say("unsqueeze-squeeze");
        after = [](const Tensor& x) { return x.unsqueeze(1).squeeze(1); };
        break;
      case 2:
        if (!autocast_) {
          say("cast");
          casts_ = true;
          after = [](const Tensor& x) {
            return x.to(torch::kFloat).to(torch::kDouble);
          };
        }
        break;
      default:
        break;
    }
    made.between = [drop, after](const Tensor& x) { return after(drop(x)); };
  }

  void head(Tail& made, int64_t inputs, bool one_by_one) {
    const int64_t classes = dice_.pick<int64_t>({1, 2, 3, 5});
    const auto gradcam = [&] { made.kind_of_head = Kind::kGradCam; };
    const bool flat = kept_;
    const auto flattened = [flat](const Tensor& x) {
      return flat ? x.flatten(1) : x;
    };
    Map head;
    const int64_t drawn = dice_.below(100);
    if (drawn < 34) {
      nn::Linear fc(nn::LinearOptions(inputs, classes).bias(dice_.chance(80)));
      const bool zero = drawn < 12;
      if (zero) {
        tag(true, "zero head");
        made.zero_head = true;
        zero_.push_back(fc->weight);
      }
      say(zero ? "zero-linear" : "linear");
      head = module(fc);
      made.weight = [fc] { return fc->weight; };
      made.bias = [fc] { return fc->bias; };
    } else if (drawn < 42 && one_by_one) {
      nn::Conv2d fc(nn::Conv2dOptions(inputs, classes, 1));
      say("conv1x1");
      register_module(next_name(), fc);
      made.weight = [fc] { return fc->weight.flatten(1); };
      made.bias = [fc] { return fc->bias; };
      made.head = [fc](const Tensor& x) mutable { return fc(x).flatten(1); };
      return;
    } else if (drawn < 66) {
      nn::Linear fc(inputs, classes);
      register_module(next_name(), fc);
      made.weight = [fc] { return fc->weight; };
      made.bias = [fc] { return fc->bias; };
      const int64_t form = dice_.below(9);
      static const char* const kForms[] = {
          "functional-linear", "mm+bias",     "addmm",
          "addmm(alpha)",      "addmm(beta)", "add(alpha)",
          "second-bias",       "scaled",      "einsum"};
      say(kForms[form]);
      if (form >= 3) {
        made.kind_of_head = form == 8 ? Kind::kEither : Kind::kGradCam;
      }
      const Tensor extra = form == 6 ? parameter({classes}) : Tensor();
      // In autocast, LibTorch's own cast is part of the operator.
      head = [fc, form, extra](const Tensor& x) {
        const Tensor w = fc->weight;
        const Tensor b = fc->bias;
        switch (form) {
          case 0:
            return nn::functional::linear(x, w, b);
          case 1:
            return torch::mm(x, w.t()) + b;
          case 2:
            return torch::addmm(b, x, w.t());
          case 3:
            return torch::addmm(b, x, w.t(), 1, -1.5);
          case 4:
            return torch::addmm(b, x, w.t(), .5, 1);
          case 5:
            return torch::add(torch::mm(x, w.t()), b, 2);
          case 6:
            return nn::functional::linear(x, w, b) + extra;
          case 7:
            return nn::functional::linear(x, w, b) * -3;
          default:
            return torch::einsum("bc,kc->bk", {x, w}) + b;
        }
      };
    } else if (drawn < 72) {
      nn::Linear fc(inputs, classes);
      register_module(next_name(), fc);
      made.weight = [fc] { return fc->weight; };
      made.bias = [fc] { return fc->bias; };
      say("linear(float)");
      if (!autocast_) {
        casts_ = true;
        floats_.push_back(fc);
      }
      head = [fc](const Tensor& x) mutable { return fc(x.to(torch::kFloat)); };
    } else if (drawn < 78) {
      say("mlp-head");
      gradcam();
      const Map up = linear(inputs, 6);
      const Map down = linear(6, classes);
      head = [=](const Tensor& x) { return down(torch::gelu(up(x))); };
    } else if (drawn < 84) {
      say("ln-head");
      gradcam();
      const Map n = layer_norm(inputs);
      const Map fc = linear(inputs, classes);
      head = [=](const Tensor& x) { return fc(n(x)); };
    } else if (drawn < 88) {
      say("bn-head");
      gradcam();
      several_ = true;
      const Map n =
          module(nn::BatchNorm1d(nn::BatchNorm1dOptions(inputs).eps(.1)));
      const Map fc = linear(inputs, classes);
      head = [=](const Tensor& x) { return fc(n(x)); };
    } else if (drawn < 93) {
      say("cosine");
      gradcam();
      const Tensor w = parameter({classes, inputs});
      const auto unit = [](const Tensor& x) {
        return nn::functional::normalize(
            x, nn::functional::NormalizeFuncOptions().dim(1).eps(.1));
      };
      head = [=](const Tensor& x) {
        return nn::functional::linear(unit(x), unit(w)) * 4;
      };
    } else if (drawn < 96) {
      say("weight-norm");
      made.kind_of_head = Kind::kEither;
      const Tensor direction = parameter({classes, inputs});
      const Tensor size = parameter({classes, 1});
      const auto w = [direction, size] {
        return direction * (size / direction.norm(2, {1}, true));
      };
      made.weight = w;
      head = [w](const Tensor& x) { return nn::functional::linear(x, w()); };
    } else {
      say("matmul[C,K]");
      const Tensor w = parameter({inputs, classes});
      made.weight = [w] { return w.t(); };
      head = [=](const Tensor& x) { return torch::matmul(x, w); };
    }
    say("K" + std::to_string(classes));
    const bool squeezed = classes == 1 && dice_.chance(40);
    if (squeezed) {
      say("squeezed");
    }
    made.head = [=](const Tensor& x) {
      const Tensor y = head(flattened(x));
      return squeezed ? y.squeeze(1) : y;
    };
  }

  /// One output or two, and which of them the loss is given.
  void results() {
    if (dice_.chance(7)) {
      change_ = 1 + dice_.below(4);
      say("change-of-logits(" + std::to_string(change_) + ")");
      tag(true, "logits changed afterwards");
    }
    if (dice_.chance(78)) {
      return;
    }
    tag(true, "two outputs");
    const int64_t channels = channels_;
    if (dice_.chance(50)) {
      has_embedding_ = true;
      say("=> {embedding, logits}");
    } else {
      has_auxiliary_ = true;
      // What follows is built for the map after that step.
      auxiliary_after_ =
          static_cast<size_t>(dice_.below(static_cast<int64_t>(steps_.size())));
      axes_ = axes_after_[auxiliary_after_];
      channels_ = channels_after_[auxiliary_after_];
      say("=> {logits, auxiliary after step " +
          std::to_string(auxiliary_after_) + ":");
      Tail made;
      made.kind_of_pool = always(Kind::kExact);
      made.pool = [](const Value& v) { return v.x.mean(v.position_dims()); };
      kept_ = false;
      between(made, /*own=*/true, channels_);
      head(made, channels_, /*one_by_one=*/false);
      outputs_.push_back(made);
      say("}");
    }
    chosen_ = dice_.chance(50) ? 1 : 0;
    if (chosen_ == 0) {
      channels_ = channels;
    }
    say("loss of " + std::to_string(chosen_));
  }

  /// Parameters that no operator can confuse: no zeros, no ones.
  void noise() {
    const torch::NoGradGuard no_grad;
    for (auto& p : parameters()) {
      p.add_(torch::randn_like(p) * .1);
    }
    for (auto& p : zero_) {
      p.zero_();
    }
    for (auto& fc : floats_) {
      fc->to(torch::kFloat);
    }
  }

  // -------------------------------------------------------------- the batches

  /// The sizes of the last map before any pooling, all multiples of what the
  /// windows need.
  void draw_sizes() {
    const int64_t unit = unit_ / stride_;
    map_sizes_.clear();
    const bool all = dice_.chance(12);
    const int64_t like = dice_.chance(35) ? dice_.below(rank_) : -1;
    for (int64_t i = 0; i < rank_; ++i) {
      int64_t size = unit * (1 + dice_.below(7 / unit));
      if ((all || like == i) && channels_ % unit == 0) {
        size = channels_;
      }
      if (rank_ == 3) {
        size = std::min<int64_t>(size, 4);
      }
      while (size < smallest_) {
        size += unit;
      }
      while (distinct_ &&
             (size == channels_ ||
              std::count(map_sizes_.begin(), map_sizes_.end(), size))) {
        size += unit;
      }
      map_sizes_.push_back(size);
    }
    if (distinct_) {
      return;
    }
    if (halves_ && rank_ == 3) {  // one axis at most has one row then
      map_sizes_.assign(3, 4);
    } else if (
        halves_ &&
        *std::max_element(map_sizes_.begin(), map_sizes_.end()) < 4) {
      map_sizes_.back() *= 2;
    }
    if (window_of_tail_ > 0) {
      const int64_t size = window_of_tail_ + dice_.below(2);
      map_sizes_ = {size, dice_.chance(70) ? size : window_of_tail_};
    }
  }
  void batches() {
    const int64_t count = dice_.pick<int64_t>({1, 2, 2, 2, 3});
    bool trained = false;
    bool evaluated = false;
    for (int64_t i = 0; i < count; ++i) {
      Batch batch;
      batch.training = dice_.chance(50);
      (batch.training ? trained : evaluated) = true;
      batch.recording = change_ != 0 || dice_.chance(88);
      if (!one_size_ && (i == 0 || dice_.chance(60))) {
        draw_sizes();
      }
      int64_t samples = dice_.pick<int64_t>({1, 2, 2, 3, channels_});
      if (several_ && samples < 3) {
        samples = 3;  // of two samples, batch norm makes +1 and -1
      }
      Sizes sizes{samples, 3};
      for (const int64_t size : map_sizes_) {
        sizes.push_back(size * stride_);
      }
      batch.pictures = torch::randn(sizes, torch::TensorOptions(type_));
      if (count > 1 && i == 0 && dice_.chance(3)) {
        batch.finite = false;
        tag(true, "a batch with a NaN");
        batch.pictures.view(-1)[0] = std::nan("");
      } else if (dice_.chance(3)) {
        batch.blank = true;
        tag(true, "blank pictures");
        batch.pictures.zero_();
      }
      text_ += std::string(i == 0 ? " ; " : ", ") +
               (batch.training ? "train" : "eval") +
               (batch.recording ? "" : " no-grad") +
               (batch.finite ? "" : " NaN") + (batch.blank ? " blank" : "") +
               " " + c10::str(batch.pictures.sizes());
      batches_.push_back(batch);
    }
    tag(trained && evaluated, "train/eval order");
  }

  Dice dice_;
  int64_t rank_ = 2;
  bool autocast_ = false;
  bool local_ = false;
  torch::ScalarType type_ = torch::kDouble;
  std::string text_;
  std::set<std::string> tags_, pieces_;
  int named_ = 0;

  // What is known while the network is composed.
  std::string axes_;
  int64_t channels_ = 3;
  int64_t stride_ = 1;  // pixels for each position, on each axis
  int64_t unit_ = 1;    // sizes of pictures are multiples of it
  int64_t window_ = 2;
  int64_t window_of_tail_ = 0;
  int64_t smallest_ = 2;
  Sizes map_sizes_;
  bool kept_ = false;      // the pooled tensor is [B, D, 1, 1]
  bool one_size_ = false;  // the head fits one size of pictures only
  bool several_ = false;   // one sample is not enough
  bool distinct_ = false;  // no two axes may have the same size
  bool halves_ = false;    // a piece reads a map of half the size
  bool casts_ = false;
  bool may_fuse_ = true;  // attention may be one operator
  std::vector<Tensor> zero_;
  std::vector<nn::Linear> floats_;

  std::vector<Step> steps_;
  std::vector<std::string> axes_after_;
  std::vector<int64_t> channels_after_;
  std::vector<Tail> outputs_;
  bool has_embedding_ = false;
  bool has_auxiliary_ = false;
  size_t auxiliary_after_ = 0;
  size_t chosen_ = 0;
  int64_t change_ = 0;  // what is done to the logits before the loss
  std::vector<Output> last_;
  std::vector<Batch> batches_;
};

}  // namespace grammar
