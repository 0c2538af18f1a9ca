// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The table of operators: what each one does to the axes of what it reads.
//
// An operator is known by the name of the node that it leaves on the autograd
// graph ("MeanBackward1"), without "Backward" and what follows. Composite
// operators need no row: `einsum` leaves the nodes of its permutes, reshapes
// and products, `adaptive_avg_pool2d(1)` that of a mean. An operator without a
// row makes all axes unknown, and an unknown map is rejected, never guessed.
// docs/hook.md explains the rows.

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <unordered_map>

namespace cyborg::detail {

/// What an operator does to axes. `axes_after` carries it out.
enum class Rule : uint8_t {
  kElementwise,  // operands of one shape, up to dimensions of size 1
  kFirst,        // as its first operand: norms, whose others are parameters
  kCopy,         // as its second operand: x.copy_(y)
  kReorder,      // other order of the dimensions: found by their strides
  kReshape,      // the same values in row-major order
  kExpand,       // dimensions of size 1 repeated
  kAsStrided,    // any view: dimensions are found by their strides
  kSlice,        // a range of one dimension, or several parts (split)
  kSelect,       // one dimension less (select, unbind)
  kCat,          // one dimension longer
  kStack,        // one dimension more
  kReduce,       // dimensions collapsed (mean, sum, max, norm ...)
  kPool,         // windows: fewer positions along each axis
  kResize,       // other sizes along axes that stay (padding, upsampling)
  kRoll,         // positions shifted around the border
  kConvolution,  // a new map, whose positions lie as those of its input
  kProduct,      // matrix products: rows of one, columns of the other
  kAttention,    // softmax(q k^T) v: rows of q, columns of v
  kUnknown
};

/// The name of a node without namespace and without "Backward0".
inline std::string_view base_name(std::string_view node_name) {
  constexpr std::string_view kSpace = "torch::autograd::";
  if (node_name.substr(0, kSpace.size()) == kSpace) {
    node_name.remove_prefix(kSpace.size());
  }
  return node_name.substr(0, node_name.find("Backward"));
}

/// The rows of the table, by `base_name`.
inline const std::unordered_map<std::string_view, Rule>& rules() {
  static const auto kTable = [] {
    std::unordered_map<std::string_view, Rule> table;
    const auto add = [&](Rule rule, auto... names) {
      (table.emplace(std::string_view(names), rule), ...);
    };
    // Arithmetic, activations, casts, dropout.
    add(Rule::kElementwise, "Add", "Sub", "Rsub", "Mul", "Div", "Neg", "Pow",
        "Sqrt", "Rsqrt", "Reciprocal", "Square", "Abs", "Exp", "Exp2", "Expm1",
        "Log", "Log1P", "Log2", "Log10", "Sign", "Sin", "Cos", "Tanh", "Erf",
        "Atan", "Sigmoid", "LogSigmoid", "Relu", "Relu6", "LeakyRelu",
        "PreluKernel", "Prelu", "RreluWithNoise", "Elu", "Celu", "Selu", "Gelu",
        "Silu", "Mish", "Softplus", "Softshrink", "Hardshrink", "Hardtanh",
        "Hardswish", "Hardsigmoid", "Threshold", "Clamp", "ClampMin",
        "ClampMax", "Maximum", "Minimum", "Where", "Lerp", "Addcmul", "Addcdiv",
        "MaskedFill", "Xlogy", "NanToNum", "Softmax", "LogSoftmax",
        "SafeSoftmax", "MaskedSoftmax", "NativeDropout", "FusedDropout",
        "ToCopy", "ToDense", "ToMkldnn", "Clone", "LazyClone", "Alias", "Lift",
        "LiftFresh", "Floor", "Round", "Ceil", "Frac", "Trunc", "Remainder",
        "Fmod", "Fmax", "Fmin", "Sgn", "Acos", "Asin", "Tan", "Cosh", "Sinh",
        "Acosh", "Asinh", "Atanh", "Atan2", "Erfc", "Erfinv", "Logit",
        "Logaddexp", "Logaddexp2", "Hypot", "Sinc", "NegView", "Conj", "Tril",
        "Triu");
    add(Rule::kFirst, "NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm",
        "NativeLayerNorm", "NativeGroupNorm", "FusedRmsNorm", "BatchNorm",
        "BatchNormWithUpdate", "BatchNormNoUpdate", "NativeBatchNormLegit",
        "NativeBatchNormLegitNoTraining", "ChannelShuffle",
        "FakeQuantizePerTensorAffineCachemask",
        "FakeQuantizePerChannelAffineCachemask");
    add(Rule::kCopy, "Copy");  // the node is CopyBackwards
    // Views.
    add(Rule::kReorder, "Permute", "Transpose", "T");
    add(Rule::kReshape, "View", "UnsafeView", "ReshapeAlias", "ReshapeCopy",
        "Unsqueeze", "Squeeze", "MkldnnReshape");
    add(Rule::kExpand, "Expand");
    add(Rule::kAsStrided, "AsStrided");
    add(Rule::kSlice, "Slice", "Split", "SplitWithSizes", "UnsafeSplit",
        "UnsafeSplitWithSizes", "Chunk", "NarrowCopy");
    add(Rule::kSelect, "Select", "Unbind");
    add(Rule::kCat, "Cat");
    add(Rule::kStack, "Stack");
    // What takes positions away, or adds some.
    add(Rule::kReduce, "Mean", "Sum", "Nansum", "Amax", "Amin", "Max", "Min",
        "Logsumexp", "Norm", "LinalgVectorNorm", "Var", "Std", "VarMean",
        "StdMean", "Median", "Nanmedian", "Mode", "Prod");
    add(Rule::kPool, "AvgPool2D", "AvgPool3D", "MaxPool2DWithIndices",
        "MaxPool3DWithIndices", "AdaptiveAvgPool2D", "AdaptiveAvgPool3D",
        "AdaptiveMaxPool2D", "AdaptiveMaxPool3D", "MkldnnAdaptiveAvgPool2D",
        "MkldnnMaxPool2D", "MkldnnMaxPool3D", "FractionalMaxPool2D",
        "FractionalMaxPool3D", "MaxPool2D");
    add(Rule::kResize, "ConstantPadNd", "ReflectionPad1D", "ReflectionPad2D",
        "ReflectionPad3D", "ReplicationPad1D", "ReplicationPad2D",
        "ReplicationPad3D", "UpsampleNearest1D", "UpsampleNearest2D",
        "UpsampleNearest3D", "UpsampleNearestExact1D", "UpsampleNearestExact2D",
        "UpsampleNearestExact3D", "UpsampleLinear1D", "UpsampleBilinear2D",
        "UpsampleBilinear2DAa", "UpsampleBicubic2D", "UpsampleBicubic2DAa",
        "UpsampleTrilinear3D", "PixelShuffle", "PixelUnshuffle", "Glu");
    add(Rule::kRoll, "Roll");
    // Sums of products.
    add(Rule::kProduct, "Mm", "Addmm", "Bmm", "Baddbmm", "Linear",
        "MkldnnLinear", "Mv", "Addmv");
    return table;
  }();
  return kTable;
}

/// The rule for the node of this name.
inline Rule rule_of(std::string_view node_name) {
  const auto name = base_name(node_name);
  const auto& table = rules();
  if (const auto found = table.find(name); found != table.end()) {
    return found->second;
  }
  const auto holds = [&](std::string_view part) {
    return name.find(part) != std::string_view::npos;
  };
  if (holds("Conv") && !holds("Convert")) {  // each library has its own name
    return Rule::kConvolution;
  }
  if (holds("Attention")) {  // one for each way to compute it
    return Rule::kAttention;
  }
  return Rule::kUnknown;
}

/// Which operands of a product are the matrices: after the summand of
/// `addmm`, else the first two.
inline size_t first_matrix(std::string_view node_name) {
  const auto name = base_name(node_name);
  return name == "Addmm" || name == "Baddbmm" || name == "Addmv" ? 1 : 0;
}

/// Operators that can be the mean over all positions: by the names of nodes.
inline bool is_average(std::string_view node_name) {
  static constexpr std::array<std::string_view, 6> kNames = {
      "Mean",      "AdaptiveAvgPool2D", "AdaptiveAvgPool3D",
      "AvgPool2D", "AvgPool3D",         "MkldnnAdaptiveAvgPool2D"};
  const auto name = base_name(node_name);
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

/// Operators that pass each value on, or drop it in training: dropout and
/// casts. A head that reads the mean through one of these still counts as
/// linear in it. Dropout is a product with a mask on the graph, so it is known
/// by the name `op` under which the operator reports itself.
inline bool passes_on(std::string_view op, std::string_view node_name) {
  static constexpr std::array<std::string_view, 4> kOperators = {
      "aten::dropout", "aten::dropout_", "aten::feature_dropout",
      "aten::feature_dropout_"};
  static constexpr std::array<std::string_view, 6> kNodes = {
      "ToCopy", "Clone", "LazyClone", "Alias", "NativeDropout", "FusedDropout"};
  const auto among = [](const auto& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  return among(kOperators, op) || among(kNodes, base_name(node_name));
}

}  // namespace cyborg::detail
