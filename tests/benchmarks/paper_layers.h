// Layers of paper_native.cpp that are no 3x3 convolutions: norms, bilinear doubling, 1x1 convolutions to a few channels.
#pragma once

#include <cmath>

#include "paper_convolutions.h"

namespace {

// Where the pixels of a map lie.
struct Map {
    T *data;
    long pixel, line;
};
Map plain(T *x, int channels, int w) { return {x, channels, long(channels) * w}; }
Map inside(T *x, int channels, int w, int first = 0) {  // of one with a border
    const long line = long(channels) * (w + 2);
    return {x + line + channels + first, channels, line};
}

struct Parameter {
    T *value, *gradient;
    long size;
};

// Batch norm of N vectors of L channels, with LeakyReLU (LEAKY) or without. It goes by rows, y, so that a row can be looked
// at while it is in the nearest cache: `see` all rows, `settle`, then `apply`; and so back.
template <int L, int N, bool LEAKY> struct Norm {
    static constexpr int C = N * L;
    using X = typename Lanes<L>::Vector;
    Parameter scale, shift;
    T pivot[C], mean[C], inverse[C], factor[C], term[C], constant[C], slope[C];
    double sum[C], other[C], pixels = 0;

    // Adds up two values of every pixel of a row. In T along the row, then in double.
    template <class F> void add(int w, F values) {
        X a[N] = {}, b[N] = {};
        for (int x = 0; x < w; x++)
            for (int n = 0; n < N; n++) values(x, n, a[n], b[n]);
        for (int c = 0; c < C; c++) sum[c] += a[c / L][c % L], other[c] += b[c / L][c % L];
        pixels += w;
    }

    // In the first row: of sums that the last settlement left behind.
    void begin(int y) {
        if (y == 0) pixels = 0, std::fill(sum, sum + C, 0.0), std::fill(other, other + C, 0.0);
    }

    void see(Map in, int y, int w) {
        begin(y);
        // About the first pixel: the mean may be many standard deviations.
        if (y == 0) std::copy(in.data, in.data + C, pivot);
        const T *row = in.data + y * in.line;
        add(w, [&](int x, int n, X &a, X &b) {
            const X value = at<L>(row + x * in.pixel + n * L) - at<L>(pivot + n * L);
            a += value, b += value * value;
        });
    }

    void settle() {
        for (int c = 0; c < C; c++) {
            const double average = sum[c] / pixels;
            mean[c] = T(average + pivot[c]);
            inverse[c] = T(1 / std::sqrt(std::max(0.0, other[c] / pixels - average * average) + EPSILON));
            factor[c] = scale.value[c] * inverse[c];
            term[c] = shift.value[c] - mean[c] * factor[c];
        }
    }

    void apply(Map in, Map out, int y, int w) const {
        const T *from = in.data + y * in.line;
        T *to = out.data + y * out.line;
        for (int x = 0; x < w; x++)
            for (int n = 0; n < N; n++) {
                const X value = at<L>(from + x * in.pixel + n * L) * at<L>(factor + n * L) + at<L>(term + n * L);
                at<L>(to + x * out.pixel + n * L) = !LEAKY || value > 0 ? value : value * SLOPE;
            }
    }

    void forward(Map in, Map out, int h, int w) {
        for (int y = 0; y < h; y++) see(in, y, w);
        settle();
        for (int y = 0; y < h; y++) apply(in, out, y, w);
    }

    // The gradient before the LeakyReLU.
    X before(X gradient, X value, int n) const {
        return !LEAKY || value * at<L>(factor + n * L) + at<L>(term + n * L) > 0 ? gradient : gradient * SLOPE;
    }

    void see_back(Map gradient, Map in, int y, int w) {
        begin(y);
        const T *g = gradient.data + y * gradient.line, *row = in.data + y * in.line;
        add(w, [&](int x, int n, X &a, X &b) {
            const X value = at<L>(row + x * in.pixel + n * L);
            const X now = before(at<L>(g + x * gradient.pixel + n * L), value, n);
            a += now, b += now * (value - at<L>(mean + n * L));
        });
    }

    void settle_back() {
        for (int c = 0; c < C; c++) {
            shift.gradient[c] = T(sum[c]);
            scale.gradient[c] = T(other[c] * inverse[c]);
            constant[c] = T(factor[c] * sum[c] / pixels);
            slope[c] = T(double(factor[c]) * inverse[c] * inverse[c] * other[c] / pixels);
        }
    }

    void apply_back(Map gradient, Map in, Map out, int y, int w) const {
        const T *g = gradient.data + y * gradient.line, *row = in.data + y * in.line;
        T *to = out.data + y * out.line;
        for (int x = 0; x < w; x++)
            for (int n = 0; n < N; n++) {
                const X value = at<L>(row + x * in.pixel + n * L);
                const X now = before(at<L>(g + x * gradient.pixel + n * L), value, n);
                at<L>(to + x * out.pixel + n * L) = at<L>(factor + n * L) * now - at<L>(constant + n * L) -
                                                    at<L>(slope + n * L) * (value - at<L>(mean + n * L));
            }
    }

    void backward(Map gradient, Map in, Map out, int h, int w) {
        for (int y = 0; y < h; y++) see_back(gradient, in, y, w);
        settle_and_apply_back(gradient, in, out, h, w);
    }

    void settle_and_apply_back(Map gradient, Map in, Map out, int h, int w) {
        settle_back();
        for (int y = 0; y < h; y++) apply_back(gradient, in, out, y, w);
    }
};

template <bool LEAKY> using WideNorm = Norm<LANES, W / LANES, LEAKY>;
template <bool LEAKY> using SkipNorm = Norm<4, 1, LEAKY>;

// ---- bilinear doubling: (h, w, W) <-> (2h, 2w, W) ----

template <class F> inline void each_vector(int pixels, F f) {
    for (long i = 0; i < long(pixels) * W; i += LANES) f(i);
}

// after(y): called when row y of what comes out is there; here and below.
template <class F> void doubled(const T *in, T *out, T *line, int h, int w, F after) {
    const T near = T(0.75), far = T(0.25);
    for (int y = 0; y < 2 * h; y++) {
        const T *one = in + y / 2 * w * W, *other = in + std::clamp(y / 2 + (y % 2 ? 1 : -1), 0, h - 1) * w * W;
        each_vector(w, [&](long i) { at(line + i) = near * at(one + i) + far * at(other + i); });
        T *to = out + y * 2 * w * W;
        for (int x = 0; x < w; x++)
            for (int c = 0; c < W; c += LANES) {
                const V here = near * at(line + x * W + c);
                at(to + 2 * x * W + c) = here + far * at(line + std::max(x - 1, 0) * W + c);
                at(to + (2 * x + 1) * W + c) = here + far * at(line + std::min(x + 1, w - 1) * W + c);
            }
        after(y);
    }
}

template <class F> void doubled_gradient(const T *gradient, T *out, T *line, int h, int w, F after) {
    const T near = T(0.75), far = T(0.25);
    for (int y = 0; y < h; y++) {
        const T *rows[4];
        for (int i = 0; i < 4; i++) rows[i] = gradient + std::clamp(2 * y - 1 + i, 0, 2 * h - 1) * 2 * w * W;
        each_vector(2 * w, [&](long i) {
            at(line + i) = near * (at(rows[1] + i) + at(rows[2] + i)) + far * (at(rows[0] + i) + at(rows[3] + i));
        });
        for (int x = 0; x < w; x++)
            for (int c = 0; c < W; c += LANES) {
                const auto from = [&](int i) { return at(line + std::clamp(i, 0, 2 * w - 1) * W + c); };
                at(out + (y * w + x) * W + c) =
                    near * (from(2 * x) + from(2 * x + 1)) + far * (from(2 * x - 1) + from(2 * x + 2));
            }
        after(y);
    }
}

// ---- thin 1x1 convolutions: to the skip's four channels, and to the picture's up to four ----

// weights (CIN, 4); out: a vector of four a pixel.
template <int CIN> void thin(Map in, const T *weights, T *out, int h, int w) {
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x += 2) {  // sides are even
            const T *p = in.data + y * in.line + x * in.pixel, *q = p + in.pixel;
            Q one[2] = {}, other[2] = {};
            for (int c = 0; c < CIN; c += 2)
                for (int i = 0; i < 2; i++) {
                    const Q weight = at<4>(weights + (c + i) * 4);
                    one[i] += p[c + i] * weight, other[i] += q[c + i] * weight;
                }
            at<4>(out + (y * w + x) * 4) = one[0] + one[1];
            at<4>(out + (y * w + x + 1) * 4) = other[0] + other[1];
        }
}

// By the weights, (CIN, 4), and by the input (ADD: added to what is there), if wanted. gradient: four a pixel.
template <int CIN, bool ADD>
void thin_gradient(Map in, const T *weights, const T *gradient, T *dw, const Map *to, int h, int w) {
    constexpr int N = CIN / LANES;
    V sums[4][N] = {};
    T columns[4][CIN];
    for (int c = 0; c < CIN; c++)
        for (int o = 0; o < 4; o++) columns[o][c] = weights[c * 4 + o];
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            const T *g = gradient + (y * w + x) * 4, *p = in.data + y * in.line + x * in.pixel;
            T *d = to ? to->data + y * to->line + x * to->pixel : nullptr;
            for (int n = 0; n < N; n++) {
                const V value = at(p + n * LANES);
                for (int o = 0; o < 4; o++) sums[o][n] += g[o] * value;
                if (!d) continue;
                V back = ADD ? at(d + n * LANES) : V{};
                for (int o = 0; o < 4; o++) back += g[o] * at(columns[o] + n * LANES);
                at(d + n * LANES) = back;
            }
        }
    for (int c = 0; c < CIN; c++)
        for (int o = 0; o < 4; o++) dw[c * 4 + o] = sums[o][c / LANES][c % LANES];
}

}  // namespace
