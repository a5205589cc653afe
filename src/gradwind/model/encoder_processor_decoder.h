// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The encoder-processor-decoder network (spec §2).
#pragma once
#include "gradwind/model/bounding.h"
#include "gradwind/model/components.h"
#include "gradwind/model/model.h"
#include "gradwind/model/noise.h"
#include "gradwind/model/residual.h"

namespace gradwind::model
{

/// Blocks that the decoder's destination features can be put together from.
enum class TargetFeature { Coordinates, Forcings, Prognostics, TrainableParameters, EncodedData };

/// The parts of a network and how they are joined; made by build_model.
struct NetworkParts {
    std::string data_nodes;
    std::string hidden_nodes;
    std::string encoder_key, decoder_key; ///< names in parameter names
    std::shared_ptr<NodeAttributes> node_attributes;
    std::shared_ptr<EdgeProvider> encoder_edges, processor_edges, decoder_edges; ///< null: the part has none
    std::shared_ptr<Mapper> encoder, decoder;
    std::shared_ptr<Processor> processor;
    std::vector<std::shared_ptr<Bounding>> boundings;
    std::vector<TargetFeature> target_features;
    enum class LatentSkip { None, Add } latent_skip = LatentSkip::Add;
    std::shared_ptr<Residual> residual; ///< what predictions are added to
    /// Ensemble models are told whether a step is the first of a forecast.
    enum class Members { One, Ensemble } members = Members::One;
    /// Whether the encoder also gets the prognostic columns of the residual (`condition_on_residual`).
    enum class EncoderInput { Fields, FieldsAndResidual } encoder_input = EncoderInput::Fields;
    std::shared_ptr<NoiseInjector> noise; ///< null: none
    int64_t n_step_input = 1;
    int64_t n_step_output = 1;
};

class EncoderProcessorDecoder : public ForecastModel
{
public:
    EncoderProcessorDecoder(NetworkParts parts, const VariableTable& variables);
    [[nodiscard]] at::Tensor forward(const at::Tensor& x, const ForwardContext& context = {}) override;
    [[nodiscard]] std::vector<SharedPart> shared_parts() const override;
    void draw(UniformStream& stream) override;

private:
    void check_input(const at::Tensor& x) const;
    [[nodiscard]] at::Tensor decoder_destination(const at::Tensor& x, const at::Tensor& encoded, int64_t copies) const;
    /// What enters the encoder: fields, node attributes and for ensembles the forecast step's flag and the residual.
    [[nodiscard]] at::Tensor encoder_input(const at::Tensor& x, const at::Tensor& start, int64_t rollout_step) const;
    [[nodiscard]] at::Tensor with_residual(const at::Tensor& columns, const at::Tensor& x,
                                           const at::Tensor& start) const;
    void observe(const char* name, const at::Tensor& value) const;

    NetworkParts parts_;
    int64_t n_nodes_ = 0;
    int64_t n_input_ = 0;
    int64_t n_output_ = 0;
    at::Tensor input_prognostic_, output_prognostic_, input_forcing_; ///< column numbers
};

} // namespace gradwind::model
