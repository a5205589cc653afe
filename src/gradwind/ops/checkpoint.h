// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Parts of a network whose intermediate values are recomputed in backward instead of kept.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace gradwind::ops
{

enum class Intermediates { Keep, Recompute };

using TensorFunction = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>& inputs)>;

/// Runs `function(inputs)` as one node of the gradient graph.
///
/// Both modes give the same bits, also where inputs or parameters are used several times. Recompute keeps only the
/// inputs and runs the function a second time in backward, under the autocast state of the first. Without gradients it
/// only calls it.
///
/// Parameters receive their gradients while the region's backward runs, as soon as each is known: they never exist all
/// at once beside the tensors they are added to, and whoever waits for them need not wait for the region's end.
///
/// @param function must be deterministic and must not keep the tensors it is given
/// @param inputs tensors that the function receives, at least one; those with gradients get them
/// @param parameters leaves that the function uses by itself
/// @gradient by backward() only, which adds to leaves: a call that asks for gradients of chosen tensors gets none of
/// the parameters; once, the region cannot be differentiated a second time
[[nodiscard]] std::vector<at::Tensor> region(Intermediates mode, const TensorFunction& function,
                                             const std::vector<at::Tensor>& inputs,
                                             const std::vector<at::Tensor>& parameters);

} // namespace gradwind::ops
