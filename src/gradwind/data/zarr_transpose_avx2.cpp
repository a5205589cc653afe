// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/zarr_transpose_avx2.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>

// Only these functions are compiled for AVX2: the rest of the program runs anywhere.
#define GRADWIND_AVX2 __attribute__((target("avx2")))

namespace gradwind::data::detail
{

namespace
{

/// 32 floats from four planes. The halves of out[q] are elements 4q to 4q + 3 and 16 + 4q to 16 + 4q + 3.
GRADWIND_AVX2 inline void join_planes(const PlaneRow& row, int64_t at, __m256* out)
{
    const auto load = [&](int64_t plane) GRADWIND_AVX2 {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row.first + plane * row.stride + at));
    };
    const __m256i p0 = load(0), p1 = load(1), p2 = load(2), p3 = load(3);
    const __m256i low01 = _mm256_unpacklo_epi8(p0, p1), high01 = _mm256_unpackhi_epi8(p0, p1);
    const __m256i low23 = _mm256_unpacklo_epi8(p2, p3), high23 = _mm256_unpackhi_epi8(p2, p3);
    out[0] = _mm256_castsi256_ps(_mm256_unpacklo_epi16(low01, low23));
    out[1] = _mm256_castsi256_ps(_mm256_unpackhi_epi16(low01, low23));
    out[2] = _mm256_castsi256_ps(_mm256_unpacklo_epi16(high01, high23));
    out[3] = _mm256_castsi256_ps(_mm256_unpackhi_epi16(high01, high23));
}

/// The two halves to the columns of two elements that are 16 apart.
GRADWIND_AVX2 inline void store_halves(__m256d columns, float* out, int64_t stride)
{
    const __m256 values = _mm256_castpd_ps(columns);
    _mm_storeu_ps(out, _mm256_castps256_ps128(values));
    _mm_storeu_ps(out + 16 * stride, _mm256_extractf128_ps(values, 1));
}

} // namespace

bool has_avx2()
{
    static const bool has = __builtin_cpu_supports("avx2");
    return has;
}

GRADWIND_AVX2 void planes_to_columns_avx2(const PlaneRow* rows, int64_t count, float* out, int64_t stride)
{
    for (int64_t at = 0; at < count; at += 32) {
        __m256 r[4][4];
        for (int k = 0; k < 4; ++k)
            join_planes(rows[k], at, r[k]);
        for (int64_t q = 0; q < 4; ++q) {
            const __m256d low01 = _mm256_castps_pd(_mm256_unpacklo_ps(r[0][q], r[1][q]));
            const __m256d high01 = _mm256_castps_pd(_mm256_unpackhi_ps(r[0][q], r[1][q]));
            const __m256d low23 = _mm256_castps_pd(_mm256_unpacklo_ps(r[2][q], r[3][q]));
            const __m256d high23 = _mm256_castps_pd(_mm256_unpackhi_ps(r[2][q], r[3][q]));
            float* const place = out + (at + 4 * q) * stride;
            store_halves(_mm256_unpacklo_pd(low01, low23), place, stride);
            store_halves(_mm256_unpackhi_pd(low01, low23), place + stride, stride);
            store_halves(_mm256_unpacklo_pd(high01, high23), place + 2 * stride, stride);
            store_halves(_mm256_unpackhi_pd(high01, high23), place + 3 * stride, stride);
        }
    }
}

GRADWIND_AVX2 void stream_avx2(const float* from, int64_t count, float* to)
{
    int64_t i = 0;
    for (; i < count && reinterpret_cast<uintptr_t>(to + i) % 32 != 0; ++i)
        to[i] = from[i];
    for (; i + 8 <= count; i += 8)
        _mm256_stream_ps(to + i, _mm256_loadu_ps(from + i));
    std::memcpy(to + i, from + i, size_t(count - i) * sizeof(float));
}

} // namespace gradwind::data::detail

#else

namespace gradwind::data::detail
{

bool has_avx2()
{
    return false;
}

void planes_to_columns_avx2(const PlaneRow*, int64_t, float*, int64_t) {}

void stream_avx2(const float* from, int64_t count, float* to)
{
    std::copy_n(from, count, to);
}

} // namespace gradwind::data::detail

#endif
