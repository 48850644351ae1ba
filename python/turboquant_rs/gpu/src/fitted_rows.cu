// Rows of a fitted codec, without their center, in fixed point (docs/numerics.md section 11, encode, steps 1 and 2): one
// warp each. Reads a row three times, five times with a center; 2·TQ_STRIDE bytes and 8 are written.

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS, 12) fitted_rows(
    const float* __restrict__ x, const float* __restrict__ center, unsigned* __restrict__ high,
    unsigned* __restrict__ low, float* __restrict__ norms, int* __restrict__ exponents, float* __restrict__ squares,
    unsigned long long* faults, long long first, long long rows) {
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < rows; row += stride) {
        const float* const from = x + row * TQ_DIM;
        unsigned* const to_high = high + row * (TQ_STRIDE / 4);
        unsigned* const to_low = low + row * (TQ_STRIDE / 4);
        const auto given = [&](int i) { return from[i]; };
        const unsigned top = tq_stream_top(TQ_DIM, given);
        tq_power power = {};
        float norm = 0.0f;
        if (tq_stream_finite(TQ_DIM, top, faults, first + row, given)) {
            power = tq_power_of(top);
            norm = tq_stream_norm(TQ_DIM, power, given);
            const bool beyond = !TQ_UNIT_NORM && !tq_is_finite(tq_times_power(norm, power.e));
            if (tq_lane() == 0) {
                if (beyond) tq_report(faults, TQ_FAULT_NORM, first + row, 0);
                if (squares) {
                    if (tq_reaches(norm, power.e, 63)) tq_report(faults, TQ_FAULT_SQUARE, first + row, 0);
                    squares[row] = tq_times_power(norm * norm, 2 * power.e);
                }
            }
            if (TQ_CENTERED) {
                const tq_power whole = power;
                const float divisor = norm == 0.0f ? 1.0f : norm;
                const auto moved = [&](int i) {
                    const float mean = center[i];
                    const float value = TQ_UNIT_NORM ? tq_divide(tq_take(whole, from[i]), divisor) : from[i];
                    return mean == 0.0f ? value : value - mean;
                };
                power = tq_power_of(tq_stream_top(TQ_DIM, moved));
                norm = tq_stream_norm(TQ_DIM, power, moved);
                if (tq_lane() == 0 && !tq_is_finite(tq_times_power(norm, power.e))) {
                    tq_report(faults, TQ_FAULT_NORM, first + row, 0);
                }
                tq_store_fixed(to_high, to_low, TQ_STRIDE, TQ_DIM, norm,
                               [&](int i) { return tq_take(power, moved(i)); });
            } else {
                tq_store_fixed(to_high, to_low, TQ_STRIDE, TQ_DIM, norm,
                               [&](int i) { return tq_take(power, given(i)); });
            }
        }
        if (tq_lane() == 0) {
            norms[row] = norm;
            exponents[row] = power.e;
        }
    }
}
