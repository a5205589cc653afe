// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Faults of distributed training, to be planted in one process of a layout.
#pragma once
#include "gradwind/train/step_hooks.h"

#include <memory>
#include <string>

namespace gradwind::verify
{

/// The tensor that faults of one tensor are about.
inline constexpr const char* kFaultTensor = "encoder.0.emb_edges.mlp.2.weight";

/// @param name  of a fault; empty: none
[[nodiscard]] std::unique_ptr<train::StepHooks> make_fault(const std::string& name);

} // namespace gradwind::verify
