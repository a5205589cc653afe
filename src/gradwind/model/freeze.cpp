// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/freeze.h"

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"

namespace gradwind::model
{

void freeze_part(torch::nn::Module& network, const std::string& path)
{
    const auto parts = network.named_modules("", /*include_self=*/false);
    const auto* part = parts.find(path);
    const bool has_parameters = part && !(*part)->parameters().empty();
    if (!has_parameters) {
        std::vector<std::string> known;
        for (const auto& item : parts)
            if (!item.value()->parameters().empty() && item.key().find('.') == std::string::npos)
                known.push_back(item.key());
        throw ConfigError(fmt::format("[train] training.submodules_to_freeze: the network has no part `{}` with "
                                      "parameters{}; it has {} and what is below them, such as `processor.proc.0`",
                                      path, did_you_mean(path, known), fmt::join(known, ", ")));
    }
    for (auto& parameter : (*part)->parameters())
        parameter.set_requires_grad(false);
}

} // namespace gradwind::model
