// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a network's output is added to (spec §2.4).
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/model/matrices.h"

#include <ATen/core/Tensor.h>

#include <memory>

namespace gradwind::model
{

/// Made of the network's input; prognostic columns of the output are added to those of its result.
class Residual
{
public:
    virtual ~Residual() = default;
    /// @param x [batch, n_step_input, ensemble, n_nodes, n_input]
    /// @return [batch, 1, ensemble, n_nodes, n_input], the same for every output step
    [[nodiscard]] virtual at::Tensor forward(const at::Tensor& x) = 0;
};

/// One of the input steps.
class SkipConnection : public Residual
{
public:
    /// @param step counts from the end if negative
    explicit SkipConnection(int64_t step) : step_(step) {}
    [[nodiscard]] at::Tensor forward(const at::Tensor& x) override;

private:
    int64_t step_;
};

/// The last input step, taken to a coarse grid and back.
class TruncatedConnection : public Residual
{
public:
    TruncatedConnection(const grid::SparseMatrix& down, const grid::SparseMatrix& up);
    [[nodiscard]] at::Tensor forward(const at::Tensor& x) override;

private:
    ops::Projection down_, up_;
};

/// @param section of the residual; nothing: the last input step
/// @param n_nodes of the data
/// @throws ConfigError naming the key that cannot be
[[nodiscard]] std::unique_ptr<Residual> build_residual(const std::optional<Config>& section, int64_t n_step_input,
                                                       int64_t n_nodes, const MatrixSources& sources);

} // namespace gradwind::model
