// The signs of a sketch where they lie in packed rows, low bit first from byte `start` on.

// +1 where bit j is set, else -1; 0 from `size` on.
__device__ __forceinline__ float tq_sketch_sign(const unsigned char* bits, int j, int size) {
    if (j >= size) return 0.0f;
    return bits[j / 8] >> (j & 7) & 1 ? 1.0f : -1.0f;
}
