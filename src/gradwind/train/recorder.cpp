// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/recorder.h"

#include "gradwind/core/safetensors.h"

namespace gradwind::train
{

void Recorder::batch(double local_loss, std::vector<int64_t> first_positions)
{
    record_["loss"].push_back(local_loss);
    record_["anchors"].push_back(std::move(first_positions));
}

void Recorder::step(double lr, double grad_norm, size_t n_batches)
{
    record_["lr"].push_back(lr);
    record_["grad_norm"].push_back(grad_norm);
    record_["n_batches"].push_back(n_batches);
}

void Recorder::validation(const ValidationResult& result)
{
    nlohmann::json row = {{"step", result.step}};
    for (const auto& [name, value] : result.values)
        row[name] = value;
    record_["validation"].push_back(std::move(row));
}

void Recorder::write(const std::filesystem::path& path) const
{
    const auto text = record_.dump(1) + "\n";
    write_file_atomically(path, std::as_bytes(std::span(text)));
}

} // namespace gradwind::train
