// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// build_model: from the `model` section to the network.
#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/model/encoder_processor_decoder.h"
#include "gradwind/model/options.h"

namespace gradwind::model
{

namespace
{

std::shared_ptr<EdgeProvider> build_edges(const ModelInputs& inputs, const std::string& source,
                                          const std::string& target, const PartConfig& part,
                                          const std::string& trainables)
{
    const auto& graph = inputs.graph;
    const auto* edges = graph.edge_set(source, target);
    GRADWIND_CHECK(edges != nullptr && !edges->src.empty(), ConfigError,
                   "[model] {} needs edges {} -> {}, which the graph does not have; add an edge builder for them",
                   part.section.where(), source, target);
    const auto count = [&](const std::string& name) { return int64_t(graph.node_set(name).lat_rad.size()); };
    return std::make_shared<EdgeProvider>(*edges, count(source), count(target), edge_attributes(part),
                                          edge_trainables(part, trainables), inputs.sharding,
                                          shard_strategy(part.section));
}

std::vector<TargetFeature> target_features(const NamedMapper& decoder)
{
    static const std::vector<std::string> names = {"coordinates", "forcings", "prognostics", "trainable_parameters",
                                                   "encoded_data"};
    std::vector<TargetFeature> out;
    for (const auto& name : decoder.target_node_features) {
        const auto found = std::find(names.begin(), names.end(), name);
        GRADWIND_CHECK(found != names.end(), ConfigError,
                       "[model] the decoder `{}` lists the target node feature `{}`{}; known are {}", decoder.key, name,
                       did_you_mean(name, names), fmt::join(names, ", "));
        out.push_back(TargetFeature(found - names.begin()));
    }
    return out;
}

GraphTransformerOptions mapper_options(const PartConfig& part, int64_t edge_width)
{
    const auto options = graph_transformer_options(part, edge_width);
    GRADWIND_CHECK(options.kernels.condition_width == 0, ConfigError,
                   "[model] {}: only processors have a ConditionalLayerNorm; use LayerNorm or AutocastLayerNorm",
                   part.section.where());
    return options;
}

std::shared_ptr<Mapper> build_encoder(const NamedMapper& encoder, const NetworkParts& parts, int64_t src_width)
{
    const auto edge_width = parts.encoder_edges->width();
    const auto dst_width = parts.node_attributes->width(parts.hidden_nodes);
    if (encoder.part.section.target() == "GNNForwardMapper")
        return std::make_shared<GnnForwardMapper>(gnn_options(encoder.part, edge_width), src_width, dst_width);
    return std::make_shared<GraphTransformerForwardMapper>(mapper_options(encoder.part, edge_width), src_width,
                                                           dst_width);
}

/// Columns of the decoder's destination. @param encoded columns of what the encoder returns for the data nodes
int64_t destination_width(const NetworkParts& parts, const ModelInputs& inputs, int64_t encoded)
{
    int64_t width = 0;
    for (const auto feature : parts.target_features)
        switch (feature) {
        case TargetFeature::Coordinates:
            width += 4;
            break;
        case TargetFeature::Forcings:
            width += inputs.n_step_input * int64_t(inputs.variables.model_input_forcing().size());
            break;
        case TargetFeature::Prognostics:
            width += inputs.n_step_input * int64_t(inputs.variables.model_input_prognostic().size());
            break;
        case TargetFeature::TrainableParameters:
            width += parts.node_attributes->width(parts.data_nodes) - 4;
            break;
        case TargetFeature::EncodedData:
            width += encoded;
            break;
        }
    return width;
}

/// @param dst_width columns of the decoder's destination, @param n_columns of its output
std::shared_ptr<Mapper> build_decoder(const NamedMapper& decoder, const NetworkParts& parts, int64_t dst_width,
                                      int64_t n_columns)
{
    const auto& section = decoder.part.section;
    const auto edge_width = parts.decoder_edges->width();
    const auto weights =
        section.get<bool>("initialise_data_extractor_zero", false) ? OutputWeights::Zero : OutputWeights::Drawn;
    if (section.target() == "GraphTransformerBackwardMapper") {
        GRADWIND_CHECK(dst_width > 0, ConfigError,
                       "[model] {}: target_node_features gives the decoder `{}` no columns; list one at least",
                       section.where(), decoder.key);
        return std::make_shared<GraphTransformerBackwardMapper>(mapper_options(decoder.part, edge_width), dst_width,
                                                                n_columns, weights);
    }
    const auto options = gnn_options(decoder.part, edge_width);
    // This decoder does not embed its destination: only what a GNN encoder returned has the network's width.
    GRADWIND_CHECK(parts.target_features == std::vector<TargetFeature>{TargetFeature::EncodedData}, ConfigError,
                   "[model] {}: a GNNBackwardMapper needs target_node_features: [encoded_data]", section.where());
    GRADWIND_CHECK(dst_width == options.channels, ConfigError,
                   "[model] {}: a GNNBackwardMapper needs an encoder that embeds the data nodes: a GNNForwardMapper",
                   section.where());
    return std::make_shared<GnnBackwardMapper>(options, n_columns, weights);
}

std::shared_ptr<Processor> build_processor(const PartConfig& part, const NetworkParts& parts)
{
    const auto edge_width = parts.processor_edges->width();
    const auto layers = integer_in(part.section, "num_layers", 16, 1, 100000);
    const auto chunks = integer_in(part.section, "num_chunks", 1, 1, 1 << 20);
    GRADWIND_CHECK(layers % chunks == 0, ConfigError, "[model] {} is {}, which does not divide num_layers {}",
                   part.section.at("num_chunks").where(), chunks, layers);
    if (part.section.target() == "GNNProcessor")
        return std::make_shared<GnnProcessor>(gnn_options(part, edge_width), layers);
    return std::make_shared<GraphTransformerProcessor>(graph_transformer_options(part, edge_width), layers);
}

int64_t residual_step(const Config& root, const ModelInputs& inputs)
{
    const auto section = find_for_dataset(root, "residual", inputs.dataset_name);
    if (!section)
        return -1;
    if (section->target() != "SkipConnection")
        refuse_target(*section, {"SkipConnection"},
                      {"TruncatedConnection", "ScalarOrnsteinConnection", "SpectralOrnsteinConnection"});
    return integer_in(*section, "step", -1, -inputs.n_step_input, inputs.n_step_input - 1);
}

void check_whole(const Config& root)
{
    if (root.has("model") && root.at("model").has("_target_") && root.at("model").target() != "AnemoiModelEncProcDec")
        refuse_target(root.at("model"), {"AnemoiModelEncProcDec"},
                      {"AnemoiEnsModelEncProcDec", "AnemoiModelEncProcDecHierarchical", "AnemoiModelAutoEncoder",
                       "AnemoiModelInterpEncProcDec"});
    // With one data set the sum of the latents and their mean are the same.
    if (root.has("latent_aggregator") && root.at("latent_aggregator").target() != "SumAggregator" &&
        root.at("latent_aggregator").target() != "MeanAggregator")
        refuse_target(root.at("latent_aggregator"), {"SumAggregator", "MeanAggregator"}, {"ConcatAggregator"});
}

/// Refuses parts that are not available, before edges are asked of the graph that only those parts could do without.
void check_parts(const Config& encoder, const Config& processor, const Config& decoder)
{
    const auto require = [](const Config& section, const std::vector<std::string>& available,
                            const std::vector<std::string>& planned) {
        if (std::find(available.begin(), available.end(), section.target()) == available.end())
            refuse_target(section, available, planned);
    };
    require(encoder, {"GNNForwardMapper", "GraphTransformerForwardMapper"},
            {"TransformerForwardMapper", "PointWiseForwardMapper"});
    require(processor, {"GNNProcessor", "GraphTransformerProcessor"},
            {"TransformerProcessor", "PointWiseMLPProcessor"});
    require(decoder, {"GNNBackwardMapper", "GraphTransformerBackwardMapper"},
            {"TransformerBackwardMapper", "PointWiseBackwardMapper"});
}

/// Refuses parts that several processes cannot share, where several do.
template <class Part>
void check_shared(const Config& section, const Part& part, const parallel::Sharding& sharding)
{
    GRADWIND_CHECK(sharding.group.size() == 1 || part.shared_work(), ConfigError,
                   "[model] {}: a {} cannot be shared by {} processes yet; use system.hardware.num_gpus_per_model=1",
                   section.where(), section.target(), sharding.group.size());
}

} // namespace

std::shared_ptr<ForecastModel> build_model(const Config& root, const ModelInputs& inputs)
{
    check_whole(root);
    const auto encoder = find_mapper(root, "encoders");
    const auto decoder = find_mapper(root, "decoders");
    const PartConfig processor = {root.at("processor"), root};
    check_parts(encoder.part.section, processor.section, decoder.part.section);
    NetworkParts parts;
    parts.data_nodes = inputs.dataset_name;
    parts.hidden_nodes = root.get<std::string>("model.hidden_nodes_name", "hidden");
    parts.encoder_key = encoder.key;
    parts.decoder_key = decoder.key;
    parts.n_step_input = inputs.n_step_input;
    parts.n_step_output = inputs.n_step_output;
    parts.latent_skip =
        root.get<bool>("model.latent_skip", true) ? NetworkParts::LatentSkip::Add : NetworkParts::LatentSkip::None;
    parts.residual_step = residual_step(root, inputs);
    parts.target_features = target_features(decoder);
    parts.node_attributes = std::make_shared<NodeAttributes>();
    const auto add_nodes = [&](const std::string& name) {
        parts.node_attributes->add(inputs.graph.node_set(name), node_trainables(root, name),
                                   inputs.sharding.own_rows(name));
    };
    add_nodes(parts.data_nodes);
    if (parts.hidden_nodes != parts.data_nodes)
        add_nodes(parts.hidden_nodes);

    const auto& data = parts.data_nodes;
    const auto& hidden = parts.hidden_nodes;
    parts.encoder_edges = build_edges(inputs, data, hidden, encoder.part, data + "2" + hidden);
    const auto src_width = inputs.n_step_input * inputs.variables.n_input() + parts.node_attributes->width(data);
    parts.encoder = build_encoder(encoder, parts, src_width);
    parts.processor_edges = build_edges(inputs, hidden, hidden, processor, hidden + "2" + hidden);
    parts.processor = build_processor(processor, parts);
    parts.decoder_edges = build_edges(inputs, hidden, data, decoder.part, hidden + "2" + data);
    const auto encoded = encoder.part.section.target() == "GNNForwardMapper" ? hidden_channels(root) : src_width;
    parts.decoder = build_decoder(decoder, parts, destination_width(parts, inputs, encoded),
                                  inputs.n_step_output * inputs.variables.n_output());
    check_shared(encoder.part.section, *parts.encoder, inputs.sharding);
    check_shared(processor.section, *parts.processor, inputs.sharding);
    check_shared(decoder.part.section, *parts.decoder, inputs.sharding);
    if (const auto boundings = find_for_dataset(root, "bounding", inputs.dataset_name))
        for (const auto& section : boundings->items())
            parts.boundings.push_back(build_bounding(section, inputs.variables, inputs.statistics));
    return std::make_shared<EncoderProcessorDecoder>(std::move(parts), inputs.variables);
}

} // namespace gradwind::model
