// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/encoder_processor_decoder.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>

namespace gradwind::model
{

namespace
{

/// [B, T, E, N, V] to [B E N, T V]: time slowest among the columns.
at::Tensor as_rows(const at::Tensor& x)
{
    return x.permute({0, 2, 3, 1, 4}).reshape({x.size(0) * x.size(2) * x.size(3), x.size(1) * x.size(4)});
}

/// The edges of a part for a forward pass; none where the graph has none.
EdgeInputs edges_of(const std::shared_ptr<EdgeProvider>& provider, int64_t copies, int64_t n_chunks,
                    const at::Tensor& like)
{
    if (provider)
        return provider->forward(copies, n_chunks, like);
    EdgeInputs none;
    none.copies = copies;
    return none;
}

} // namespace

EncoderProcessorDecoder::EncoderProcessorDecoder(NetworkParts parts, const VariableTable& variables)
    : parts_(std::move(parts)), n_input_(variables.n_input()), n_output_(variables.n_output())
{
    const auto child = [this](const std::string& name, const std::string& key, const auto& module) {
        register_module(name, std::make_shared<Group>())->register_module(key, module);
    };
    register_module("node_attributes", parts_.node_attributes);
    if (parts_.encoder_edges)
        child("encoder_graph_provider", parts_.data_nodes, parts_.encoder_edges);
    child("encoder", parts_.encoder_key, parts_.encoder);
    if (parts_.processor_edges)
        register_module("processor_graph_provider", parts_.processor_edges);
    register_module("processor", parts_.processor);
    if (parts_.decoder_edges)
        child("decoder_graph_provider", parts_.data_nodes, parts_.decoder_edges);
    child("decoder", parts_.decoder_key, parts_.decoder);
    const auto boundings = std::make_shared<Group>();
    for (size_t i = 0; i < parts_.boundings.size(); ++i)
        boundings->register_module(std::to_string(i), parts_.boundings[i]);
    child("boundings", parts_.data_nodes, boundings);
    if (parts_.noise)
        register_module("noise_injector", parts_.noise);
    n_nodes_ = parts_.node_attributes->coordinates(parts_.data_nodes).size(0);
    input_prognostic_ = at::tensor(variables.model_input_prognostic(), at::kLong);
    output_prognostic_ = at::tensor(variables.model_output_prognostic(), at::kLong);
    input_forcing_ = at::tensor(variables.model_input_forcing(), at::kLong);
}

void EncoderProcessorDecoder::check_input(const at::Tensor& x) const
{
    GRADWIND_CHECK(x.dim() == 5 && x.size(1) == parts_.n_step_input && x.size(3) == n_nodes_ && x.size(4) == n_input_,
                   ShapeError,
                   "[model] expected input of [batch, {}, ensemble, {}, {}] (steps, nodes, variables), got [{}]",
                   parts_.n_step_input, n_nodes_, n_input_, fmt::join(x.sizes().vec(), ", "));
}

void EncoderProcessorDecoder::observe(const char* name, const at::Tensor& value) const
{
    if (observer)
        observer(name, value);
}

at::Tensor EncoderProcessorDecoder::encoder_input(const at::Tensor& x, const at::Tensor& start,
                                                  int64_t rollout_step) const
{
    std::vector<at::Tensor> columns = {as_rows(x),
                                       parts_.node_attributes->forward(parts_.data_nodes, x.size(0) * x.size(2))};
    if (parts_.members == NetworkParts::Members::Ensemble)
        columns.push_back(
            at::full({columns[0].size(0), 1}, double(std::min<int64_t>(1, rollout_step)), columns[0].options()));
    if (parts_.encoder_input == NetworkParts::EncoderInput::FieldsAndResidual)
        columns.push_back(as_rows(start.index_select(-1, input_prognostic_.to(x.device()))));
    return at::cat(columns, 1);
}

at::Tensor EncoderProcessorDecoder::forward(const at::Tensor& x, const ForwardContext& context)
{
    check_input(x);
    const auto copies = x.size(0) * x.size(2);
    const auto start = parts_.residual->forward(x);
    const auto data = encoder_input(x, start, context.rollout_step);
    const auto hidden = parts_.node_attributes->forward(parts_.hidden_nodes, copies);
    observe("encoder.in_src", data);
    observe("encoder.in_dst", hidden);
    const auto encoded = parts_.encoder->forward(
        data, hidden, edges_of(parts_.encoder_edges, copies, parts_.encoder->num_chunks(), data));
    observe("encoder.out_src", encoded.src);
    observe("encoder.out_dst", encoded.dst);
    NoiseInjector::Result noisy = {encoded.dst, {}};
    if (parts_.noise) {
        NoiseRequest request;
        request.batch = x.size(0);
        request.members = x.size(2);
        request.rollout_step = context.rollout_step;
        noisy = parts_.noise->forward(encoded.dst, request, context.noise);
        observe("processor.cond", noisy.cond);
    }
    auto latent =
        parts_.processor->forward(noisy.latent, edges_of(parts_.processor_edges, copies, 1, data), noisy.cond);
    observe("processor.out", latent);
    if (parts_.latent_skip == NetworkParts::LatentSkip::Add)
        latent = latent + encoded.dst;
    observe("decoder.in_src", latent);
    const auto destination = decoder_destination(x, encoded.src, copies);
    observe("decoder.in_dst", destination);
    const auto columns =
        parts_.decoder
            ->forward(latent, destination, edges_of(parts_.decoder_edges, copies, parts_.decoder->num_chunks(), data))
            .dst;
    observe("decoder.out", columns);
    auto out = with_residual(columns, x, start);
    for (const auto& bounding : parts_.boundings)
        out = bounding->forward(out);
    return out;
}

at::Tensor EncoderProcessorDecoder::decoder_destination(const at::Tensor& x, const at::Tensor& encoded,
                                                        int64_t copies) const
{
    std::vector<at::Tensor> blocks;
    for (const auto feature : parts_.target_features)
        switch (feature) {
        case TargetFeature::Coordinates:
            blocks.push_back(parts_.node_attributes->coordinates(parts_.data_nodes).repeat({copies, 1}));
            break;
        case TargetFeature::Forcings:
            blocks.push_back(as_rows(x.index_select(-1, input_forcing_.to(x.device()))));
            break;
        case TargetFeature::Prognostics:
            blocks.push_back(as_rows(x.index_select(-1, input_prognostic_.to(x.device()))));
            break;
        case TargetFeature::TrainableParameters:
            if (const auto trainable = parts_.node_attributes->trainable(parts_.data_nodes); trainable.defined())
                blocks.push_back(trainable.repeat({copies, 1}));
            break;
        case TargetFeature::EncodedData:
            blocks.push_back(encoded);
            break;
        }
    return blocks.size() == 1 ? blocks.front() : at::cat(blocks, 1);
}

at::Tensor EncoderProcessorDecoder::with_residual(const at::Tensor& columns, const at::Tensor& x,
                                                  const at::Tensor& start) const
{
    const auto out = columns.reshape({x.size(0), x.size(2), n_nodes_, parts_.n_step_output, n_output_})
                         .permute({0, 3, 1, 2, 4})
                         .to(x.scalar_type());
    const auto prognostic = start.index_select(-1, input_prognostic_.to(x.device())).to(x.scalar_type());
    return out.index_add(-1, output_prognostic_.to(x.device()),
                         prognostic.expand({-1, parts_.n_step_output, -1, -1, -1}));
}

std::vector<ForecastModel::SharedPart> EncoderProcessorDecoder::shared_parts() const
{
    const auto& data = parts_.data_nodes;
    const auto& hidden = parts_.hidden_nodes;
    std::vector<SharedPart> result;
    const auto add = [&](const char* name, const std::string& source, const std::string& target, const auto& part) {
        const auto work = part->shared_work().value_or(SharedWork{});
        result.push_back({name, source, target, work.halo_columns, work.halo_exchanges});
    };
    add("encoder", data, hidden, parts_.encoder);
    add("processor", hidden, hidden, parts_.processor);
    add("decoder", hidden, data, parts_.decoder);
    return result;
}

void EncoderProcessorDecoder::draw(UniformStream& stream)
{
    parts_.node_attributes->reset();
    for (const auto& edges : {parts_.encoder_edges, parts_.processor_edges, parts_.decoder_edges})
        if (edges)
            edges->reset();
    parts_.encoder->draw(stream);
    parts_.processor->draw(stream);
    parts_.decoder->draw(stream);
    if (parts_.noise)
        parts_.noise->draw(stream);
}

} // namespace gradwind::model
