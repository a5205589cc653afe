// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What compression of gradients keeps between steps, in and out of a checkpoint.
#pragma once
#include "gradwind/parallel/gradient_engine.h"
#include "gradwind/train/checkpoint.h"

#include <nlohmann/json_fwd.hpp>

namespace gradwind::train
{

/// Factors, and the errors of all ranks: as many copies of the gradients as there are ranks, gathered on rank 0, which
/// returns them on the CPU; the others return nothing. Empty without compression.
/// @collective one gather per compressed parameter
[[nodiscard]] NamedTensors gather_compression(const parallel::GradientEngine& engine, const parallel::Group& world);

/// Numbers that belong to them, for `state.json`.
[[nodiscard]] nlohmann::json compression_to_json(const parallel::GradientEngine& engine, const parallel::Group& world);

/// An optimiser's tensors and places for what `optimizer.safetensors` holds of compression besides.
[[nodiscard]] NamedTensors with_compression(const Checkpoint& checkpoint, NamedTensors optimizer);

/// Puts an engine that was made with the checkpoint's order where the run stood. On as many ranks as before every rank
/// has its own errors again, bit for bit; on another number each has an equal share of their sum, so nothing is lost.
/// @throws CheckpointError if the checkpoint was made with another rank of factors or other parameters
void restore_compression(const Checkpoint& checkpoint, parallel::GradientEngine& engine, const parallel::Group& world);

} // namespace gradwind::train
