// The recurrence of one layer on the CPU, forward and backward, in float32.
//
// Rows (utterances) of a batch never meet within the recurrence, and neither do directions. So the
// work is cut into units, some rows of one direction each, and every thread runs its units through
// all time steps without waiting for another. A step multiplies the hidden vectors of a few rows
// with a panel of weights while the results stay in registers, and applies the cell to them there.
// Weights are packed once a call, panel by panel in the order in which they are read.
//
// Rows are sorted by length, so that the active rows of a step are always the first: no work is
// spent on padding. Shapes and meaning of the arrays are those of operator.py; all are contiguous.
// The equations are those of cells.py.
//
// Only the C++ library is needed. Vectors are GCC's vector extension, which Clang shares; the
// compiler's target chooses their width (setup.py builds one library a target).

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

namespace {

// Vectors

#if defined(__AVX512F__)
constexpr int LANES = 16, MAX_ROWS = 6;  // 6 rows x 4 vectors of sums fill the 32 registers
#elif defined(__AVX__)
constexpr int LANES = 8, MAX_ROWS = 3;  // 16 registers
#elif defined(__aarch64__)
constexpr int LANES = 4, MAX_ROWS = 6;
#else
constexpr int LANES = 4, MAX_ROWS = 3;
#endif

typedef float vec __attribute__((vector_size(LANES * 4)));
typedef int32_t ivec __attribute__((vector_size(LANES * 4)));
typedef float loose_vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

inline vec splat(float x) { return vec{} + x; }

// `count` floats at `p`, zeros behind them; `count` may exceed the lanes.
inline vec load(const float* p, int64_t count) {
    if (count >= LANES) return *reinterpret_cast<const loose_vec*>(p);
    vec v{};
    for (int64_t lane = 0; lane < count; ++lane) v[lane] = p[lane];
    return v;
}

inline void store(float* p, vec v, int64_t count) {
    if (count >= LANES) {
        *reinterpret_cast<loose_vec*>(p) = v;
        return;
    }
    for (int64_t lane = 0; lane < count; ++lane) p[lane] = v[lane];
}

// e^x to about 1e-7 relative, by Cephes' polynomial; NaN stays NaN.
inline vec exp(vec x) {
    x = x > 88.0f ? splat(88.0f) : x;
    x = x < -87.0f ? splat(-87.0f) : x;
    const vec shifter = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
    const vec shifted = x * 1.44269504088896341f + shifter;
    const vec n = shifted - shifter;
    const vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    vec p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const ivec exponent = (ivec)shifted - 0x4B400000 + 127;
    return p * (vec)(exponent << 23);
}

inline vec sigmoid(vec x) { return 1.0f / (1.0f + exp(-x)); }

// Cephes' polynomial near 0, where the quotient would lose digits.
inline vec tanh(vec x) {
    const vec size = x < 0.0f ? -x : x;
    const vec far = 1.0f - 2.0f / (exp(2.0f * size) + 1.0f);
    const vec z = x * x;
    vec p = splat(-5.70498872745e-3f);
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    const vec near = p * z * x + x;
    return size < 0.625f ? near : (x < 0.0f ? -far : far);
}

// Memory

struct Buffer {  // zeroed, aligned to a cache line
    explicit Buffer(int64_t floats)
        : owner(static_cast<float*>(::operator new(floats * sizeof(float) + 64, ALIGNMENT))),
          data(owner.get()) {
        std::fill_n(data, floats, 0.0f);
    }
    static constexpr std::align_val_t ALIGNMENT{64};
    struct Delete {
        void operator()(float* p) const { ::operator delete(p, ALIGNMENT); }
    };
    std::unique_ptr<float, Delete> owner;
    float* data;
};

inline int64_t up_to(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Matrix products: a few rows by a panel of V vectors

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
                for (int64_t lane = 0; lane < std::min<int64_t>(width, LANES); ++lane)
                    for (int64_t k = 0; k < K; ++k)
                        buffer.data[((panel * K + k) * V + v) * LANES + lane] = at(k, first + lane);
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
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; ++r) {
            const vec x = splat(rows[r][k]);
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v) sums[r][v] += x * weights[k * V + v];
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

void multiply_rows(
    const Panels<PLAIN>& weights, const float* const* in, float* const* out, int64_t rows, int64_t N) {
    for (int64_t panel = 0; panel < weights.count; ++panel)
        in_blocks(rows, PlainProduct{&weights, in, out, N, panel});
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

// Cells

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

// The batch

struct Batch {
    int64_t T, B, D, H, R, GH;
    const int64_t* lengths;

    // First float of a frame's row in an array (T, B, D, width).
    int64_t at(int64_t t, int64_t b, int64_t d, int64_t width) const {
        return ((t * B + b) * D + d) * width;
    }
    // First float of a row in an array (D, B, width).
    int64_t state(int64_t b, int64_t d, int64_t width) const { return (d * B + b) * width; }
    int64_t length(int64_t b) const { return std::min(std::max<int64_t>(lengths[b], 0), T); }
    // The frame before `t` in a direction's own order; negative or beyond the length: none.
    static int64_t before(int64_t t, int64_t d) { return d == 0 ? t - 1 : t + 1; }
    bool is_first(int64_t t, int64_t b, int64_t d) const {
        return d == 0 ? t == 0 : t == length(b) - 1;
    }
};

// Some rows of one direction, longest first.
struct Unit {
    int64_t d;
    std::vector<int64_t> rows;

    int64_t steps(const Batch& batch) const { return rows.empty() ? 0 : batch.length(rows[0]); }
    // Rows that reach frame `t`; `hint` is where to begin counting.
    int64_t active(const Batch& batch, int64_t t, int64_t hint) const {
        const int64_t count = static_cast<int64_t>(rows.size());
        while (hint > 0 && batch.length(rows[hint - 1]) <= t) --hint;
        while (hint < count && batch.length(rows[hint]) > t) ++hint;
        return hint;
    }
};

std::vector<Unit> make_units(const Batch& batch, int threads) {
    std::vector<int64_t> order(batch.B);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        return batch.length(a) > batch.length(b);
    });
    const int64_t parts = std::max<int64_t>(
        1, std::min<int64_t>(threads / batch.D, (batch.B + 1) / 2));
    std::vector<Unit> units;
    for (int64_t d = 0; d < batch.D; ++d)
        for (int64_t part = 0; part < parts; ++part) {
            Unit unit{d, {}};
            for (int64_t n = part; n < batch.B; n += parts) unit.rows.push_back(order[n]);
            units.push_back(std::move(unit));
        }
    return units;
}

// Runs `work(n)` for n below `count` on at most `threads` threads, and rethrows what one throws.
template <typename Work>
void in_parallel(int64_t count, int threads, Work work) {
    const int64_t workers = std::max<int64_t>(1, std::min<int64_t>(threads, count));
    std::vector<std::exception_ptr> errors(workers);
    const auto run = [&](int64_t worker) {
        try {
            for (int64_t n = worker; n < count; n += workers) work(n);
        } catch (...) {
            errors[worker] = std::current_exception();
        }
    };
    std::vector<std::thread> others;
    int64_t started = 1;
    try {
        others.reserve(workers);
        for (; started < workers; ++started) others.emplace_back(run, started);
    } catch (...) {  // no more threads to be had: this one does the rest
    }
    for (int64_t worker = started; worker < workers; ++worker) run(worker);
    run(0);
    for (auto& other : others) other.join();
    for (auto& error : errors)
        if (error) std::rethrow_exception(error);
}

// Zeros in frames beyond each length of an array (T, B, D, width), one direction.
void clear_padding(const Batch& batch, const Unit& unit, float* array, int64_t width) {
    if (array == nullptr) return;
    for (int64_t b : unit.rows)
        for (int64_t t = batch.length(b); t < batch.T; ++t)
            std::fill_n(array + batch.at(t, b, unit.d, width), width, 0.0f);
}

// Forward

struct ForwardArrays {
    const float *gates, *weight_hh, *peephole, *weight_hr, *h0, *c0;
    float *hidden, *c_n, *act, *cells;  // act and cells are null when nothing is kept
};

template <int CELL>
struct ForwardUnit {
    using G = Gates<CELL>;
    const Batch& batch;
    const ForwardArrays& a;
    const Unit& unit;
    const Panels<G::count>& weights;   // a panel: all gates of LANES cells
    const Panels<PLAIN>& projection;
    int64_t width = up_to(batch.H, LANES);
    Buffer c{static_cast<int64_t>(unit.rows.size()) * width};
    Buffer m{a.weight_hr ? static_cast<int64_t>(unit.rows.size()) * width : 0};
    std::vector<const float*> h{unit.rows.size()};  // each row's hidden vector of the step before
    std::vector<float*> out{unit.rows.size()};
    int64_t t = 0, slice = 0;

    template <int ROWS>
    void run(int64_t first) {
        const int64_t H = batch.H, cell = slice * LANES, left = H - cell;
        vec net[ROWS][G::count];
        for (int r = 0; r < ROWS; ++r) {
            const float* gates = a.gates + batch.at(t, unit.rows[first + r], unit.d, batch.GH) + cell;
            for (int g = 0; g < G::count; ++g) net[r][g] = load(gates + g * H, left);
        }
        multiply<ROWS, G::count>(h.data() + first, weights.panel(slice), batch.R, net);
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

    void run_step(int64_t active) {
        for (int64_t n = 0; n < active; ++n) {
            const int64_t b = unit.rows[n], R = batch.R;
            h[n] = batch.is_first(t, b, unit.d)
                ? a.h0 + batch.state(b, unit.d, R)
                : a.hidden + batch.at(batch.before(t, unit.d), b, unit.d, R);
            out[n] = a.weight_hr ? m.data + n * width : a.hidden + batch.at(t, b, unit.d, R);
        }
        for (slice = 0; slice < weights.count; ++slice) in_blocks(active, *this);
        if (a.weight_hr == nullptr) return;
        std::vector<float*> projected(active);
        for (int64_t n = 0; n < active; ++n)
            projected[n] = a.hidden + batch.at(t, unit.rows[n], unit.d, batch.R);
        multiply_rows(projection, out.data(), projected.data(), active, batch.R);
    }

    void run_all() {
        const int64_t steps = unit.steps(batch), rows = unit.rows.size();
        for (int64_t n = 0; n < rows; ++n)
            std::copy_n(a.c0 + batch.state(unit.rows[n], unit.d, batch.H), batch.H, c.data + n * width);
        for (int64_t s = 0, active = unit.d == 0 ? rows : 0; s < steps; ++s) {
            t = unit.d == 0 ? s : steps - 1 - s;
            active = unit.active(batch, t, active);
            run_step(active);
        }
        for (int64_t n = 0; n < rows; ++n)
            std::copy_n(c.data + n * width, batch.H, a.c_n + batch.state(unit.rows[n], unit.d, batch.H));
        clear_padding(batch, unit, a.hidden, batch.R);
        clear_padding(batch, unit, a.act, batch.GH);
        if constexpr (G::state) clear_padding(batch, unit, a.cells, batch.H);
    }
};

template <int CELL>
void forward(const Batch& batch, const ForwardArrays& a, int threads) {
    using G = Gates<CELL>;
    const int64_t H = batch.H, R = batch.R, slices = up_to(H, LANES) / LANES;
    std::vector<Panels<G::count>> weights;
    std::vector<Panels<PLAIN>> projections;
    weights.reserve(batch.D);
    for (int64_t d = 0; d < batch.D; ++d) weights.emplace_back(R, slices);
    in_parallel(batch.D, threads, [&](int64_t d) {
        const float* w = a.weight_hh + d * batch.GH * R;
        const auto column = [=](int64_t panel, int v) {
            return std::pair<int64_t, int64_t>(v * H + panel * LANES, H - panel * LANES);
        };
        weights[d].pack(column, [=](int64_t k, int64_t column) { return w[column * R + k]; });
    });
    for (int64_t d = 0; d < batch.D; ++d) {
        const float* w = a.weight_hr ? a.weight_hr + d * R * H : nullptr;
        projections.push_back(plain_panels(
            w ? H : 0, w ? R : 0, [=](int64_t k, int64_t column) { return w[column * H + k]; }));
    }
    const auto units = make_units(batch, threads);
    in_parallel(units.size(), threads, [&](int64_t n) {
        const int64_t d = units[n].d;
        ForwardUnit<CELL>{batch, a, units[n], weights[d], projections[d]}.run_all();
    });
}

// Backward

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

    void project_back(int64_t t, int64_t active) {
        for (int64_t n = 0; n < active; ++n) {
            in[n] = grad_h.data + n * width_r;
            out[n] = grad_m.data + n * width;
            std::copy_n(in[n], batch.R, a.grad_projected + batch.at(t, unit.rows[n], unit.d, batch.R));
        }
        multiply_rows(projection, in.data(), out.data(), active, batch.H);
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

    void run_step(int64_t t, int64_t active) {
        for (int64_t n = 0; n < active; ++n) add_error_from_above(t, n);
        if (a.weight_hr) project_back(t, active);
        for (int64_t n = 0; n < active; ++n) run_row(t, n);
        for (int64_t n = 0; n < active; ++n) {
            in[n] = a.grad_gates + batch.at(t, unit.rows[n], unit.d, batch.GH);
            out[n] = grad_h.data + n * width_r;
        }
        multiply_rows(weights, in.data(), out.data(), active, batch.R);
    }

    void run_all() {
        const int64_t H = batch.H, R = batch.R, steps = unit.steps(batch);
        for (int64_t n = 0; n < rows; ++n)
            std::copy_n(a.grad_c_n + batch.state(unit.rows[n], unit.d, H), H, grad_c.data + n * width);
        for (int64_t s = 0, active = unit.d == 0 ? 0 : rows; s < steps; ++s) {
            const int64_t t = unit.d == 0 ? steps - 1 - s : s;
            active = unit.active(batch, t, active);
            run_step(t, active);
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

template <typename Work>
int guarded(Work work) {
    try {
        work();
        return 0;
    } catch (const std::bad_alloc&) {
        return 1;
    } catch (...) {
        return 2;
    }
}

}  // namespace

#define FOR_CELL(cell, function, ...)                                  \
    switch (cell) {                                                    \
        case RNN: return function<RNN>(__VA_ARGS__);                   \
        case LSTM_1997: return function<LSTM_1997>(__VA_ARGS__);       \
        case LSTM: return function<LSTM>(__VA_ARGS__);                 \
        case PEEPHOLE: return function<PEEPHOLE>(__VA_ARGS__);         \
        case COUPLED: return function<COUPLED>(__VA_ARGS__);           \
        default: throw cell;                                           \
    }

// Both return 0, 1 where memory is short, 2 on any other fault. `cell` counts as cells.py orders
// them; absent arrays are null.
extern "C" {

int recurrence_forward(
    int cell, int threads, int64_t T, int64_t B, int64_t D, int64_t H, int64_t R, int64_t GH,
    const int64_t* lengths, const float* gates, const float* weight_hh, const float* peephole,
    const float* weight_hr, const float* h0, const float* c0, float* hidden, float* c_n, float* act,
    float* cells) {
    const Batch batch{T, B, D, H, R, GH, lengths};
    const ForwardArrays arrays{
        gates, weight_hh, peephole, weight_hr, h0, c0, hidden, c_n, act, cells};
    return guarded([&] { FOR_CELL(cell, forward, batch, arrays, threads) });
}

// `grad_peephole` is added to.
int recurrence_backward(
    int cell, int threads, int64_t T, int64_t B, int64_t D, int64_t H, int64_t R, int64_t GH,
    const int64_t* lengths, const float* weight_hh, const float* peephole, const float* weight_hr,
    const float* c0, const float* act, const float* cells, const float* grad_hidden,
    const float* grad_c_n, float* grad_gates, float* grad_peephole, float* grad_h0, float* grad_c0,
    float* grad_projected) {
    const Batch batch{T, B, D, H, R, GH, lengths};
    const BackwardArrays arrays{
        weight_hh, peephole, weight_hr, c0, act, cells, grad_hidden, grad_c_n,
        grad_gates, grad_peephole, grad_h0, grad_c0, grad_projected};
    return guarded([&] { FOR_CELL(cell, backward, batch, arrays, threads) });
}

// The widest vectors that this processor and its system have: 2 for AVX-512, 1 for AVX2, else 0. To
// be asked of the library that was compiled for any processor.
int recurrence_vectors() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
    const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
    return wide ? 2 : 1;
#else
    return 0;
#endif
}

}  // extern "C"
