// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/inspect_sha256.h"

#include "gradwind/core/error.h"

#include <bit>
#include <cmath>
#include <openssl/evp.h>

namespace gradwind::data
{

void Sha256::Free::operator()(evp_md_ctx_st* context) const
{
    ::EVP_MD_CTX_free(context);
}

Sha256::Sha256() : context_(::EVP_MD_CTX_new())
{
    GRADWIND_ASSERT(context_ && ::EVP_DigestInit_ex(context_.get(), ::EVP_sha256(), nullptr) == 1);
}

void Sha256::add(std::span<const std::byte> bytes)
{
    GRADWIND_ASSERT(::EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
}

void Sha256::add(std::span<const float> values)
{
    const float quiet = std::bit_cast<float>(uint32_t(0x7fc00000));
    std::vector<float> clean(values.begin(), values.end());
    for (auto& value : clean)
        if (std::isnan(value))
            value = quiet;
    add(std::as_bytes(std::span<const float>(clean)));
}

std::string Sha256::hex()
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    GRADWIND_ASSERT(::EVP_DigestFinal_ex(context_.get(), digest, &length) == 1);
    std::string out;
    for (unsigned int i = 0; i < length; ++i)
        out += fmt::format("{:02x}", digest[i]);
    return out;
}

std::string sha256_of_values(const Dataset& dataset, ValueOrder order)
{
    const auto n_points = size_t(dataset.n_members() * dataset.n_cells());
    const auto n_variables = size_t(dataset.n_variables());
    std::vector<float> values(n_points * n_variables), line(n_points);
    Sha256 sum;
    for (int64_t date = 0; date < dataset.n_dates(); ++date) {
        if (dataset.missing()[size_t(date)])
            continue;
        dataset.read({&date, 1}, {0, dataset.n_cells()}, values);
        if (order == ValueOrder::DateMemberCellVariable) {
            sum.add(std::span<const float>(values));
            continue;
        }
        for (size_t variable = 0; variable < n_variables; ++variable) {
            for (size_t point = 0; point < n_points; ++point)
                line[point] = values[point * n_variables + variable];
            sum.add(std::span<const float>(line));
        }
    }
    return sum.hex();
}

} // namespace gradwind::data
