// The forward pass of inference with matrices of 8 bits.
//
// A weight is a whole number from -127 to 127 times a scale of its row (a gate of a cell). Inputs are
// rounded frame by frame, each with a scale of its own, and hidden vectors, which lie within ±1, with
// one scale for all: no result depends on the batch. Products and their sums are whole numbers, and
// exact; all else is float32, as in forward.h.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "batch.h"
#include "cells.h"
#include "forward.h"
#include "packed.h"
#include "vectors.h"

namespace {

// The instructions multiply bytes from 0 up by signed ones. So what is rounded gets OFFSET added, and
// its share of the sum is subtracted at the start.
#if defined(__AVX512VNNI__)
constexpr bool HAS_INT8 = true;
constexpr int LEVELS = 127, OFFSET = 128;
inline ivec dot(ivec sum, ivec bytes, ivec weights) {
    return (ivec)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)bytes, (__m512i)weights);
}
#elif defined(__AVX512BW__)  // two products are added in 16 bits, which hold those of 7 bits by 8
constexpr bool HAS_INT8 = true;
constexpr int LEVELS = 63, OFFSET = 64;
inline ivec dot(ivec sum, ivec bytes, ivec weights) {
    const __m512i pairs = _mm512_maddubs_epi16((__m512i)bytes, (__m512i)weights);
    return sum + (ivec)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
}
#elif defined(__AVX2__)
constexpr bool HAS_INT8 = true;
constexpr int LEVELS = 63, OFFSET = 64;
inline ivec dot(ivec sum, ivec bytes, ivec weights) {
    const __m256i pairs = _mm256_maddubs_epi16((__m256i)bytes, (__m256i)weights);
    return sum + (ivec)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}
#else
constexpr bool HAS_INT8 = false;
constexpr int LEVELS = 63, OFFSET = 64;
inline ivec dot(ivec sum, ivec, ivec) { return sum; }
#endif
constexpr int WEIGHT_LEVELS = 127;

// Four inputs of LANES cells' gates stand together. A panel begins with each gate's biases (as floats),
// scales (floats) and first values of its sums (whole numbers).
template <int CELL>
struct Int8Shape {
    static constexpr int64_t G = Gates<CELL>::count, HEAD = 3 * G;
    int64_t I, R, H;

    int64_t slices() const { return up_to(H, LANES) / LANES; }
    int64_t panel(int64_t K) const { return HEAD + up_to(K, 4) / 4 * G; }  // vectors
    int64_t floats() const { return slices() * (panel(I) + panel(R)) * LANES; }  // of a direction
    const vec* input(const float* packed, int64_t d) const {
        return reinterpret_cast<const vec*>(packed + d * floats());
    }
    const vec* recurrent(const float* packed, int64_t d) const {
        return input(packed, d) + slices() * panel(I);
    }
};

// One cell's gate: `row` has K weights.
inline void pack_int8_row(
    const float* row, float bias, float input_scale, int64_t K, int64_t G, int64_t g, int64_t lane,
    float* panel) {
    float most = 0.0f;
    for (int64_t k = 0; k < K; ++k) most = std::max(most, std::fabs(row[k]));
    const float scale = most > 0.0f ? most / WEIGHT_LEVELS : 1.0f;
    int8_t* bytes = reinterpret_cast<int8_t*>(panel + 3 * G * LANES);
    int32_t sum = 0;
    for (int64_t k = 0; k < K; ++k) {
        const int32_t rounded = static_cast<int32_t>(std::nearbyint(row[k] / scale));
        bytes[((k / 4 * G + g) * LANES + lane) * 4 + k % 4] = static_cast<int8_t>(rounded);
        sum += rounded;
    }
    const int32_t start = -OFFSET * sum;
    panel[g * LANES + lane] = bias;
    panel[(G + g) * LANES + lane] = scale * input_scale;
    std::copy_n(reinterpret_cast<const char*>(&start), sizeof start,
                reinterpret_cast<char*>(panel + (2 * G + g) * LANES + lane));
}

template <int CELL>
void pack_int8(const Int8Shape<CELL>& shape, int64_t D, const Weights& w, float* packed, int threads) {
    constexpr int64_t G = Int8Shape<CELL>::G;
    const int64_t I = shape.I, R = shape.R, H = shape.H;
    std::fill_n(packed, D * shape.floats(), 0.0f);
    in_parallel(D * shape.slices(), threads, [&](int64_t n) {
        const int64_t d = n / shape.slices(), slice = n % shape.slices();
        float* const input = packed + d * shape.floats() + slice * shape.panel(I) * LANES;
        float* const recurrent = packed + d * shape.floats() +
            (shape.slices() * shape.panel(I) + slice * shape.panel(R)) * LANES;
        for (int64_t g = 0; g < G; ++g)
            for (int64_t lane = 0; lane < std::min<int64_t>(LANES, H - slice * LANES); ++lane) {
                const int64_t row = (d * G + g) * H + slice * LANES + lane;
                pack_int8_row(w.weight_ih + row * I, w.bias[row], 1.0f, I, G, g, lane, input);
                pack_int8_row(
                    w.weight_hh + row * R, 0.0f, 1.0f / LEVELS, R, G, g, lane, recurrent);
            }
    });
}

typedef uint8_t byte_vec __attribute__((vector_size(LANES)));

inline vec at_most(vec x, float limit) {  // in size; what is no number becomes 0
    x = x > limit ? splat(limit) : x;
    x = x < -limit ? splat(-limit) : x;
    return x == x ? x : vec{};
}

// Rounds K floats to bytes, times `scale`; there is room for full vectors.
inline void to_bytes(const float* x, int64_t K, float scale, uint8_t* bytes) {
    for (int64_t k = 0; k < K; k += LANES) {
        const vec scaled = at_most(load(x + k, K - k) * scale, LEVELS);
        const ivec rounded = (ivec)(scaled + 12582912.0f) - 0x4B400000;  // as in Exponential
        const byte_vec packed = __builtin_convertvector(rounded + OFFSET, byte_vec);
        std::memcpy(bytes + k, &packed, sizeof packed);
    }
}

inline float largest(const float* x, int64_t K) {
    vec most{};
    for (int64_t k = 0; k < K; k += LANES) {
        const vec v = load(x + k, K - k), size = v < 0.0f ? -v : v;
        most = size > most ? size : most;
    }
    float result = 0.0f;
    for (int lane = 0; lane < LANES; ++lane) result = std::max(result, most[lane]);
    return result;
}

template <int ROWS, int V>
inline __attribute__((always_inline)) void multiply_int8(
    const int32_t* const* rows, const ivec* weights, int64_t quads, ivec (&sums)[ROWS][V]) {
    for (int64_t k = 0; k < quads; ++k) {
        ivec x[ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; ++r) x[r] = rows[r][k] - ivec{};
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
            const ivec w = weights[k * V + v];
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; ++r) sums[r][v] = dot(sums[r][v], x[r], w);
        }
    }
}

// net[r] += scales * the products of row r, and `by[r]`.
template <int CELL, int ROWS>
inline __attribute__((always_inline)) void add_int8(
    const int32_t* const* rows, const float* by, const vec* panel, int64_t quads,
    vec (&net)[ROWS][Gates<CELL>::count]) {
    constexpr int G = Gates<CELL>::count;
    ivec sums[ROWS][G];
    for (int r = 0; r < ROWS; ++r)
        for (int g = 0; g < G; ++g) sums[r][g] = (ivec)panel[2 * G + g];
    multiply_int8<ROWS, G>(rows, reinterpret_cast<const ivec*>(panel + 3 * G), quads, sums);
    for (int r = 0; r < ROWS; ++r)
        for (int g = 0; g < G; ++g)
            net[r][g] += __builtin_convertvector(sums[r][g], vec) * (panel[G + g] * by[r]);
}

// Vectors of K bytes, four to a 32-bit number.
struct Bytes {
    Bytes(int64_t rows, int64_t K)
        : quads(up_to(K, 4) / 4), stride(up_to(K, LANES) / 4), buffer(rows * stride) {}
    uint8_t* row(int64_t n) { return reinterpret_cast<uint8_t*>(buffer.data + n * stride); }
    const int32_t* quads_of(int64_t n) const {
        return reinterpret_cast<const int32_t*>(buffer.data + n * stride);
    }
    int64_t quads, stride;
    Buffer buffer;
};

template <int CELL>
struct Int8Input {
    Int8Input(int64_t rows, int64_t I, const vec* panels, int64_t panel)
        : I(I), panels(panels), panel(panel), bytes(rows, I), scales(rows) {}

    void read(int64_t n, const float* x) {
        const float most = largest(x, I);
        scales[n] = most / LEVELS;
        to_bytes(x, I, most > 0.0f ? LEVELS / most : 0.0f, bytes.row(n));
    }

    template <int COUNT>
    void sums(int64_t first, int64_t slice, vec (&net)[COUNT][Gates<CELL>::count]) const {
        const vec* from = panels + slice * panel;
        const int32_t* rows[COUNT];
        for (int r = 0; r < COUNT; ++r) {
            rows[r] = bytes.quads_of(first + r);
            for (int g = 0; g < Gates<CELL>::count; ++g) net[r][g] = from[g];  // the biases
        }
        add_int8<CELL, COUNT>(rows, scales.data() + first, from, bytes.quads, net);
    }

    int64_t I;
    const vec* panels;
    int64_t panel;
    Bytes bytes;
    std::vector<float> scales;
};

template <int CELL>
struct Int8Recurrence {
    Int8Recurrence(int64_t rows, int64_t R, const vec* panels, int64_t panel)
        : R(R), panels(panels), panel(panel), bytes(rows, R) {}

    void read(int64_t n, const float* h) { to_bytes(h, R, LEVELS, bytes.row(n)); }

    template <int COUNT>
    void add(int64_t first, int64_t slice, vec (&net)[COUNT][Gates<CELL>::count]) const {
        const int32_t* rows[COUNT];
        float by[COUNT];
        for (int r = 0; r < COUNT; ++r) {
            rows[r] = bytes.quads_of(first + r);
            by[r] = 1.0f;
        }
        add_int8<CELL, COUNT>(rows, by, panels + slice * panel, bytes.quads, net);
    }

    int64_t R;
    const vec* panels;
    int64_t panel;
    Bytes bytes;
};

template <int CELL>
void forward_int8(
    const Batch& batch, const Input& input, const float* packed, const ForwardArrays& a, int threads) {
    const Int8Shape<CELL> shape{input.I, batch.R, batch.H};
    const Panels<PLAIN> projection(0, 0);
    const auto units = make_units(batch, threads);
    in_parallel(units.size(), threads, [&](int64_t n) {
        const Unit& unit = units[n];
        Int8Recurrence<CELL> recurrence(
            unit.count(), batch.R, shape.recurrent(packed, unit.d), shape.panel(batch.R));
        ComputedSums<CELL, Int8Input<CELL>> sums(
            batch, unit, input, shape.input(packed, unit.d), shape.panel(input.I));
        ForwardUnit<CELL, decltype(sums), decltype(recurrence)>{
            batch, a, unit, sums, recurrence, projection}.run_all();
    });
}

}  // namespace
