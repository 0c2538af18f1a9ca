// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Random numbers of one's own: each purpose has a sequence that depends on the
// seed alone. LibTorch's global generator is shared by all threads and all
// code; nothing here reads it or changes it.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Generator.h>

#include <cstdint>

namespace programs {

/// What the demo's trainings draw random numbers for. `train --network demo`
/// draws the same ones, so that it can repeat a training of the demo. Smaller
/// numbers belong to the demo's pictures.
enum RandomPurpose : uint64_t {
  kInitialWeights = 1000,
  kPictureOrder,
  kControlMaps,
};

/// The seed of the sequence for a purpose. Sequences of different seeds and
/// purposes differ.
inline uint64_t sequence_seed(uint64_t seed, uint64_t purpose) {
  return seed * 1000003ULL + purpose * 7919ULL + 1;  // both factors are prime
}

/// A generator at the beginning of that sequence.
inline at::Generator random_generator(uint64_t seed, uint64_t purpose) {
  return at::make_generator<at::CPUGeneratorImpl>(sequence_seed(seed, purpose));
}

}  // namespace programs
