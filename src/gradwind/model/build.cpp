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

/// Whether a part works along edges of the graph.
bool needs_edges(const Config& section)
{
    return section.target().starts_with("GNN") || section.target().starts_with("GraphTransformer");
}

/// The edges of a part; null where it needs none and the graph has none of them. The original's state holds the
/// trainable tensor of every edge set that the graph and the part's section name, used or not.
std::shared_ptr<EdgeProvider> build_edges(const ModelInputs& inputs, const std::string& source,
                                          const std::string& target, const PartConfig& part,
                                          const std::string& trainables)
{
    const auto& graph = inputs.graph;
    const auto* edges = graph.edge_set(source, target);
    const bool exist = edges != nullptr && !edges->src.empty();
    if (!needs_edges(part.section) && !(exist && part.section.has("sub_graph_edge_attributes")))
        return nullptr;
    // A set without edges counts as there: the original builds its models on such graphs too.
    GRADWIND_CHECK(edges != nullptr, ConfigError,
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
    const auto& part = encoder.part;
    const auto target = part.section.target();
    const auto dst_width = parts.node_attributes->width(parts.hidden_nodes);
    if (target == "TransformerForwardMapper")
        return std::make_shared<TransformerForwardMapper>(transformer_options(part, TransformerBlock::Place::Mapper),
                                                          src_width, dst_width);
    if (target == "PointWiseForwardMapper")
        return std::make_shared<PointWiseForwardMapper>(src_width, pointwise_options(part).channels);
    const auto edge_width = parts.encoder_edges->width();
    if (target == "GNNForwardMapper")
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
    const auto weights =
        section.get<bool>("initialise_data_extractor_zero", false) ? OutputWeights::Zero : OutputWeights::Drawn;
    if (section.target() == "PointWiseBackwardMapper")
        return std::make_shared<PointWiseBackwardMapper>(pointwise_options(decoder.part).channels, n_columns, weights);
    if (section.target() == "TransformerBackwardMapper")
        return std::make_shared<TransformerBackwardMapper>(
            transformer_options(decoder.part, TransformerBlock::Place::Mapper), dst_width, n_columns, weights);
    const auto edge_width = parts.decoder_edges->width();
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
    const auto target = part.section.target();
    const auto layers = layer_count(part.section);
    if (target == "TransformerProcessor")
        return std::make_shared<TransformerProcessor>(transformer_options(part, TransformerBlock::Place::Processor),
                                                      layers);
    if (target == "PointWiseMLPProcessor")
        return std::make_shared<PointWiseProcessor>(pointwise_options(part), layers);
    const auto edge_width = parts.processor_edges->width();
    if (target == "GNNProcessor")
        return std::make_shared<GnnProcessor>(gnn_options(part, edge_width), layers);
    return std::make_shared<GraphTransformerProcessor>(graph_transformer_options(part, edge_width), layers);
}

void require_target(const Config& section, const std::vector<std::string>& available,
                    const std::vector<std::string>& planned)
{
    if (std::find(available.begin(), available.end(), section.target()) == available.end())
        refuse_target(section, available, planned);
}

void check_whole(const Config& root)
{
    if (root.has("model") && root.at("model").has("_target_"))
        require_target(root.at("model"), {"AnemoiModelEncProcDec", "AnemoiEnsModelEncProcDec"},
                       {"AnemoiModelEncProcDecHierarchical", "AnemoiModelAutoEncoder", "AnemoiModelInterpEncProcDec"});
    // With one data set the sum of the latents and their mean are the same.
    if (root.has("latent_aggregator") && root.at("latent_aggregator").target() != "SumAggregator" &&
        root.at("latent_aggregator").target() != "MeanAggregator")
        refuse_target(root.at("latent_aggregator"), {"SumAggregator", "MeanAggregator"}, {"ConcatAggregator"});
}

/// Refuses parts that are not available, before edges are asked of the graph that only those parts could do without.
void check_parts(const Config& encoder, const Config& processor, const Config& decoder)
{
    require_target(
        encoder,
        {"GNNForwardMapper", "GraphTransformerForwardMapper", "TransformerForwardMapper", "PointWiseForwardMapper"},
        {});
    require_target(processor,
                   {"GNNProcessor", "GraphTransformerProcessor", "TransformerProcessor", "PointWiseMLPProcessor"}, {});
    require_target(
        decoder,
        {"GNNBackwardMapper", "GraphTransformerBackwardMapper", "TransformerBackwardMapper", "PointWiseBackwardMapper"},
        {});
}

/// Nodes that are their own hidden nodes can only be worked on one by one.
void check_nodes(const NetworkParts& parts, const Config& encoder, const Config& decoder)
{
    const bool one_by_one =
        encoder.target() == "PointWiseForwardMapper" || decoder.target() == "PointWiseBackwardMapper";
    GRADWIND_CHECK(!one_by_one || parts.node_attributes->coordinates(parts.data_nodes).size(0) ==
                                      parts.node_attributes->coordinates(parts.hidden_nodes).size(0),
                   ConfigError,
                   "[model] {}: point-wise mappers need as many hidden nodes as data nodes; set "
                   "model.model.hidden_nodes_name to `{}`",
                   encoder.where(), parts.data_nodes);
}

/// What an ensemble model has besides; returns how many columns its encoder gets for it.
int64_t set_members(NetworkParts& parts, const Config& root, const ModelInputs& inputs, const MatrixSources& matrices)
{
    if (!root.has("model._target_") || root.at("model").target() != "AnemoiEnsModelEncProcDec")
        return 0;
    parts.members = NetworkParts::Members::Ensemble;
    parts.noise = build_noise_injector(root, inputs.graph.node_set(parts.hidden_nodes).size(),
                                       inputs.sharding.own_rows(parts.hidden_nodes), matrices);
    if (!root.get<bool>("condition_on_residual", false))
        return 1;
    parts.encoder_input = NetworkParts::EncoderInput::FieldsAndResidual;
    return 1 + int64_t(inputs.variables.model_input_prognostic().size());
}

/// A conditional normalisation needs noise of its width, and noise that conditions one needs such a normalisation.
void check_condition(const NetworkParts& parts, int64_t width, const Config& processor, const Config& root)
{
    const int64_t offered = parts.noise ? parts.noise->condition_width() : 0;
    GRADWIND_CHECK(width == 0 || offered == width, ConfigError,
                   "[model] {}: the layer kernel ConditionalLayerNorm has condition_shape {}, but the model conditions "
                   "with {} columns of noise; it needs an AnemoiEnsModelEncProcDec with a NoiseConditioning of as many "
                   "noise_channels_dim",
                   processor.where(), width, offered);
    GRADWIND_CHECK(offered == 0 || width != 0, ConfigError,
                   "[model] {}: a NoiseConditioning conditions nothing, because {} has no ConditionalLayerNorm among "
                   "its layer_kernels",
                   root.at("noise_injector").where(), processor.where());
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
    const MatrixSources matrices = {inputs.graph, inputs.matrices};
    parts.residual = build_residual(find_for_dataset(root, "residual", inputs.dataset_name), inputs.n_step_input,
                                    inputs.graph.node_set(inputs.dataset_name).size(), matrices);
    parts.target_features = target_features(decoder);
    parts.node_attributes = std::make_shared<NodeAttributes>();
    const auto add_nodes = [&](const std::string& name) {
        parts.node_attributes->add(inputs.graph.node_set(name), node_trainables(root, name),
                                   inputs.sharding.own_rows(name));
    };
    add_nodes(parts.data_nodes);
    if (parts.hidden_nodes != parts.data_nodes)
        add_nodes(parts.hidden_nodes);
    check_nodes(parts, encoder.part.section, decoder.part.section);

    const auto& data = parts.data_nodes;
    const auto& hidden = parts.hidden_nodes;
    parts.encoder_edges = build_edges(inputs, data, hidden, encoder.part, data + "2" + hidden);
    const auto src_width = inputs.n_step_input * inputs.variables.n_input() + parts.node_attributes->width(data) +
                           set_members(parts, root, inputs, matrices);
    parts.encoder = build_encoder(encoder, parts, src_width);
    parts.processor_edges = build_edges(inputs, hidden, hidden, processor, hidden + "2" + hidden);
    parts.processor = build_processor(processor, parts);
    check_condition(parts, layer_kernels(processor).condition_width, processor.section, root);
    parts.decoder_edges = build_edges(inputs, hidden, data, decoder.part, hidden + "2" + data);
    const auto encoded = encoder.part.section.target() == "GNNForwardMapper" ? hidden_channels(root) : src_width;
    parts.decoder = build_decoder(decoder, parts, destination_width(parts, inputs, encoded),
                                  inputs.n_step_output * inputs.variables.n_output());
    GRADWIND_CHECK(inputs.sharding.group.size() == 1 || !dynamic_cast<const TruncatedConnection*>(parts.residual.get()),
                   ConfigError,
                   "[model] {}: a TruncatedConnection needs whole fields, which {} processes that share a model do not "
                   "have; use system.hardware.num_gpus_per_model=1",
                   root.at("residual").where(), inputs.sharding.group.size());
    check_shared(encoder.part.section, *parts.encoder, inputs.sharding);
    check_shared(processor.section, *parts.processor, inputs.sharding);
    check_shared(decoder.part.section, *parts.decoder, inputs.sharding);
    if (const auto boundings = find_for_dataset(root, "bounding", inputs.dataset_name))
        for (const auto& section : boundings->items())
            parts.boundings.push_back(build_bounding(section, inputs.variables, inputs.statistics));
    return std::make_shared<EncoderProcessorDecoder>(std::move(parts), inputs.variables);
}

} // namespace gradwind::model
