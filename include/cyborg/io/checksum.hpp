// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

// Checksums of bytes. They find damage, and show that two contents differ. None
// of them protects against an attacker, who can make contents of equal
// checksum.

namespace cyborg::io {

namespace detail {

/// A cyclic redundancy check of 32 bits, as PNG and iSCSI use it: the bits are
/// reflected, the register begins with all ones, and the result is its
/// complement. `kPolynomial` is reflected, too. The table of a polynomial is
/// made at the first call.
template <uint32_t kPolynomial>
uint32_t reflected_crc(std::string_view bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> entries{};
    for (uint32_t n = 0; n < 256; ++n) {
      uint32_t entry = n;
      for (int bit = 0; bit < 8; ++bit) {
        entry = (entry & 1U) != 0 ? kPolynomial ^ (entry >> 1) : entry >> 1;
      }
      entries[n] = entry;
    }
    return entries;
  }();
  uint32_t crc = 0xFFFFFFFFU;
  for (const char c : bytes) {
    crc = table[(crc ^ static_cast<unsigned char>(c)) & 0xFFU] ^ (crc >> 8);
  }
  return crc ^ 0xFFFFFFFFU;
}

}  // namespace detail

/// CRC-32, the checksum of PNG chunks and of zip files.
///
/// Source: ISO 3309, polynomial 0x04C11DB7.
/// Example:
///     cyborg::io::crc32("123456789");  // 0xCBF43926
inline uint32_t crc32(std::string_view bytes) {
  return detail::reflected_crc<0xEDB88320U>(bytes);
}

/// CRC-32C (Castagnoli), the checksum of TensorBoard's event files.
///
/// Source: RFC 3720, polynomial 0x1EDC6F41.
/// Example:
///     cyborg::io::crc32c("123456789");  // 0xE3069283
inline uint32_t crc32c(std::string_view bytes) {
  return detail::reflected_crc<0x82F63B78U>(bytes);
}

/// The hash with which `fnv1a` begins, and so its value for no bytes.
inline constexpr uint64_t kFnv1aBasis = 0xCBF29CE484222325ULL;

/// FNV-1a of 64 bits, a fast hash. Equal bytes have equal hashes, and different
/// bytes have different hashes in practice. To hash several pieces one after
/// the other, pass the hash of the pieces before.
///
/// Source: Fowler, Noll and Vo, IETF draft draft-eastlake-fnv.
/// Example:
///     auto hash = cyborg::io::fnv1a(name);
///     hash = cyborg::io::fnv1a(content, hash);
inline uint64_t fnv1a(std::string_view bytes, uint64_t hash = kFnv1aBasis) {
  for (const char c : bytes) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  }
  return hash;
}

}  // namespace cyborg::io
