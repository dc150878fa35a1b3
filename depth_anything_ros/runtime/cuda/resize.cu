// Resizing on the GPU, one thread an output pixel. Positions are exact, in integers: a pixel's center, in source pixels,
// is ((2 * position + 1) * source - target) / (2 * target), as in OpenCV. NVRTC compiles this file; it includes nothing.

typedef long long Integer;

// The source pixels along one axis that an output pixel is made of, before clamping to the image.
struct Taps {
    Integer first;
    int count;
    float fraction;  // from tap `first` (bilinear) or `first + 1` (bicubic) to the center; not used by areas
};

__device__ Integer floor_division(Integer dividend, Integer divisor) {
    return dividend >= 0 ? dividend / divisor : -((divisor - 1 - dividend) / divisor);
}

__device__ int clamped(Integer index, int length) {
    return index < 0 ? 0 : index >= length ? length - 1 : (int)index;
}

__device__ Taps area_taps(Integer position, Integer source, Integer target) {
    Taps taps;
    taps.first = position * source / target;
    taps.count = (int)(((position + 1) * source - 1) / target - taps.first) + 1;
    taps.fraction = 0.0f;
    return taps;
}

__device__ Taps bilinear_taps(Integer position, Integer source, Integer target) {
    const Integer center = (2 * position + 1) * source - target;
    Taps taps;
    taps.first = floor_division(center, 2 * target);
    const Integer rest = center - taps.first * 2 * target;
    taps.fraction = (float)rest / (float)(2 * target);
    taps.count = rest == 0 ? 1 : 2;  // a pixel of weight 0 may be NaN
    return taps;
}

__device__ Taps bicubic_taps(Integer position, Integer source, Integer target) {
    Taps taps = bilinear_taps(position, source, target);
    taps.first -= 1;
    taps.count = 4;
    return taps;
}

// The share of source pixel `index` in the footprint of output pixel `position`.
__device__ float area_weight(Integer index, Integer position, Integer source, Integer target) {
    const Integer begin = index * target > position * source ? index * target : position * source;
    const Integer pixel_end = (index + 1) * target;
    const Integer footprint_end = (position + 1) * source;
    const Integer end = pixel_end < footprint_end ? pixel_end : footprint_end;
    return (float)(end - begin) / (float)source;
}

__device__ float bilinear_weight(int tap, float fraction) { return tap == 0 ? 1.0f - fraction : fraction; }

// Keys' kernel with OpenCV's a = -0.75.
__device__ float bicubic_weight(int tap, float fraction) {
    const float a = -0.75f;
    const float signed_distance = fraction - (float)(tap - 1);
    const float d = signed_distance < 0.0f ? -signed_distance : signed_distance;
    return d <= 1.0f ? ((a + 2.0f) * d - (a + 3.0f)) * d * d + 1.0f : ((a * d - 5.0f * a) * d + 8.0f * a) * d - 4.0f * a;
}

__device__ unsigned char rounded(float value) {
    return value <= 0.0f ? 0 : value >= 255.0f ? 255 : (unsigned char)(value + 0.5f);
}

// uint8 (source_height, source_width, 3) to the smaller (height, width, 3), by averages over areas.
extern "C" __global__ void average_image(
    const unsigned char* source, int source_height, int source_width, unsigned char* target, int height, int width) {
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    const int row = blockIdx.y * blockDim.y + threadIdx.y;
    if (column >= width || row >= height) return;
    const Taps rows = area_taps(row, source_height, height);
    const Taps columns = area_taps(column, source_width, width);
    float sums[3] = {0.0f, 0.0f, 0.0f};
    for (int i = 0; i < rows.count; ++i) {
        const unsigned char* line = source + 3 * (Integer)source_width * (rows.first + i);
        const float row_weight = area_weight(rows.first + i, row, source_height, height);
        for (int j = 0; j < columns.count; ++j) {
            const unsigned char* pixel = line + 3 * (columns.first + j);
            const float weight = row_weight * area_weight(columns.first + j, column, source_width, width);
            for (int channel = 0; channel < 3; ++channel) sums[channel] += weight * (float)pixel[channel];
        }
    }
    unsigned char* pixel = target + 3 * ((Integer)row * width + column);
    for (int channel = 0; channel < 3; ++channel) pixel[channel] = rounded(sums[channel]);
}

// uint8 (source_height, source_width, 3) to (height, width, 3), bicubic. `reversed` swaps the first and the last channel.
extern "C" __global__ void resize_image(
    const unsigned char* source, int source_height, int source_width,
    unsigned char* target, int height, int width, int reversed) {
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    const int row = blockIdx.y * blockDim.y + threadIdx.y;
    if (column >= width || row >= height) return;
    const Taps rows = bicubic_taps(row, source_height, height);
    const Taps columns = bicubic_taps(column, source_width, width);
    float sums[3] = {0.0f, 0.0f, 0.0f};
    for (int i = 0; i < rows.count; ++i) {
        const unsigned char* line = source + 3 * (Integer)source_width * clamped(rows.first + i, source_height);
        const float row_weight = bicubic_weight(i, rows.fraction);
        for (int j = 0; j < columns.count; ++j) {
            const unsigned char* pixel = line + 3 * (Integer)clamped(columns.first + j, source_width);
            const float weight = row_weight * bicubic_weight(j, columns.fraction);
            for (int channel = 0; channel < 3; ++channel) sums[channel] += weight * (float)pixel[channel];
        }
    }
    unsigned char* pixel = target + 3 * ((Integer)row * width + column);
    for (int channel = 0; channel < 3; ++channel) pixel[reversed ? 2 - channel : channel] = rounded(sums[channel]);
}

// float (source_height, source_width) to (height, width), bilinearly, whether it grows or shrinks.
extern "C" __global__ void resize_map(
    const float* source, int source_height, int source_width, float* target, int height, int width) {
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    const int row = blockIdx.y * blockDim.y + threadIdx.y;
    if (column >= width || row >= height) return;
    const Taps rows = bilinear_taps(row, source_height, height);
    const Taps columns = bilinear_taps(column, source_width, width);
    float sum = 0.0f;
    for (int i = 0; i < rows.count; ++i) {
        const float* line = source + (Integer)source_width * clamped(rows.first + i, source_height);
        float line_sum = 0.0f;
        for (int j = 0; j < columns.count; ++j)
            line_sum += bilinear_weight(j, columns.fraction) * line[clamped(columns.first + j, source_width)];
        sum += bilinear_weight(i, rows.fraction) * line_sum;
    }
    target[(Integer)row * width + column] = sum;
}
