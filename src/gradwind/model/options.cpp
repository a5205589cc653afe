// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/options.h"

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"

namespace gradwind::model
{

namespace
{

/// The first of several places that has a value.
std::optional<Config> first_of(std::initializer_list<std::pair<const Config*, std::string>> places)
{
    for (const auto& [section, key] : places)
        if (section->has(key))
            return section->at(key);
    return std::nullopt;
}

/// Refuses keys of a layer kernel that would otherwise have no effect.
void refuse_other_keys(const Config& kernel, const std::vector<std::string>& known)
{
    for (const auto& key : kernel.keys())
        GRADWIND_CHECK(std::find(known.begin(), known.end(), key) != known.end(), ConfigError,
                       "[model] {}: {} has no option `{}`{}", kernel.at(key).where(), kernel.target(), key,
                       did_you_mean(key, known));
}

void require_target(const Config& kernel, const std::vector<std::string>& allowed)
{
    if (std::find(allowed.begin(), allowed.end(), kernel.target()) == allowed.end())
        refuse_target(kernel, allowed, {});
}

/// What the options of a normalisation make of it.
LayerKernels::NormForm norm_form(const Config& norm)
{
    using Form = LayerKernels::NormForm;
    Form form;
    const auto target = norm.target();
    refuse_other_keys(norm,
                      target == "RMSNorm"
                          ? std::vector<std::string>{"_target_", "_partial_", "eps", "elementwise_affine"}
                          : std::vector<std::string>{"_target_", "_partial_", "eps", "elementwise_affine", "bias"});
    if (target != "AutocastLayerNorm")
        form.result = LayerKernels::NormResult::Promoted;
    form.kind = target == "RMSNorm" ? Form::Kind::RootMeanSquare : Form::Kind::Layer;
    if (!norm.get<bool>("elementwise_affine", true))
        form.weights = Form::Weights::None;
    else if (form.kind == Form::Kind::RootMeanSquare || !norm.get<bool>("bias", true))
        form.weights = Form::Weights::Scale;
    if (const auto eps = norm.find("eps"); eps && !eps->is_null()) {
        form.epsilon = eps->as<double>();
        GRADWIND_CHECK(*form.epsilon > 0, ConfigError, "[model] {} is {}; it must be above 0", eps->where(),
                       *form.epsilon);
    }
    return form;
}

/// The activation of a section with its parameters.
ops::Activation activation_of(const Config& section)
{
    auto found = ops::activation_of(section.target());
    if (!found)
        refuse_target(section, ops::activation_names(), {});
    std::vector<std::string> known = {"_target_", "_partial_", "inplace"};
    const auto& parameters = ops::activation_parameters(found->kind);
    for (size_t i = 0; i < parameters.size(); ++i) {
        known.emplace_back(parameters[i].name);
        found->parameters.at(i) = section.get<double>(parameters[i].name, parameters[i].fallback);
    }
    if (found->kind == ops::Activation::Gelu) {
        known.emplace_back("approximate");
        const auto form = section.get<std::string>("approximate", "none");
        GRADWIND_CHECK(form == "none" || form == "tanh", ConfigError, "[model] {}: expected none or tanh, found `{}`",
                       section.at("approximate").where(), form);
        if (form == "tanh")
            found = ops::Activation::GeluTanh;
    }
    refuse_other_keys(section, known);
    return *found;
}

void read_condition(const Config& norm, LayerKernels& kernels)
{
    kernels.condition_width = integer_in(norm, "condition_shape", 16, 1, 1 << 16);
    kernels.condition_start =
        norm.get<bool>("zero_init", true) ? LayerKernels::ConditionStart::Zero : LayerKernels::ConditionStart::Drawn;
    kernels.norm.result =
        norm.get<bool>("autocast", true) ? LayerKernels::NormResult::InputType : LayerKernels::NormResult::Promoted;
}

MlpKind mlp_kind(const Config& section)
{
    static const std::vector<std::string> names = {"mlp", "glu", "swiglu", "geglu", "reglu"};
    const auto name = section.get<std::string>("mlp_implementation", "mlp");
    const auto found = std::find(names.begin(), names.end(), name);
    GRADWIND_CHECK(found != names.end(), ConfigError, "[model] {}: unknown kind of MLP `{}`{}; known are {}",
                   section.at("mlp_implementation").where(), name, did_you_mean(name, names), fmt::join(names, ", "));
    return MlpKind(found - names.begin());
}

double hidden_ratio(const Config& section, int64_t channels, double fallback)
{
    const auto ratio = section.get<double>("mlp_hidden_ratio", fallback);
    GRADWIND_CHECK(ratio > 0 && int64_t(double(channels) * ratio + 0.5) >= 1, ConfigError,
                   "[model] {} is {}; the hidden width {} x ratio must be at least 1",
                   section.at("mlp_hidden_ratio").where(), ratio, channels);
    return ratio;
}

ops::Intermediates intermediates(const Config& section)
{
    return section.get<bool>("gradient_checkpointing", true) ? ops::Intermediates::Recompute : ops::Intermediates::Keep;
}

} // namespace

void refuse_target(const Config& section, const std::vector<std::string>& available,
                   const std::vector<std::string>& planned)
{
    const auto target = section.target();
    const auto where = section.at("_target_").where();
    GRADWIND_CHECK(std::find(planned.begin(), planned.end(), target) == planned.end(), ConfigError,
                   "[model] {}: {} is not available yet; available are {}", where, target, fmt::join(available, ", "));
    throw ConfigError(fmt::format("[model] {}: unknown `{}`{}; available are {}", where, target,
                                  did_you_mean(target, available), fmt::join(available, ", ")));
}

int64_t integer_in(const Config& section, const std::string& key, int64_t fallback, int64_t low, int64_t high)
{
    const auto value = section.get<int64_t>(key, fallback);
    GRADWIND_CHECK(value >= low && value <= high, ConfigError, "[model] {} is {}; it must be in [{}, {}]",
                   section.has(key) ? section.at(key).where() : "the default of `" + key + "`", value, low, high);
    return value;
}

std::vector<NamedMapper> find_mappers(const Config& root, const std::string& plural,
                                      const std::vector<std::string>& datasets)
{
    const auto singular = plural.substr(0, plural.size() - 1);
    if (!root.has(plural)) {
        GRADWIND_CHECK(root.has(singular), ConfigError, "[model] {} has neither `{}` nor `{}`", root.where(), plural,
                       singular);
        return {{"0", {root.at(singular), root}, {datasets.front()}, {"encoded_data"}}};
    }
    const auto all = root.at(plural);
    const auto keys = all.keys();
    const auto items = all.items();
    GRADWIND_CHECK(!keys.empty(), ConfigError, "[model] {} is empty", all.where());
    const auto* names_key = plural == "encoders" ? "source_datasets" : "target_datasets";
    std::vector<NamedMapper> out;
    std::vector<std::string> taken;
    for (size_t i = 0; i < keys.size(); ++i) {
        auto names = items[i].get<std::vector<std::string>>(names_key, {datasets.front()});
        for (const auto& name : names) {
            GRADWIND_CHECK(std::find(datasets.begin(), datasets.end(), name) != datasets.end(), ConfigError,
                           "[model] {}: there is no data set `{}`{}; known are {}", items[i].where(), name,
                           did_you_mean(name, datasets), fmt::join(datasets, ", "));
            GRADWIND_CHECK(std::find(taken.begin(), taken.end(), name) == taken.end(), ConfigError,
                           "[model] {}: the data set `{}` has two {}; keep one", items[i].where(), name, plural);
            taken.push_back(name);
        }
        out.push_back({keys[i],
                       {items[i].at("mapper"), root},
                       std::move(names),
                       items[i].get<std::vector<std::string>>("target_node_features", {"encoded_data"})});
    }
    return out;
}

std::optional<Config> find_for_dataset(const Config& root, const std::string& key, const std::string& dataset)
{
    if (!root.has(key))
        return std::nullopt;
    const auto section = root.at(key);
    if (!section.is_map() || !section.has("datasets"))
        return section;
    GRADWIND_CHECK(section.at("datasets").has(dataset), ConfigError, "[model] {} has no entry for the data set `{}`",
                   section.at("datasets").where(), dataset);
    return section.at("datasets." + dataset);
}

int64_t part_channels(const PartConfig& part)
{
    if (part.section.has("num_channels"))
        return integer_in(part.section, "num_channels", 0, 1, 1 << 20);
    const auto key = part.root.has("num_channels") ? "num_channels" : "hidden_dim";
    GRADWIND_CHECK(part.root.has(key), ConfigError, "[model] {} needs `num_channels`, the width of the network",
                   part.root.where());
    return integer_in(part.root, key, 0, 1, 1 << 20);
}

std::vector<std::string> edge_attributes(const PartConfig& part)
{
    const auto listed = first_of({{&part.section, "sub_graph_edge_attributes"}, {&part.root, "attributes.edges"}});
    return listed ? listed->as<std::vector<std::string>>() : std::vector<std::string>{"edge_length", "edge_dirs"};
}

int64_t node_trainables(const Config& root, const std::string& nodes)
{
    for (const auto* key : {"node_trainable_parameters", "trainable_parameters"})
        if (root.has(key))
            return integer_in(root.at(key), nodes, 0, 0, 1 << 16);
    return 0;
}

int64_t edge_trainables(const PartConfig& part, const std::string& sets)
{
    if (part.section.has("trainable_size"))
        return integer_in(part.section, "trainable_size", 0, 0, 1 << 16);
    for (const auto* key : {"edge_trainable_parameters", "trainable_parameters"})
        if (part.root.has(key))
            return integer_in(part.root.at(key), sets, 0, 0, 1 << 16);
    return 0;
}

ShardStrategy shard_strategy(const Config& section)
{
    const auto name = section.get<std::string>("shard_strategy", "edges");
    return name == "heads" ? ShardStrategy::Heads : name == "sequence" ? ShardStrategy::Sequence : ShardStrategy::Edges;
}

LayerKernels layer_kernels(const PartConfig& part)
{
    LayerKernels kernels;
    const auto kernel = [&](const std::string& name) {
        return first_of({{&part.section, "layer_kernels." + name}, {&part.root, "layer_kernels." + name}});
    };
    if (const auto linear = kernel("Linear")) {
        require_target(*linear, {"Linear"});
        GRADWIND_CHECK(linear->get<bool>("bias", true), ConfigError,
                       "[model] {} must be true: linear layers without it are not available yet",
                       linear->at("bias").where());
        refuse_other_keys(*linear, {"_target_", "_partial_", "bias"});
    }
    if (const auto norm = kernel("LayerNorm")) {
        require_target(*norm, {"LayerNorm", "AutocastLayerNorm", "RMSNorm", "ConditionalLayerNorm"});
        if (norm->target() == "ConditionalLayerNorm")
            read_condition(*norm, kernels);
        else
            kernels.norm = norm_form(*norm);
    }
    for (const auto& [name, form] :
         {std::pair("QueryNorm", &kernels.query_norm), std::pair("KeyNorm", &kernels.key_norm)})
        if (const auto norm = kernel(name)) {
            require_target(*norm, {"LayerNorm", "AutocastLayerNorm", "RMSNorm"});
            *form = norm_form(*norm);
        }
    if (const auto activation = kernel("Activation"))
        kernels.activation = activation_of(*activation);
    return kernels;
}

GnnOptions gnn_options(const PartConfig& part, int64_t edge_width)
{
    const auto& section = part.section;
    const auto channels = part_channels(part);
    const auto kernels = layer_kernels(part);
    GRADWIND_CHECK(kernels.condition_width == 0, ConfigError,
                   "[model] {}: graph networks have no ConditionalLayerNorm; use LayerNorm or AutocastLayerNorm, or a "
                   "GraphTransformerProcessor or TransformerProcessor",
                   section.where());
    return {.channels = channels,
            .edge_width = edge_width,
            .extra_layers = integer_in(section, "mlp_extra_layers", 0, 0, 1000),
            .hidden_ratio = hidden_ratio(section, channels, 1.0),
            .mlp_kind = mlp_kind(section),
            .kernels = kernels,
            .num_chunks = integer_in(section, "num_chunks", 1, 1, 1 << 20),
            .intermediates = intermediates(section)};
}

GraphTransformerOptions graph_transformer_options(const PartConfig& part, int64_t edge_width)
{
    using Options = GraphTransformerOptions;
    const auto& section = part.section;
    const auto channels = part_channels(part);
    const auto attention = integer_in(section, "attn_channels", channels, 1, 1 << 20);
    const auto heads = integer_in(section, "num_heads", 16, 1, 1 << 20);
    GRADWIND_CHECK(
        attention % heads == 0, ConfigError, "[model] {} is {}, which does not divide the {} channels of the attention",
        section.has("num_heads") ? section.at("num_heads").where() : section.where() + ": num_heads", heads, attention);
    return {.channels = channels,
            .attention_channels = attention,
            .heads = heads,
            .edge_width = edge_width,
            .hidden_ratio = hidden_ratio(section, channels, 4.0),
            .mlp_kind = mlp_kind(section),
            .qk_norm = section.get<bool>("qk_norm", false) ? Options::QkNorm::PerHead : Options::QkNorm::None,
            .edge_pre_mlp =
                section.get<bool>("edge_pre_mlp", false) ? Options::EdgePreMlp::Layer : Options::EdgePreMlp::None,
            .shard_strategy = shard_strategy(section),
            .kernels = layer_kernels(part),
            .num_chunks = integer_in(section, "num_chunks", 1, 1, 1 << 20),
            .intermediates = intermediates(section)};
}

namespace
{

int64_t hidden_width(const Config& section, int64_t channels, double fallback)
{
    return int64_t(double(channels) * hidden_ratio(section, channels, fallback) + 0.5);
}

void refuse_dropout(const Config& section)
{
    GRADWIND_CHECK(section.get<double>("dropout_p", 0.0) == 0, ConfigError,
                   "[model] {} must be 0: dropout is not available yet", section.at("dropout_p").where());
}

/// Kernels of a part whose normalisations get no condition.
LayerKernels unconditional_kernels(const PartConfig& part)
{
    const auto kernels = layer_kernels(part);
    GRADWIND_CHECK(kernels.condition_width == 0, ConfigError,
                   "[model] {}: {} has no ConditionalLayerNorm; use LayerNorm or AutocastLayerNorm here, and a "
                   "GraphTransformerProcessor or TransformerProcessor for what is conditioned",
                   part.section.where(), part.section.target());
    return kernels;
}

} // namespace

int64_t layer_count(const Config& section)
{
    const auto layers = integer_in(section, "num_layers", 16, 1, 100000);
    const auto chunks = integer_in(section, "num_chunks", 1, 1, 1 << 20);
    GRADWIND_CHECK(layers % chunks == 0, ConfigError, "[model] {} is {}, which does not divide num_layers {}",
                   section.at("num_chunks").where(), chunks, layers);
    return layers;
}

TransformerOptions transformer_options(const PartConfig& part, TransformerBlock::Place place)
{
    using Place = TransformerBlock::Place;
    const auto& section = part.section;
    refuse_dropout(section);
    // The original's processor takes the option and does not hand it on to its layers.
    GRADWIND_CHECK(place == Place::Processor || !section.get<bool>("use_rotary_embeddings", false), ConfigError,
                   "[model] {} must be false: rotary positions are not available yet",
                   section.at("use_rotary_embeddings").where());
    TransformerOptions options;
    options.channels = part_channels(part);
    options.attention_channels = integer_in(section, "attn_channels", options.channels, 1, 1 << 20);
    options.heads = integer_in(section, "num_heads", 16, 1, 1 << 16);
    GRADWIND_CHECK(options.attention_channels % options.heads == 0, ConfigError,
                   "[model] {}: {} heads do not divide the {} channels of the attention", section.where(),
                   options.heads, options.attention_channels);
    options.mlp_hidden = hidden_width(section, options.channels, 4);
    options.mlp_kind = mlp_kind(section);
    options.window = integer_in(section, "window_size", -1, -1, int64_t(1) << 40);
    if (section.has("window_size") &&
        section.get<std::string>("attention_implementation", "flash_attention") == "scaled_dot_product_attention")
        options.unlimited = TransformerOptions::Unlimited::SourceCount;
    options.softcap = section.get<double>("softcap", 0.0);
    GRADWIND_CHECK(options.softcap >= 0, ConfigError, "[model] {} is {}; it must be 0 (none) or above",
                   section.at("softcap").where(), options.softcap);
    if (section.get<bool>("use_alibi_slopes", false))
        options.distance = TransformerOptions::Distance::Alibi;
    if (section.get<bool>("qk_norm", false))
        options.head_norms = TransformerOptions::HeadNorms::QueryAndKey;
    options.shard_strategy = shard_strategy(section);
    options.kernels = place == Place::Processor ? layer_kernels(part) : unconditional_kernels(part);
    options.num_chunks = integer_in(section, "num_chunks", 1, 1, 1 << 20);
    options.intermediates = intermediates(section);
    return options;
}

PointWiseOptions pointwise_options(const PartConfig& part)
{
    refuse_dropout(part.section);
    const auto channels = part_channels(part);
    return {.channels = channels,
            .hidden = hidden_width(part.section, channels, 1),
            .kernels = layer_kernels(part),
            .num_chunks = integer_in(part.section, "num_chunks", 1, 1, 1 << 20),
            .intermediates = intermediates(part.section)};
}

} // namespace gradwind::model
