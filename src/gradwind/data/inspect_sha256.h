// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// SHA-256 of values, piece by piece.
#pragma once
#include "gradwind/data/dataset.h"

#include <memory>
#include <span>
#include <string>

struct evp_md_ctx_st;

namespace gradwind::data
{

class Sha256
{
public:
    Sha256();
    void add(std::span<const std::byte> bytes);
    /// As little-endian float32, every NaN as the bits 0x7fc00000.
    void add(std::span<const float> values);
    void add(std::span<const double> values) { add(std::as_bytes(values)); }
    void add(std::span<const int64_t> values) { add(std::as_bytes(values)); }
    /// The digest in hexadecimal; ends the sum.
    [[nodiscard]] std::string hex();

private:
    struct Free {
        void operator()(evp_md_ctx_st* context) const;
    };
    std::unique_ptr<evp_md_ctx_st, Free> context_;
};

/// Order of the axes in which values are summed.
enum class ValueOrder { DateVariableMemberCell, DateMemberCellVariable };

/// SHA-256 of all values as float32 in the order given, missing dates left out; two implementations that agree on it
/// agree on every bit that they read. Reads one date at a time.
[[nodiscard]] std::string sha256_of_values(const Dataset& dataset, ValueOrder order);

} // namespace gradwind::data
