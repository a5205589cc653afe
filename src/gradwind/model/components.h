// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What an encoder-processor-decoder network is put together from; one implementation per kind of layer.
#pragma once
#include "gradwind/model/graph_inputs.h"
#include "gradwind/model/layers.h"
#include "gradwind/ops/checkpoint.h"

#include <torch/nn/module.h>

namespace gradwind::model
{

/// What a part of a shared model exchanges in one forward pass; backward sends as much back.
struct SharedWork {
    int64_t halo_columns = 0;   ///< of an exchanged row
    int64_t halo_exchanges = 1; ///< over the part's edges
};

/// Maps one node set onto another; encoder and decoder are of this type.
class Mapper : public torch::nn::Module
{
public:
    struct Result {
        at::Tensor src; ///< the source nodes as the decoder will see them; undefined for a decoder
        at::Tensor dst; ///< latent of an encoder, output columns of a decoder
    };
    /// @param src [copies * n_src, src_width], @param dst [copies * n_dst, dst_width]
    [[nodiscard]] virtual Result forward(const at::Tensor& src, const at::Tensor& dst, const EdgeInputs& edges) = 0;
    [[nodiscard]] virtual int64_t num_chunks() const = 0;
    /// Nothing: this part cannot be shared by several processes.
    [[nodiscard]] virtual std::optional<SharedWork> shared_work() const { return std::nullopt; }
    virtual void draw(UniformStream& stream) = 0;
};

/// Updates the latent on the hidden nodes.
class Processor : public torch::nn::Module
{
public:
    /// @param x [copies * n_hidden, channels]
    /// @param edges between the hidden nodes; without chunks where the graph has none
    /// @param cond [copies * n_hidden, width], what conditions the normalisations (spec §6.3); undefined where nothing
    ///        does
    /// @return as x
    [[nodiscard]] virtual at::Tensor forward(const at::Tensor& x, const EdgeInputs& edges, const at::Tensor& cond) = 0;
    /// Nothing: this part cannot be shared by several processes.
    [[nodiscard]] virtual std::optional<SharedWork> shared_work() const { return std::nullopt; }
    virtual void draw(UniformStream& stream) = 0;
};

} // namespace gradwind::model
