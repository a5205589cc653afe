// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// All parameters of a model in one flat tensor, all gradients in another, in the same order.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace gradwind::parallel
{

struct NamedParameter {
    std::string name;
    at::Tensor tensor;
};

/// Where a parameter and its gradient lie in the flat tensors; in elements.
struct Slice {
    std::string name;
    int64_t offset = 0;
    int64_t numel = 0;
    std::vector<int64_t> shape;
    [[nodiscard]] int64_t end() const { return offset + numel; }
};

/// Puts slices one after another as an Arena does: sets their offsets. @return length of the arena, in elements
/// @param granule_bytes  the length is a multiple of this
[[nodiscard]] int64_t place_slices(std::vector<Slice>& slices, int64_t element_bytes, int64_t granule_bytes);

/// Re-points parameters at slices of one flat tensor, and their gradients at the same slices of another.
///
/// Slices begin at multiples of 256 bytes; the gaps hold zeros. Whoever keeps a data pointer of a parameter, or a
/// tensor made from it without autograd, has to fetch it again after lay_out().
class Arena
{
public:
    /// @param granule_bytes  the arena's length is a multiple of this, itself a multiple of 256
    /// @throws ConfigError unless all parameters are different leaves that require gradients, of one dtype and device
    explicit Arena(std::vector<NamedParameter> parameters, int64_t granule_bytes = 256);

    /// Puts parameters and gradients, with their values, in a new order: order[k] is the index (in the order given to
    /// the constructor) of the parameter at place k.
    void lay_out(const std::vector<size_t>& order);

    [[nodiscard]] const std::vector<NamedParameter>& parameters() const { return parameters_; }
    [[nodiscard]] const std::vector<size_t>& order() const { return order_; }
    /// In the order of the arena.
    [[nodiscard]] const std::vector<Slice>& slices() const { return slices_; }
    [[nodiscard]] const at::Tensor& values() const { return values_; }
    [[nodiscard]] const at::Tensor& gradients() const { return gradients_; }
    [[nodiscard]] int64_t numel() const { return values_.numel(); }
    [[nodiscard]] int64_t element_bytes() const { return static_cast<int64_t>(values_.element_size()); }

    /// Whether .grad of a parameter (by the constructor's order) is its slice still.
    [[nodiscard]] bool has_gradient_view(size_t index) const
    {
        return parameters_[index].tensor.grad().is_same(gradient_views_[index]);
    }
    /// What it should be.
    [[nodiscard]] const at::Tensor& gradient_view(size_t index) const { return gradient_views_[index]; }
    /// Points .grad of every parameter at its slice again, where somebody replaced it.
    void restore_gradient_views();
    /// One pass over the gradients.
    void zero_gradients();

private:
    std::vector<NamedParameter> parameters_;
    int64_t granule_bytes_;
    std::vector<size_t> order_;
    std::vector<Slice> slices_;
    std::vector<at::Tensor> gradient_views_; ///< by parameter
    at::Tensor values_, gradients_;
};

/// A flat tensor in the order of `to`, with the values that `flat` holds in the order of `from` (an optimiser's moments
/// after the arena was laid out anew). Gaps become zero. @throws ShapeError if the slices are not of the same tensors
[[nodiscard]] at::Tensor rearrange(const at::Tensor& flat, std::span<const Slice> from, std::span<const Slice> to);

} // namespace gradwind::parallel
