// Candidates of many queries among codes of a fitted codec (fitted_many.cuh); no score is written.

extern "C" __global__ void __launch_bounds__(TQ_MMA_THREADS, 3) rank_fitted_mma(
    const unsigned char* __restrict__ packed, const float* __restrict__ scales, const int* __restrict__ places,
    const int* __restrict__ groups, const unsigned* __restrict__ levels, const signed char* __restrict__ high,
    const signed char* __restrict__ low, const float* __restrict__ worth, const float* __restrict__ base,
    const float* __restrict__ query_squares, const float* __restrict__ row_squares, const unsigned* __restrict__ allowed,
    const unsigned* __restrict__ floors, unsigned long long* __restrict__ candidates, unsigned* __restrict__ counts,
    int row_bytes, long long pitch, long long rows, long long queries) {
    TQ_SHARED_MEMORY(memory);
    const tq_ranking ranking = {query_squares, row_squares, allowed, floors, candidates, counts, pitch};
    tq_score_many_groups(memory, packed, scales, places, groups, levels, high, low, worth, base, row_bytes, rows, queries,
                 [&](long long query, long long row, float score) { tq_offer(ranking, query, row, score); });
}
