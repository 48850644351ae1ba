// Scores of many queries (many.cuh), all of them kept.

extern "C" __global__ void __launch_bounds__(TQ_MMA_THREADS, 4) score_mma(
    const unsigned char* __restrict__ packed, const float* __restrict__ scales, const short* __restrict__ levels,
    const signed char* __restrict__ high, const signed char* __restrict__ low, const float* __restrict__ worth,
    float* __restrict__ out, long long rows, long long queries) {
    TQ_SHARED_MEMORY(memory);
    tq_score_many(memory, packed, scales, levels, high, low, worth, rows, queries,
                  [&](long long query, long long row, float score) { tq_keep_score(out + query * rows + row, score); });
}
