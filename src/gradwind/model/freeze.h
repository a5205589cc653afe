// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Parts of a network that training leaves as they are.
#pragma once
#include <torch/nn/module.h>

#include <string>

namespace gradwind::model
{

/// Takes the parameters of a part out of training: they get no gradient and no decay.
/// @param path dotted, from the network's root: "encoder", "processor.proc.0", "node_attributes"
/// @throws ConfigError if there is no such part, or if it has no parameter; it names what there is
void freeze_part(torch::nn::Module& network, const std::string& path);

} // namespace gradwind::model
