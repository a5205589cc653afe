// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Case kind `datasets`: one network that reads and writes several data sets.
#pragma once
#include "gradwind/verify/report.h"

namespace gradwind::verify
{

/// One forward pass and the gradients of the weighted sum of all outputs, with the names of the model cases; tensors of
/// a data set end in its name. @throws DataError if files of the case are missing or malformed
CaseReport verify_datasets_case(const std::filesystem::path& folder, const nlohmann::json& description);

} // namespace gradwind::verify
