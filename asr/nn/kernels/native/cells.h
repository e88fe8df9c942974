// The cells, forward and backward: the equations of cells.py.

#pragma once

#include "vectors.h"

namespace {

enum Cell { RNN, LSTM_1997, LSTM, PEEPHOLE, COUPLED };

// Where a cell's gates stand among the weights' rows, -1 for one it has not.
template <int CELL>
struct Gates {
    static constexpr bool forgets = CELL == LSTM || CELL == PEEPHOLE;
    static constexpr bool peeps = CELL == PEEPHOLE || CELL == COUPLED;
    static constexpr bool state = CELL != RNN;
    static constexpr int count = CELL == RNN ? 1 : forgets ? 4 : 3;
    static constexpr int i = 0, f = forgets ? 1 : -1, z = count - 2, o = count - 1;
    static constexpr int peepholes = CELL == PEEPHOLE ? 3 : CELL == COUPLED ? 2 : 0;
    static constexpr int w_o = peepholes - 1;  // w_i is the first, w_f the second
};

// One step of LANES cells: `net` becomes the activations; returns the cell's output.
template <int CELL>
inline __attribute__((always_inline)) vec step(vec* net, vec& c, const vec* w) {
    using G = Gates<CELL>;
    if constexpr (CELL == RNN) {
        return net[0] = tanh(net[0]);
    } else {
        if constexpr (G::peeps) net[G::i] += w[0] * c;
        if constexpr (CELL == PEEPHOLE) net[G::f] += w[1] * c;
        const vec i = net[G::i] = sigmoid(net[G::i]);
        const vec z = net[G::z] = tanh(net[G::z]);
        if constexpr (G::forgets) {
            const vec f = net[G::f] = sigmoid(net[G::f]);
            c = f * c + i * z;
        } else if constexpr (CELL == COUPLED) {
            c = (1.0f - i) * c + i * z;
        } else {
            c = c + i * z;
        }
        if constexpr (G::peeps) net[G::o] += w[G::w_o] * c;
        const vec o = net[G::o] = sigmoid(net[G::o]);
        return o * tanh(c);
    }
}

// The error equations: activations become errors at the net inputs, `grad_c` that of the step
// before, and `peep` collects the peepholes' gradients.
template <int CELL>
inline __attribute__((always_inline)) void step_back(
    vec* act, vec c_before, vec c, vec grad_m, vec& grad_c, const vec* w, vec* peep) {
    using G = Gates<CELL>;
    if constexpr (CELL == RNN) {
        act[0] = grad_m * (1.0f - act[0] * act[0]);
    } else {
        const vec i = act[G::i], z = act[G::z], o = act[G::o], s = tanh(c);
        const vec d_o = grad_m * s * o * (1.0f - o);
        vec grad = grad_c + grad_m * o * (1.0f - s * s);
        if constexpr (G::peeps) {
            grad += d_o * w[G::w_o];
            peep[G::w_o] += d_o * c;
        }
        vec d_i = grad * z * i * (1.0f - i);
        grad_c = grad;
        if constexpr (G::forgets) {
            const vec f = act[G::f];
            const vec d_f = act[G::f] = grad * c_before * f * (1.0f - f);
            grad_c = grad * f;
            if constexpr (CELL == PEEPHOLE) {
                grad_c += d_f * w[1];
                peep[1] += d_f * c_before;
            }
        } else if constexpr (CELL == COUPLED) {
            d_i = grad * (z - c_before) * i * (1.0f - i);
            grad_c = grad * (1.0f - i);
        }
        if constexpr (G::peeps) {
            grad_c += d_i * w[0];
            peep[0] += d_i * c_before;
        }
        act[G::i] = d_i;
        act[G::z] = grad * i * (1.0f - z * z);
        act[G::o] = d_o;
    }
}

}  // namespace
