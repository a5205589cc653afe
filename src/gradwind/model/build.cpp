// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// build_model: from the `model` section to the network.
#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/model/build_checks.h"
#include "gradwind/model/encoder_processor_decoder.h"
#include "gradwind/model/options.h"

#include <ATen/ATen.h>

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

/// @param src_width columns of the data nodes, @param dst_width of the hidden nodes
std::shared_ptr<Mapper> build_encoder(const PartConfig& part, const EdgeProvider* edges, int64_t src_width,
                                      int64_t dst_width)
{
    const auto target = part.section.target();
    if (target == "TransformerForwardMapper")
        return std::make_shared<TransformerForwardMapper>(transformer_options(part, TransformerBlock::Place::Mapper),
                                                          src_width, dst_width);
    if (target == "PointWiseForwardMapper")
        return std::make_shared<PointWiseForwardMapper>(src_width, pointwise_options(part).channels);
    if (target == "GNNForwardMapper")
        return std::make_shared<GnnForwardMapper>(gnn_options(part, edges->width()), src_width, dst_width);
    return std::make_shared<GraphTransformerForwardMapper>(mapper_options(part, edges->width()), src_width, dst_width);
}

/// Columns of the decoder's destination. @param encoded columns of what the encoder returns for the data nodes
int64_t destination_width(const DatasetParts& dataset, const NodeAttributes& attributes, const VariableTable& variables,
                          int64_t n_step_input, int64_t encoded)
{
    int64_t width = 0;
    for (const auto feature : dataset.target_features)
        switch (feature) {
        case TargetFeature::Coordinates:
            width += 4;
            break;
        case TargetFeature::Forcings:
            width += n_step_input * int64_t(variables.model_input_forcing().size());
            break;
        case TargetFeature::Prognostics:
            width += n_step_input * int64_t(variables.model_input_prognostic().size());
            break;
        case TargetFeature::TrainableParameters:
            width += attributes.width(dataset.name) - 4;
            break;
        case TargetFeature::EncodedData:
            width += encoded;
            break;
        }
    return width;
}

/// Columns of what a decoder works on and of what it makes.
struct DecoderWidths {
    int64_t latent = 0, destination = 0, out = 0;
};

std::shared_ptr<Mapper> build_decoder(const NamedMapper& decoder, const DatasetParts& dataset, DecoderWidths widths)
{
    const auto& section = decoder.part.section;
    const auto weights =
        section.get<bool>("initialise_data_extractor_zero", false) ? OutputWeights::Zero : OutputWeights::Drawn;
    if (section.target() != "GraphTransformerBackwardMapper")
        require_width(section, part_channels(decoder.part), widths.latent);
    if (section.target() == "PointWiseBackwardMapper")
        return std::make_shared<PointWiseBackwardMapper>(pointwise_options(decoder.part), widths.out, weights);
    if (section.target() == "TransformerBackwardMapper")
        return std::make_shared<TransformerBackwardMapper>(
            transformer_options(decoder.part, TransformerBlock::Place::Mapper), widths.destination, widths.out);
    const auto edge_width = dataset.decoder_edges->width();
    if (section.target() == "GraphTransformerBackwardMapper") {
        GRADWIND_CHECK(widths.destination > 0, ConfigError,
                       "[model] {}: target_node_features gives the decoder `{}` no columns; list one at least",
                       section.where(), decoder.key);
        return std::make_shared<GraphTransformerBackwardMapper>(mapper_options(decoder.part, edge_width), widths.latent,
                                                                widths.destination, widths.out, weights);
    }
    const auto options = gnn_options(decoder.part, edge_width);
    // This decoder does not embed its destination: only what a GNN encoder returned has the network's width.
    GRADWIND_CHECK(dataset.target_features == std::vector<TargetFeature>{TargetFeature::EncodedData}, ConfigError,
                   "[model] {}: a GNNBackwardMapper needs target_node_features: [encoded_data]", section.where());
    GRADWIND_CHECK(widths.destination == options.channels, ConfigError,
                   "[model] {}: a GNNBackwardMapper needs an encoder that embeds the data nodes: a GNNForwardMapper",
                   section.where());
    return std::make_shared<GnnBackwardMapper>(options, widths.out);
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

NetworkParts::Aggregate aggregate_of(const Config& root)
{
    using Aggregate = NetworkParts::Aggregate;
    if (!root.has("latent_aggregator"))
        return Aggregate::Sum;
    static const std::map<std::string, Aggregate> known = {{"SumAggregator", Aggregate::Sum},
                                                           {"MeanAggregator", Aggregate::Mean},
                                                           {"ConcatAggregator", Aggregate::Concatenate}};
    const auto section = root.at("latent_aggregator");
    const auto found = known.find(section.target());
    if (found == known.end())
        refuse_target(section, {"SumAggregator", "MeanAggregator", "ConcatAggregator"}, {});
    return found->second;
}

/// What makes a model one of an ensemble, the noise apart.
void set_members(NetworkParts& parts, const Config& root)
{
    if (!root.has("model._target_") || root.at("model").target() != "AnemoiEnsModelEncProcDec")
        return;
    parts.members = NetworkParts::Members::Ensemble;
    if (root.get<bool>("condition_on_residual", false))
        parts.encoder_input = NetworkParts::EncoderInput::FieldsAndResidual;
}

/// Columns that an encoder of an ensemble gets besides.
int64_t member_columns(const NetworkParts& parts, const VariableTable& variables)
{
    if (parts.members == NetworkParts::Members::One)
        return 0;
    return parts.encoder_input == NetworkParts::EncoderInput::Fields
               ? 1
               : 1 + int64_t(variables.model_input_prognostic().size());
}

std::shared_ptr<const NodeSharing> node_sharing(const ModelInputs& inputs, const std::string& source,
                                                const std::string& target)
{
    const auto cut = [&](const std::string& name) {
        return inputs.sharding.partition(name, inputs.graph.node_set(name).size());
    };
    return std::make_shared<NodeSharing>(NodeSharing{inputs.sharding.group, cut(source), cut(target)});
}

/// Refuses a part that several processes cannot share as they are asked to.
template <class Part>
void check_shared(const Part& part, const NodeSharing& nodes)
{
    if (nodes.group.size() > 1)
        (void)part.shared_work(nodes, at::empty({0}, at::kFloat));
}

/// Builds a network part by part.
class NetworkBuilder
{
public:
    NetworkBuilder(const Config& root, const ModelInputs& inputs, const std::vector<FurtherDataset>& further)
        : root_(root), inputs_(inputs), matrices_{inputs.graph, inputs.matrices}
    {
        datasets_.push_back({inputs.dataset_name, inputs.variables, inputs.statistics});
        for (const auto& dataset : further)
            datasets_.push_back(dataset);
        for (const auto& dataset : datasets_)
            names_.push_back(dataset.name);
    }

    std::shared_ptr<SeveralDatasetsModel> build()
    {
        check_whole(root_);
        encoders_ = find_mappers(root_, "encoders", names_);
        decoders_ = find_mappers(root_, "decoders", names_);
        const PartConfig processor = {root_.at("processor"), root_};
        check_parts(encoders_, processor.section, decoders_);
        parts_.hidden_nodes = root_.get<std::string>("model.hidden_nodes_name", "hidden");
        parts_.n_step_input = inputs_.n_step_input;
        parts_.n_step_output = inputs_.n_step_output;
        parts_.latent_skip =
            root_.get<bool>("model.latent_skip", true) ? NetworkParts::LatentSkip::Add : NetworkParts::LatentSkip::None;
        parts_.aggregate = aggregate_of(root_);
        set_members(parts_, root_);
        add_nodes();
        add_encoders();
        add_processor(processor);
        add_decoders();
        add_boundings();
        return std::make_shared<EncoderProcessorDecoder>(std::move(parts_));
    }

private:
    void add_nodes()
    {
        parts_.node_attributes = std::make_shared<NodeAttributes>();
        const auto add = [&](const std::string& name) {
            parts_.node_attributes->add(inputs_.graph.node_set(name), node_trainables(root_, name),
                                        inputs_.sharding.own_rows(name));
        };
        for (const auto& dataset : datasets_) {
            add(dataset.name);
            DatasetParts own;
            own.name = dataset.name;
            own.n_nodes = parts_.node_attributes->coordinates(dataset.name).size(0);
            own.n_input = dataset.variables.n_input();
            own.n_output = dataset.variables.n_output();
            own.input_prognostic = at::tensor(dataset.variables.model_input_prognostic(), at::kLong);
            own.output_prognostic = at::tensor(dataset.variables.model_output_prognostic(), at::kLong);
            own.input_forcing = at::tensor(dataset.variables.model_input_forcing(), at::kLong);
            parts_.datasets.push_back(std::move(own));
        }
        if (std::find(names_.begin(), names_.end(), parts_.hidden_nodes) == names_.end())
            add(parts_.hidden_nodes);
        for (const auto* mappers : {&encoders_, &decoders_})
            for (const auto& mapper : *mappers)
                check_nodes(inputs_.graph, parts_.hidden_nodes, mapper);
    }

    [[nodiscard]] size_t index_of(const std::string& name) const
    {
        return size_t(std::find(names_.begin(), names_.end(), name) - names_.begin());
    }

    /// Columns of the data nodes that an encoder gets.
    [[nodiscard]] int64_t source_width(size_t dataset) const
    {
        return inputs_.n_step_input * datasets_[dataset].variables.n_input() +
               parts_.node_attributes->width(names_[dataset]) + member_columns(parts_, datasets_[dataset].variables);
    }

    void add_encoders()
    {
        const auto& hidden = parts_.hidden_nodes;
        for (size_t e = 0; e < encoders_.size(); ++e) {
            const auto& encoder = encoders_[e];
            std::optional<int64_t> width;
            for (const auto& name : encoder.datasets) {
                const auto i = index_of(name);
                auto& dataset = parts_.datasets[i];
                dataset.encoder = e;
                dataset.encoder_edges = build_edges(inputs_, name, hidden, encoder.part, name + "2" + hidden);
                dataset.residual = build_residual(
                    find_for_dataset(root_, "residual", name), inputs_.n_step_input, inputs_.sharding.group,
                    inputs_.sharding.partition(name, inputs_.graph.node_set(name).size()), matrices_);
                GRADWIND_CHECK(!width || *width == source_width(i), ConfigError,
                               "[model] {}: the data sets of the encoder `{}` must have as many columns each, found {} "
                               "and, for `{}`, {}",
                               encoder.part.section.where(), encoder.key, *width, name, source_width(i));
                width = source_width(i);
                parts_.sources.push_back(i);
                latent_width_ = parts_.aggregate == NetworkParts::Aggregate::Concatenate
                                    ? latent_width_ + part_channels(encoder.part)
                                    : part_channels(encoder.part);
            }
            GRADWIND_CHECK(width.has_value(), ConfigError, "[model] {}: the encoder `{}` has no source_datasets",
                           encoder.part.section.where(), encoder.key);
            auto mapper = build_encoder(encoder.part, parts_.datasets[parts_.sources.back()].encoder_edges.get(),
                                        *width, parts_.node_attributes->width(hidden));
            for (const auto& name : encoder.datasets) {
                auto& dataset = parts_.datasets[index_of(name)];
                dataset.encoder_nodes = node_sharing(inputs_, name, hidden);
                check_shared(*mapper, *dataset.encoder_nodes);
            }
            parts_.encoders.push_back({encoder.key, std::move(mapper)});
        }
        if (parts_.aggregate != NetworkParts::Aggregate::Concatenate)
            for (const auto& encoder : encoders_)
                require_width(encoder.part.section, part_channels(encoder.part), latent_width_);
    }

    void add_processor(const PartConfig& processor)
    {
        const auto& hidden = parts_.hidden_nodes;
        if (parts_.members == NetworkParts::Members::Ensemble)
            parts_.noise = build_noise_injector(root_, inputs_.graph.node_set(hidden).size(), latent_width_,
                                                inputs_.sharding.own_rows(hidden), matrices_);
        parts_.processor_edges = build_edges(inputs_, hidden, hidden, processor, hidden + "2" + hidden);
        if (processor.section.target() == "NoOpProcessor")
            return;
        require_width(processor.section, part_channels(processor), latent_width_);
        parts_.processor = build_processor(processor, parts_);
        check_condition(parts_, layer_kernels(processor).condition_width, processor.section, root_);
        parts_.processor_nodes = node_sharing(inputs_, hidden, hidden);
        check_shared(*parts_.processor, *parts_.processor_nodes);
    }

    void add_decoders()
    {
        const auto& hidden = parts_.hidden_nodes;
        for (size_t d = 0; d < decoders_.size(); ++d) {
            const auto& decoder = decoders_[d];
            const auto& name = decoder.datasets.front();
            const auto i = index_of(name);
            auto& dataset = parts_.datasets[i];
            dataset.decoder = d;
            dataset.target_features = target_features(decoder);
            dataset.decoder_edges = build_edges(inputs_, hidden, name, decoder.part, hidden + "2" + name);
            const bool wants_encoded = std::find(dataset.target_features.begin(), dataset.target_features.end(),
                                                 TargetFeature::EncodedData) != dataset.target_features.end();
            GRADWIND_CHECK(dataset.encoder || (!wants_encoded && parts_.members == NetworkParts::Members::One),
                           ConfigError,
                           "[model] {}: the decoder `{}` needs what an encoder makes of `{}`, which no encoder reads",
                           decoder.part.section.where(), decoder.key, name);
            const DecoderWidths widths = {latent_width_,
                                          destination_width(dataset, *parts_.node_attributes, datasets_[i].variables,
                                                            inputs_.n_step_input, encoded_width(i)),
                                          inputs_.n_step_output * dataset.n_output};
            auto mapper = build_decoder(decoder, dataset, widths);
            dataset.decoder_nodes = node_sharing(inputs_, hidden, name);
            check_shared(*mapper, *dataset.decoder_nodes);
            parts_.decoders.push_back({decoder.key, std::move(mapper)});
        }
    }

    /// Columns of what the encoder returns for the nodes of a data set.
    [[nodiscard]] int64_t encoded_width(size_t dataset) const
    {
        if (!parts_.datasets[dataset].encoder)
            return 0;
        const auto& part = encoders_[*parts_.datasets[dataset].encoder].part;
        return part.section.target() == "GNNForwardMapper" ? part_channels(part) : source_width(dataset);
    }

    /// Data sets that the section does not name have none.
    [[nodiscard]] std::optional<Config> boundings_of(const std::string& name) const
    {
        const auto all = root_.find("bounding.datasets");
        return all && !all->has(name) ? std::nullopt : find_for_dataset(root_, "bounding", name);
    }

    void add_boundings()
    {
        for (size_t i = 0; i < datasets_.size(); ++i)
            if (const auto boundings = boundings_of(names_[i]))
                for (const auto& section : boundings->items())
                    parts_.datasets[i].boundings.push_back(
                        build_bounding(section, datasets_[i].variables, datasets_[i].statistics));
    }

    const Config& root_;
    const ModelInputs& inputs_;
    MatrixSources matrices_;
    std::vector<FurtherDataset> datasets_; ///< all of them
    std::vector<std::string> names_;
    std::vector<NamedMapper> encoders_, decoders_;
    NetworkParts parts_;
    int64_t latent_width_ = 0;
};

} // namespace

std::shared_ptr<ForecastModel> build_model(const Config& root, const ModelInputs& inputs)
{
    return NetworkBuilder(root, inputs, {}).build();
}

std::shared_ptr<SeveralDatasetsModel> build_model(const Config& root, const ModelInputs& inputs,
                                                  const std::vector<FurtherDataset>& further)
{
    return NetworkBuilder(root, inputs, further).build();
}

} // namespace gradwind::model
