// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Names of what processors keep in gradwind's checkpoints beside the original's tensors.
#pragma once

namespace gradwind::model
{

/// What an imputer fills in, one number for each variable that it fills, where that follows from statistics. Absent
/// from checkpoints of earlier versions, and from the original's.
inline constexpr const char* kReplacement = "replacement";

} // namespace gradwind::model
