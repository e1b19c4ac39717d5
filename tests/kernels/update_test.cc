#include "kernels/update.h"

#include <functional>
#include <map>

#include "core/random.h"
#include "kernels/reduce.h"
#include "kernels/update_step.h"
#include "tests/reference/update.h"
#include "tests/support/check_op.h"
#include "tests/support/on_device.h"

namespace limpid {
namespace {

using UpdateTest = OpTest;
INSTANTIATE_TEST_SUITE_P(, UpdateTest, testing::ValuesIn(all_ops()), op_name);

constexpr double kClip = 0.25;
const std::vector<Shape> kShapes = {{1}, {3, 7}, {2, 35001}};
const reference::AdamStep kStep = {
    .lr = 0.01, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .decay = 0.1, .step = 3};

Adam adam() {
  return {.lr = kStep.lr,
          .beta1 = kStep.beta1,
          .beta2 = kStep.beta2,
          .eps = kStep.eps,
          .correction1 = 1 - std::pow(kStep.beta1, kStep.step),
          .correction2 = 1 - std::pow(kStep.beta2, kStep.step)};
}

// The one parameter of a case, as update_case() makes it.
std::vector<UpdateTensors> updated(const Tensors& v, bool has_v, double decay, bool adapt = true) {
  return {{.p = v["p"],
           .copy = v["copy"],
           .m = v["m"],
           .v = has_v ? v["v"] : Tensor(),
           .g = v["g0"],
           .decay = decay,
           .adapt = adapt}};
}

std::vector<double> squares(int64_t count) {
  const Random random(1, "v");
  std::vector<double> out;
  for (int64_t i = 0; i < count; ++i) out.push_back(std::pow(random.normal(uint64_t(i)), 2));
  return out;
}

// Outputs p, m, v from inputs of the names with 0; g0 is clipped, copy is p in the model's dtype.
OpCase update_case(const Shape& shape, bool has_v, std::function<void(Values<double>&)> formula,
                   OpCall call) {
  OpCase out = {.inputs = {state("p0", shape), state("m0", shape), state("g0", shape),
                           state("clip", {1}, {kClip})},
                .outputs = {state("p", shape), state("m", shape), constant("copy", shape)},
                .saved = {Slot{"norms", {2}, Slot::Type::f64}},
                .reference = Reference::real_only([=](Values<double>& v) {
                  for (std::string name : {"p", "m", "v", "g"})
                    if (v.contains(name + "0")) v[name] = v[name + "0"];
                  for (double& g : v["g"].data) g *= kClip;
                  formula(v);
                  v["copy"] = v["p"];
                }),
                .forward = [=](Stream& s, const Tensors& v) {
                  copy(s, v["p"], v["p0"]);
                  copy(s, v["m"], v["m0"]);
                  if (has_v) copy(s, v["v"], v["v0"]);
                  call(s, v);
                }};
  if (has_v) {
    out.inputs.push_back(state("v0", shape, squares(shape.numel())));
    out.outputs.push_back(state("v", shape));
  }
  return out;
}

TEST_P(UpdateTest, AdamW) {
  for (const Shape& shape : kShapes)
    check_op(
        GetParam(),
        update_case(
            shape, true, [](auto& v) { reference::adamw(v["p"], v["m"], v["v"], v["g"], kStep); },
            [](Stream& s, const Tensors& v) {
              adamw_update(s, updated(v, true, kStep.decay), v["clip"], adam());
            }));
}

TEST_P(UpdateTest, Lamb) {
  for (bool adapt : {true, false})
    for (const Shape& shape : kShapes)
      check_op(GetParam(),
               update_case(
                   shape, true,
                   [=](auto& v) { reference::lamb(v["p"], v["m"], v["v"], v["g"], adapt, kStep); },
                   [=](Stream& s, const Tensors& v) {
                     const auto all = updated(v, true, kStep.decay, adapt);
                     lamb_moments(s, v["norms"], all, v["clip"], adam());
                     lamb_update(s, all, v["norms"], adam());
                   }));
}

TEST_P(UpdateTest, Lars) {
  const reference::MomentumStep step = {
      .lr = 2, .momentum = 0.9, .decay = 0.01, .trust = 0.02, .eps = 1e-9};
  for (bool adapt : {true, false})
    for (const Shape& shape : kShapes)
      check_op(
          GetParam(),
          update_case(
              shape, false, [=](auto& v) { reference::lars(v["p"], v["m"], v["g"], adapt, step); },
              [=](Stream& s, const Tensors& v) {
                sum_squares(s, v["norms"].slice(0, 1), v["p"]);
                sum_squares(s, v["norms"].slice(1, 2), v["g0"]);
                lars_update(s, updated(v, false, step.decay, adapt), v["clip"], v["norms"],
                            {.lr = step.lr,
                             .momentum = step.momentum,
                             .trust = step.trust,
                             .eps = step.eps});
              }));
}

TEST_P(UpdateTest, Sgd) {
  for (bool nesterov : {true, false})
    for (const Shape& shape : kShapes)
      check_op(GetParam(), update_case(
                               shape, false,
                               [=](auto& v) {
                                 reference::sgd(v["p"], v["m"], v["g"], {0.1, 0.9, 0.01, nesterov});
                               },
                               [=](Stream& s, const Tensors& v) {
                                 sgd_update(s, updated(v, false, 0.01), v["clip"],
                                            {.lr = 0.1, .momentum = 0.9, .nesterov = nesterov});
                               }));
}

class Update : public OnDevice {
 protected:
  // A parameter whose tensors hold these values. Its copy is bf16, or it has none.
  UpdateTensors parameter(std::vector<float> p, std::vector<float> g, bool copied = true) {
    const size_t n = p.size();
    return {.p = put(p),
            .copy = copied ? put(std::vector<bf16>(n)) : Tensor(),
            .m = put(std::vector<float>(n)),
            .v = put(std::vector<float>(n)),
            .g = put(g)};
  }
  UpdateTensors random_parameter(int64_t count, const std::string& name, int64_t shift) {
    const Random random(1, name);
    const auto normal = [&](uint64_t k) {
      std::vector<float> out;
      for (int64_t i = 0; i < count; ++i) out.push_back(float(random.normal(4 * uint64_t(i) + k)));
      return out;
    };
    std::vector<float> v = normal(2);
    for (float& value : v) value *= value;
    return {.p = put(normal(0), DType::f32, shift),
            .copy = put(std::vector<bf16>(size_t(count)), DType::bf16, shift),
            .m = put(normal(1), DType::f32, shift),
            .v = put(v, DType::f32, shift),
            .g = put(normal(3), DType::f32, shift),
            .decay = shift == 0 ? 0 : 0.1,
            .adapt = shift != 2};
  }
  float first(const Tensor& x) { return get<float>(x)[0]; }
  // Bits of all that an update may move.
  std::vector<uint16_t> bits(const UpdateTensors& t) {
    std::vector<uint16_t> out = get<uint16_t>(t.copy.reshape({t.p.numel()}));
    for (const Tensor& x : {t.p, t.m, t.v})
      for (uint32_t word : get<uint32_t>(x)) {
        out.push_back(uint16_t(word));
        out.push_back(uint16_t(word >> 16));
      }
    return out;
  }
  Tensor make_norms(size_t n) { return put(std::vector<double>(2 * n, -1)); }
  void lars(const std::vector<UpdateTensors>& all, Tensor clip) {
    std::vector<Tensor> measured;
    for (const UpdateTensors& t : all) measured.insert(measured.end(), {t.p, t.g});
    const Tensor norms = make_norms(all.size());
    sum_squares(stream, norms, measured);
    lars_update(stream, all, clip, norms, {.lr = 0.5, .momentum = 0.9, .trust = 0.01});
  }
  void lamb(const std::vector<UpdateTensors>& all, Tensor clip) {
    const Tensor norms = make_norms(all.size());
    lamb_moments(stream, norms, all, clip, adam());
    lamb_update(stream, all, norms, adam());
  }
  // Every optimizer, by name.
  using Optimizers =
      std::map<std::string, std::function<void(const std::vector<UpdateTensors>&, Tensor clip)>>;
  Optimizers optimizers() {
    return {{"adamw", [this](auto& all, Tensor clip) { adamw_update(stream, all, clip, adam()); }},
            {"lamb", [this](auto& all, Tensor clip) { lamb(all, clip); }},
            {"lars", [this](auto& all, Tensor clip) { lars(all, clip); }},
            {"sgd", [this](auto& all, Tensor clip) {
               sgd_update(stream, all, clip, {.lr = 0.1, .momentum = 0.9});
             }}};
  }
};
INSTANTIATE_TEST_SUITE_P(, Update, testing::ValuesIn(kDevices), device_name);

// A tensor of zeros, or a gradient of zeros, moves at the plain rate instead of not at all or to
// NaN.
TEST_P(Update, TrustRatioOfNothingIsOne) {
  const std::vector<float> zeros(7), ones(7, 1);
  const Adam step = {.lr = 0.5, .beta1 = 0, .beta2 = 0, .eps = 0};
  std::vector<UpdateTensors> all = {parameter(zeros, ones)};
  const Tensor norms = make_norms(1);
  lamb_moments(stream, norms, all, {}, step);
  EXPECT_EQ(get<double>(norms), (std::vector<double>{0, 7}));
  lamb_update(stream, all, norms, step);
  EXPECT_EQ(get<float>(all[0].p)[6], -0.5f);
  all = {parameter(zeros, ones)};
  lars_update(stream, all, {}, norms, {.lr = 0.5, .trust = 0.001});
  EXPECT_EQ(get<float>(all[0].p)[6], -0.5f);
}

// What LAMB calls |p| is what sum_squares() says of p, to the bit.
TEST_P(Update, LambAddsNormsAsSumSquaresDoes) {
  UpdateTensors t = random_parameter(70001, "p", 0);
  t.m = put(std::vector<float>(70001)), t.v = put(std::vector<float>(70001));
  t.g = put(std::vector<float>(70001)), t.decay = 0.5;
  const std::vector<UpdateTensors> all = {parameter({3}, {0}), t};
  const Tensor norms = make_norms(2), square = put(std::vector<double>{0});
  lamb_moments(stream, norms, all, {}, {.eps = 1});
  sum_squares(stream, square, t.p);
  EXPECT_EQ(get<double>(norms)[2], get<double>(square)[0]);
  EXPECT_DOUBLE_EQ(get<double>(norms)[3], get<double>(square)[0] / 4);
  EXPECT_EQ(get<double>(norms)[0], 9);
}

// More tensors than one launch takes, of many sizes, some empty, some not on 16 bytes, some without
// a copy: each moves as it would alone.
TEST_P(Update, MovesManyTensorsAsOneByOne) {
  const Tensor clip = put(std::vector<float>{0.25});
  for (const auto& [name, update] : optimizers()) {
    SCOPED_TRACE(name);
    const auto make = [&](int64_t i) {
      return random_parameter(i % 40 == 39 ? 9001 + i : i % 11, format("p{}", i), i % 3);
    };
    std::vector<UpdateTensors> all;
    for (int64_t i = 0; i < 150; ++i) all.push_back(make(i));
    const auto before = bits(all[39]);
    update(all, clip);
    EXPECT_NE(bits(all[39]), before);
    for (int64_t i = 0; i < 150; ++i) {
      const std::vector<UpdateTensors> alone = {make(i)};
      update(alone, clip);
      EXPECT_TRUE(bits(all[size_t(i)]) == bits(alone[0])) << i;
    }
  }
}

TEST_P(Update, TensorsMayHaveCopiesOfOtherDtypesOrNone) {
  const std::vector<float> values = {1, 2, 3, 4, 5}, ones(5, 1);
  std::vector<UpdateTensors> all = {parameter(values, ones), parameter(values, ones, false),
                                    parameter(values, ones, false)};
  all[2].copy = put(std::vector<float>(5));
  sgd_update(stream, all, {}, {.lr = 0.25});
  const std::vector<float> moved = {0.75, 1.75, 2.75, 3.75, 4.75};
  for (const UpdateTensors& t : all) EXPECT_EQ(get<float>(t.p), moved);
  EXPECT_EQ(get<float>(all[2].copy), moved);
  const auto rounded = get<bf16>(all[0].copy);
  EXPECT_EQ(std::vector<float>(rounded.begin(), rounded.end()), moved);
}

// clip_factor() says NaN where a step must not be taken: every bit stays.
TEST_P(Update, NothingMovesWhereClipIsNotANumber) {
  const Tensor clip = put(std::vector<float>{NAN});
  for (const auto& [name, update] : optimizers()) {
    SCOPED_TRACE(name);
    const std::vector<UpdateTensors> all = {random_parameter(5000, "a", 0),
                                            random_parameter(3, "b", 1)};
    const auto a = bits(all[0]), b = bits(all[1]);
    update(all, clip);
    EXPECT_TRUE(bits(all[0]) == a);
    EXPECT_TRUE(bits(all[1]) == b);
  }
  const std::vector<UpdateTensors> all = {random_parameter(5000, "a", 0)};
  const Tensor norms = make_norms(1);
  lamb_moments(stream, norms, all, clip, adam());
  EXPECT_TRUE(std::isnan(get<double>(norms)[0]) && std::isnan(get<double>(norms)[1]));
}

// 1 - beta2 in f32 would have lost four of its seven digits before the first step.
TEST_P(Update, ScalarsKeepTheirDigits) {
  const std::vector<UpdateTensors> all = {parameter({0}, {2})};
  adamw_update(stream, all, {}, {.lr = 0.1, .beta1 = 0.9, .beta2 = 0.9999, .eps = 1e-8});
  EXPECT_FLOAT_EQ(first(all[0].v), 4e-4f);
  EXPECT_FLOAT_EQ(first(all[0].m), 0.2f);
}

TEST_P(Update, WorksWithoutCopyAndClip) {
  std::vector<UpdateTensors> all = {parameter({1}, {2}, false)};
  all[0].v = {};
  sgd_update(stream, all, {}, {.lr = 0.25});
  EXPECT_EQ(first(all[0].p), 0.5f);
}

// p, m and v in bf16: on average every element moves as it would in f32.
TEST_P(Update, RoundsBf16AtRandomWithoutBias) {
  constexpr size_t kCount = 40001;
  const auto bf16_of = [&](float value) { return std::vector<bf16>(kCount, bf16(value)); };
  const auto mean = [&](const Tensor& x) {
    double sum = 0;
    for (const bf16 value : get<bf16>(x)) sum += double(float(value));
    return sum / double(kCount);
  };
  UpdateTensors t{.p = put(bf16_of(1)),
                  .copy = {},
                  .m = put(bf16_of(0)),
                  .v = put(bf16_of(0)),
                  .g = put(std::vector<float>(kCount, 1.001f)),
                  .key = 77};
  const std::vector<UpdateTensors> all = {t};
  const Adam step = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .step = 3};
  adamw_update(stream, all, {}, step);
  // One unit of bf16 is 2^-8 below 1 and 2^-11 near 0.1: five standard deviations of the mean.
  const double deviations = 5 / std::sqrt(double(kCount));
  EXPECT_NEAR(mean(t.m), 0.1001, 0x1p-11 / 2 * deviations);
  EXPECT_NEAR(mean(t.v), 0.05 * 1.001 * 1.001, 0x1p-12 / 2 * deviations);
  EXPECT_NEAR(mean(t.p), 1 - 1e-3 * 0.1001 / (std::sqrt(0.05) * 1.001), 0x1p-8 / 2 * deviations);
  for (const bf16 value : get<bf16>(t.p))
    EXPECT_TRUE(float(value) == 1 || float(value) == 1 - 0x1p-8f);
}

// Another key, step or element has other random bits; the same have the same.
TEST_P(Update, RandomBitsAreOfKeyStepAndElement) {
  const auto moved = [&](uint64_t key, uint64_t step, size_t count) {
    const std::vector<UpdateTensors> all = {{.p = put(std::vector<bf16>(count, bf16(1.0f))),
                                             .copy = {},
                                             .m = put(std::vector<bf16>(count)),
                                             .v = {},
                                             .g = put(std::vector<float>(count, 0.001f)),
                                             .key = key}};
    sgd_update(stream, all, {}, {.lr = 1, .step = step});
    return get<uint16_t>(all[0].p);
  };
  const auto first = moved(1, 1, 9001);
  EXPECT_TRUE(moved(1, 1, 9001) == first);
  EXPECT_FALSE(moved(2, 1, 9001) == first);
  EXPECT_FALSE(moved(1, 2, 9001) == first);
  const auto shorter = moved(1, 1, 4099);
  EXPECT_TRUE(std::equal(shorter.begin(), shorter.end(), first.begin()));
  EXPECT_FALSE(std::equal(shorter.begin() + 2, shorter.end(), first.begin()));
  // What update_step.h says, element by element.
  for (int64_t i = 0; i < 9001; ++i) {
    const RoundingBits random(rounding_words(1, 1, i / 2), i % 2);
    ASSERT_EQ(first[size_t(i)], rounded_at_random(std::bit_cast<uint32_t>(1 - 0.001f), random.p));
  }
}

TEST_P(Update, EveryOptimizerMovesBf16) {
  const Tensor clip = put(std::vector<float>{0.5});
  for (const auto& [name, update] : optimizers()) {
    SCOPED_TRACE(name);
    std::vector<UpdateTensors> wide, stored;
    for (int64_t i = 0; i < 60; ++i) {
      UpdateTensors t = random_parameter(i == 30 ? 5000 : i % 19, format("q{}", i), i % 3);
      t.decay = 0.1, t.adapt = true;
      for (Tensor UpdateTensors::*which :
           {&UpdateTensors::p, &UpdateTensors::m, &UpdateTensors::v}) {
        const auto values = get<float>(t.*which);
        const std::vector<bf16> rounded(values.begin(), values.end());
        write(t.*which, std::vector<float>(rounded.begin(), rounded.end()));
      }
      wide.push_back(t);
      for (Tensor UpdateTensors::*which :
           {&UpdateTensors::p, &UpdateTensors::m, &UpdateTensors::v}) {
        const auto values = get<float>(t.*which);
        t.*which = put(std::vector<bf16>(values.begin(), values.end()), DType::bf16, i % 3);
      }
      t.copy = {};
      stored.push_back(t);
    }
    update(wide, clip);
    update(stored, clip);
    for (size_t i = 0; i < wide.size(); ++i) {
      const auto got = get<bf16>(stored[i].p);
      const auto want = get<float>(wide[i].p);
      for (size_t k = 0; k < want.size(); ++k)
        ASSERT_NEAR(float(got[k]), want[k], 0.02 * std::abs(want[k]) + 0.002) << i << " " << k;
    }
  }
}

TEST(RoundedAtRandom, KeepsWhatNeedsNoRounding) {
  for (const float value : {0.0f, 1.0f, -2.5f, INFINITY, -INFINITY}) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    EXPECT_EQ(rounded_at_random(bits, 0xffff), bits >> 16) << value;
  }
  EXPECT_EQ(rounded_at_random(0x7f800001u, 0xffff), 0x7fc0);
  EXPECT_EQ(rounded_at_random(0x3f800001u, 0xfffe), 0x3f80);
  EXPECT_EQ(rounded_at_random(0x3f800001u, 0xffff), 0x3f81);
}

TEST(UpdateErrors, RefusesWhatDoesNotFit) {
  Buffer memory(Device::cpu, 4096, "test");
  Stream s;
  const Tensor p = memory.tensor(0, {8}, DType::f32), bad = memory.tensor(0, {7}, DType::f32);
  const Tensor half = memory.tensor(0, {8}, DType::bf16);
  const auto with = [&](Tensor UpdateTensors::*which, Tensor tensor) {
    UpdateTensors out = {.p = p, .copy = {}, .m = p, .v = p, .g = p};
    out.*which = tensor;
    return std::vector<UpdateTensors>{out};
  };
  const auto fine = with(&UpdateTensors::p, p);
  expect_error([&] { adamw_update(s, with(&UpdateTensors::m, bad), {}, {}); },
               "m is f32 (7), but p is f32 (8)");
  expect_error([&] { adamw_update(s, with(&UpdateTensors::v, bad), {}, {}); }, "v is f32 (7)");
  expect_error([&] { adamw_update(s, with(&UpdateTensors::p, half), {}, {}); },
               "m is f32 (8), but p is bf16 (8)");
  expect_error([&] { adamw_update(s, with(&UpdateTensors::copy, bad), {}, {}); }, "copy is (7)");
  expect_error([&] { adamw_update(s, fine, p, {}); }, "clip is");
  expect_error([&] { lamb_moments(s, p, fine, {}, {}); }, "norms is");
  const Tensor norms = memory.tensor(0, {4}, DType::f64);
  expect_error([&] { lamb_update(s, fine, norms, {}); }, "norms is");
  expect_error([&] { lars_update(s, with(&UpdateTensors::g, bad), {}, norms, {}); }, "f32 (7)");
}

}  // namespace
}  // namespace limpid
