// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Every public header, except those that not every LibTorch can compile:
// <cyborg/train/data_parallel.hpp> needs LibTorch 2.1, <cyborg/train/gloo.hpp>
// and <cyborg/train/nccl.hpp> need c10d. A program of several processes
// includes all three with <cyborg/train/distributed.hpp>.
//
// Programs compile faster with <cyborg/loss.hpp> and the other headers that
// they use. data/ and report/ need stb; the rest needs LibTorch only.

#include <cyborg/cam/cam_method.hpp>
#include <cyborg/cam/gradient_methods.hpp>
#include <cyborg/cam/head.hpp>
#include <cyborg/cam/hook.hpp>
#include <cyborg/cam/methods.hpp>
#include <cyborg/cam/observation.hpp>
#include <cyborg/cam/rise.hpp>
#include <cyborg/data/annotation.hpp>
#include <cyborg/data/attach_annotations.hpp>
#include <cyborg/data/augment.hpp>
#include <cyborg/data/class_signs.hpp>
#include <cyborg/data/dataset.hpp>
#include <cyborg/data/draw_annotation.hpp>
#include <cyborg/data/example.hpp>
#include <cyborg/data/file_check.hpp>
#include <cyborg/data/fixations.hpp>
#include <cyborg/data/header_check.hpp>
#include <cyborg/data/header_problems.hpp>
#include <cyborg/data/image.hpp>
#include <cyborg/data/picture_check.hpp>
#include <cyborg/data/picture_findings.hpp>
#include <cyborg/data/picture_format.hpp>
#include <cyborg/data/picture_header.hpp>
#include <cyborg/data/picture_look.hpp>
#include <cyborg/data/picture_options.hpp>
#include <cyborg/data/prefetch.hpp>
#include <cyborg/data/read_map.hpp>
#include <cyborg/data/same_files.hpp>
#include <cyborg/data/splits.hpp>
#include <cyborg/data/table.hpp>
#include <cyborg/data/table_headers.hpp>
#include <cyborg/data/table_types.hpp>
#include <cyborg/data/window.hpp>
#include <cyborg/data/with_maps.hpp>
#include <cyborg/guide/batch.hpp>
#include <cyborg/guide/blend_choices.hpp>
#include <cyborg/guide/distances.hpp>
#include <cyborg/guide/entropy.hpp>
#include <cyborg/guide/evaluation_norms.hpp>
#include <cyborg/guide/guidance.hpp>
#include <cyborg/guide/harmonize.hpp>
#include <cyborg/guide/perturb.hpp>
#include <cyborg/guide/reduction.hpp>
#include <cyborg/guide/right_reasons.hpp>
#include <cyborg/guide/saliency_guided.hpp>
#include <cyborg/guide/saliency_term.hpp>
#include <cyborg/guide/sample_weights.hpp>
#include <cyborg/guide/seen.hpp>
#include <cyborg/guide/task.hpp>
#include <cyborg/guide/ternary.hpp>
#include <cyborg/human/annotations.hpp>
#include <cyborg/human/changed_pictures.hpp>
#include <cyborg/human/controls.hpp>
#include <cyborg/human/draw.hpp>
#include <cyborg/human/gaussian_width.hpp>
#include <cyborg/human/granularity.hpp>
#include <cyborg/human/maps.hpp>
#include <cyborg/human/published.hpp>
#include <cyborg/io/checksum.hpp>
#include <cyborg/io/csv.hpp>
#include <cyborg/io/file.hpp>
#include <cyborg/io/text.hpp>
#include <cyborg/jit.hpp>
#include <cyborg/loss.hpp>
#include <cyborg/maps/normalize.hpp>
#include <cyborg/maps/resize.hpp>
#include <cyborg/measure/attack_detection.hpp>
#include <cyborg/measure/detection.hpp>
#include <cyborg/measure/overlap.hpp>
#include <cyborg/measure/roc.hpp>
#include <cyborg/measure/saliency.hpp>
#include <cyborg/measure/statistics.hpp>
#include <cyborg/measure/wrong_reason.hpp>
#include <cyborg/report/contact_sheet.hpp>
#include <cyborg/report/event_file.hpp>
#include <cyborg/report/overlay.hpp>
#include <cyborg/train/checkpoint.hpp>
#include <cyborg/train/group.hpp>
#include <cyborg/train/optimizer_state.hpp>
#include <cyborg/train/schedule.hpp>
#include <cyborg/train/state.hpp>
#include <cyborg/train/sync_batch_norm.hpp>
#include <cyborg/train/transport.hpp>
#include <cyborg/train/whole_batch.hpp>
#include <cyborg/train/world.hpp>
#include <cyborg/version.hpp>
