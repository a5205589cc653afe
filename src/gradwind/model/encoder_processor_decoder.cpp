// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/encoder_processor_decoder.h"

#include "gradwind/core/error.h"
#include "gradwind/ops/device_constants.h"

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
EdgeInputs edges_of(const std::shared_ptr<EdgeProvider>& provider, const std::shared_ptr<const NodeSharing>& nodes,
                    int64_t copies, int64_t n_chunks, const at::Tensor& like)
{
    if (provider)
        return provider->forward(copies, n_chunks, like);
    EdgeInputs none;
    none.copies = copies;
    none.sharing = nodes;
    return none;
}

} // namespace

EncoderProcessorDecoder::EncoderProcessorDecoder(NetworkParts parts) : parts_(std::move(parts))
{
    const auto children = [this](const char* name, const auto& add) {
        const auto group = std::make_shared<Group>();
        add(*group);
        if (!group->children().empty())
            register_module(name, group);
    };
    register_module("node_attributes", parts_.node_attributes);
    children("encoder_graph_provider", [&](Group& group) {
        for (const auto& dataset : parts_.datasets)
            if (dataset.encoder_edges)
                group.register_module(dataset.name, dataset.encoder_edges);
    });
    children("encoder", [&](Group& group) {
        for (const auto& encoder : parts_.encoders)
            group.register_module(encoder.key, encoder.mapper);
    });
    if (parts_.processor_edges)
        register_module("processor_graph_provider", parts_.processor_edges);
    if (parts_.processor)
        register_module("processor", parts_.processor);
    children("decoder_graph_provider", [&](Group& group) {
        for (const auto& dataset : parts_.datasets)
            if (dataset.decoder_edges)
                group.register_module(dataset.name, dataset.decoder_edges);
    });
    children("decoder", [&](Group& group) {
        for (const auto& decoder : parts_.decoders)
            group.register_module(decoder.key, decoder.mapper);
    });
    children("boundings", [&](Group& group) {
        for (const auto& dataset : parts_.datasets) {
            const auto boundings = std::make_shared<Group>();
            for (size_t i = 0; i < dataset.boundings.size(); ++i)
                boundings->register_module(std::to_string(i), dataset.boundings[i]);
            group.register_module(dataset.name, boundings);
        }
    });
    if (parts_.noise)
        register_module("noise_injector", parts_.noise);
}

void EncoderProcessorDecoder::check_input(const Fields& x) const
{
    const at::Tensor* first = nullptr;
    for (const auto& dataset : parts_.datasets) {
        const auto found = x.find(dataset.name);
        GRADWIND_CHECK(found != x.end(), ShapeError, "[model] expected fields of the data set `{}`, found none",
                       dataset.name);
        const auto& fields = found->second;
        GRADWIND_CHECK(
            fields.dim() == 5 && fields.size(1) == parts_.n_step_input && fields.size(3) == dataset.n_nodes &&
                fields.size(4) == dataset.n_input,
            ShapeError,
            "[model] expected input of [batch, {}, ensemble, {}, {}] (steps, nodes, variables) for `{}`, got [{}]",
            parts_.n_step_input, dataset.n_nodes, dataset.n_input, dataset.name, fmt::join(fields.sizes().vec(), ", "));
        first = first ? first : &fields;
        GRADWIND_CHECK(fields.size(0) == first->size(0) && fields.size(2) == first->size(2), ShapeError,
                       "[model] expected {} samples of {} members for `{}`, as for the other data sets, got {} of {}",
                       first->size(0), first->size(2), dataset.name, fields.size(0), fields.size(2));
    }
}

void EncoderProcessorDecoder::observe(const char* name, const at::Tensor& value) const
{
    if (observer)
        observer(name, value);
}

void EncoderProcessorDecoder::observe(const DatasetParts& dataset, const char* name, const at::Tensor& value) const
{
    if (observer)
        observer(parts_.datasets.size() == 1 ? name : fmt::format("{}.{}", name, dataset.name), value);
}

at::Tensor EncoderProcessorDecoder::encoder_input(const DatasetParts& dataset, const at::Tensor& x,
                                                  const at::Tensor& start, int64_t rollout_step) const
{
    std::vector<at::Tensor> columns = {as_rows(x),
                                       parts_.node_attributes->forward(dataset.name, x.size(0) * x.size(2))};
    if (parts_.members == NetworkParts::Members::Ensemble)
        columns.push_back(
            at::full({columns[0].size(0), 1}, double(std::min<int64_t>(1, rollout_step)), columns[0].options()));
    if (parts_.encoder_input == NetworkParts::EncoderInput::FieldsAndResidual)
        columns.push_back(as_rows(start.index_select(-1, ops::on_device(dataset.input_prognostic, x.device()))));
    return at::cat(columns, 1);
}

EncoderProcessorDecoder::Encoded EncoderProcessorDecoder::encode(const DatasetParts& dataset, const at::Tensor& x,
                                                                 const at::Tensor& hidden, int64_t rollout_step)
{
    const auto copies = x.size(0) * x.size(2);
    const auto& encoder = *parts_.encoders[*dataset.encoder].mapper;
    const auto start = dataset.residual->forward(x);
    const auto data = encoder_input(dataset, x, start, rollout_step);
    observe(dataset, "encoder.in_src", data);
    observe(dataset, "encoder.in_dst", hidden);
    const auto result = parts_.encoders[*dataset.encoder].mapper->forward(
        data, hidden, edges_of(dataset.encoder_edges, dataset.encoder_nodes, copies, encoder.num_chunks(), data));
    observe(dataset, "encoder.out_src", result.src);
    observe(dataset, "encoder.out_dst", result.dst);
    return {start, result.src, result.dst};
}

at::Tensor EncoderProcessorDecoder::join(const std::vector<at::Tensor>& latents) const
{
    if (latents.size() == 1)
        return latents.front();
    if (parts_.aggregate == NetworkParts::Aggregate::Concatenate)
        return at::cat(latents, 1);
    auto sum = latents.front();
    for (size_t i = 1; i < latents.size(); ++i)
        sum = sum + latents[i];
    return parts_.aggregate == NetworkParts::Aggregate::Mean ? sum / double(latents.size()) : sum;
}

at::Tensor EncoderProcessorDecoder::process(const at::Tensor& latent, int64_t batch, int64_t members,
                                            const at::Tensor& like, const ForwardContext& context)
{
    NoiseInjector::Result noisy = {latent, {}};
    if (parts_.noise) {
        NoiseRequest request;
        request.batch = batch;
        request.members = members;
        request.rollout_step = context.rollout_step;
        noisy = parts_.noise->forward(latent, request, context.noise);
        observe("processor.cond", noisy.cond);
    }
    auto out = noisy.latent;
    if (parts_.processor)
        out = parts_.processor->forward(
            out, edges_of(parts_.processor_edges, parts_.processor_nodes, batch * members, 1, like), noisy.cond);
    observe("processor.out", out);
    return parts_.latent_skip == NetworkParts::LatentSkip::Add ? out + latent : out;
}

at::Tensor EncoderProcessorDecoder::decode(const DatasetParts& dataset, const at::Tensor& x, const at::Tensor& latent,
                                           const Encoded& encoded)
{
    const auto copies = x.size(0) * x.size(2);
    auto& decoder = *parts_.decoders[*dataset.decoder].mapper;
    observe(dataset, "decoder.in_src", latent);
    const auto destination = decoder_destination(dataset, x, encoded.data);
    observe(dataset, "decoder.in_dst", destination);
    const auto columns =
        decoder
            .forward(latent, destination,
                     edges_of(dataset.decoder_edges, dataset.decoder_nodes, copies, decoder.num_chunks(), x))
            .dst;
    observe(dataset, "decoder.out", columns);
    auto out = with_residual(dataset, columns, x, encoded.start);
    for (const auto& bounding : dataset.boundings)
        out = bounding->forward(out);
    return out;
}

Fields EncoderProcessorDecoder::forward_all(const Fields& x, const ForwardContext& context)
{
    check_input(x);
    const auto& first = x.at(parts_.datasets.front().name);
    const auto batch = first.size(0), members = first.size(2);
    const auto hidden = parts_.node_attributes->forward(parts_.hidden_nodes, batch * members);
    std::vector<Encoded> encoded(parts_.datasets.size());
    std::vector<at::Tensor> latents;
    for (const auto source : parts_.sources) {
        const auto& dataset = parts_.datasets[source];
        encoded[source] = encode(dataset, x.at(dataset.name), hidden, context.rollout_step);
        latents.push_back(encoded[source].latent);
    }
    const auto latent = process(join(latents), batch, members, first, context);
    Fields out;
    for (size_t i = 0; i < parts_.datasets.size(); ++i) {
        const auto& dataset = parts_.datasets[i];
        if (dataset.decoder)
            out[dataset.name] = decode(dataset, x.at(dataset.name), latent, encoded[i]);
    }
    return out;
}

at::Tensor EncoderProcessorDecoder::forward(const at::Tensor& x, const ForwardContext& context)
{
    const auto& name = parts_.datasets.front().name;
    GRADWIND_CHECK(parts_.datasets.size() == 1, InternalError,
                   "[model] a model of {} data sets was run on the fields of one", parts_.datasets.size());
    return forward_all({{name, x}}, context).at(name);
}

at::Tensor EncoderProcessorDecoder::decoder_destination(const DatasetParts& dataset, const at::Tensor& x,
                                                        const at::Tensor& encoded) const
{
    const auto copies = x.size(0) * x.size(2);
    std::vector<at::Tensor> blocks;
    for (const auto feature : dataset.target_features)
        switch (feature) {
        case TargetFeature::Coordinates:
            blocks.push_back(parts_.node_attributes->coordinates(dataset.name).repeat({copies, 1}));
            break;
        case TargetFeature::Forcings:
            blocks.push_back(as_rows(x.index_select(-1, ops::on_device(dataset.input_forcing, x.device()))));
            break;
        case TargetFeature::Prognostics:
            blocks.push_back(as_rows(x.index_select(-1, ops::on_device(dataset.input_prognostic, x.device()))));
            break;
        case TargetFeature::TrainableParameters:
            if (const auto trainable = parts_.node_attributes->trainable(dataset.name); trainable.defined())
                blocks.push_back(trainable.repeat({copies, 1}));
            break;
        case TargetFeature::EncodedData:
            blocks.push_back(encoded);
            break;
        }
    return blocks.size() == 1 ? blocks.front() : at::cat(blocks, 1);
}

at::Tensor EncoderProcessorDecoder::with_residual(const DatasetParts& dataset, const at::Tensor& columns,
                                                  const at::Tensor& x, const at::Tensor& start) const
{
    const auto out = columns.reshape({x.size(0), x.size(2), dataset.n_nodes, parts_.n_step_output, dataset.n_output})
                         .permute({0, 3, 1, 2, 4})
                         .to(x.scalar_type());
    if (!start.defined())
        return out;
    const auto prognostic =
        start.index_select(-1, ops::on_device(dataset.input_prognostic, x.device())).to(x.scalar_type());
    return out.index_add(-1, ops::on_device(dataset.output_prognostic, x.device()),
                         prognostic.expand({-1, parts_.n_step_output, -1, -1, -1}));
}

std::vector<ForecastModel::SharedPart>
EncoderProcessorDecoder::shared_parts(const std::map<std::string, parallel::Partition>& nodes,
                                      const at::Tensor& like) const
{
    const auto& hidden = parts_.hidden_nodes;
    std::vector<SharedPart> result;
    const auto add = [&](const char* name, const std::string& source, const std::string& target, const auto& part) {
        const NodeSharing sharing{parallel::Group::self("model"), nodes.at(source), nodes.at(target)};
        result.push_back({name, source, target, part->shared_work(sharing, like)});
    };
    for (const auto source : parts_.sources)
        add("encoder", parts_.datasets[source].name, hidden, parts_.encoders[*parts_.datasets[source].encoder].mapper);
    if (parts_.processor)
        add("processor", hidden, hidden, parts_.processor);
    for (const auto& dataset : parts_.datasets)
        if (dataset.decoder)
            add("decoder", hidden, dataset.name, parts_.decoders[*dataset.decoder].mapper);
    return result;
}

void EncoderProcessorDecoder::draw(UniformStream& stream)
{
    parts_.node_attributes->reset();
    for (const auto& dataset : parts_.datasets)
        for (const auto& edges : {dataset.encoder_edges, dataset.decoder_edges})
            if (edges)
                edges->reset();
    if (parts_.processor_edges)
        parts_.processor_edges->reset();
    for (const auto& encoder : parts_.encoders)
        encoder.mapper->draw(stream);
    if (parts_.processor)
        parts_.processor->draw(stream);
    for (const auto& decoder : parts_.decoders)
        decoder.mapper->draw(stream);
    if (parts_.noise)
        parts_.noise->draw(stream);
}

} // namespace gradwind::model
