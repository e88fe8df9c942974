// Vectors of floats as wide as the compiler's target allows, functions of them, and memory for them.
//
// They are GCC's vector extension, which Clang shares.

#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>

namespace {

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

inline vec splat(float x) { return x - vec{}; }  // x + 0 would not be x for -0

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

// 2^n and e^r - 1, where x is n ln 2 + r and |r| is at most half of ln 2; x within ±88. The polynomial is
// Cephes'. NaN stays NaN.
struct Exponential {
    explicit Exponential(vec x) {
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
        less_one = p * (r * r) + r;
        power = (vec)(((ivec)shifted - 0x4B400000 + 127) << 23);
    }
    vec power, less_one;
};

inline vec clamp(vec x, float limit) {
    x = x > limit ? splat(limit) : x;
    return x < -limit ? splat(-limit) : x;
}

// Both to about 1e-7 of the result.
inline vec sigmoid(vec x) {
    const Exponential e(clamp(-x, 87.0f));
    return 1.0f / (e.power * e.less_one + e.power + 1.0f);
}

inline vec tanh(vec x) {  // (e^2x - 1) / (e^2x + 1), without the difference that loses digits near 0
    const Exponential e(clamp(x + x, 40.0f));
    const vec less_one = e.power * e.less_one + (e.power - 1.0f);
    return less_one / (less_one + 2.0f);
}

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

}  // namespace
