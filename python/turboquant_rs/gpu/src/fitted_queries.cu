// Queries of a fitted codec in fixed point, with their products with its center: one warp each.

// tq_stream_sum of terms whose sums may be subnormal.
template <class Term>
__device__ __forceinline__ float tq_stream_total(int count, Term term) {
    float even = 0.0f, odd = 0.0f;
    for (int i = tq_lane(); i < count; i += 64) {
        even = tq_sum(even, term(i));
        if (i + 32 < count) odd = tq_sum(odd, term(i + 32));
    }
    float sum = tq_sum(even, odd);
#pragma unroll
    for (int half = 16; half; half /= 2) sum = tq_sum(sum, tq_from_lane_xor(sum, half));
    return sum;
}

// sum · 2^e, held within float32's largest; 0 below 2^-126.
__device__ __forceinline__ float tq_base(float sum, int e) {
    const float value = tq_times_power_of_any(sum, e);
    return tq_is_finite(value) ? value : tq_float((tq_bits(value) & 0x80000000u) | 0x7f7fffffu);
}

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS, 12) fitted_queries(
    const float* __restrict__ x, const float* __restrict__ center, unsigned* __restrict__ high,
    unsigned* __restrict__ low, float* __restrict__ norms, int* __restrict__ exponents, float* __restrict__ base,
    unsigned long long* faults, int cosine, long long rows) {
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < rows; row += stride) {
        const float* const from = x + row * TQ_DIM;
        const auto given = [&](int i) { return from[i]; };
        const unsigned top = tq_stream_top(TQ_DIM, given);
        tq_power power = {};
        float norm = 0.0f;
        if (tq_stream_finite(TQ_DIM, top, faults, row, given)) {
            power = tq_power_of(top);
            norm = tq_stream_norm(TQ_DIM, power, given);
            if (!cosine && tq_lane() == 0 && tq_reaches(norm, power.e, 96)) tq_report(faults, TQ_FAULT_NORM, row, 0);
            tq_store_fixed(high + row * (TQ_STRIDE / 4), low + row * (TQ_STRIDE / 4), TQ_STRIDE, TQ_DIM, norm,
                           [&](int i) { return tq_take(power, given(i)); });
            if (TQ_CENTERED) {
                // No product is subnormal, but a difference of two may be; its power of two may lift it.
                const float sum = tq_stream_total(TQ_DIM, [&](int i) { return tq_take(power, from[i]) * center[i]; });
                if (tq_lane() == 0) {
                    base[row] = cosine ? tq_quotient(sum, norm == 0.0f ? 1.0f : norm) : tq_base(sum, power.e);
                }
            }
        }
        if (tq_lane() == 0) {
            norms[row] = norm;
            exponents[row] = power.e;
        }
    }
}
