// Scores of a few queries against codes of a fitted codec: one lane a row, four queries at a time, no sums across lanes.
//
// With TQ_PITCH, rows pass through shared memory, TQ_PITCH bytes apart, so that they are read in order; without it (rows of
// many bytes) each lane reads its own. Bound by issuing instructions, most of them for spreading bits to nibbles.

#define TQ_FEW 4

// Give `take` every query, row and score, each by one lane.
template <class Take>
__device__ __forceinline__ void tq_score_few_groups(
    unsigned char* memory, const unsigned char* packed, const float* scales, const int* places, const int* groups,
    const unsigned* levels, const signed char* high, const signed char* low, const float* worth, const float* base,
    int row_bytes, long long rows, long long queries, Take take) {
    const unsigned* const table = tq_load_group_levels(levels, (unsigned*)memory, TQ_THREADS);
    unsigned char* const staged = memory + 4 * TQ_LEVEL_WORDS;
    const long long tiles = (rows + TQ_THREADS - 1) / TQ_THREADS;
    for (long long tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const long long start = tile * TQ_THREADS, row = start + threadIdx.x;
        const int present = rows - start < TQ_THREADS ? (int)(rows - start) : TQ_THREADS;
        tq_sync_block();
        if (TQ_PITCH) {
            const unsigned char* const from = packed + start * row_bytes;
            if (TQ_WHOLE_WORDS) {
                for (int i = threadIdx.x; i < present * (row_bytes / 4); i += TQ_THREADS) {
                    const int line = i / (row_bytes / 4), at = i % (row_bytes / 4);
                    *(unsigned*)(staged + line * TQ_PITCH + 4 * at) = ((const unsigned*)from)[i];
                }
            } else {
                for (int i = threadIdx.x; i < present * row_bytes; i += TQ_THREADS) {
                    staged[i / row_bytes * TQ_PITCH + i % row_bytes] = from[i];
                }
            }
            tq_sync_block();
        }
        if (row >= rows) continue;
        const unsigned char* const codes = TQ_PITCH ? staged + threadIdx.x * TQ_PITCH : packed + row * row_bytes;
        const float* const own = scales + row * TQ_SCALES;
        for (long long first = 0; first < queries; first += TQ_FEW) {
            float total[TQ_FEW] = {};
            int granule = 0;
            for (int g = 0; g < TQ_GROUPS; g++) {
                const tq_group group = tq_load_group(groups, g);
                const bool wide = group.wide;
                int hh[TQ_FEW] = {}, cross[TQ_FEW] = {}, ll[TQ_FEW] = {};
                for (; granule < group.end; granule++) {
                    unsigned level_high[2], level_low[2];
                    tq_group_levels(group, table, codes, places, granule, level_high, level_low);
#pragma unroll
                    for (int k = 0; k < TQ_FEW; k++) {
                        if (first + k >= queries) continue;
                        const long long at = (first + k) * TQ_QUERY_BYTES + 8 * granule;
#pragma unroll
                        for (int half = 0; half < 2; half++) {
                            const int query_high = ((const int*)(high + at))[half];
                            hh[k] = tq_dp4a(query_high, level_high[half], hh[k]);
                            if (wide) {
                                const int query_low = ((const int*)(low + at))[half];
                                cross[k] = tq_dp4a(query_high, level_low[half], cross[k]);
                                cross[k] = tq_dp4a(query_low, level_high[half], cross[k]);
                                ll[k] = tq_dp4a(query_low, level_low[half], ll[k]);
                            }
                        }
                    }
                }
#pragma unroll
                for (int k = 0; k < TQ_FEW; k++) {
                    if (first + k >= queries) continue;
                    const float unit = worth[(first + k) * TQ_GROUPS + g];
                    const float term = tq_group_term(hh[k], cross[k], ll[k], wide, unit, own, g);
                    total[k] = g ? tq_sum(total[k], term) : term;
                }
            }
#pragma unroll
            for (int k = 0; k < TQ_FEW; k++) {
                if (first + k < queries) take(first + k, row, tq_group_score(total[k], *own, base, first + k));
            }
        }
    }
}
