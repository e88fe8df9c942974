// Products of a few rows with matrices of weights, which lie in panels of a few vectors.

#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "vectors.h"

namespace {

// Weights as a matrix of K rows, its columns in panels of V vectors, in the order of use.
template <int V>
struct Panels {
    Panels(int64_t K, int64_t count) : K(K), count(count), buffer(K * count * V * LANES) {}

    // `column(panel, v)` is the first column of a vector and how many it has; `at(k, column)` a weight.
    template <typename Column, typename At>
    void pack(Column column, At at) {
        for (int64_t panel = 0; panel < count; ++panel)
            for (int v = 0; v < V; ++v) {
                const auto [first, width] = column(panel, v);
                const int64_t lanes = std::min<int64_t>(width, LANES);
                float* to = buffer.data + (panel * K * V + v) * LANES;
                for (int64_t k = 0; k < K; ++k, to += V * LANES)
                    for (int64_t lane = 0; lane < lanes; ++lane) to[lane] = at(k, first + lane);
            }
    }

    const vec* panel(int64_t number) const {
        return reinterpret_cast<const vec*>(buffer.data) + number * K * V;
    }

    int64_t K, count;
    Buffer buffer;
};

template <int ROWS, int V>
inline __attribute__((always_inline)) void multiply(
    const float* const* rows, const vec* weights, int64_t K, vec (&sums)[ROWS][V]) {
    for (int64_t k = 0; k < K; ++k) {
        vec x[ROWS];  // beside the sums and one vector of weights they fit the registers
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; ++r) x[r] = splat(rows[r][k]);
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
            const vec w = weights[k * V + v];
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; ++r) sums[r][v] += x[r] * w;
        }
    }
}

// Calls `block.run<ROWS>(first)` for all of `count` rows, in blocks of equal size where possible.
template <int ROWS, typename Block>
inline void run_block(int64_t size, int64_t first, Block& block) {
    if constexpr (ROWS > 0) {
        if (size == ROWS)
            block.template run<ROWS>(first);
        else
            run_block<ROWS - 1>(size, first, block);
    }
}

template <typename Block>
inline void in_blocks(int64_t count, Block&& block) {
    const int64_t blocks = (count + MAX_ROWS - 1) / MAX_ROWS;
    for (int64_t number = 0, first = 0; number < blocks; ++number) {
        const int64_t size = (count - first + blocks - number - 1) / (blocks - number);
        run_block<MAX_ROWS>(size, first, block);
        first += size;
    }
}

// A plain product: rows of K floats by panels into rows of N floats.
constexpr int PLAIN = 4;  // vectors in a panel

struct PlainProduct {
    template <int ROWS>
    void run(int64_t first) {
        vec sums[ROWS][PLAIN] = {};
        multiply<ROWS, PLAIN>(in + first, weights->panel(panel), weights->K, sums);
        for (int r = 0; r < ROWS; ++r)
            for (int v = 0; v < PLAIN; ++v) {
                const int64_t column = (panel * PLAIN + v) * LANES;
                if (column < N) store(out[first + r] + column, sums[r][v], N - column);
            }
    }
    const Panels<PLAIN>* weights;
    const float* const* in;
    float* const* out;
    int64_t N, panel;
};

// Calls `work(n)` for n below `count`, upwards or downwards. A step's weights often exceed the cache
// of a core: who reads them to and fro begins each step with those that the one before read last.
template <typename Work>
inline void to_and_fro(int64_t count, bool down, Work work) {
    for (int64_t n = 0; n < count; ++n) work(down ? count - 1 - n : n);
}

void multiply_rows(
    const Panels<PLAIN>& weights, const float* const* in, float* const* out, int64_t rows, int64_t N,
    bool down) {
    to_and_fro(weights.count, down, [&](int64_t panel) {
        in_blocks(rows, PlainProduct{&weights, in, out, N, panel});
    });
}

// `at(k, column)` gives the weight that column's sum takes from input k.
template <typename At>
Panels<PLAIN> plain_panels(int64_t K, int64_t N, At at) {
    Panels<PLAIN> panels(K, up_to(N, PLAIN * LANES) / (PLAIN * LANES));
    const auto column = [=](int64_t panel, int v) {
        const int64_t first = (panel * PLAIN + v) * LANES;
        return std::pair<int64_t, int64_t>(first, std::max<int64_t>(N - first, 0));
    };
    panels.pack(column, at);
    return panels;
}

}  // namespace
