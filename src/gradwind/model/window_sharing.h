// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Attention in a window that a model group shares by consecutive nodes.
#pragma once
#include "gradwind/model/graph_inputs.h"

namespace gradwind::model
{

/// Brings the rows of neighbours that this rank's destinations see; made once for every number of copies.
class WindowSharing
{
public:
    /// @param window  nodes on either side; at least 0
    explicit WindowSharing(int64_t window) : window_(window) {}

    struct Exchange {
        parallel::HaloExchange sources;
        at::Tensor seen;            ///< which rows of what `sources` returns, in their order, copy by copy
        int64_t query_position = 0; ///< of a copy's first destination among them
    };
    /// Null where one process has all rows. @throws ConfigError if a rank's destinations are not consecutive
    [[nodiscard]] std::shared_ptr<const Exchange> of(const EdgeInputs& edges, at::Device device);

private:
    struct Known {
        at::Device device;
        std::shared_ptr<const Exchange> exchange;
    };
    int64_t window_;
    std::map<int64_t, Known> known_; ///< by copies
};

} // namespace gradwind::model
