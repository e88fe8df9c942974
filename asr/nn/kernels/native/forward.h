// The forward pass, from the gates' sums over the input or from the input itself.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "batch.h"
#include "cells.h"
#include "packed.h"
#include "products.h"

namespace {

struct ForwardArrays {
    const float *peephole, *weight_hr, *h0, *c0;
    float *hidden, *c_n, *act, *cells;  // act and cells are null when nothing is kept
    int64_t split;  // frames behind which the forward direction's cell states are kept as well:
    float* c_split;  // (B, H), or null
};

// Sums over the input that were computed elsewhere, for all frames: (T, B, D, GH).
template <int CELL>
struct GivenSums {
    // To be called before each step, the one of frame `frame`.
    void seek(int64_t, int64_t frame, int64_t) { t = frame; }

    void load_row(int64_t n, int64_t slice, vec* net) const {
        const int64_t H = batch.H, cell = slice * LANES;
        const float* row = gates + batch.at(t, unit.rows[n], unit.d, batch.GH) + cell;
        for (int g = 0; g < Gates<CELL>::count; ++g) net[g] = load(row + g * H, H - cell);
    }

    const Batch& batch;
    const Unit& unit;
    const float* gates;
    int64_t t = 0;
};

// Rows of the input, and their products with the input's weights, in float32.
template <int CELL>
struct FloatInput {
    FloatInput(int64_t rows, int64_t I, const vec* panels, int64_t panel)
        : I(I), panels(panels), panel(panel), x(rows) {}

    void read(int64_t n, const float* row) { x[n] = row; }

    template <int COUNT>
    void sums(int64_t first, int64_t slice, vec (&net)[COUNT][Gates<CELL>::count]) const {
        constexpr int G = Gates<CELL>::count;
        const vec* from = panels + slice * panel;
        for (int r = 0; r < COUNT; ++r)
            for (int g = 0; g < G; ++g) net[r][g] = from[g];  // the biases
        multiply<COUNT, G>(x.data() + first, from + G, I, net);
    }

    int64_t I;
    const vec* panels;
    int64_t panel;  // vectors of one
    std::vector<const float*> x;
};

// The input itself (T, B, I), of which the sums are computed for some frames ahead: as many as keep
// the weights in use for a while, and the sums in cache.
template <int CELL, typename Rows>
struct ComputedSums {
    static constexpr int G = Gates<CELL>::count;
    static constexpr int64_t ROWS = 192;  // frames times rows

    ComputedSums(
        const Batch& batch, const Unit& unit, const Input& input, const vec* panels, int64_t panel)
        : batch(batch), unit(unit), input(input),
          slices(up_to(batch.H, LANES) / LANES),
          frames(std::min(std::max<int64_t>(1, ROWS / std::max<int64_t>(unit.count(), 1)), batch.T)),
          rows(frames * unit.count(), input.I, panels, panel),
          sums(frames * unit.count() * slices * G * LANES) {}

    // To be called before each step, which `active` rows have.
    void seek(int64_t s, int64_t, int64_t active) {
        net += before * slices * G;
        before = active;
        if (s % frames == 0) compute(s, active);
    }

    void load_row(int64_t n, int64_t slice, vec* to) const {
        const vec* from = net + (n * slices + slice) * G;
        for (int g = 0; g < G; ++g) to[g] = from[g];
    }

    void compute(int64_t begin, int64_t active) {
        const int64_t steps = unit.steps(batch), end = std::min(steps, begin + frames);
        int64_t count = 0;
        for (int64_t s = begin; s < end; ++s) {
            const int64_t t = batch.frame(s, steps, unit.d);
            active = unit.active(batch, t, active);
            for (int64_t n = 0; n < active; ++n)
                rows.read(count++, input.x + t * input.frame + unit.rows[n] * input.row);
        }
        net = reinterpret_cast<vec*>(sums.data);
        for (int64_t slice = 0; slice < slices; ++slice) in_blocks(count, Product{*this, slice});
    }

    struct Product {
        template <int COUNT>
        void run(int64_t first) {
            vec row[COUNT][G];
            of.rows.template sums<COUNT>(first, slice, row);
            for (int r = 0; r < COUNT; ++r) {
                vec* to = of.net + ((first + r) * of.slices + slice) * G;
                for (int g = 0; g < G; ++g) to[g] = row[r][g];
            }
        }
        ComputedSums& of;
        int64_t slice;
    };

    const Batch& batch;
    const Unit& unit;
    const Input& input;
    int64_t slices, frames;
    Rows rows;
    Buffer sums;
    vec* net = nullptr;  // of the first row of this step
    int64_t before = 0;  // rows of the step before
};

// Each row's hidden vector of the step before, and their products with the recurrent weights.
template <int CELL>
struct FloatRecurrence {
    FloatRecurrence(int64_t rows, int64_t R, const vec* panels) : R(R), panels(panels), h(rows) {}

    void read(int64_t n, const float* row) { h[n] = row; }

    template <int COUNT>
    void add(int64_t first, int64_t slice, vec (&net)[COUNT][Gates<CELL>::count]) const {
        constexpr int G = Gates<CELL>::count;
        multiply<COUNT, G>(h.data() + first, panels + slice * R * G, R, net);
    }

    int64_t R;
    const vec* panels;
    std::vector<const float*> h;
};

template <int CELL, typename Sums, typename Recurrence>
struct ForwardUnit {
    using G = Gates<CELL>;
    const Batch& batch;
    const ForwardArrays& a;
    const Unit& unit;
    Sums& sums;
    Recurrence& recurrence;
    const Panels<PLAIN>& projection;
    int64_t rows = unit.count(), slices = up_to(batch.H, LANES) / LANES, width = slices * LANES;
    Buffer c{rows * width};
    Buffer m{a.weight_hr ? rows * width : 0};
    std::vector<float*> out{unit.rows.size()}, projected{unit.rows.size()};
    int64_t t = 0, slice = 0;

    template <int ROWS>
    void run(int64_t first) {
        const int64_t H = batch.H, cell = slice * LANES, left = H - cell;
        vec net[ROWS][G::count];
        for (int r = 0; r < ROWS; ++r) sums.load_row(first + r, slice, net[r]);
        recurrence.template add<ROWS>(first, slice, net);
        vec w[3] = {};
        for (int p = 0; p < G::peepholes; ++p)
            w[p] = load(a.peephole + (unit.d * G::peepholes + p) * H + cell, left);
        for (int r = 0; r < ROWS; ++r) {
            vec* state = reinterpret_cast<vec*>(c.data + (first + r) * width + cell);
            store(out[first + r] + cell, step<CELL>(net[r], *state, w), left);
            if (a.act) keep(unit.rows[first + r], cell, left, net[r], *state);
        }
    }

    void keep(int64_t b, int64_t cell, int64_t left, const vec* act, vec state) {
        float* row = a.act + batch.at(t, b, unit.d, batch.GH) + cell;
        for (int g = 0; g < G::count; ++g) store(row + g * batch.H, act[g], left);
        if constexpr (G::state) store(a.cells + batch.at(t, b, unit.d, batch.H) + cell, state, left);
    }

    void run_step(int64_t active, bool down) {
        for (int64_t n = 0; n < active; ++n) {
            const int64_t b = unit.rows[n], R = batch.R;
            recurrence.read(n, batch.is_first(t, b, unit.d)
                ? a.h0 + batch.state(b, unit.d, R)
                : a.hidden + batch.at(batch.before(t, unit.d), b, unit.d, R));
            projected[n] = a.hidden + batch.at(t, b, unit.d, R);
            out[n] = a.weight_hr ? m.data + n * width : projected[n];
        }
        to_and_fro(slices, down, [&](int64_t n) {
            slice = n;
            in_blocks(active, *this);
        });
        if (a.weight_hr)
            multiply_rows(projection, out.data(), projected.data(), active, batch.R, down);
    }

    void keep_states(float* to, int64_t d) {
        for (int64_t n = 0; n < rows; ++n)
            std::copy_n(c.data + n * width, batch.H, to + batch.state(unit.rows[n], d, batch.H));
    }

    void run_all() {
        const int64_t steps = unit.steps(batch);
        const bool splits = a.c_split && batch.is_forward(unit.d);
        for (int64_t n = 0; n < rows; ++n)
            std::copy_n(a.c0 + batch.state(unit.rows[n], unit.d, batch.H), batch.H, c.data + n * width);
        for (int64_t s = 0, active = batch.is_forward(unit.d) ? rows : 0; s < steps; ++s) {
            if (splits && s == a.split) keep_states(a.c_split, 0);
            t = batch.frame(s, steps, unit.d);
            active = unit.active(batch, t, active);
            sums.seek(s, t, active);
            run_step(active, s % 2);
        }
        if (splits && steps <= a.split) keep_states(a.c_split, 0);
        keep_states(a.c_n, unit.d);
        clear_padding(batch, unit, a.hidden, batch.R);
        clear_padding(batch, unit, a.act, batch.GH);
        if constexpr (G::state) clear_padding(batch, unit, a.cells, batch.H);
    }
};

std::vector<Panels<PLAIN>> projections(const Batch& batch, const float* weight_hr) {
    std::vector<Panels<PLAIN>> panels;
    const int64_t H = batch.H, R = batch.R;
    for (int64_t d = 0; d < batch.D; ++d) {
        const float* w = weight_hr ? weight_hr + d * R * H : nullptr;
        panels.push_back(plain_panels(
            w ? H : 0, w ? R : 0, [=](int64_t k, int64_t column) { return w[column * H + k]; }));
    }
    return panels;
}

// From the gates' sums over the input.
template <int CELL>
void forward(
    const Batch& batch, const float* gates, const float* weight_hh, const ForwardArrays& a,
    int threads) {
    const PackedShape<CELL> shape{-1, batch.R, batch.H};
    Buffer packed(batch.D * shape.floats());
    pack<CELL>(shape, batch.D, {nullptr, nullptr, weight_hh}, packed.data, threads);
    const auto projection = projections(batch, a.weight_hr);
    const auto units = make_units(batch, threads);
    in_parallel(units.size(), threads, [&](int64_t n) {
        const Unit& unit = units[n];
        GivenSums<CELL> sums{batch, unit, gates};
        FloatRecurrence<CELL> recurrence(
            unit.count(), batch.R, shape.recurrent(packed.data, unit.d));
        ForwardUnit<CELL, decltype(sums), decltype(recurrence)>{
            batch, a, unit, sums, recurrence, projection[unit.d]}.run_all();
    });
}

// From the input, with weights that are packed.
template <int CELL>
void forward_layer(
    const Batch& batch, const Input& input, const float* packed, const ForwardArrays& a, int threads) {
    const PackedShape<CELL> shape{input.I, batch.R, batch.H};
    const auto projection = projections(batch, a.weight_hr);
    const auto units = make_units(batch, threads);
    in_parallel(units.size(), threads, [&](int64_t n) {
        const Unit& unit = units[n];
        ComputedSums<CELL, FloatInput<CELL>> sums(
            batch, unit, input, shape.input(packed, unit.d), (input.I + 1) * Gates<CELL>::count);
        FloatRecurrence<CELL> recurrence(unit.count(), batch.R, shape.recurrent(packed, unit.d));
        ForwardUnit<CELL, decltype(sums), decltype(recurrence)>{
            batch, a, unit, sums, recurrence, projection[unit.d]}.run_all();
    });
}

}  // namespace
