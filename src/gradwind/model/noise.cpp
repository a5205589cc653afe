// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/noise.h"

#include "gradwind/core/error.h"
#include "gradwind/model/options.h"

#include <ATen/ATen.h>

namespace gradwind::model
{

NoiseConditioning::NoiseConditioning(NoiseOptions options) : options_(std::move(options))
{
    noise_mlp_ = register_module("noise_mlp", std::make_shared<Mlp>(MlpOptions{.in = options_.channels,
                                                                               .hidden = options_.hidden,
                                                                               .out = options_.channels,
                                                                               .kernels = options_.kernels}));
    if (options_.projection)
        projection_ = projection_of(*options_.projection);
}

NoiseInjector::Result NoiseConditioning::forward(const at::Tensor& latent, NoiseRequest request,
                                                 const NoiseSource* source)
{
    GRADWIND_CHECK(source != nullptr, InternalError, "[noise] an ensemble model was run without a source of noise");
    request.channels = options_.channels;
    request.n_nodes = projection_ ? projection_->edges.n_src : options_.n_hidden;
    auto noise = source->draw(request).to(latent.device());
    // In float64 the noise keeps the values of float32, so that both precisions see one noise.
    noise = noise.to(noise_mlp_->output().weight.scalar_type()) * options_.standard_deviation;
    if (projection_) {
        projection_->move_to(latent.device());
        noise = ops::project(noise, *projection_);
    }
    noise = options_.own_nodes.of(noise, 2);
    const auto run = [this](const std::vector<at::Tensor>& in) -> std::vector<at::Tensor> {
        return {noise_mlp_->forward(in[0])};
    };
    return {latent, ops::region(ops::Intermediates::Recompute, run, {noise.reshape({-1, options_.channels})},
                                noise_mlp_->parameters())
                        .front()};
}

void NoiseConditioning::draw(UniformStream& stream)
{
    noise_mlp_->draw(stream);
}

LatentNoise::LatentNoise(NoiseOptions options, int64_t latent_channels)
{
    const auto noise_channels = options.channels;
    conditioning_ = register_module("_noise_conditioning", std::make_shared<NoiseConditioning>(std::move(options)));
    projection_ =
        register_module("projection", std::make_shared<Linear>(latent_channels + noise_channels, latent_channels));
}

NoiseInjector::Result LatentNoise::forward(const at::Tensor& latent, NoiseRequest request, const NoiseSource* source)
{
    const auto noise = conditioning_->forward(latent, request, source).cond;
    return {projection_->forward(at::cat({latent, noise.to(latent.scalar_type())}, 1)), {}};
}

void LatentNoise::draw(UniformStream& stream)
{
    conditioning_->draw(stream);
    projection_->draw(stream);
}

std::shared_ptr<NoiseInjector> build_noise_injector(const Config& root, int64_t n_hidden, int64_t latent_channels,
                                                    const parallel::RowSet& own_nodes, const MatrixSources& sources)
{
    GRADWIND_CHECK(root.has("noise_injector"), ConfigError,
                   "[model] {} needs a `noise_injector`: the members of an ensemble differ by their noise",
                   root.where());
    const auto section = root.at("noise_injector");
    const auto target = section.target();
    if (target == "NoOpNoiseInjector")
        return nullptr;
    if (target != "NoiseConditioning" && target != "NoiseInjector")
        refuse_target(section, {"NoiseConditioning", "NoiseInjector", "NoOpNoiseInjector"}, {});
    NoiseOptions options;
    options.standard_deviation = section.get<double>("noise_std", 1);
    options.channels = integer_in(section, "noise_channels_dim", 4, 1, kMostNoiseChannels);
    options.hidden = integer_in(section, "noise_mlp_hidden_dim", 32, 1, 1 << 20);
    options.kernels = layer_kernels({section, section});
    if (!section.has("layer_kernels.LayerNorm"))
        options.kernels.norm.result = LayerKernels::NormResult::Promoted;
    options.n_hidden = n_hidden;
    options.own_nodes = own_nodes;
    options.projection = find_matrix(
        {.section = section,
         .file = section.find("noise_matrix"),
         .edges = section.find("noise_edges_name"),
         .weight_attribute = section.get<std::string>("edge_weight_attribute", ""),
         .node_attribute = "",
         .rows = section.get<bool>("row_normalize_noise_matrix", false) ? MatrixRows::Normalised : MatrixRows::AsGiven},
        sources);
    GRADWIND_CHECK(!options.projection || options.projection->n_rows == n_hidden, ConfigError,
                   "[model] {}: expected a noise matrix with a row for each of the {} hidden nodes, found {}",
                   section.where(), n_hidden, options.projection->n_rows);
    if (target == "NoiseInjector")
        return std::make_shared<LatentNoise>(std::move(options), latent_channels);
    return std::make_shared<NoiseConditioning>(std::move(options));
}

} // namespace gradwind::model
