// Candidates of a search as numbers of 64 bits that ascend from the nearest row to the farthest.
//
// The upper half orders keys (docs/numerics.md sections 10 and 12), the 31 bits below them rows of equal keys, and the lowest
// bit tells a key of -0 from the +0 that it equals. No two rows have one number, so the k least are the k best whatever
// the order in which they are found.

// No row: behind all.
#define TQ_NO_ROW 0xffffffffffffffffull

// A key as a number that falls as the key rises; equal for -0 and +0. All numbers are below 0xff800001.
__device__ __forceinline__ unsigned tq_order(float key) {
    const unsigned bits = tq_bits(key);
    return bits > 0x80000000u ? bits : 0x7fffffffu - (bits & 0x7fffffffu);
}

__device__ __forceinline__ unsigned tq_is_negative_zero(float key) { return tq_bits(key) == 0x80000000u; }

__device__ __forceinline__ unsigned long long tq_candidate(unsigned order, unsigned row, unsigned negative_zero) {
    return (unsigned long long)order << 32 | row << 1 | negative_zero;
}

// What a row is ranked by: its score, or, with squared norms, the negated squared distance. Results may be subnormal.
__device__ __forceinline__ float tq_key(float score, const float* query_squares, const float* row_squares, long long query,
                                        long long row) {
    if (!row_squares) return score;
    const float twice = tq_product(2.0f, score);
    const float distance = tq_sum(tq_sum(query_squares[query], row_squares[row]), tq_float(tq_bits(twice) ^ 0x80000000u));
    return tq_float(tq_bits(distance) ^ 0x80000000u);
}

// What decides over candidates: squared norms with metric l2, one bit a row that may be found (or null), and of each query
// the highest order that may still enter; and where they go, `pitch` numbers a query.
struct tq_ranking {
    const float* query_squares;
    const float* row_squares;
    const unsigned* allowed;
    const unsigned* floors;
    unsigned long long* candidates;
    unsigned* counts;
    long long pitch;
};

// Take a row into its query's candidates if its score may be among the best. A cut (rank_cut.cu) only lowers keys.
__device__ __forceinline__ void tq_offer(const tq_ranking& ranking, long long query, long long row, float score) {
    if (ranking.allowed && !(ranking.allowed[row / 32] >> (row & 31) & 1u)) return;
    const float key = tq_key(score, ranking.query_squares, ranking.row_squares, query, row);
    const unsigned order = tq_order(key);
    if (order > ranking.floors[query]) return;
    const unsigned place = tq_atomic_add(ranking.counts + query, 1u);
    ranking.candidates[query * ranking.pitch + place] = tq_candidate(order, (unsigned)row, tq_is_negative_zero(key));
}

// A candidate whose key was an upper end, cut to the key of its score if that is lower, as row `tie` of the whole index; no
// row if it may no longer enter.
__device__ __forceinline__ unsigned long long tq_cut_to_score(unsigned long long found, float key, unsigned tie,
                                                              unsigned floor) {
    unsigned order = tq_order(key), negative_zero = tq_is_negative_zero(key);
    if ((unsigned)(found >> 32) > order) {
        order = (unsigned)(found >> 32);
        negative_zero = (unsigned)found & 1u;
    }
    return order > floor ? TQ_NO_ROW : tq_candidate(order, tie, negative_zero);
}
