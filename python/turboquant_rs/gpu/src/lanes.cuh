// What the lanes of a warp do together.

__device__ __forceinline__ int tq_lane() { return threadIdx.x & 31; }

// The 64 sums, of which a lane has two: by halving to one, the same in all lanes.
__device__ __forceinline__ float tq_warp_halve(float even, float odd) {
    float sum = even + odd;
#pragma unroll
    for (int half = 16; half; half /= 2) sum = sum + tq_from_lane_xor(sum, half);
    return sum;
}

__device__ __forceinline__ unsigned tq_warp_largest(unsigned value) {
#pragma unroll
    for (int half = 16; half; half /= 2) {
        const unsigned other = tq_from_lane_xor(value, half);
        value = other > value ? other : value;
    }
    return value;
}
