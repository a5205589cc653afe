// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/numpy_random.h"

#include "gradwind/core/error.h"

#include <array>
#include <numeric>
#include <utility>

namespace gradwind::train
{

namespace
{

__extension__ using uint128 = unsigned __int128;

constexpr size_t kPoolWords = 4;
// Above this size numpy shuffles an index array; up to it, it samples a set and shuffles that.
constexpr int64_t kLargestSetSampling = 10000;
constexpr uint64_t kMultiplierHigh = 2549297995355413924u, kMultiplierLow = 4865540595714422341u;

uint128 join(uint64_t high, uint64_t low)
{
    return (uint128(high) << 64) | low;
}

class HashConstant
{
public:
    uint32_t mixed(uint32_t value)
    {
        value ^= constant_;
        constant_ *= 0x931e8875u;
        value *= constant_;
        return value ^ (value >> 16);
    }

private:
    uint32_t constant_ = 0x43b0d7e5u;
};

uint32_t mix(uint32_t x, uint32_t y)
{
    const uint32_t result = 0xca01f9ddu * x - 0x4973f715u * y;
    return result ^ (result >> 16);
}

std::vector<uint32_t> entropy_words(uint64_t entropy, std::span<const uint32_t> spawn_key)
{
    std::vector<uint32_t> words = {uint32_t(entropy)};
    if (entropy >> 32)
        words.push_back(uint32_t(entropy >> 32));
    if (!spawn_key.empty())
        words.resize(kPoolWords, 0);
    words.insert(words.end(), spawn_key.begin(), spawn_key.end());
    return words;
}

} // namespace

std::vector<uint32_t> seed_sequence(uint64_t entropy, std::span<const uint32_t> spawn_key, size_t n_words)
{
    const auto words = entropy_words(entropy, spawn_key);
    HashConstant hash;
    std::array<uint32_t, kPoolWords> pool{};
    for (size_t i = 0; i < kPoolWords; ++i)
        pool[i] = hash.mixed(i < words.size() ? words[i] : 0);
    for (size_t i = 0; i < kPoolWords; ++i)
        for (size_t j = 0; j < kPoolWords; ++j)
            if (i != j)
                pool[j] = mix(pool[j], hash.mixed(pool[i]));
    for (size_t i = kPoolWords; i < words.size(); ++i)
        for (auto& entry : pool)
            entry = mix(entry, hash.mixed(words[i]));

    std::vector<uint32_t> result(n_words);
    uint32_t constant = 0x8b51f9ddu;
    for (size_t k = 0; k < n_words; ++k) {
        uint32_t value = pool[k % kPoolWords] ^ constant;
        constant *= 0x58f38dedu;
        value *= constant;
        result[k] = value ^ (value >> 16);
    }
    return result;
}

uint32_t derive_seed(uint64_t base_seed, SeedContext context, std::span<const uint32_t> keys)
{
    std::vector<uint32_t> spawn_key = {uint32_t(context)};
    spawn_key.insert(spawn_key.end(), keys.begin(), keys.end());
    return seed_sequence(base_seed, spawn_key, 1)[0];
}

Pcg64::Pcg64(uint64_t seed)
{
    const auto words = seed_sequence(seed, {}, 8);
    const auto quad = [&](size_t i) { return join(0, words[2 * i]) | (uint128(words[2 * i + 1]) << 32); };
    const uint128 start = (quad(0) << 64) | quad(1);
    const uint128 increment = (((quad(2) << 64) | quad(3)) << 1) | 1;
    state_.increment_high = uint64_t(increment >> 64);
    state_.increment_low = uint64_t(increment);
    // The first step leaves the increment alone in the state: 0 * multiplier + increment.
    const uint128 seeded = (increment + start) * join(kMultiplierHigh, kMultiplierLow) + increment;
    state_.state_high = uint64_t(seeded >> 64);
    state_.state_low = uint64_t(seeded);
}

uint64_t Pcg64::next_u64()
{
    const uint128 next = join(state_.state_high, state_.state_low) * join(kMultiplierHigh, kMultiplierLow) +
                         join(state_.increment_high, state_.increment_low);
    state_.state_high = uint64_t(next >> 64);
    state_.state_low = uint64_t(next);
    const uint64_t folded = state_.state_high ^ state_.state_low;
    const unsigned turn = unsigned(state_.state_high >> 58);
    return (folded >> turn) | (folded << ((64 - turn) & 63));
}

uint32_t Pcg64::next_u32()
{
    if (state_.has_buffered) {
        state_.has_buffered = 0;
        return uint32_t(state_.buffered);
    }
    const uint64_t draw = next_u64();
    state_.buffered = draw >> 32;
    state_.has_buffered = 1;
    return uint32_t(draw);
}

double Pcg64::next_double()
{
    return double(next_u64() >> 11) * 0x1p-53;
}

uint32_t Pcg64::bounded(uint32_t upper)
{
    if (upper == 0)
        return 0;
    GRADWIND_ASSERT(upper != UINT32_MAX);
    const uint32_t range = upper + 1;
    uint64_t product = uint64_t(next_u32()) * range;
    if (uint32_t(product) < range) {
        const uint32_t threshold = (UINT32_MAX - upper) % range;
        while (uint32_t(product) < threshold)
            product = uint64_t(next_u32()) * range;
    }
    return uint32_t(product >> 32);
}

void Pcg64::shuffle(std::span<int64_t> values)
{
    for (size_t i = values.size(); i-- > 1;)
        std::swap(values[i], values[bounded(uint32_t(i))]);
}

std::vector<int64_t> Pcg64::permutation(int64_t n)
{
    GRADWIND_CHECK(n >= 0 && n < int64_t(UINT32_MAX), InternalError, "[sampler] cannot permute {} samples", n);
    std::vector<int64_t> result(static_cast<size_t>(n));
    if (n > kLargestSetSampling) {
        std::iota(result.begin(), result.end(), int64_t(0));
    } else {
        std::vector<bool> used(result.size(), false);
        for (size_t j = 0; j < result.size(); ++j) {
            const uint32_t draw = bounded(uint32_t(j));
            const size_t value = used[draw] ? j : draw;
            used[value] = true;
            result[j] = int64_t(value);
        }
    }
    shuffle(result);
    return result;
}

} // namespace gradwind::train
