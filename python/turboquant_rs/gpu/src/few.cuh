// Scores of a few queries: one warp a row, four signed products an instruction; bound by reading the codes.

#define TQ_QUERIES 4
#define TQ_GRANULES ((TQ_DIM + 7) / 8)

// Give `take` the scores of one row and up to TQ_QUERIES queries from `first` on, each by one lane of the warp.
template <class Take>
__device__ __forceinline__ void tq_score_row(const tq_levels& table, const unsigned char* codes, const signed char* high,
                                             const signed char* low, const float* worth, float scale, long long row,
                                             long long first, long long queries, Take take) {
    const int lane = threadIdx.x & 31;
    int hh[TQ_QUERIES] = {}, cross[TQ_QUERIES] = {}, ll[TQ_QUERIES] = {};
    for (int g = lane; g < TQ_GRANULES; g += 32) {
        unsigned level_high[2], level_low[2];
        tq_granule_levels(table, codes, g, level_high, level_low);
#pragma unroll
        for (int k = 0; k < TQ_QUERIES; k++) {
            if (first + k >= queries) continue;
            const long long at = (first + k) * TQ_QUERY_BYTES + 8 * g;
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int query_high = ((const int*)(high + at))[half];
                hh[k] = tq_dp4a(query_high, level_high[half], hh[k]);
                if (TQ_WIDE) {
                    const int query_low = ((const int*)(low + at))[half];
                    if (TQ_SKETCH) {
                        ll[k] = tq_dp4a(query_low, level_high[half], ll[k]);
                        continue;
                    }
                    cross[k] = tq_dp4a(query_high, level_low[half], cross[k]);
                    cross[k] = tq_dp4a(query_low, level_high[half], cross[k]);
                    ll[k] = tq_dp4a(query_low, level_low[half], ll[k]);
                }
            }
        }
    }
#pragma unroll
    for (int k = 0; k < TQ_QUERIES; k++) {
        if (first + k >= queries) continue;
#pragma unroll
        for (int half = 16; half; half /= 2) {
            hh[k] += (int)tq_from_lane_xor((unsigned)hh[k], half);
            if (TQ_WIDE) {
                if (!TQ_SKETCH) cross[k] += (int)tq_from_lane_xor((unsigned)cross[k], half);
                ll[k] += (int)tq_from_lane_xor((unsigned)ll[k], half);
            }
        }
        if (lane == k) take(first + k, row, tq_score(hh[k], cross[k], ll[k], worth[first + k], scale));
    }
}

// Give `take` every query, row and score, each by one lane.
template <class Take>
__device__ __forceinline__ void tq_score_few(unsigned char* memory, const unsigned char* packed, const float* scales,
                                             const short* levels, const signed char* high, const signed char* low,
                                             const float* worth, long long rows, long long queries, Take take) {
    const tq_levels table = tq_load_levels(levels, (unsigned short*)memory, 32 * TQ_WARPS);
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + threadIdx.x / 32; row < rows; row += stride) {
        const unsigned char* const codes = packed + row * TQ_ROW_BYTES + TQ_ROW_START;
        const float scale = scales[row * TQ_NORMS + TQ_NORM];
        for (long long first = 0; first < queries; first += TQ_QUERIES) {
            tq_score_row(table, codes, high, low, worth, scale, row, first, queries, take);
        }
    }
}
