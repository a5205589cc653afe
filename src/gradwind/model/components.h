// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What an encoder-processor-decoder network is put together from; one implementation per kind of layer.
#pragma once
#include "gradwind/model/graph_inputs.h"
#include "gradwind/model/layers.h"
#include "gradwind/model/shared_work.h"
#include "gradwind/ops/checkpoint.h"

#include <torch/nn/module.h>

namespace gradwind::model
{

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
    /// @param nodes  cut over the processes that share the part
    /// @param like   of the type and on the device of the tensors; under the autocast state of a step
    /// @throws ConfigError where the part cannot be shared so
    [[nodiscard]] virtual SharedWork shared_work(const NodeSharing& nodes, const at::Tensor& like) const = 0;
    virtual void draw(UniformStream& stream) = 0;
};

/// Updates the latent on the hidden nodes.
class Processor : public torch::nn::Module
{
public:
    /// @param x [copies * n_hidden, channels]
    /// @param edges between the hidden nodes; without chunks where the graph has none, but with `sharing`
    /// @param cond [copies * n_hidden, width], what conditions the normalisations (spec §6.3); undefined where nothing
    ///        does
    /// @return as x
    [[nodiscard]] virtual at::Tensor forward(const at::Tensor& x, const EdgeInputs& edges, const at::Tensor& cond) = 0;
    /// @param nodes  cut over the processes that share the part
    /// @param like   of the type and on the device of the tensors; under the autocast state of a step
    /// @throws ConfigError where the part cannot be shared so
    [[nodiscard]] virtual SharedWork shared_work(const NodeSharing& nodes, const at::Tensor& like) const = 0;
    virtual void draw(UniformStream& stream) = 0;
};

} // namespace gradwind::model
