// SPDX-License-Identifier: BSD-3-Clause
#include "digits.hpp"

#include <cyborg/data/image.hpp>
#include <cyborg/io/file.hpp>

#include <cstdint>
#include <vector>

namespace programs {

namespace {
constexpr int64_t kCell = 8;  // pixels
constexpr int64_t kCount = 1797;
}  // namespace

torch::Tensor read_digits(const std::filesystem::path& folder) {
  const auto sheet = folder / "digits.png";
  const auto image =
      cyborg::data::read_image(sheet, cyborg::data::ImageOptions().channels(1));
  const auto cells = image[0]
                         .unfold(0, kCell, kCell)
                         .unfold(1, kCell, kCell)  // [rows, columns, 8, 8]
                         .reshape({-1, 1, kCell, kCell})
                         .slice(/*dim=*/0, 0, kCount);
  TORCH_CHECK(
      cells.size(0) == kCount, "expected ", kCount, " digits in '",
      sheet.string(), "', got ", cells.size(0));
  return cells * (255.0 / 240.0);  // the sheet holds 15 times 0 ... 16
}

torch::Tensor read_digit_labels(const std::filesystem::path& folder) {
  const auto file = folder / "digits_labels.txt";
  std::vector<int64_t> labels;
  for (const char c :
       cyborg::io::read_file(file, 1 << 20, "read_digit_labels")) {
    if (c >= '0' && c <= '9') {
      labels.push_back(c - '0');
    }
  }
  TORCH_CHECK(
      static_cast<int64_t>(labels.size()) == kCount, "expected ", kCount,
      " labels in '", file.string(), "', got ", labels.size());
  return torch::tensor(labels, torch::kLong);
}

}  // namespace programs
