// Codes of a fitted codec to integer levels, eight columns at a time, and scores from sums of their groups.

// Neighbouring segments of one width: the granules up to `end`, their kept bits, where their levels start, and whether these
// have two bytes.
struct tq_group {
    int end, keep, levels, wide;
};

__device__ __forceinline__ tq_group tq_load_group(const int* groups, int group) {
    return {groups[8 * group + 3], groups[8 * group + 2], groups[8 * group + 4], groups[8 * group + 5]};
}

#define TQ_GRANULES (TQ_QUERY_BYTES / 8)

// The levels of all groups into shared memory, before a barrier: sixteen bytes a group, 32 for 5 bits, or two bytes a code,
// high above low.
__device__ __forceinline__ const unsigned* tq_load_group_levels(const unsigned* levels, unsigned* shared, int threads) {
    for (int i = threadIdx.x; i < TQ_LEVEL_WORDS; i += threads) shared[i] = levels[i];
    return shared;
}

// Levels of the eight columns of a granule: high bytes, and low bytes if they have two. places[bit][granule] is the byte of
// a row that holds a bit of the granule's codes, most significant first.
__device__ __forceinline__ void tq_group_levels(const tq_group& group, const unsigned* levels, const unsigned char* row,
                                                const int* places, int granule, unsigned (&high)[2], unsigned (&low)[2]) {
    unsigned codes = 0, upper = 0;
    for (int bit = 0; bit < group.keep; bit++) {
        const unsigned field = tq_to_nibbles(row[places[bit * TQ_GRANULES + granule]], 1);
        const int shift = group.keep - 1 - bit;
        if (shift >= 4) upper |= field << (shift - 4); else codes |= field << shift;
    }
    const unsigned* const own = levels + group.levels;
    if (group.wide) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            high[half] = low[half] = 0;
#pragma unroll
            for (int k = 0; k < 4; k++) {
                const int shift = 4 * (4 * half + k);
                const unsigned level = ((const unsigned short*)own)[(codes >> shift & 15u) | (upper >> shift & 15u) << 4];
                high[half] |= level >> 8 << 8 * k;
                low[half] |= (level & 0xffu) << 8 * k;
            }
        }
    } else {
        const unsigned words[4] = {own[0], own[1], own[2], own[3]};
        high[0] = tq_of_sixteen(words, codes);
        high[1] = tq_of_sixteen(words, codes >> 16);
        if (group.keep > 4) {
            const unsigned more[4] = {own[4], own[5], own[6], own[7]};
            high[0] = tq_of_two(high[0], tq_of_sixteen(more, codes), upper);
            high[1] = tq_of_two(high[1], tq_of_sixteen(more, codes >> 16), upper >> 16);
        }
    }
}

// What a group adds to a score, before the row's scale; where each of TQ_SCALES groups has one, in `scales`, with it.
__device__ __forceinline__ float tq_group_term(int hh, int cross, int ll, bool wide, float worth, const float* scales,
                                               int group) {
    const float product = wide ? tq_to_float((long long)hh * 16384 + (long long)cross * 128 + (long long)ll) : tq_to_float(hh);
    return TQ_SCALES > 1 ? tq_product(worth * product, scales[group]) : worth * product;
}

// The score from the sum of the groups' terms; `base` is null without a center. Of groups with scales of their own it is the
// sum, or 0 where two of them are beyond float32 with opposite signs.
__device__ __forceinline__ float tq_group_score(float total, float scale, const float* base, long long query) {
    if (TQ_SCALES > 1) return (tq_bits(total) & 0x7fffffffu) > 0x7f800000u ? 0.0f : total;
    const float score = tq_product(total, scale);
    return base ? tq_sum(score, base[query]) : score;
}
