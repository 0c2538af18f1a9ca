// SPDX-License-Identifier: BSD-3-Clause
//
// The axes of a map are followed, not guessed from its rank: tokens that become
// a map again, tensors of a map's rank that are none, and maps that are put
// together in place. Each number is that of plain autograd in float64.
#include "tapped.hpp"

#include <torch/version.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace axes_test {

using tapped::check_network;
using tapped::check_refused;
using tapped::Net;
using tapped::net;
using tapped::pictures;
using tapped::pooled;
using torch::Tensor;
using torch::indexing::None;
using torch::indexing::Slice;

namespace {

struct Case {
  const char* name;
  Net::Rest rest;
  int64_t width = 8;  // what the head reads
};

/// Tokens [B, N, C] of a map, in row-major order of its positions.
Tensor tokens_of(Net& n, const Tensor& f) {
  return n.norm(f.flatten(2).transpose(1, 2));
}

/// [B, h, w, C] -> [B * windows, 4, C], for windows of 2 x 2.
Tensor windows_of(const Tensor& x) {
  const auto b = x.size(0);
  const auto c = x.size(3);
  return x.view({b, x.size(1) / 2, 2, x.size(2) / 2, 2, c})
      .permute({0, 1, 3, 2, 4, 5})
      .reshape({-1, 4, c});
}

/// The inverse of `windows_of`.
Tensor from_windows(const Tensor& x, int64_t rows, int64_t columns) {
  const auto c = x.size(2);
  return x.view({-1, rows / 2, columns / 2, 2, 2, c})
      .permute({0, 1, 3, 2, 4, 5})
      .reshape({-1, rows, columns, c});
}

/// Attention with two heads, written by hand, within [M, N, C].
Tensor attend(Net& n, const Tensor& x) {
  const auto parts = n.qkv(x)
                         .view({x.size(0), x.size(1), 3, 2, 4})
                         .permute({2, 0, 3, 1, 4})
                         .unbind(0);
  const auto weights =
      torch::softmax(parts[0].matmul(parts[1].transpose(2, 3)) / 2, 3);
  return n.mix(weights.matmul(parts[2]).transpose(1, 2).reshape(x.sizes()));
}

#if TORCH_VERSION_MAJOR >= 2
/// Each position of `f` attends to all of `other`, with two heads. The result is
/// a map as large as `f`.
Tensor attend_to(Net& n, const Tensor& f, const Tensor& other) {
  const auto heads = [](const Tensor& t) {
    return t.view({t.size(0), t.size(1), 2, 4}).transpose(1, 2);
  };
  const Tensor t = tokens_of(n, f);
  const Tensor seen = heads(tokens_of(n, other));
  const Tensor y = at::scaled_dot_product_attention(heads(t), seen, seen)
                       .transpose(1, 2)
                       .reshape(t.sizes());
  return n.mix(y).transpose(1, 2).reshape(f.sizes());
}
#endif

/// A map with its channels last, tapped, and a linear head on its mean.
Tensor read_last(Net& n, const Tensor& x) {
  n.tap(x, {0, 3, 1, 2});
  return n.fc(n.truth.mean({1, 2}));
}

/// The same with its channels first.
Tensor read_first(Net& n, const Tensor& x) {
  return n.fc(pooled(n.tap(x)));
}

/// [batch, rows, columns]; there are always 8 channels.
const std::vector<std::tuple<const char*, int64_t, int64_t, int64_t>>& sizes() {
  static const std::vector<std::tuple<const char*, int64_t, int64_t, int64_t>>
      all = {
          {"all dimensions differ", 3, 6, 4},
          {"more columns than rows", 3, 4, 6},
          {"channels equal rows", 3, 8, 4},
          {"channels equal columns", 3, 4, 8},
          {"a square map", 3, 6, 6},
          {"channels equal rows and columns", 3, 8, 8},
          {"samples equal channels", 8, 6, 4},
          {"samples equal rows", 6, 6, 4},
          {"samples, channels, rows and columns are equal", 8, 8, 8},
          {"one sample", 1, 6, 4},
          {"two rows", 3, 2, 8},
      };
  return all;
}

std::vector<Case> tokens_to_map() {
  return {
      {"tokens by a view",
       [](Net& n, Tensor f) {
         return read_last(
             n, tokens_of(n, f).view({f.size(0), f.size(2), f.size(3), 8}));
       }},
      {"tokens by unflatten",
       [](Net& n, Tensor f) {
         return read_last(
             n, tokens_of(n, f).unflatten(1, {f.size(2), f.size(3)}));
       }},
      {"tokens by transpose and view",
       [](Net& n, Tensor f) {
         return read_first(
             n, tokens_of(n, f).transpose(1, 2).reshape(f.sizes()));
       }},
      {"tokens by a view and permute",
       [](Net& n, Tensor f) {
         return read_first(
             n, tokens_of(n, f)
                    .view({f.size(0), f.size(2), f.size(3), 8})
                    .permute({0, 3, 1, 2})
                    .contiguous());
       }},
      {"columns before rows",
       [](Net& n, Tensor f) {
         const Tensor turned = f.transpose(2, 3);
         n.tap(
             tokens_of(n, turned).view({f.size(0), f.size(3), f.size(2), 8}),
             {0, 3, 2, 1});
         return n.fc(n.truth.mean({1, 2}));
       }},
      {"tokens before the batch",
       [](Net& n, Tensor f) {
         const Tensor t = n.norm(f.flatten(2).permute({2, 0, 1}));
         n.tap(t.view({f.size(2), f.size(3), f.size(0), 8}), {2, 3, 0, 1});
         return n.fc(n.truth.mean(std::vector<int64_t>{0, 1}));
       }},
      {"attention between tokens, then a map",
       [](Net& n, Tensor f) {
         const Tensor t = f.flatten(2).transpose(1, 2);
         const Tensor y = t + attend(n, n.norm(t));
         return read_first(n, y.transpose(1, 2).reshape(f.sizes()));
       }},
#if TORCH_VERSION_MAJOR >= 2
      {"attention of the library",
       [](Net& n, Tensor f) {
         const Tensor t = tokens_of(n, f);
         const auto parts = n.qkv(t)
                                .view({t.size(0), t.size(1), 3, 2, 4})
                                .permute({2, 0, 3, 1, 4})
                                .unbind(0);
         const Tensor y =
             at::scaled_dot_product_attention(parts[0], parts[1], parts[2])
                 .transpose(1, 2)
                 .reshape(t.sizes());
         return read_first(n, n.mix(y).transpose(1, 2).reshape(f.sizes()));
       }},
      {"attention of the library to columns before rows",
       [](Net& n, Tensor f) {
         return read_first(n, attend_to(n, f, f.transpose(2, 3)));
       }},
      {"attention of the library to fewer positions",
       [](Net& n, Tensor f) {
         return read_first(n, attend_to(n, f, torch::avg_pool2d(f, {2, 1})));
       }},
#endif
      {"windows",
       [](Net& n, Tensor f) {
         const Tensor x = f.permute({0, 2, 3, 1}).contiguous();
         const Tensor y = n.mix(windows_of(n.norm(x)));
         return read_last(n, x + from_windows(y, f.size(2), f.size(3)));
       }},
      {"windows without a shortcut",
       [](Net& n, Tensor f) {
         const Tensor x = n.norm(f.permute({0, 2, 3, 1}));
         return read_last(
             n,
             from_windows(
                 attend(n, windows_of(x.contiguous())), f.size(2), f.size(3)));
       }},
      {"rolled windows",
       [](Net& n, Tensor f) {
         const Tensor x = n.norm(f.permute({0, 2, 3, 1}));
         const Tensor y =
             attend(n, windows_of(x.roll({-1, -1}, {1, 2}).contiguous()));
         return read_last(
             n, x + from_windows(y, f.size(2), f.size(3)).roll({1, 1}, {1, 2}));
       }},
      {"patches merged by slices",
       [](Net& n, Tensor f) {
         const Tensor x = f.permute({0, 2, 3, 1});
         const Tensor y = torch::cat(
             {x.index({Slice(), Slice(0, None, 2), Slice(0, None, 2)}),
              x.index({Slice(), Slice(1, None, 2), Slice(0, None, 2)}),
              x.index({Slice(), Slice(0, None, 2), Slice(1, None, 2)}),
              x.index({Slice(), Slice(1, None, 2), Slice(1, None, 2)})},
             -1);
         return read_last(n, n.merge(y));
       }},
      {"patches merged by a reshape",
       [](Net& n, Tensor f) {
         const Tensor x = f.permute({0, 2, 3, 1}).contiguous();
         const Tensor y =
             x.view({x.size(0), x.size(1) / 2, 2, x.size(2) / 2, 2, 8})
                 .permute({0, 1, 3, 4, 2, 5})
                 .reshape({x.size(0), x.size(1) / 2, x.size(2) / 2, 32});
         return read_last(n, n.merge(y));
       }},
      {"patches merged by a reshape of tokens",
       [](Net& n, Tensor f) {
         const auto b = f.size(0);
         const auto h = f.size(2) / 2;
         const auto w = f.size(3) / 2;
         const Tensor y = tokens_of(n, f)
                              .view({b, h, 2, w, 2, 8})
                              .permute({0, 1, 3, 4, 2, 5})
                              .reshape({b, h * w, 32});
         return read_first(n, n.merge(y).transpose(1, 2).reshape({b, 8, h, w}));
       }},
      {"a convolution of tokens that became a map",
       [](Net& n, Tensor f) {
         const Tensor t = tokens_of(n, f).transpose(1, 2).reshape(f.sizes());
         return read_first(n, torch::relu(n.b(t)));
       }},
      {"a product with einsum",
       [](Net& n, Tensor f) {
         return read_last(
             n,
             torch::relu(torch::einsum("bchw,kc->bhwk", {f, n.mix->weight})));
       }},
      {"a sum of tokens and a permuted map",
       [](Net& n, Tensor f) {
         const Tensor t =
             tokens_of(n, f).view({f.size(0), f.size(2), f.size(3), 8});
         return read_last(n, f.permute({0, 2, 3, 1}) + t);
       }},
  };
}

/// Tensors of a map's rank, or computed from such, that are no maps. The map is
/// the convolution's; each taps it.
std::vector<Case> not_maps() {
  return {
      {"groups of channels by a view",
       [](Net& n, Tensor f) {
         n.tap(f);
         return n.fc(f.view({f.size(0), 2, 4, -1}).mean(3).flatten(1));
       }},
      {"groups of channels by a view, flattened to one row",
       [](Net& n, Tensor f) {
         n.tap(f);
         return n.fc(f.view({f.size(0), 4, 2, -1}).flatten(1, 2).mean(2));
       }},
      {"the largest value in groups of channels",
       [](Net& n, Tensor f) {
         n.tap(f);
         return n.fc(f.view({f.size(0), 2, 4, -1}).amax(3).flatten(1));
       }},
      {"a mean over each half of the rows",
       [](Net& n, Tensor f) {
         n.tap(f);
         const Tensor halves =
             f.view({f.size(0), 8, 2, f.size(2) / 2, f.size(3)}).mean({3, 4});
         return n.fc(halves.flatten(1));
       },
       16},
      {"a mean over the channels",
       [](Net& n, Tensor f) {
         n.tap(torch::adaptive_avg_pool2d(f.mean(1, true), {2, 4}));
         return n.fc(n.truth.flatten(1));
       }},
      {"a Gram matrix",
       [](Net& n, Tensor f) {
         n.tap(f);
         const Tensor rows = f.flatten(2);
         return n.fc(rows.bmm(rows.transpose(1, 2)).flatten(1));
       },
       64},
      {"a Gram matrix of a map's rank",
       [](Net& n, Tensor f) {
         n.tap(f);
         const Tensor rows = f.flatten(2);
         const Tensor gram = rows.bmm(rows.transpose(1, 2)).unsqueeze(1);
         return n.fc(torch::relu(gram - 1).mean(3).flatten(1));
       }},
      {"Gram matrices of two groups",
       [](Net& n, Tensor f) {
         n.tap(f);
         const Tensor rows = f.view({f.size(0), 2, 4, -1});
         const Tensor gram = rows.matmul(rows.transpose(2, 3));
         return n.fc(torch::sigmoid(gram).mean(3).flatten(1));
       }},
      {"a 1-D convolution over the channels of a mean",
       [](Net& n, Tensor f) {
         n.tap(f);
         const Tensor kernel = n.mix->weight.narrow(0, 0, 1).narrow(1, 0, 3);
         const Tensor e = pooled(f).unsqueeze(1);
         return n.fc(
             torch::conv1d(e, kernel.unsqueeze(0), {}, 1, 1).squeeze(1));
       }},
      {"a 1-D convolution over pooled rows",
       [](Net& n, Tensor f) {
         n.tap(f);
         const Tensor two = torch::stack({pooled(f), f.amax({2, 3})}, 2);
         const Tensor kernel = n.mix->weight.unsqueeze(2);
         return n.fc(torch::conv1d(two, kernel).mean(2));
       }},
      {"attention pooling with one query",
       [](Net& n, Tensor f) {
         n.tap(f);
         const Tensor rows = f.flatten(2);
         const Tensor query = n.mix->weight.narrow(0, 0, 1);
         const Tensor weights = torch::softmax(query.matmul(rows), 2);
         return n.fc(rows.matmul(weights.transpose(1, 2)).squeeze(2));
       }},
      {"attention pooling by a 1 x 1 convolution",
       [](Net& n, Tensor f) {
         n.tap(f);
         const Tensor query =
             n.mix->weight.narrow(0, 0, 1).unsqueeze(2).unsqueeze(3);
         const Tensor weights =
             torch::softmax(torch::conv2d(f, query).flatten(2), 2);
         return n.fc((f.flatten(2) * weights).sum(2));
       }},
      {"a map that was shifted and not shifted back",
       [](Net& n, Tensor f) {
         n.tap(f);
         return n.fc(pooled(torch::relu(f.roll({1, 2}, {2, 3}) - .1)));
       }},
  };
}

/// An operator that the table does not have, between the convolution's map and
/// the mean. Each is right, or refused by the operator's name.
std::vector<std::pair<const char*, Case>> unknown_operators() {
  return {
      {"aten::cumsum",
       {"a running sum before the mean",
        [](Net& n, Tensor f) {
          n.tap(f);
          return n.fc(pooled(f.cumsum(2)));
        }}},
      {"aten::flip",
       {"mirrored before the mean",
        [](Net& n, Tensor f) {
          n.tap(f);
          return n.fc(pooled(f.flip({3})));
        }}},
      {"aten::fft",
       {"a Fourier transform before the mean",
        [](Net& n, Tensor f) {
          n.tap(f);
          return n.fc(pooled(torch::abs(torch::fft::fft2(f))));
        }}},
      {"aten::sort",
       {"sorted before the mean",
        [](Net& n, Tensor f) {
          n.tap(f);
          return n.fc(
              std::get<0>(f.flatten(2).sort(2)).narrow(2, 0, 4).mean(2));
        }}},
      {"aten::index_select",
       {"positions gathered before the mean",
        [](Net& n, Tensor f) {
          n.tap(f);
          return n.fc(
              f.flatten(2).index_select(2, torch::tensor({0, 3, 5})).mean(2));
        }}},
      {"aten::flip",
       {"a convolution of a mirrored map",
        [](Net& n, Tensor f) {
          return read_first(n, torch::relu(n.b(f.flip({2}))));
        }}},
  };
}

/// Networks whose logits come from tokens. There is no map that explains them.
std::vector<Case> tokens_to_logits() {
  return {
      {"attention pooling with heads and projections",
       [](Net& n, Tensor f) {
         const auto b = f.size(0);
         const Tensor t = f.flatten(2).transpose(1, 2);
         const auto parts =
             n.qkv(t).view({b, -1, 3, 2, 4}).permute({2, 0, 3, 1, 4}).unbind(0);
         const Tensor query = parts[0].mean(2, true);
         const Tensor weights =
             torch::softmax(query.matmul(parts[1].transpose(2, 3)), 3);
         return n.fc(weights.matmul(parts[2]).flatten(1));
       }},
      {"attention pooling with a query that is a parameter",
       [](Net& n, Tensor f) {
         const auto b = f.size(0);
         const Tensor t = f.flatten(2).transpose(1, 2);
         const Tensor k = n.mix(t).view({b, -1, 2, 4}).transpose(1, 2);
         const Tensor v = n.norm(t).view({b, -1, 2, 4}).transpose(1, 2);
         const Tensor query = n.qkv->bias.narrow(0, 0, 8).view({1, 2, 1, 4});
         const Tensor weights =
             torch::softmax((query * k).sum(3, true), 2).transpose(2, 3);
         return n.fc(weights.matmul(v).flatten(1));
       }},
      {"votes of capsules",
       [](Net& n, Tensor f) {
         const auto b = f.size(0);
         const Tensor capsules =
             f.permute({0, 2, 3, 1}).reshape({b, -1, 2, 1, 4});
         const Tensor votes =
             capsules.matmul(n.mix->weight.view({2, 4, 8})).squeeze(3);
         const Tensor routed = torch::softmax(votes.sum(3, true), 1) * votes;
         return n.fc(routed.sum({1, 2}));
       }},
      {"votes of capsules in a tensor of a map's rank",
       [](Net& n, Tensor f) {
         const Tensor capsules =
             f.view({f.size(0), 2, 4, -1}).permute({0, 3, 1, 2});
         const Tensor matrix = n.mix->weight.narrow(1, 0, 4).t();
         return n.fc(torch::tanh(capsules.matmul(matrix)).mean({1, 2}));
       }},
      {"tokens and a class token",
       [](Net& n, Tensor f) {
         const Tensor t = tokens_of(n, f);
         const Tensor first =
             n.mix->bias.view({1, 1, 8}).expand({f.size(0), 1, 8});
         const Tensor all = torch::cat({first, t}, 1);
         return n.fc((all + attend(n, all)).select(1, 0));
       }},
      {"a 1-D convolution over class tokens",
       [](Net& n, Tensor f) {
         const Tensor t = tokens_of(n, f);
         const Tensor first =
             n.mix->bias.view({1, 1, 8}).expand({f.size(0), 1, 8});
         const Tensor all = torch::cat({first, t}, 1);
         const Tensor one = (all + attend(n, all)).select(1, 0);
         const Tensor two = attend(n, all).select(1, 0);
         const Tensor both = torch::stack({one, two}, 1);
         const Tensor kernel = n.mix->weight.narrow(0, 0, 1).narrow(1, 0, 2);
         return n.fc(torch::conv1d(both, kernel.unsqueeze(2)).squeeze(1));
       }},
      {"a convolution of a Gram matrix",
       [](Net& n, Tensor f) {
         const Tensor rows = f.flatten(2);
         const Tensor gram = rows.bmm(rows.transpose(1, 2)).unsqueeze(1);
         const Tensor kernel = n.b->weight.narrow(1, 0, 1);
         return n.fc(pooled(torch::relu(torch::conv2d(gram, kernel))));
       }},
      {"the mean of tokens",
       [](Net& n, Tensor f) {
         return n.fc(torch::gelu(n.mix(tokens_of(n, f))).mean(1));
       }},
  };
}

/// Maps that are put together, in place or not.
std::vector<Case> assembled() {
  const auto put = [](const Tensor& to, int64_t dim, int64_t start,
                      const Tensor& from) {
    to.narrow(dim, start, from.size(dim)).copy_(from);
  };
  std::vector<Case> cases = {
      {"two branches copied into zeros",
       [=](Net& n, Tensor f) {
         auto to = torch::zeros(
             {f.size(0), 16, f.size(2), f.size(3)}, torch::kDouble);
         put(to, 1, 0, f);
         put(to, 1, 8, torch::relu(n.b(f)));
         return read_first(n, to);
       },
       16},
      {"two branches added to slices of zeros",
       [=](Net& n, Tensor f) {
         auto to = torch::zeros(
             {f.size(0), 16, f.size(2), f.size(3)}, torch::kDouble);
         to.narrow(1, 0, 8).add_(f);
         to.narrow(1, 8, 8).add_(torch::relu(n.b(f)));
         return read_first(n, to);
       },
       16},
      {"a part of the channels is replaced",
       [=](Net& n, Tensor f) {
         auto to = f.clone();
         put(to, 1, 2, torch::relu(n.b(f)).narrow(1, 0, 3));
         return read_first(n, to);
       }},
      {"a part of the channels is multiplied in place",
       [](Net& n, Tensor f) {
         auto to = n.b(f);
         to.narrow(1, 0, 4).mul_(f.narrow(1, 4, 4));
         return read_first(n, to);
       }},
      {"an index with slices on the left",
       [](Net& n, Tensor f) {
         auto to = torch::zeros_like(f);
         to.index_put_({Slice(), Slice(0, 4)}, f.index({Slice(), Slice(4, 8)}));
         to.index_put_({Slice(), Slice(4, 8)}, f.index({Slice(), Slice(0, 4)}));
         return read_first(n, to);
       }},
      {"channels last",
       [=](Net& n, Tensor f) {
         auto to =
             torch::zeros({f.size(0), f.size(2), f.size(3), 8}, torch::kDouble);
         put(to, 3, 0, f.permute({0, 2, 3, 1}).narrow(3, 0, 4));
         put(to, 3, 4,
             torch::relu(n.b(f)).permute({0, 2, 3, 1}).narrow(3, 4, 4));
         return read_last(n, to);
       }},
      {"a shift of channels in time",
       [](Net& n, Tensor f) {  // frames after each other in the batch
         const Tensor x = f.unsqueeze(0);
         auto to = torch::zeros_like(x);
         const auto t = x.size(1);
         to.narrow(2, 0, 2)
             .narrow(1, 0, t - 1)
             .copy_(x.narrow(2, 0, 2).narrow(1, 1, t - 1));
         to.narrow(2, 2, 2)
             .narrow(1, 1, t - 1)
             .copy_(x.narrow(2, 2, 2).narrow(1, 0, t - 1));
         to.narrow(2, 4, 4).copy_(x.narrow(2, 4, 4));
         return read_first(n, torch::relu(n.b(to.view(f.sizes()))));
       }},
      {"stacked and summed, as the first dimension",
       [](Net& n, Tensor f) {
         return read_first(n, torch::stack({f, torch::relu(n.b(f))}, 0).sum(0));
       }},
      {"stacked and averaged, as the second dimension",
       [](Net& n, Tensor f) {
         return read_first(
             n, torch::stack({f, torch::relu(n.b(f))}, 1).mean(1));
       }},
      {"stacked, the larger one, as the last dimension",
       [](Net& n, Tensor f) {
         return read_first(
             n, std::get<0>(torch::stack({f, n.b(f)}, -1).max(-1)));
       }},
      {"stacked with weights",
       [](Net& n, Tensor f) {
         const Tensor both = torch::stack({f, torch::relu(n.b(f))}, 1);
         const Tensor weights =
             torch::softmax(n.fc2(pooled(both.sum(1))).narrow(1, 0, 2), 1);
         return read_first(
             n, (both * weights.view({f.size(0), 2, 1, 1, 1})).sum(1));
       }},
  };
  for (const int64_t dim : {0, 1, 2, 3}) {
    static constexpr std::array<const char*, 4> kNames = {
        "halves of the batch", "halves of the channels", "halves of the rows",
        "halves of the columns"};
    const char* name = kNames[static_cast<size_t>(dim)];
    cases.push_back(
        {name, [=](Net& n, Tensor f) {
           auto to = torch::zeros_like(f);
           const auto half = f.size(dim) / 2;
           put(to, dim, 0, f.narrow(dim, 0, half));
           put(to, dim, half,
               torch::relu(n.b(f)).narrow(dim, half, f.size(dim) - half));
           return read_first(n, to);
         }});
  }
  return cases;
}

/// Further ways from tokens or parts to a map.
std::vector<Case> further_maps() {
  return {
      {"padded windows, cropped",
       [](Net& n, Tensor f) {
         const Tensor x = f.permute({0, 2, 3, 1});
         const auto h = x.size(1);
         const auto w = x.size(2);
         // One row and one column more than fit, so that there is a padding.
         const Tensor padded =
             torch::constant_pad_nd(n.norm(x), {0, 0, 0, 2, 0, 2});
         const Tensor y =
             attend(n, windows_of(padded.roll({-1, -1}, {1, 2}).contiguous()));
         const Tensor back = from_windows(y, h + 2, w + 2).roll({1, 1}, {1, 2});
         return read_last(n, x + back.narrow(1, 0, h).narrow(2, 0, w));
       }},
      {"padded windows, cropped, without a shortcut",
       [](Net& n, Tensor f) {
         const Tensor x = n.norm(f.permute({0, 2, 3, 1}));
         const Tensor padded = torch::constant_pad_nd(x, {0, 0, 0, 2, 0, 2});
         const Tensor y = from_windows(
             attend(n, windows_of(padded)), x.size(1) + 2, x.size(2) + 2);
         return read_last(
             n, n.mix(y.index(
                    {Slice(), Slice(0, x.size(1)), Slice(0, x.size(2))})));
       }},
      {"attention between channels",
       [](Net& n, Tensor f) {
         const Tensor t = tokens_of(n, f);
         const auto parts = n.qkv(t).chunk(3, 2);
         const Tensor weights =
             torch::softmax(parts[0].transpose(1, 2).matmul(parts[1]), 2);
         const Tensor y = parts[2].matmul(weights.transpose(1, 2));
         return read_first(n, y.transpose(1, 2).reshape(f.sizes()));
       }},
      {"attention with a local convolution of the values",
       [](Net& n, Tensor f) {
         const Tensor t = tokens_of(n, f);
         const Tensor v = n.mix(t);
         const Tensor local = torch::conv2d(
             v.transpose(1, 2).reshape(f.sizes()), n.b->weight, {}, 1, 1);
         const Tensor y = attend(n, t) + local.flatten(2).transpose(1, 2);
         return read_last(
             n, n.mix(y).view({f.size(0), f.size(2), f.size(3), 8}));
       }},
      {"a grid of tokens that are far from each other",
       [](Net& n, Tensor f) {  // MaxViT's grid attention
         const Tensor x = n.norm(f.permute({0, 2, 3, 1}));
         const auto b = x.size(0);
         const auto h = x.size(1) / 2;
         const auto w = x.size(2) / 2;
         const Tensor grid = x.view({b, 2, h, 2, w, 8})
                                 .permute({0, 2, 4, 1, 3, 5})
                                 .reshape({-1, 4, 8});
         const Tensor y = attend(n, grid)
                              .view({b, h, w, 2, 2, 8})
                              .permute({0, 3, 1, 4, 2, 5})
                              .reshape(x.sizes());
         return read_last(n, x + y);
       }},
      {"attention along each row, then along each column",
       [](Net& n, Tensor f) {
         const Tensor x = n.norm(f.permute({0, 2, 3, 1}));
         const Tensor rows =
             attend(n, x.reshape({-1, x.size(2), 8})).view(x.sizes());
         const Tensor turned = rows.transpose(1, 2).contiguous();
         const Tensor columns =
             attend(n, turned.view({-1, x.size(1), 8})).view(turned.sizes());
         return read_last(n, columns.transpose(1, 2));
       }},
      {"attention along each column, left with its columns first",
       [](Net& n, Tensor f) {
         const Tensor x = n.norm(f.permute({0, 3, 2, 1}));
         const Tensor columns =
             attend(n, x.reshape({-1, x.size(2), 8})).view(x.sizes());
         n.tap(columns, {0, 3, 2, 1});
         return n.fc(n.truth.mean({1, 2}));
       }},
      {"space moved to channels and back",
       [](Net& n, Tensor f) {
         const Tensor small = torch::pixel_unshuffle(f, 2);
         const Tensor mixed = small * torch::sigmoid(small);
         return read_first(n, torch::relu(torch::pixel_shuffle(mixed, 2)));
       }},
      {"tokens read back as a convolution's picture with channels last",
       [](Net& n, Tensor f) {
         const Tensor t = tokens_of(n, f).unflatten(1, {f.size(2), f.size(3)});
         return read_first(n, torch::relu(n.b(t.permute({0, 3, 1, 2}))));
       }},
      {"groups of channels shuffled in tokens",
       [](Net& n, Tensor f) {
         const Tensor t = tokens_of(n, f);
         const Tensor y = t.view({t.size(0), t.size(1), 2, 4})
                              .transpose(2, 3)
                              .reshape(t.sizes());
         return read_last(n, y.view({f.size(0), f.size(2), f.size(3), 8}));
       }},
      {"samples folded into one long batch and back",
       [](Net& n, Tensor f) {
         const Tensor flat = f.permute({0, 2, 3, 1}).reshape({-1, 8});
         return read_last(
             n, torch::relu(n.mix(flat))
                    .view({f.size(0), f.size(2), f.size(3), 8}));
       }},
  };
}

/// Maps in which two axes were confused. The convolution's map is still one.
std::vector<Case> contradictions() {
  return {
      {"a map and its transpose added",  // square maps alone
       [](Net& n, Tensor f) {
         n.tap(f);
         return n.fc(pooled(f + f.transpose(2, 3)));
       }},
      {"a map and its transpose next to each other",
       [](Net& n, Tensor f) {
         n.tap(f);
         return n.fc(pooled(torch::cat({f, f.transpose(2, 3)}, 1)));
       },
       16},
      {"a map times its transpose",
       [](Net& n, Tensor f) {
         n.tap(f);
         return n.fc(pooled(f.matmul(f.transpose(2, 3))));
       }},
      {"a map rolled and added to itself",
       [](Net& n, Tensor f) {
         n.tap(f);
         return n.fc(torch::relu(f * f.roll({1}, {2}) - .1).mean({2, 3}));
       }},
      {"a map without its first row",
       [](Net& n, Tensor f) {
         n.tap(f);
         return n.fc(pooled(f.narrow(2, 1, f.size(2) - 1)));
       }},
      {"a map without its last column",
       [](Net& n, Tensor f) {
         n.tap(f);
         return n.fc(pooled(f.narrow(3, 0, f.size(3) - 1)));
       }},
      {"the differences of neighbours",
       [](Net& n, Tensor f) {
         n.tap(f);
         return n.fc(
             (f.narrow(2, 1, f.size(2) - 1) - f.narrow(2, 0, f.size(2) - 1))
                 .abs()
                 .mean({2, 3}));
       }},
  };
}

/// Runs every case on every size. `check` gets the network and its pictures.
template <class Check>
void for_each(const std::vector<Case>& cases, const Check& check) {
  torch::manual_seed(15);
  for (const auto& [name, rest, width] : cases) {
    INFO(name);
    for (const auto& [size, batch, rows, columns] : sizes()) {
      INFO(size);
      auto tapped_net = net(rest, width);
      check(*tapped_net, pictures(batch, rows, columns));
    }
  }
}

}  // namespace

TEST_CASE("Tokens that become a map again keep their axes", "[hook]") {
  for_each(tokens_to_map(), [](Net& n, const Tensor& x) {
    const auto seen = check_network(n, x);
    CHECK(seen.exact);
    CHECK(seen.features.sizes() == n.truth.permute(n.order).sizes());
  });
}

TEST_CASE("Windows, grids and folds of a map keep its axes", "[hook]") {
  for_each(further_maps(), [](Net& n, const Tensor& x) {
    if (x.size(2) == 2) {
      return;  // half as many rows are a single one
    }
    const auto seen = check_network(n, x);
    CHECK(seen.exact);
    CHECK(seen.features.sizes() == n.truth.permute(n.order).sizes());
  });
}

TEST_CASE("A map whose axes meet others is read before that", "[hook]") {
  for_each(contradictions(), [](Net& n, const Tensor& x) {
    if (x.size(2) != x.size(3)) {
      return;
    }
    const auto seen = check_network(n, x);
    CHECK_FALSE(seen.exact);
    CHECK(seen.features.sizes() == n.truth.sizes());
  });
}

TEST_CASE("Maps of one position axis are followed", "[hook]") {
  const std::vector<Case> cases = {
      {"a 1-D convolution over averaged rows",
       [](Net& n, Tensor f) {
         const Tensor kernel = n.mix->weight.unsqueeze(2);
         n.tap(torch::relu(torch::conv1d(f.mean(2), kernel)), {0, 1, 2});
         return n.fc(n.truth.mean(2));
       }},
      {"a 1-D convolution, its channels last",
       [](Net& n, Tensor f) {
         const Tensor kernel = n.mix->weight.unsqueeze(2);
         const Tensor g = torch::conv1d(f.mean(3), kernel);
         n.tap(n.norm(g.transpose(1, 2)), {0, 2, 1});
         return n.fc(n.truth.mean(1));
       }},
      {"a 1-D convolution, the largest value",
       [](Net& n, Tensor f) {
         const Tensor kernel = n.mix->weight.unsqueeze(2);
         n.tap(torch::conv1d(f.mean(3), kernel), {0, 1, 2});
         return n.fc(n.truth.amax(2));
       }},
  };
  for_each(cases, [](Net& n, const Tensor& x) {
    const auto seen = check_network(n, x);
    CHECK(seen.features.sizes() == n.truth.permute(n.order).sizes());
  });
}

TEST_CASE("Maps of three position axes are followed", "[hook]") {
  Tensor video;  // [B, 3, 3, h, w]
  const auto convolved = [&video](Net& n) {
    return torch::relu(torch::conv3d(
        video, n.a->weight.unsqueeze(2), n.a->bias, 1, {0, 1, 1}));
  };
  const std::vector<Case> cases = {
      {"a 3-D convolution",
       [=](Net& n, Tensor) {
         n.tap(convolved(n), {0, 1, 2, 3, 4});
         return n.fc(n.truth.mean({2, 3, 4}));
       }},
      {"channels last",
       [=](Net& n, Tensor) {
         n.tap(n.norm(convolved(n).permute({0, 2, 3, 4, 1})), {0, 4, 1, 2, 3});
         return n.fc(n.truth.mean({1, 2, 3}));
       }},
      {"tokens of a video",
       [=](Net& n, Tensor) {
         const Tensor g = convolved(n);
         const Tensor t = n.norm(g.flatten(2).transpose(1, 2));
         n.tap(t.transpose(1, 2).reshape(g.sizes()), {0, 1, 2, 3, 4});
         return n.fc(n.truth.flatten(2).mean(2));
       }},
      {"the largest value of each frame",
       [=](Net& n, Tensor) {
         n.tap(convolved(n), {0, 1, 2, 3, 4});
         return n.fc(n.truth.amax({3, 4}).mean(2));
       }},
      {"frames averaged first",
       [=](Net& n, Tensor) {
         n.tap(convolved(n), {0, 1, 2, 3, 4});
         return n.fc(pooled(n.truth.mean(2)));
       }},
  };
  for_each(cases, [&](Net& n, const Tensor& x) {
    video = torch::stack({x, 2 * x, x.flip({3})}, 2);
    const auto seen = check_network(n, x);
    CHECK(seen.features.sizes() == n.truth.permute(n.order).sizes());
  });
}

TEST_CASE("Tokens read back in the wrong order are no map", "[hook][error]") {
  // [B, N, C] read as [B, C, h, w], without a transpose. (Of 8 rows, 8 columns
  // and 8 channels this is a map whose channels come last.)
  const std::vector<std::pair<int64_t, int64_t>> sizes = {
      {6, 4}, {4, 6}, {2, 4}, {4, 2}};
  for (const auto& [rows, columns] : sizes) {
    CAPTURE(rows, columns);
    auto wrong = net([](Net& n, Tensor f) {
      return n.fc(pooled(tokens_of(n, f).reshape(f.sizes())));
    });
    check_refused(
        *wrong, pictures(3, rows, columns), "the logits come from tokens");
    auto turned = net([](Net& n, Tensor f) {
      // Columns and rows exchanged: row-major order of another size.
      const Tensor t = tokens_of(n, f).transpose(1, 2);
      return n.fc(pooled(t.reshape({f.size(0), 8, f.size(3), f.size(2)})));
    });
    if (rows != columns) {
      check_refused(
          *turned, pictures(3, rows, columns), "the logits come from tokens");
    }
  }
}

TEST_CASE(
    "Tokens of one column are a map, whose channels come last", "[hook]") {
  // [B, 8, C] read as [B, 8, 8, 1]. What looks like a mean over positions is
  // one over channels.
  auto column = net([](Net& n, Tensor f) {
    const Tensor t = torch::relu(n.mix(f.flatten(2).transpose(1, 2)));
    n.tap(t.reshape(f.sizes()), {0, 2, 1, 3});
    return n.fc(pooled(n.truth));
  });
  CHECK_FALSE(check_network(*column, pictures(3, 8, 1)).exact);
}

TEST_CASE("Mixed positions are no map without a shortcut", "[hook][error]") {
  // As in MLP-Mixer, with 24 positions.
  const auto mix = [](Net& n, const Tensor& f) {
    const Tensor matrix = n.qkv->weight.mm(n.qkv->weight.t());  // [24, 24]
    return tokens_of(n, f).transpose(1, 2).matmul(matrix);
  };
  auto alone = net([=](Net& n, Tensor f) {
    return n.fc(pooled(mix(n, f).reshape(f.sizes())));
  });
  check_refused(*alone, pictures(), "the logits come from tokens");
  auto added = net([=](Net& n, Tensor f) {
    return read_first(n, f + mix(n, f).reshape(f.sizes()));
  });
  CHECK(check_network(*added, pictures()).exact);
}

TEST_CASE("A tensor of the rank of a map need not be one", "[hook]") {
  for_each(not_maps(), [](Net& n, const Tensor& x) {
    const auto seen = check_network(n, x);
    CHECK(seen.features.sizes() == n.truth.sizes());
  });
}

TEST_CASE(
    "What an unknown operator made is read right, or the operator is named",
    "[hook]") {
  for (const auto& [op, one] : unknown_operators()) {
    const char* name = op;
    for_each({one}, [&](Net& n, const Tensor& x) {
      cyborg::CamHook hook(n);
      const Tensor logits = hook.forward([&] { return n.forward(x); });
      if (hook.observation().defined()) {
        tapped::check_map(hook, n, logits);
      } else {
        INFO(hooked::printed(hook));
        CHECK(support::contains(hooked::printed(hook), name));
      }
    });
  }
}

TEST_CASE("A padding that only shifts a map is not that map", "[hook]") {
  torch::manual_seed(8);
  for (const std::vector<int64_t>& pads :
       {std::vector<int64_t>{2, -2}, {-1, 1}, {0, 0, 3, -3}, {1, -1, -2, 2}}) {
    auto one = net([&](Net& n, Tensor f) {
      return n.fc(pooled(torch::constant_pad_nd(n.tap(f), pads)));
    });
    cyborg::CamHook hook(*one);
    const Tensor logits =
        hook.forward([&] { return one->forward(pictures()); });
    if (hook.observation().defined()) {
      CHECK_FALSE(hook.observation().exact);
      tapped::check_map(hook, *one, logits);
    } else {
      CHECK(support::contains(hooked::printed(hook), "positions of the map"));
    }
  }
  // One that adds nothing is a copy.
  auto copied = net([](Net& n, Tensor f) {
    return n.fc(pooled(n.tap(torch::constant_pad_nd(f, {0, 0, 0, 0}))));
  });
  CHECK(check_network(*copied, pictures()).exact);
}

TEST_CASE("Tokens that become logits are refused", "[hook][error]") {
  for_each(tokens_to_logits(), [](Net& n, const Tensor& x) {
    check_refused(n, x, "the logits come from tokens");
  });
}

TEST_CASE("Maps that are put together in place are followed", "[hook]") {
  for_each(assembled(), [](Net& n, const Tensor& x) {
    if (x.size(2) == 2) {
      return;  // a half is a single row, see below
    }
    const auto seen = check_network(n, x);
    CHECK(seen.exact);
    CHECK(seen.features.sizes() == n.truth.permute(n.order).sizes());
  });
}

TEST_CASE("Single rows put together are right or refused", "[hook][error]") {
  for_each(assembled(), [](Net& n, const Tensor& x) {
    cyborg::CamHook hook(n);
    const Tensor logits = hook.forward([&] { return n.forward(x); });
    if (hook.observation().defined()) {
      tapped::check_map(hook, n, logits);
    } else {
      INFO(hooked::printed(hook));
      CHECK(x.size(2) == 2);
      CHECK(support::contains(
          hooked::printed(hook), "the logits come from 2 maps"));
    }
  });
}

TEST_CASE("Rows taken in turn from two maps are refused", "[hook][error]") {
  auto turns = net([](Net& n, Tensor f) {
    auto to = torch::zeros_like(f);
    const Tensor other = torch::relu(n.b(f));
    for (const int64_t start : {0, 1}) {
      const auto rows = Slice(start, None, 2);
      to.index_put_(
          {Slice(), Slice(), rows},
          (start == 0 ? f : other).index({Slice(), Slice(), rows}));
    }
    return n.fc(pooled(to));
  });
  check_refused(*turns, pictures(), "the logits come from 2 maps");
}

TEST_CASE("A map copied into every second row of zeros is followed", "[hook]") {
  for_each(
      {{"every second row",
        [](Net& n, Tensor f) {
          auto to = torch::zeros(
              {f.size(0), 8, 2 * f.size(2), f.size(3)}, torch::kDouble);
          to.index_put_({Slice(), Slice(), Slice(0, None, 2)}, n.tap(f));
          return n.fc(pooled(to));
        }}},
      [](Net& n, const Tensor& x) { check_network(n, x); });
}

TEST_CASE("A convolution over channels and columns makes no map", "[hook]") {
  auto turned = net([](Net& n, Tensor f) {
    return n.fc(pooled(torch::relu(n.b(f.permute({0, 2, 1, 3})))));
  });
  check_refused(*turned, pictures(3, 8, 4), "the logits come from tokens");
}

TEST_CASE("A map overwritten in part after it was read is refused", "[hook]") {
  auto overwritten = net([](Net& n, Tensor f) {
    const Tensor e = pooled(f);
    f.narrow(1, 0, 4).mul_(2);
    return n.fc(e);
  });
  check_refused(
      *overwritten, pictures(),
      "the map [2, 8, 6, 4] that aten::mean collapsed was overwritten by an "
      "in-place operator");
}

}  // namespace axes_test
