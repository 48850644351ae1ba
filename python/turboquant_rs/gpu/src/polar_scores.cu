// Inner products of rotated queries with decoded rows, in the order of the tree of 64 sums: a warp takes four rows and four
// queries, a lane two of the sums of each pair. Products are 2^-110 or more, but
// what is left of two of them may be subnormal.

#define TQ_TILE 4

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS, 5) polar_scores(
    const float* __restrict__ values, const int* __restrict__ powers, const float* __restrict__ queries,
    const int* __restrict__ exponents, float* __restrict__ out, int dim, long long first, long long rows, long long count,
    long long query_count) {
    const long long across = (query_count + TQ_TILE - 1) / TQ_TILE;
    const long long tiles = (count + TQ_TILE - 1) / TQ_TILE * across;
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long tile = (long long)blockIdx.x * TQ_WARPS + tq_warp(); tile < tiles; tile += stride) {
        const long long row = tile / across * TQ_TILE, query = tile % across * TQ_TILE;
        // Beyond the last row or query the last one is read, and not written.
        const float* row_at[TQ_TILE];
        const float* query_at[TQ_TILE];
#pragma unroll
        for (int k = 0; k < TQ_TILE; k++) {
            row_at[k] = values + (row + k < count ? row + k : count - 1) * dim;
            query_at[k] = queries + (query + k < query_count ? query + k : query_count - 1) * dim;
        }
        float even[TQ_TILE][TQ_TILE] = {}, odd[TQ_TILE][TQ_TILE] = {};
        for (int i = tq_lane(); i < dim; i += 64) {
            float a[TQ_TILE], b[TQ_TILE];
#pragma unroll
            for (int k = 0; k < TQ_TILE; k++) a[k] = row_at[k][i], b[k] = query_at[k][i];
#pragma unroll
            for (int k = 0; k < TQ_TILE; k++) {
#pragma unroll
                for (int m = 0; m < TQ_TILE; m++) even[k][m] = tq_sum(even[k][m], b[m] * a[k]);
            }
            if (i + 32 >= dim) continue;
#pragma unroll
            for (int k = 0; k < TQ_TILE; k++) a[k] = row_at[k][i + 32], b[k] = query_at[k][i + 32];
#pragma unroll
            for (int k = 0; k < TQ_TILE; k++) {
#pragma unroll
                for (int m = 0; m < TQ_TILE; m++) odd[k][m] = tq_sum(odd[k][m], b[m] * a[k]);
            }
        }
#pragma unroll
        for (int k = 0; k < TQ_TILE; k++) {
#pragma unroll
            for (int m = 0; m < TQ_TILE; m++) {
                float sum = tq_sum(even[k][m], odd[k][m]);
#pragma unroll
                for (int half = 16; half; half /= 2) sum = tq_sum(sum, tq_from_lane_xor(sum, half));
                if (tq_lane() == TQ_TILE * k + m && row + k < count && query + m < query_count) {
                    const int power = powers[row + k] + exponents[query + m];
                    out[(query + m) * rows + first + row + k] = tq_times_power_of_any(sum, power);
                }
            }
        }
    }
}
