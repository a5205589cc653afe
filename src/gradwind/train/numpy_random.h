// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The random numbers that decide seeds and sample order, bit for bit as numpy's SeedSequence and PCG64 give them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace gradwind::train
{

/// What a derived seed is for (spec §10.3): the first element of the spawn key. The original's contexts, and one of our
/// own for counter-based noise.
enum class SeedContext : uint32_t { Trainer = 0, Model = 1, DataLoader = 2, Noise = 1000 };

/// Words of numpy's `SeedSequence(entropy, spawn_key=...)`.generate_state(n_words, uint32). @source spec §16.3
[[nodiscard]] std::vector<uint32_t> seed_sequence(uint64_t entropy, std::span<const uint32_t> spawn_key,
                                                  size_t n_words);

/// The original's `derive_seed(base, context, *keys)`: one word of a seed sequence. @source spec §10.3, values in §16.2
[[nodiscard]] uint32_t derive_seed(uint64_t base_seed, SeedContext context, std::span<const uint32_t> keys = {});

/// numpy's `default_rng(seed)`: PCG64 with the draws that permutations need. @source spec §16.3
class Pcg64
{
public:
    /// Everything that continues the stream exactly.
    struct State {
        uint64_t state_high = 0, state_low = 0;
        uint64_t increment_high = 0, increment_low = 0;
        uint64_t buffered = 0; ///< high half of a draw, kept for the next 32-bit draw
        uint64_t has_buffered = 0;
        bool operator==(const State&) const = default;
    };

    explicit Pcg64(uint64_t seed);
    explicit Pcg64(const State& state) : state_(state) {}

    [[nodiscard]] uint64_t next_u64();
    [[nodiscard]] uint32_t next_u32();
    /// Uniform in [0, 1), 53 bits.
    [[nodiscard]] double next_double();
    /// Uniform in [0, upper], both ends included; upper = 0 draws nothing. `upper` must be below 2^32 - 1.
    [[nodiscard]] uint32_t bounded(uint32_t upper);
    /// Swaps elements first ... size-1 as numpy's Fisher-Yates loop does, from the back.
    void shuffle(std::span<int64_t> values);
    /// `choice(n, size=n, replace=False)`: set sampling and a shuffle up to 10000, a plain shuffle above.
    [[nodiscard]] std::vector<int64_t> permutation(int64_t n);
    [[nodiscard]] const State& state() const { return state_; }

private:
    State state_;
};

} // namespace gradwind::train
