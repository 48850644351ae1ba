// Products of a few rows, or on cards without the matrix instruction: one warp a matrix row, four rows at a time.

#define TQ_FEW 4

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS) dense_dp4a(
    const unsigned* __restrict__ high, const unsigned* __restrict__ low, const unsigned* __restrict__ matrix_high,
    const unsigned* __restrict__ matrix_low, int* __restrict__ products, float* __restrict__ out,
    const float* __restrict__ factors, const float* __restrict__ center, long long rows) {
    for (int column = blockIdx.x * TQ_WARPS + tq_warp(); column < TQ_COLUMNS; column += gridDim.x * TQ_WARPS) {
        const long long line = (long long)column * (TQ_STRIDE / 4);
        for (long long first = 0; first < rows; first += TQ_FEW) {
            int hh[TQ_FEW] = {}, cross[TQ_FEW] = {}, ll[TQ_FEW] = {};
            for (int word = tq_lane(); word < TQ_STRIDE / 4; word += 32) {
                const int m_high = matrix_high[line + word], m_low = matrix_low[line + word];
#pragma unroll
                for (int k = 0; k < TQ_FEW; k++) {
                    if (first + k >= rows) continue;
                    const long long at = (first + k) * (TQ_STRIDE / 4) + word;
                    const int r_low = low[at];
                    if (!TQ_ONE_BYTE_ROWS) {
                        const int r_high = high[at];
                        hh[k] = tq_dp4a(r_high, m_high, hh[k]);
                        cross[k] = tq_dp4a(r_high, m_low, cross[k]);
                    }
                    cross[k] = tq_dp4a(r_low, m_high, cross[k]);
                    ll[k] = tq_dp4a(r_low, m_low, ll[k]);
                }
            }
#pragma unroll
            for (int k = 0; k < TQ_FEW; k++) {
                if (first + k >= rows) continue;
                unsigned t = (unsigned)tq_joined(hh[k], cross[k], ll[k]);
#pragma unroll
                for (int half = 16; half; half /= 2) t += tq_from_lane_xor(t, half);
                if (tq_lane() == k) tq_store_product((int)t, first + k, column, products, out, factors, center);
            }
        }
    }
}
