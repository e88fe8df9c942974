// The backward pass.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "batch.h"
#include "cells.h"
#include "products.h"

namespace {

struct BackwardArrays {
    const float *weight_hh, *peephole, *weight_hr, *c0, *act, *cells, *grad_hidden, *grad_c_n;
    float *grad_gates, *grad_peephole, *grad_h0, *grad_c0;
    float* grad_projected;  // (T, B, D, R): the error at the projection's output; null without
};

template <int CELL>
struct BackwardUnit {
    using G = Gates<CELL>;
    const Batch& batch;
    const BackwardArrays& a;
    const Unit& unit;
    const Panels<PLAIN>& weights;
    const Panels<PLAIN>& projection;
    int64_t rows = static_cast<int64_t>(unit.rows.size());
    int64_t width = up_to(batch.H, LANES), width_r = up_to(batch.R, LANES);
    Buffer grad_c{rows * width};
    Buffer grad_h{rows * width_r};  // from the step after
    Buffer grad_m{a.weight_hr ? rows * width : 0};
    Buffer peep{G::peepholes * width};
    std::vector<const float*> in{unit.rows.size()};
    std::vector<float*> out{unit.rows.size()};

    // The error at the output of frame t: from above, and from the step after.
    void add_error_from_above(int64_t t, int64_t n) {
        const float* above = a.grad_hidden + batch.at(t, unit.rows[n], unit.d, batch.R);
        float* sum = grad_h.data + n * width_r;
        for (int64_t k = 0; k < batch.R; ++k) sum[k] += above[k];
    }

    void project_back(int64_t t, int64_t active, bool down) {
        for (int64_t n = 0; n < active; ++n) {
            in[n] = grad_h.data + n * width_r;
            out[n] = grad_m.data + n * width;
            std::copy_n(in[n], batch.R, a.grad_projected + batch.at(t, unit.rows[n], unit.d, batch.R));
        }
        multiply_rows(projection, in.data(), out.data(), active, batch.H, down);
    }

    void run_row(int64_t t, int64_t n) {
        const int64_t H = batch.H, b = unit.rows[n], d = unit.d;
        const float* act = a.act + batch.at(t, b, d, batch.GH);
        const float* c = G::state ? a.cells + batch.at(t, b, d, H) : nullptr;
        const float* c_before = !G::state ? nullptr
            : batch.is_first(t, b, d) ? a.c0 + batch.state(b, d, H)
                                      : a.cells + batch.at(batch.before(t, d), b, d, H);
        const float* error = a.weight_hr ? grad_m.data + n * width : grad_h.data + n * width_r;
        float* grad_gates = a.grad_gates + batch.at(t, b, d, batch.GH);
        for (int64_t cell = 0; cell < H; cell += LANES) {
            const int64_t left = H - cell;
            vec x[G::count], w[3] = {}, sums[3] = {};
            for (int g = 0; g < G::count; ++g) x[g] = load(act + g * H + cell, left);
            for (int p = 0; p < G::peepholes; ++p) {
                w[p] = load(a.peephole + (d * G::peepholes + p) * H + cell, left);
                sums[p] = load(peep.data + p * width + cell, LANES);
            }
            const vec before = G::state ? load(c_before + cell, left) : vec{};
            const vec after = G::state ? load(c + cell, left) : vec{};
            vec* carried = reinterpret_cast<vec*>(grad_c.data + n * width + cell);
            step_back<CELL>(x, before, after, load(error + cell, left), *carried, w, sums);
            for (int g = 0; g < G::count; ++g) store(grad_gates + g * H + cell, x[g], left);
            for (int p = 0; p < G::peepholes; ++p) store(peep.data + p * width + cell, sums[p], LANES);
        }
    }

    void run_step(int64_t t, int64_t active, bool down) {
        for (int64_t n = 0; n < active; ++n) add_error_from_above(t, n);
        if (a.weight_hr) project_back(t, active, down);
        for (int64_t n = 0; n < active; ++n) run_row(t, n);
        for (int64_t n = 0; n < active; ++n) {
            in[n] = a.grad_gates + batch.at(t, unit.rows[n], unit.d, batch.GH);
            out[n] = grad_h.data + n * width_r;
        }
        multiply_rows(weights, in.data(), out.data(), active, batch.R, down);
    }

    void run_all() {
        const int64_t H = batch.H, R = batch.R, steps = unit.steps(batch);
        for (int64_t n = 0; n < rows; ++n)
            std::copy_n(a.grad_c_n + batch.state(unit.rows[n], unit.d, H), H, grad_c.data + n * width);
        for (int64_t s = steps - 1, active = batch.is_forward(unit.d) ? 0 : rows; s >= 0; --s) {
            const int64_t t = batch.frame(s, steps, unit.d);
            active = unit.active(batch, t, active);
            run_step(t, active, s % 2);
        }
        for (int64_t n = 0; n < rows; ++n) {
            const int64_t b = unit.rows[n];
            std::copy_n(grad_h.data + n * width_r, R, a.grad_h0 + batch.state(b, unit.d, R));
            std::copy_n(grad_c.data + n * width, H, a.grad_c0 + batch.state(b, unit.d, H));
        }
        clear_padding(batch, unit, a.grad_gates, batch.GH);
        clear_padding(batch, unit, a.grad_projected, R);
    }
};

template <int CELL>
void backward(const Batch& batch, const BackwardArrays& a, int threads) {
    using G = Gates<CELL>;
    const int64_t H = batch.H, R = batch.R;
    std::vector<Panels<PLAIN>> weights, projections;
    for (int64_t d = 0; d < batch.D; ++d) {
        const float* hh = a.weight_hh + d * batch.GH * R;
        const float* hr = a.weight_hr ? a.weight_hr + d * R * H : nullptr;
        weights.push_back(plain_panels(
            batch.GH, R, [=](int64_t k, int64_t column) { return hh[k * R + column]; }));
        projections.push_back(plain_panels(
            hr ? R : 0, hr ? H : 0, [=](int64_t k, int64_t column) { return hr[k * H + column]; }));
    }
    const auto units = make_units(batch, threads);
    const int64_t width = up_to(H, LANES);
    Buffer peep(static_cast<int64_t>(units.size()) * G::peepholes * width);
    in_parallel(units.size(), threads, [&](int64_t n) {
        const int64_t d = units[n].d;
        BackwardUnit<CELL> unit{batch, a, units[n], weights[d], projections[d]};
        unit.run_all();
        std::copy_n(unit.peep.data, G::peepholes * width, peep.data + n * G::peepholes * width);
    });
    for (size_t n = 0; n < units.size(); ++n)  // in the same order every time
        for (int p = 0; p < G::peepholes; ++p)
            for (int64_t cell = 0; cell < H; ++cell)
                a.grad_peephole[(units[n].d * G::peepholes + p) * H + cell] +=
                    peep.data[(n * G::peepholes + p) * width + cell];
}

}  // namespace
