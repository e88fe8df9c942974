// A batch of rows of unequal lengths, cut into units of work, and threads that do them.

#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

namespace {

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
    // Direction 0 runs from frame 0, direction 1 from an utterance's end.
    static bool is_forward(int64_t d) { return d == 0; }
    // The frame of a direction's step, and of the step before: negative or beyond the length, none.
    static int64_t frame(int64_t s, int64_t steps, int64_t d) {
        return is_forward(d) ? s : steps - 1 - s;
    }
    static int64_t before(int64_t t, int64_t d) { return is_forward(d) ? t - 1 : t + 1; }
    bool is_first(int64_t t, int64_t b, int64_t d) const {
        return is_forward(d) ? t == 0 : t == length(b) - 1;
    }
};

// Some rows of one direction, longest first.
struct Unit {
    int64_t d;
    std::vector<int64_t> rows;

    int64_t steps(const Batch& batch) const { return rows.empty() ? 0 : batch.length(rows[0]); }
    int64_t count() const { return static_cast<int64_t>(rows.size()); }
    // Rows that reach frame `t`; `hint` is where to begin counting.
    int64_t active(const Batch& batch, int64_t t, int64_t hint) const {
        while (hint > 0 && batch.length(rows[hint - 1]) <= t) --hint;
        while (hint < count() && batch.length(rows[hint]) > t) ++hint;
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

}  // namespace
