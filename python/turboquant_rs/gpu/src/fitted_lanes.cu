// Scores of a few queries against codes of a fitted codec (fitted_few.cuh), all of them written.

extern "C" __global__ void __launch_bounds__(TQ_THREADS, 4) fitted_lanes(
    const unsigned char* __restrict__ packed, const float* __restrict__ scales, const int* __restrict__ places,
    const int* __restrict__ groups, const unsigned* __restrict__ levels, const signed char* __restrict__ high,
    const signed char* __restrict__ low, const float* __restrict__ worth, const float* __restrict__ base,
    float* __restrict__ out, int row_bytes, long long rows, long long queries) {
    TQ_SHARED_MEMORY(memory);
    tq_score_few_groups(memory, packed, scales, places, groups, levels, high, low, worth, base, row_bytes, rows, queries,
                 [&](long long query, long long row, float score) { out[query * rows + row] = score; });
}
