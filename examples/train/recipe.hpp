// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// From settings to the parts of a training: optimizer, learning rate.

#include "../common/settings.hpp"

#include <cyborg/data/table_types.hpp>
#include <cyborg/train/schedule.hpp>

#include <torch/optim/optimizer.h>
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace programs {

std::unique_ptr<torch::optim::Optimizer> make_optimizer(
    const Settings& settings, std::vector<torch::Tensor> parameters);

/// The options of `cyborg::train::learning_rate`.
cyborg::train::ScheduleOptions schedule_options(const Settings& settings);

/// The seed of the order of the pictures. The demo's network gets the demo's
/// own order, so that a training of the demo can be repeated.
uint64_t picture_order_seed(const Settings& settings);

/// Sets the weights of training pictures in the loss, as `settings` say.
/// Throws: `std::invalid_argument` where the columns that are needed are empty.
void set_sample_weights(
    std::vector<cyborg::data::Row>& rows, const Settings& settings);

/// The weights with which `settings.sampler` draws these pictures; empty where
/// each comes once.
std::vector<double> sampler_weights(
    const std::vector<cyborg::data::Row>& rows, const Settings& settings);

}  // namespace programs
