// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The encoder-processor-decoder network (spec §2).
#pragma once
#include "gradwind/model/bounding.h"
#include "gradwind/model/components.h"
#include "gradwind/model/noise.h"
#include "gradwind/model/residual.h"
#include "gradwind/model/several_datasets.h"

namespace gradwind::model
{

/// Blocks that the decoder's destination features can be put together from.
enum class TargetFeature { Coordinates, Forcings, Prognostics, TrainableParameters, EncodedData };

/// A mapper and its name in parameter names.
struct NamedPart {
    std::string key;
    std::shared_ptr<Mapper> mapper;
};

/// One data set of a network: what comes from it and goes to it.
struct DatasetParts {
    std::string name;                                           ///< of the data set and of its nodes
    std::optional<size_t> encoder;                              ///< none: the network does not read it
    std::optional<size_t> decoder;                              ///< none: the network does not write it
    std::shared_ptr<EdgeProvider> encoder_edges, decoder_edges; ///< null: the part has none
    /// Who owns the nodes between which encoder and decoder work.
    std::shared_ptr<const NodeSharing> encoder_nodes, decoder_nodes;
    std::shared_ptr<Residual> residual; ///< what predictions are added to; null: nothing
    std::vector<std::shared_ptr<Bounding>> boundings;
    std::vector<TargetFeature> target_features;
    int64_t n_nodes = 0, n_input = 0, n_output = 0;
    at::Tensor input_prognostic, output_prognostic, input_forcing; ///< column numbers
};

/// The parts of a network and how they are joined; made by build_model.
struct NetworkParts {
    std::vector<DatasetParts> datasets;
    std::vector<NamedPart> encoders, decoders; ///< in the order of the configuration
    std::vector<size_t> sources;               ///< data sets that are read, in the order in which latents are joined
    std::string hidden_nodes;
    std::shared_ptr<NodeAttributes> node_attributes;
    std::shared_ptr<EdgeProvider> processor_edges; ///< null: it has none
    std::shared_ptr<const NodeSharing> processor_nodes;
    std::shared_ptr<Processor> processor; ///< null: the latent passes as it is
    /// How latents of several data sets become one.
    enum class Aggregate { Sum, Mean, Concatenate } aggregate = Aggregate::Sum;
    enum class LatentSkip { None, Add } latent_skip = LatentSkip::Add;
    /// Ensemble models are told whether a step is the first of a forecast.
    enum class Members { One, Ensemble } members = Members::One;
    /// Whether the encoder also gets the prognostic columns of the residual (`condition_on_residual`).
    enum class EncoderInput { Fields, FieldsAndResidual } encoder_input = EncoderInput::Fields;
    std::shared_ptr<NoiseInjector> noise; ///< null: none
    int64_t n_step_input = 1;
    int64_t n_step_output = 1;
};

class EncoderProcessorDecoder : public SeveralDatasetsModel
{
public:
    explicit EncoderProcessorDecoder(NetworkParts parts);
    [[nodiscard]] at::Tensor forward(const at::Tensor& x, const ForwardContext& context = {}) override;
    [[nodiscard]] Fields forward_all(const Fields& x, const ForwardContext& context = {}) override;
    [[nodiscard]] std::vector<SharedPart> shared_parts(const std::map<std::string, parallel::Partition>& nodes,
                                                       const at::Tensor& like) const override;
    void draw(UniformStream& stream) override;

private:
    /// What the encoder makes of one data set.
    struct Encoded {
        at::Tensor start; ///< what its predictions are added to
        at::Tensor data;  ///< its nodes as its decoder sees them
        at::Tensor latent;
    };
    void check_input(const Fields& x) const;
    [[nodiscard]] Encoded encode(const DatasetParts& dataset, const at::Tensor& x, const at::Tensor& hidden,
                                 int64_t rollout_step);
    [[nodiscard]] at::Tensor join(const std::vector<at::Tensor>& latents) const;
    /// The processor with the noise before it and the skip around it.
    [[nodiscard]] at::Tensor process(const at::Tensor& latent, int64_t batch, int64_t members, const at::Tensor& like,
                                     const ForwardContext& context);
    [[nodiscard]] at::Tensor decode(const DatasetParts& dataset, const at::Tensor& x, const at::Tensor& latent,
                                    const Encoded& encoded);
    [[nodiscard]] at::Tensor decoder_destination(const DatasetParts& dataset, const at::Tensor& x,
                                                 const at::Tensor& encoded) const;
    /// What enters the encoder: fields, node attributes and for ensembles the forecast step's flag and the residual.
    [[nodiscard]] at::Tensor encoder_input(const DatasetParts& dataset, const at::Tensor& x, const at::Tensor& start,
                                           int64_t rollout_step) const;
    [[nodiscard]] at::Tensor with_residual(const DatasetParts& dataset, const at::Tensor& columns, const at::Tensor& x,
                                           const at::Tensor& start) const;
    void observe(const char* name, const at::Tensor& value) const;
    void observe(const DatasetParts& dataset, const char* name, const at::Tensor& value) const;

    NetworkParts parts_;
};

} // namespace gradwind::model
