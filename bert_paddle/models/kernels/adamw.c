/* AdamW and the norm of the gradients. */
#include "rows.h"

/* A parameter of the optimizer: pointers to its values, gradient, first and second moment and the
 * powers of both betas; the number of elements; whether weight decay applies. */
typedef struct {
    float *p, *g, *m, *v, *power1, *power2;
    int64_t count, decays;
} Tensor;

/* sum[0] = sum of squares of all gradients. `first`, in which every thread counts for itself: the
 * index in `partial` of a tensor's first chunk. */
int squares(const Tensor *tensors, double *sum, int64_t n) {
    int64_t chunks = 0, first = 0;
    for (int64_t i = 0; i < n; i++) chunks += (tensors[i].count + CHUNK - 1) / CHUNK;
    double *partial = malloc((size_t)(chunks + 1) * sizeof(double));
    if (!partial) return -1;
#pragma omp parallel firstprivate(first)
    for (int64_t i = 0; i < n; i++) {
        const float *g = tensors[i].g;
        int64_t count = tensors[i].count;
#pragma omp for schedule(static) nowait
        for (int64_t begin = 0; begin < count; begin += CHUNK) {
            int64_t end = begin + CHUNK < count ? begin + CHUNK : count;
            float found = 0.0f;
            for (int64_t j = begin; j < end; j++) found += g[j] * g[j];
            partial[first + begin / CHUNK] = found;
        }
        first += (count + CHUNK - 1) / CHUNK;
    }
    sum[0] = 0.0;
    for (int64_t k = 0; k < chunks; k++) sum[0] += partial[k];
    free(partial);
    return 0;
}

/* One step of AdamW (Loshchilov and Hutter, arXiv:1711.05101) with gradients multiplied by `scale`.
 * Bias correction, m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon), is computed as
 * (root / (1 - beta1^t)) * m / (sqrt(v) + epsilon * root) with root = sqrt(1 - beta2^t). */
void adamw(const Tensor *tensors, int64_t n, float rate, float decay, float beta1, float beta2,
           float epsilon, float scale) {
#pragma omp parallel
    for (int64_t i = 0; i < n; i++) {
        Tensor t = tensors[i];
        float root = sqrtf(1.0f - *t.power2), step = rate * root / (1.0f - *t.power1);
        float least = epsilon * root, keep = t.decays ? 1.0f - rate * decay : 1.0f;
        float *restrict p = t.p, *restrict m = t.m, *restrict v = t.v;
        const float *restrict g = t.g;
#pragma omp for schedule(static) nowait
        for (int64_t begin = 0; begin < t.count; begin += CHUNK) {
            int64_t end = begin + CHUNK < t.count ? begin + CHUNK : t.count;
            for (int64_t j = begin; j < end; j++) {
                float grad = g[j] * scale;
                m[j] = beta1 * m[j] + (1.0f - beta1) * grad;
                v[j] = beta2 * v[j] + (1.0f - beta2) * grad * grad;
                p[j] = keep * p[j] - step * (m[j] / (sqrtf(v[j]) + least));
            }
        }
    }
    for (int64_t i = 0; i < n; i++) {
        *tensors[i].power1 *= beta1;
        *tensors[i].power2 *= beta2;
    }
}
