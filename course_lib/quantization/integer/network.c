//: memory
/* ---- Memory: all that this network ever writes ---------------------------------------------------------------- */

/* Inputs of a product. Where one instruction multiplies and adds unsigned by signed bytes, bytes are best; elsewhere
 * 16 bits are, because every processor with vectors multiplies and adds those in pairs. */
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__) || defined(__ARM_FEATURE_MATMUL_INT8)
typedef uint8_t lane;
#else
typedef int16_t lane;
#endif

/* Tensors share the arena: each has a place for as long as a layer still reads it. */
static struct {
    int32_t sums[2][LARGEST_SUMS]; /* accumulators of two positions */
    lane patches[2][LARGEST_ROW];  /* what a kernel sees at these two positions */
    uint8_t arena[ARENA];
} memory;
//: clamp
/* ---- From accumulators to codes -------------------------------------------------------------------------------- */

/* Codes of a tensor: code `zero` stands for 0, and codes are clamped to low ... high. After a ReLU low = zero. */
struct codes {
    int zero, low, high;
};

static uint8_t clamp(int64_t steps, const struct codes *codes)
{
    int64_t code = steps + codes->zero;
    code = code < codes->low ? codes->low : code;
    return (uint8_t)(code > codes->high ? codes->high : code);
}
//: rescale hardware
/* round(sum * M), where M = multiplier / 2^(31 + shift) is the layer's real factor, 2^30 <= multiplier < 2^31.
 * Two roundings, as gemmlowp's kernels: after 31 bits, halves upwards; after `shift` more, halves away from 0. A shift
 * below 0 makes the first one shorter. Right shifts of numbers below 0 round down, as all compilers have it. */
static int64_t rescale(int32_t sum, int32_t multiplier, int shift)
{
    int first = shift < 0 ? 31 + shift : 31, second = shift < 0 ? 0 : shift;
    int64_t high = ((int64_t)sum * multiplier + ((int64_t)1 << (first - 1))) >> first;
    int64_t half = ((int64_t)1 << second) >> 1;
    return (high + half - (high < 0 && half > 0)) >> second;
}
//: rounding runtime
/* round(x / 2^shift), a half to the even neighbour. Right shifts of numbers below 0 round down. */
static int64_t half_even(int64_t x, int shift)
{
    int64_t whole = x >> shift, rest = x - whole * ((int64_t)1 << shift), half = ((int64_t)1 << shift) >> 1;
    return whole + (rest > half || (rest == half && (whole & 1) && shift > 0));
}

/* x to 24 significant bits, a half to even: what a conversion to a 32-bit floating-point number does. */
static int64_t significant(int64_t x)
{
    int drop = 0;
    for (int64_t left = x < 0 ? -x : x; left >> drop >= (int64_t)1 << 24; drop++) {
    }
    return half_even(x, drop) * ((int64_t)1 << drop);
}

/* Whether x / 2^shift lies so near to a half that a change of x by `reach` may round it to the other neighbour. */
static int near_half(int64_t x, int shift, int64_t reach)
{
    int64_t rest = x - (x >> shift) * ((int64_t)1 << shift), distance = rest - (((int64_t)1 << shift) >> 1);
    return (distance < 0 ? -distance : distance) <= reach;
}
//: rescale runtime
/* round(sum * M), where M = multiplier / 2^shift is the layer's real factor, 2^23 <= multiplier < 2^24. Rounded as
 * ONNX Runtime does it: sum and product to 24 bits, then to an integer, halves to even. The product's own rounding
 * matters only near a half; farther out than -512 ... 512 the clamp hides it. */
static int64_t rescale(int32_t sum, int32_t multiplier, int shift)
{
    int64_t wide = sum > -(1 << 24) && sum < 1 << 24 ? sum : significant(sum), product = wide * multiplier;
    if (near_half(product, shift, (int64_t)1 << (shift - 16)))
        product = significant(product);
    return half_even(product, shift);
}
//: factors
/* One factor and one number to add a channel. The bias holds -zero * (sum of the channel's weights) already. */
struct factors {
    const int32_t *bias, *multiplier;
    const int8_t *shift;
};

static void rescale_all(const int32_t *sums, int count, const struct factors *by, const struct codes *codes, uint8_t *y)
{
    for (int c = 0; c < count; c++)
        y[c] = clamp(rescale(sums[c] + by->bias[c], by->multiplier[c], by->shift[c]), codes);
}
//: products
/* ---- Multiplying ------------------------------------------------------------------------------------------------- */

/* Two patches times four rows of weights: eight sums from six reads. `row` is a multiple of 32, filled up with zeros:
 * the compiler makes vector instructions of this loop. */
static void products(const lane *p, const lane *q, const int8_t *weight, int row, int32_t *sums_p, int32_t *sums_q)
{
    const int8_t *w0 = weight, *w1 = w0 + row, *w2 = w1 + row, *w3 = w2 + row;
    int32_t p0 = 0, p1 = 0, p2 = 0, p3 = 0, q0 = 0, q1 = 0, q2 = 0, q3 = 0;
    for (int i = 0; i < row; i++) {
        p0 += p[i] * w0[i], p1 += p[i] * w1[i], p2 += p[i] * w2[i], p3 += p[i] * w3[i];
        q0 += q[i] * w0[i], q1 += q[i] * w1[i], q2 += q[i] * w2[i], q3 += q[i] * w3[i];
    }
    sums_p[0] = p0, sums_p[1] = p1, sums_p[2] = p2, sums_p[3] = p3;
    sums_q[0] = q0, sums_q[1] = q1, sums_q[2] = q2, sums_q[3] = q3;
}
//: window
/* ---- Layers ------------------------------------------------------------------------------------------------------ */

/* A kernel on its way over an input of height x width x channels. Padding stands for 0: it is the input's zero. */
struct window {
    int height, width, channels, zero;
    int kernel_height, kernel_width, down, across, pad_height, pad_width;
    int out_height, out_width, out_channels;
};
//: convolution
/* `groups` independent convolutions, each with `rows` rows (a multiple of 4) of `row` weights. */
struct convolution {
    struct window window;
    int groups, rows, row;
    const int8_t *weight;
    struct factors factors;
    struct codes codes;
};

/* What the kernel sees at one output position, `count` channels a pixel from `first` on, one behind another. */
static void gather(const uint8_t *x, const struct window *w, int position, int first, int count, lane *patch)
{
    int top = position / w->out_width * w->down - w->pad_height;
    int left = position % w->out_width * w->across - w->pad_width;
    for (int i = top; i < top + w->kernel_height; i++)
        for (int j = left; j < left + w->kernel_width; j++, patch += count) {
            if (i < 0 || i >= w->height || j < 0 || j >= w->width) {
                for (int c = 0; c < count; c++)
                    patch[c] = (lane)w->zero;
            } else {
                const uint8_t *pixel = x + (i * w->width + j) * w->channels + first;
                for (int c = 0; c < count; c++)
                    patch[c] = pixel[c];
            }
        }
}

/* y[position][channel] = the sum over the patch of x * weight, rescaled. Two positions at a time. */
static void convolution(const struct convolution *layer, const uint8_t *x, uint8_t *y)
{
    const struct window *w = &layer->window;
    int positions = w->out_height * w->out_width, inputs = w->channels / layer->groups;
    int outputs = w->out_channels / layer->groups, taps = w->kernel_height * w->kernel_width * inputs;
    for (int two = 0; two < 2; two++)
        for (int i = taps; i < layer->row; i++)
            memory.patches[two][i] = 0;
    for (int group = 0; group < layer->groups; group++) {
        const int8_t *weight = layer->weight + group * layer->rows * layer->row;
        struct factors factors = layer->factors;
        factors.bias += group * outputs, factors.multiplier += group * outputs, factors.shift += group * outputs;
        for (int position = 0; position < positions; position += 2) {
            int together = position + 1 < positions ? 2 : 1; /* the last of an odd number is alone */
            for (int two = 0; two < together; two++)
                gather(x, w, position + two, group * inputs, inputs, memory.patches[two]);
            for (int c = 0; c < layer->rows; c += 4)
                products(memory.patches[0], memory.patches[1], weight + c * layer->row, layer->row,
                         memory.sums[0] + c, memory.sums[1] + c);
            for (int two = 0; two < together; two++)
                rescale_all(memory.sums[two], outputs, &factors, &layer->codes,
                            y + (position + two) * w->out_channels + group * outputs);
        }
    }
}
//: depthwise
/* A kernel of its own for each channel. Weights lie tap by tap, all channels side by side. */
struct depthwise {
    struct window window;
    const int8_t *weight;
    struct factors factors;
    struct codes codes;
};

static void depthwise(const struct depthwise *layer, const uint8_t *x, uint8_t *y)
{
    const struct window *w = &layer->window;
    int32_t *sums = memory.sums[0];
    for (int position = 0; position < w->out_height * w->out_width; position++) {
        int top = position / w->out_width * w->down - w->pad_height;
        int left = position % w->out_width * w->across - w->pad_width;
        const int8_t *weight = layer->weight;
        for (int c = 0; c < w->channels; c++)
            sums[c] = 0;
        for (int i = top; i < top + w->kernel_height; i++)
            for (int j = left; j < left + w->kernel_width; j++, weight += w->channels) {
                int outside = i < 0 || i >= w->height || j < 0 || j >= w->width;
                const uint8_t *pixel = outside ? x : x + (i * w->width + j) * w->channels;
                for (int c = 0; c < w->channels; c++)
                    sums[c] += (outside ? w->zero : pixel[c]) * weight[c];
            }
        rescale_all(sums, w->channels, &layer->factors, &layer->codes, y + position * w->channels);
    }
}
//: linear
/* One sum over all inputs for each output. */
struct linear {
    int inputs, outputs, rows, row;
    const int8_t *weight;
    struct factors factors;
    struct codes codes;
};

static void linear(const struct linear *layer, const uint8_t *x, uint8_t *y)
{
    lane *patch = memory.patches[0];
    for (int i = 0; i < layer->row; i++)
        patch[i] = (lane)(i < layer->inputs ? x[i] : 0);
    for (int c = 0; c < layer->rows; c += 4)
        products(patch, patch, layer->weight + c * layer->row, layer->row, memory.sums[0] + c, memory.sums[1] + c);
    rescale_all(memory.sums[0], layer->outputs, &layer->factors, &layer->codes, y);
}
//: sum hardware
/* Two tensors with different steps: both 20 bits to the left, each times its ratio to twice the larger step, then
 * their sum times what is missing. Multiplier and shift as in `rescale`. */
struct sum {
    int size, zero_a, zero_b;
    int32_t multiplier_a, multiplier_b, multiplier;
    int shift_a, shift_b, shift;
    struct codes codes;
};

static void sum(const struct sum *layer, const uint8_t *a, const uint8_t *b, uint8_t *y)
{
    struct sum s = *layer;
    for (int i = 0; i < s.size; i++) {
        int64_t left = rescale((a[i] - s.zero_a) * (1 << 20), s.multiplier_a, s.shift_a);
        int64_t right = rescale((b[i] - s.zero_b) * (1 << 20), s.multiplier_b, s.shift_b);
        y[i] = clamp(rescale((int32_t)(left + right), s.multiplier, s.shift), &s.codes);
    }
}
//: sum runtime
/* Two tensors with different steps, on a common grid of 2^-shift: ratio_b * b + fixed to 24 bits, ratio_a * a + that
 * to 24 bits, and to an integer. The roundings to 24 bits move it by at most `reach`. */
struct sum {
    int size, offset_a, offset_b;
    int64_t ratio_a, ratio_b, fixed, reach;
    int shift;
    struct codes codes; /* the output's zero point is in `fixed` */
};

static void sum(const struct sum *layer, const uint8_t *a, const uint8_t *b, uint8_t *y)
{
    struct sum s = *layer;
    for (int i = 0; i < s.size; i++) {
        int64_t left = (a[i] - s.offset_a) * s.ratio_a, right = (b[i] - s.offset_b) * s.ratio_b + s.fixed;
        int64_t total = left + right;
        if (near_half(total, s.shift, s.reach))
            total = significant(left + significant(right));
        y[i] = clamp(half_even(total, s.shift), &s.codes);
    }
}
//: concat
/* A tensor becomes `channels` channels of a wider one, its codes translated. */
struct part {
    int positions, channels, first, out_channels;
    const uint8_t *table; /* 256 codes */
};

static void copy_part(const struct part *layer, const uint8_t *x, uint8_t *y)
{
    for (int i = 0; i < layer->positions; i++)
        for (int c = 0; c < layer->channels; c++)
            y[i * layer->out_channels + layer->first + c] = layer->table[x[i * layer->channels + c]];
}
//: mean
/* The sum over all positions, rescaled; the multiplier divides by their number, too. */
struct mean {
    int positions, channels, zero;
    int32_t multiplier;
    int shift;
    struct codes codes;
};

static void mean(const struct mean *layer, const uint8_t *x, uint8_t *y)
{
    for (int c = 0; c < layer->channels; c++) {
        int32_t total = -layer->positions * layer->zero;
        for (int i = 0; i < layer->positions; i++)
            total += x[i * layer->channels + c];
        y[c] = clamp(rescale(total, layer->multiplier, layer->shift), &layer->codes);
    }
}
//: flatten
/* Channel by channel, as the linear layer's weights expect it. */
static void flatten(int positions, int channels, const uint8_t *x, uint8_t *y)
{
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < positions; i++)
            y[c * positions + i] = x[i * channels + c];
}
//: class_of
int class_of(const uint8_t *image)
{
    uint8_t logits[CLASSES];
    int best = 0;
    classify(image, logits);
    for (int c = 1; c < CLASSES; c++)
        best = logits[c] > logits[best] ? c : best;
    return best;
}
//: main
#ifdef WITH_MAIN
/* cc -DWITH_MAIN ...: a program that reads images from its input and writes their logits to its output. Declared here,
 * these two functions of the C library need no header. */
int getchar(void);
int putchar(int byte);

int main(void)
{
    static uint8_t image[IMAGE_BYTES], logits[CLASSES];
    for (int byte = getchar(), read = 0; byte >= 0; byte = getchar()) {
        image[read++] = (uint8_t)byte;
        if (read == IMAGE_BYTES) {
            classify(image, logits);
            for (int c = 0; c < CLASSES; c++)
                putchar(logits[c]);
            read = 0;
        }
    }
    return 0;
}
#endif
