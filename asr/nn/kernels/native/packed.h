// A layer's weights in the order in which the forward pass reads them.
//
// For each direction, two parts. Both have a panel for LANES cells, all gates of which stand side by
// side. The first part's panels have the biases and then the input's weights, the second's have the
// recurrent weights.

#pragma once

#include <algorithm>
#include <cstdint>

#include "batch.h"
#include "cells.h"
#include "vectors.h"

namespace {

// An input (T, B, I); the distances of frames and of rows are in floats.
struct Input {
    const float* x;
    int64_t I, frame, row;
};

struct Weights {
    const float *weight_ih, *bias, *weight_hh;  // (D, GH, I), (D, GH), (D, GH, R)
};

template <int CELL>
struct PackedShape {
    static constexpr int64_t G = Gates<CELL>::count;
    int64_t I, R, H;  // I is -1 where the input's weights are left out

    int64_t slices() const { return up_to(H, LANES) / LANES; }
    int64_t floats() const { return slices() * (I + 1 + R) * G * LANES; }  // of a direction
    const vec* input(const float* packed, int64_t d) const {
        return reinterpret_cast<const vec*>(packed + d * floats());
    }
    const vec* recurrent(const float* packed, int64_t d) const {
        return input(packed, d) + slices() * (I + 1) * G;
    }
};

// Lays out K columns of some rows, whose first is at `from`, as vectors that are `stride` apart.
inline void transpose(const float* from, int64_t rows, int64_t K, int64_t stride, float* to) {
    constexpr int64_t TILE = 16;
    for (int64_t k = 0; k < K; k += TILE) {
        const int64_t count = std::min(TILE, K - k);
        for (int64_t row = 0; row < rows; ++row)
            for (int64_t n = 0; n < count; ++n)
                to[(k + n) * stride * LANES + row] = from[row * K + k + n];
        for (int64_t row = rows; row < LANES; ++row)
            for (int64_t n = 0; n < count; ++n) to[(k + n) * stride * LANES + row] = 0.0f;
    }
}

template <int CELL>
void pack_slice(
    const PackedShape<CELL>& shape, const Weights& w, int64_t d, int64_t slice, float* packed) {
    constexpr int64_t G = PackedShape<CELL>::G;
    const int64_t I = shape.I, R = shape.R, H = shape.H, cell = slice * LANES;
    const int64_t rows = std::min<int64_t>(LANES, H - cell);
    float* const direction = packed + d * shape.floats();
    float* const input = direction + slice * (I + 1) * G * LANES;
    float* const recurrent = direction + (shape.slices() * (I + 1) + slice * R) * G * LANES;
    for (int64_t g = 0; g < G; ++g) {
        const int64_t row = (d * G + g) * H + cell;
        if (I >= 0) {
            transpose(w.bias + row, rows, 1, G, input + g * LANES);
            transpose(w.weight_ih + row * I, rows, I, G, input + (G + g) * LANES);
        }
        transpose(w.weight_hh + row * R, rows, R, G, recurrent + g * LANES);
    }
}

template <int CELL>
void pack(const PackedShape<CELL>& shape, int64_t D, const Weights& w, float* packed, int threads) {
    in_parallel(D * shape.slices(), threads, [&](int64_t n) {
        pack_slice(shape, w, n / shape.slices(), n % shape.slices(), packed);
    });
}

}  // namespace
