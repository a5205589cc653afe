// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_keys.h"

namespace gradwind
{

namespace
{

constexpr KeySpec model_table[] = {
    {"model.num_channels", "int", "128", ">= 1", "", "Width of the latent state."},
    {"model.cpu_offload", "ignored"},
    {"model.keep_batch_sharded", "bool", "true", "", "",
     "Input, loss and normalisation stay cut over the processes of a model."},
    {"model.condition_on_residual", "bool", "false", "", "",
     "Ensembles: also give the residual's fields to the network."},
    {"model.model", "target:model", "AnemoiModelEncProcDec", "", "", "The network as a whole."},
    {"model.layer_kernels.*", "target:layer", "", "", "", "Classes that stand for Linear, LayerNorm, Activation, ..."},
    {"model.encoders.*.source_datasets", "strings", "[data]", "", "", "Data sets that this encoder reads."},
    {"model.encoders.*.dataset_fusing_strategy", "string", "not_supported", "not_supported", "", "No choice yet."},
    {"model.encoders.*.mapper", "target:mapper", "", "", "", "Layer from the data nodes to the hidden nodes."},
    {"model.processor", "target:layer stack", "", "", "", "Layers on the hidden nodes."},
    {"model.latent_aggregator", "target:aggregator", "SumAggregator", "", "",
     "How latents of several encoders are joined."},
    {"model.decoders.*.target_datasets", "strings", "[data]", "", "", "Data sets that this decoder writes."},
    {"model.decoders.*.target_node_features", "strings", "[encoded_data]",
     "coordinates, forcings, prognostics, trainable_parameters, encoded_data", "",
     "What the decoder knows about its nodes, side by side in this order."},
    {"model.decoders.*.mapper", "target:mapper", "", "", "", "Layer from the hidden nodes to the data nodes."},
    {"model.residual.datasets.*", "target:residual", "", "", "", "What the output is added to."},
    {"model.output_mask.datasets.*", "target:output mask", "", "", "", "Where the output counts."},
    {"model.node_trainable_parameters.*", "int", "", ">= 0", "", "Trainable numbers per node of this set."},
    {"model.edge_trainable_parameters.*", "int", "", ">= 0", "", "Trainable numbers per edge of this set."},
    {"model.attributes.edges", "strings", "[edge_length, edge_dirs]", "", "",
     "Edge attributes that enter the network."},
    {"model.attributes.nodes", "strings", "[]", "", "", "Node attributes that enter the network."},
    {"model.bounding[]", "target:bounding", "", "", "", "Bounds of output variables, applied in order."},
    {"model.bounding.datasets.*[]", "target:bounding", "", "", "", "The same per data set."},
    {"model.noise_injector", "target:noise injector", "", "", "", "Noise that tells the members apart."},
    {"model.compile", "ignored"},
    {"model.recompile_limit", "ignored"},
    {"model.sparse_projector", "ignored"},
    {"model.latent_skip", "ignored"}, // anemoi-training's schema adds it; model.model.latent_skip counts
    {"model.node_loss_weight", "ignored"},
};

constexpr KeySpec network_keys[] = {
    {"hidden_nodes_name", "string | strings", "hidden", "", "", "Node set of the latent state."},
    {"latent_skip", "bool", "true", "", "", "Add the latent state before the processor to the one behind it."},
};

#define MLP_KINDS "mlp, glu, swiglu, geglu, reglu"

constexpr KeySpec common_keys[] = {
    {"num_channels", "int", "${model.num_channels}", ">= 1", "", "Width."},
    {"num_chunks", "int", "1", ">= 1", "", "Parts that are computed one after the other to save memory."},
    {"cpu_offload", "ignored"},
    {"gradient_checkpointing", "bool", "true", "", "",
     "Compute activations again in the backward pass to save memory."},
    {"layer_kernels.*", "target:layer", "", "", "", "Classes that stand for Linear, LayerNorm, Activation, ..."},
    {"mlp_hidden_ratio", "real", "", "> 0", "", "Width inside an MLP as a multiple of num_channels."},
    {"mlp_implementation", "string", "mlp", MLP_KINDS, "", "Plain or gated MLP."},
};
constexpr KeySpec graph_layer_keys[] = {
    {"trainable_size", "int", "0", ">= 0", "", "Trainable numbers per edge."},
    {"sub_graph_edge_attributes", "strings", "${model.attributes.edges}", "", "", "Edge attributes that are read."},
};
constexpr KeySpec gnn_keys[] = {
    {"mlp_extra_layers", "int", "0", ">= 0", "", "Linear layers beyond three in each MLP."},
};
constexpr KeySpec stack_keys[] = {
    {"num_layers", "int", "16", ">= 1", "", "Layers."},
};
constexpr KeySpec head_keys[] = {
    {"num_heads", "int", "16", ">= 1", "", "Attention heads; divides the attention channels."},
    {"attn_channels", "int", "", ">= 1", "", "Width of the attention; default num_channels."},
    {"qk_norm", "bool", "false", "", "", "Normalise queries and keys."},
};
constexpr KeySpec graph_attention_keys[] = {
    {"shard_strategy", "string", "edges", "edges, heads", "", "How a model group shares the work."},
    {"graph_attention_backend", "string", "", "triton, pyg", "", "The original's kernels; all give one result here."},
    {"edge_pre_mlp", "bool", "false", "", "", "A small layer on the edge attributes first."},
};
constexpr KeySpec attention_keys[] = {
    {"window_size", "int", "", ">= -1", "nodes", "Attend to this many nodes on either side; -1 or null: to all."},
    {"dropout_p", "real", "0.0", "0 .. 1", "", "Dropout of the attention; 0 with sharded models."},
    {"attention_implementation", "string", "", "flash_attention, scaled_dot_product_attention", "",
     "The original's kernels; all give one result here."},
    {"softcap", "real", "", ">= 0", "", "Soft limit of the scores; null or 0: none."},
    {"use_alibi_slopes", "bool", "false", "", "", "Scores fall linearly with the distance."},
    {"use_rotary_embeddings", "bool", "false", "", "", "Rotary positions; only mappers use them, as in the original."},
};
constexpr KeySpec extractor_keys[] = {
    {"initialise_data_extractor_zero", "bool", "false", "", "", "Start with a zero output layer."},
};
constexpr KeySpec dropout_keys[] = {
    {"dropout_p", "real", "0.0", "0 .. 1", "", "Dropout."},
};
constexpr KeySpec attention_sharing_keys[] = {
    {"shard_strategy", "string", "", "heads, sequence, edges", "",
     "How a model group shares the work; default: by sequence where there is a window, else by heads."},
    {"graph_attention_backend", "ignored"},
    {"edge_pre_mlp", "ignored"},
};
// Pointwise layers have no edges, but packaged configurations carry these keys along.
constexpr KeySpec carried_keys[] = {
    {"shard_strategy", "ignored"},
    {"graph_attention_backend", "ignored"},
    {"edge_pre_mlp", "ignored"},
};
constexpr KeySpec carried_head_keys[] = {
    {"num_heads", "ignored"},
    {"qk_norm", "ignored"},
    {"mlp_extra_layers", "ignored"},
};

constexpr KeySpec skip_keys[] = {
    {"step", "int", "-1", "", "steps", "Input step that the output is added to; -1 is the last."},
};
constexpr KeySpec truncated_keys[] = {
    {"truncation_up_file_path", "path", "", "", "", "Matrix from the coarse grid."},
    {"truncation_down_file_path", "path", "", "", "", "Matrix to the coarse grid."},
    {"truncation_up_edges_name", "strings", "", "", "", "Edges from the coarse grid, instead of a file."},
    {"truncation_down_edges_name", "strings", "", "", "", "Edges to the coarse grid, instead of a file."},
    {"truncation_config.truncation_up_file_path", "path", "", "", "", "Matrix from the coarse grid."},
    {"truncation_config.truncation_down_file_path", "path", "", "", "", "Matrix to the coarse grid."},
    {"truncation_config.grid", "string", "", "", "", "Coarse grid, to make the matrices."},
    {"truncation_config.num_nearest_neighbours", "int", "3", ">= 1", "", "Neighbours that a value is made from."},
    {"truncation_config.sigma", "real", "1.0", "> 0", "", "Width of their Gaussian weights."},
    {"edge_weight_attribute", "string", "", "", "", "Edge attribute that holds the weights."},
    {"src_node_weight_attribute", "string", "", "", "", "Node attribute that multiplies them."},
    {"data_node_name", "string", "data", "", "", "Data node set."},
    {"autocast", "bool", "false", "", "", "Allow low precision."},
    {"row_normalize", "bool", "false", "", "", "Make the weights of a row add up to one."},
    {"sparse_projector_num_chunks", "int", "1", ">= 1", "", "Parts that are computed one after the other."},
};
constexpr KeySpec attribute_name_key[] = {
    {"attribute_name", "string", "", "", "", "Boolean attribute of the data nodes."},
};

constexpr KeySpec variables_key[] = {
    {"variables", "strings", "", "", "", "Output variables that are bounded."},
};
constexpr KeySpec normalized_keys[] = {
    {"min_val", "reals", "", "", "", "Lower bounds in physical units, in the order of `variables`."},
    {"normalizer", "strings", "", "mean-std, std, min-max, max", "", "Normalisation of each variable."},
};
constexpr KeySpec limits_keys[] = {
    {"min_val", "real", "", "", "", "Lower bound."},
    {"max_val", "real", "", "", "", "Upper bound."},
};
constexpr KeySpec total_keys[] = {
    {"total_var", "string", "", "", "", "Output variable that the fraction is of."},
};

} // namespace

std::span<const KeySpec> model_keys()
{
    return model_table;
}

std::vector<TargetSpec> model_targets()
{
    const char* mapper = "mapper";
    const char* stack = "layer stack";
    return {
        {"model", "AnemoiModelEncProcDec", {network_keys}, "Deterministic encoder, processor, decoder."},
        {"model", "AnemoiEnsModelEncProcDec", {network_keys}, "The same for ensembles."},
        {mapper, "GNNForwardMapper", {common_keys, graph_layer_keys, gnn_keys}, "Graph network, into hidden nodes."},
        {mapper, "GNNBackwardMapper", {common_keys, graph_layer_keys, gnn_keys}, "Graph network, out of hidden nodes."},
        {mapper,
         "GraphTransformerForwardMapper",
         {common_keys, graph_layer_keys, head_keys, graph_attention_keys},
         "Graph transformer, into hidden nodes."},
        {mapper,
         "GraphTransformerBackwardMapper",
         {common_keys, graph_layer_keys, head_keys, graph_attention_keys, extractor_keys},
         "Graph transformer, out of hidden nodes."},
        {mapper,
         "TransformerForwardMapper",
         {common_keys, graph_layer_keys, head_keys, attention_keys, attention_sharing_keys},
         "Transformer, into hidden nodes."},
        {mapper,
         "TransformerBackwardMapper",
         {common_keys, graph_layer_keys, head_keys, attention_keys, attention_sharing_keys, extractor_keys},
         "Transformer, out of hidden nodes."},
        {mapper,
         "PointWiseForwardMapper",
         {common_keys, graph_layer_keys, carried_keys, carried_head_keys},
         "Cell by cell, in."},
        {mapper,
         "PointWiseBackwardMapper",
         {common_keys, graph_layer_keys, carried_keys, carried_head_keys, extractor_keys},
         "Cell by cell, out."},
        {stack, "GNNProcessor", {common_keys, stack_keys, graph_layer_keys, gnn_keys}, "Graph network."},
        {stack,
         "GraphTransformerProcessor",
         {common_keys, stack_keys, graph_layer_keys, head_keys, graph_attention_keys},
         "Graph transformer."},
        {stack,
         "TransformerProcessor",
         {common_keys, stack_keys, head_keys, attention_keys, graph_layer_keys, attention_sharing_keys},
         "Transformer with a sliding window."},
        {stack,
         "PointWiseMLPProcessor",
         {common_keys, stack_keys, dropout_keys, graph_layer_keys, carried_keys, carried_head_keys},
         "MLP cell by cell."},
        {stack,
         "NoOpProcessor",
         {common_keys, stack_keys, dropout_keys, graph_layer_keys, carried_keys, carried_head_keys},
         "Nothing: the latent as it came."},
        {"residual", "SkipConnection", {skip_keys}, "An input step."},
        {"residual", "TruncatedConnection", {truncated_keys}, "The last input step, smoothed on a coarse grid."},
        {"output mask", "NoOutputMask", {}, "All nodes count."},
        {"output mask",
         "Boolean1DMask",
         {attribute_name_key},
         "Only nodes of a mask count; outside is boundary forcing."},
        {"aggregator", "SumAggregator", {}, "Sum."},
        {"aggregator", "MeanAggregator", {}, "Mean."},
        {"aggregator", "ConcatAggregator", {}, "Side by side."},
        {"bounding", "ReluBounding", {variables_key}, "Not below zero."},
        {"bounding", "LeakyReluBounding", {variables_key}, "Weakly below zero."},
        {"bounding", "NormalizedReluBounding", {variables_key, normalized_keys}, "Not below a physical value."},
        {"bounding", "NormalizedLeakyReluBounding", {variables_key, normalized_keys}, "Weakly below a physical value."},
        {"bounding", "HardtanhBounding", {variables_key, limits_keys}, "Between two values."},
        {"bounding", "LeakyHardtanhBounding", {variables_key, limits_keys}, "Weakly outside two values."},
        {"bounding", "FractionBounding", {variables_key, limits_keys, total_keys}, "A fraction of another variable."},
        {"bounding", "LeakyFractionBounding", {variables_key, limits_keys, total_keys}, "The same, leaky."},
    };
}

} // namespace gradwind
