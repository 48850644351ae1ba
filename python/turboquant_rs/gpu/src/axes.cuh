// The rotation of the segments of a row of axes (docs/numerics.md section 4), one warp a row.
//
// Of up to 32 axes, which fits up to 4,096 dims make, a lane holds one and exchanges run between lanes; a longer segment is
// rotated in the memory of the warp's row.

// 32,000 · 32,000: what products in fixed point are divided by.
#define TQ_UNIT 1024000000.0f

// A warp's row of TQ_AXES floats, and room for one segment of more than 32 axes.
struct tq_axes_row {
    float* row;
    float* other;
};

#define TQ_AXES_FLOATS (TQ_AXES + TQ_LARGEST)

__device__ __forceinline__ tq_axes_row tq_axes_memory(float* shared, float* scratch) {
    float* row = shared + tq_warp() * TQ_AXES_FLOATS;
    if (TQ_IN_SCRATCH) row = scratch + ((long long)blockIdx.x * TQ_WARPS + tq_warp()) * TQ_AXES_FLOATS;
    return {row, row + TQ_AXES};
}

__device__ __forceinline__ float tq_flipped(float value, const unsigned* signs, int i) {
    return tq_float(tq_bits(value) ^ (signs[i / 32] << (31 - (i & 31)) & 0x80000000u));
}

// One block transform, or its inverse, of the lanes below `power`; the others keep their value.
__device__ __forceinline__ float tq_lanes_transform(float v, int power, const unsigned* signs, float factor, bool forward) {
    float w = forward ? tq_flipped(v * factor, signs, tq_lane()) : v;
#pragma unroll
    for (int log = 0; log < 5; log++) {
        if (1 << log >= power) break;
        const float other = tq_from_lane_xor(w, 1 << log);
        // a + b in the lower lane, a - b in the upper.
        w = other + tq_float(tq_bits(w) ^ ((unsigned)tq_lane() << (31 - log) & 0x80000000u));
    }
    if (!forward) w = tq_flipped(w * factor, signs, tq_lane());
    return tq_lane() < power ? w : v;
}

// The same of lanes `offset` … offset + power - 1.
__device__ __forceinline__ float tq_lanes_transform_at(float v, int offset, int power, const unsigned* signs, float factor,
                                                       bool forward) {
    float w = tq_from_lane(v, (tq_lane() + offset) & 31);
    w = tq_from_lane(tq_lanes_transform(w, power, signs, factor, forward), (tq_lane() - offset) & 31);
    return tq_lane() < offset ? v : w;
}

// One block transform of floats in memory from `row` on, or its inverse. What was written before is each lane's own.
__device__ __forceinline__ void tq_memory_transform(float* row, int power, const unsigned* signs, float factor,
                                                    bool forward) {
    if (forward) {
        for (int i = tq_lane(); i < power; i += 32) row[i] = tq_flipped(row[i] * factor, signs, i);
    }
    for (int stride = 1; stride < power; stride *= 2) {
        tq_sync_warp();
        for (int pair = tq_lane(); pair < power / 2; pair += 32) {
            const int low = (pair & ~(stride - 1)) * 2 | (pair & (stride - 1));
            const float a = row[low], b = row[low + stride];
            row[low] = a + b;
            row[low + stride] = a - b;
        }
    }
    tq_sync_warp();
    if (!forward) {
        for (int i = tq_lane(); i < power; i += 32) row[i] = tq_flipped(row[i] * factor, signs, i);
        tq_sync_warp();
    }
}

// row[i] = row[source[i]], through `other`; rows are each lane's own afterwards.
__device__ __forceinline__ void tq_memory_shuffle(float* row, float* other, int axes, const unsigned short* source) {
    for (int i = tq_lane(); i < axes; i += 32) other[i] = row[source[i]];
    tq_sync_warp();
    for (int i = tq_lane(); i < axes; i += 32) row[i] = other[i];
}

#define TQ_SEGMENT_WORDS(segment) (((segment).power + 31) / 32)

// Fill a segment of the row by `value` of its axes, rotated; all lanes may read it afterwards.
template <class Value>
__device__ __forceinline__ void tq_rotate_segment(const tq_axes_row& memory, const tq_segment& segment, float factor,
                                                  const unsigned* signs, const unsigned short* source, Value value) {
    const int axes = segment.axes, power = segment.power, offset = axes - power, words = TQ_SEGMENT_WORDS(segment);
    float* const row = memory.row + segment.start;
    signs += segment.signs;
    source += segment.source;
    if (axes <= 32) {
        float v = tq_lane() < axes ? value(tq_lane()) : 0.0f;
        for (int round = 0; round < segment.rounds; round++) {
            v = tq_lanes_transform(v, power, signs, factor, true);
            signs += words;
            if (!offset) continue;
            v = tq_lanes_transform_at(v, offset, power, signs, factor, true);
            signs += words;
            if (round + 1 < segment.rounds) {
                v = tq_from_lane(v, tq_lane() < axes ? source[round * axes + tq_lane()] : tq_lane());
            }
        }
        if (tq_lane() < axes) row[tq_lane()] = v;
        return;
    }
    for (int i = tq_lane(); i < axes; i += 32) row[i] = value(i);
    for (int round = 0; round < segment.rounds; round++) {
        tq_memory_transform(row, power, signs, factor, true);
        signs += words;
        if (!offset) continue;
        tq_memory_transform(row + offset, power, signs, factor, true);
        signs += words;
        if (round + 1 < segment.rounds) tq_memory_shuffle(row, memory.other, axes, source + round * axes);
    }
}

// The inverse; `source` holds the inverses of the permutations.
template <class Value>
__device__ __forceinline__ void tq_rotate_segment_back(const tq_axes_row& memory, const tq_segment& segment, float factor,
                                                       const unsigned* signs, const unsigned short* source, Value value) {
    const int axes = segment.axes, power = segment.power, offset = axes - power, words = TQ_SEGMENT_WORDS(segment);
    float* const row = memory.row + segment.start;
    signs += segment.signs + segment.rounds * (offset ? 2 : 1) * words;
    source += segment.source;
    if (axes <= 32) {
        float v = tq_lane() < axes ? value(tq_lane()) : 0.0f;
        for (int round = segment.rounds - 1; round >= 0; round--) {
            if (offset) {
                if (round + 1 < segment.rounds) {
                    v = tq_from_lane(v, tq_lane() < axes ? source[round * axes + tq_lane()] : tq_lane());
                }
                signs -= words;
                v = tq_lanes_transform_at(v, offset, power, signs, factor, false);
            }
            signs -= words;
            v = tq_lanes_transform(v, power, signs, factor, false);
        }
        if (tq_lane() < axes) row[tq_lane()] = v;
        return;
    }
    for (int i = tq_lane(); i < axes; i += 32) row[i] = value(i);
    for (int round = segment.rounds - 1; round >= 0; round--) {
        if (offset) {
            if (round + 1 < segment.rounds) tq_memory_shuffle(row, memory.other, axes, source + round * axes);
            signs -= words;
            tq_memory_transform(row + offset, power, signs, factor, false);
        }
        signs -= words;
        tq_memory_transform(row, power, signs, factor, false);
    }
}
