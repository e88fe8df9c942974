// One layer on the CPU, forward and backward, in float32.
//
// Rows (utterances) of a batch never meet within the recurrence, and neither do directions. So the
// work is cut into units, some rows of one direction each, and every thread runs its units through
// all time steps without waiting for another. A step multiplies the hidden vectors of a few rows
// with a panel of weights while the results stay in registers, and applies the cell to them there.
// The gates' sums over the input come from outside, or are computed here some steps ahead. Weights are
// packed first, panel by panel in the order in which they are read.
//
// Rows are sorted by length, so that the active rows of a step are always the first: no work is
// spent on padding. Shapes and meaning of the arrays are those of operator.py; all are contiguous
// but for the input. The equations are those of cells.py.
//
// Only the C++ library is needed. The compiler's target chooses how wide vectors are (setup.py builds
// one library a target).

#include <cstdint>
#include <new>

#include "backward.h"
#include "forward.h"
#include "int8.h"
#include "packed.h"

namespace {

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

template <int CELL>
void packed_floats(bool int8, int64_t D, int64_t H, int64_t R, int64_t I, int64_t& floats) {
    floats = D * (int8 ? Int8Shape<CELL>{I, R, H}.floats() : PackedShape<CELL>{I, R, H}.floats());
}

template <int CELL>
void pack_layer(
    bool int8, int64_t D, int64_t H, int64_t R, int64_t I, const Weights& weights, float* packed,
    int threads) {
    if (int8)
        pack_int8<CELL>({I, R, H}, D, weights, packed, threads);
    else
        pack<CELL>({I, R, H}, D, weights, packed, threads);
}

template <int CELL>
void run_layer(
    bool int8, const Batch& batch, const Input& input, const float* packed,
    const ForwardArrays& arrays, int threads) {
    if (int8)
        forward_int8<CELL>(batch, input, packed, arrays, threads);
    else
        forward_layer<CELL>(batch, input, packed, arrays, threads);
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

// The functions that return int return 0, 1 where memory is short, 2 on any other fault. `cell` counts
// as cells.py orders them; absent arrays are null.
extern "C" {

// From the gates' sums over the input.
int recurrence_forward(
    int cell, int threads, int64_t T, int64_t B, int64_t D, int64_t H, int64_t R, int64_t GH,
    const int64_t* lengths, const float* gates, const float* weight_hh, const float* peephole,
    const float* weight_hr, const float* h0, const float* c0, float* hidden, float* c_n, float* act,
    float* cells) {
    const Batch batch{T, B, D, H, R, GH, lengths};
    const ForwardArrays arrays{
        peephole, weight_hr, h0, c0, hidden, c_n, act, cells, 0, nullptr};
    return guarded([&] { FOR_CELL(cell, forward, batch, gates, weight_hh, arrays, threads) });
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

// Floats that the weights of D directions are packed to, -1 for a cell that there is not.
int64_t recurrence_packed_floats(int cell, int64_t int8, int64_t D, int64_t H, int64_t R, int64_t I) {
    int64_t floats = -1;
    guarded([&] { FOR_CELL(cell, packed_floats, int8, D, H, R, I, floats) });
    return floats;
}

int recurrence_pack(
    int cell, int threads, int64_t int8, int64_t D, int64_t H, int64_t R, int64_t I,
    const float* weight_ih, const float* bias, const float* weight_hh, float* packed) {
    const Weights weights{weight_ih, bias, weight_hh};
    return guarded([&] { FOR_CELL(cell, pack_layer, int8, D, H, R, I, weights, packed, threads) });
}

// From the input (T, B, I), whose frames and rows are `x_frame` and `x_row` floats apart. `c_split`, if
// there is one, gets the forward direction's cell states after `split` frames.
int recurrence_layer(
    int cell, int threads, int64_t int8, int64_t T, int64_t B, int64_t D, int64_t H, int64_t R, int64_t GH,
    int64_t I, int64_t x_frame, int64_t x_row, const int64_t* lengths, const float* x,
    const float* packed, const float* peephole, const float* weight_hr, const float* h0,
    const float* c0, float* hidden, float* c_n, float* act, float* cells, int64_t split,
    float* c_split) {
    const Batch batch{T, B, D, H, R, GH, lengths};
    const Input input{x, I, x_frame, x_row};
    const ForwardArrays arrays{
        peephole, weight_hr, h0, c0, hidden, c_n, act, cells, split, c_split};
    return guarded([&] { FOR_CELL(cell, run_layer, int8, batch, input, packed, arrays, threads) });
}

// To be raised when functions or their arguments change; library.py expects it.
int recurrence_interface() { return 2; }

// Of what sizes bytes are that inputs are rounded to, from -levels to levels; 0 without 8 bits.
int64_t recurrence_int8_levels() { return HAS_INT8 ? LEVELS : 0; }

// What this processor and its system have: 3 for AVX-512 with VNNI, 2 for AVX-512, 1 for AVX2, else 0. To
// be asked of the library that was compiled for any processor.
int recurrence_vectors() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
    const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
    return !wide ? 1 : __builtin_cpu_supports("avx512vnni") ? 3 : 2;
#else
    return 0;
#endif
}

}  // extern "C"
