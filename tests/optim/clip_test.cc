#include "optim/clip.h"

#include <cmath>

#include "tests/support/on_device.h"

namespace limpid {
namespace {

class ClipTest : public OnDevice {
 protected:
  ClipTest() {
    params_.add("a", {5000}, {});
    params_.add("b", {2, 2}, {});
    params_.allocate(GetParam(), DType::f32, true);
    fill(0, std::vector<float>(5000, 0.1f));
    fill(1, {3, 0, -4, 0});
  }
  void fill(int i, std::vector<float> values) {
    write(std::next(params_.begin(), i)->grad, std::move(values));
  }
  Params params_;
};
INSTANTIATE_TEST_SUITE_P(, ClipTest, testing::ValuesIn(kDevices), device_name);

TEST_P(ClipTest, MeasuresAllGradientsTogether) {
  GradientNorm norm(params_, GetParam());
  const Tensor loss = put(std::vector<double>{2.5});
  const double length = std::sqrt(5000 * double(0.1f) * double(0.1f) + 25);
  for (const double limit : {0.0, 1.0, 100.0}) {
    norm.clip(stream, loss, limit);
    EXPECT_NEAR(get<double>(norm.norm())[0], length, 1e-12);
    EXPECT_EQ(get<float>(norm.factor())[0], limit == 1 ? float(1 / (length + 1e-6)) : 1.0f);
  }
}

TEST_P(ClipTest, LetsNoStepPassThatIsNotFinite) {
  GradientNorm norm(params_, GetParam());
  norm.clip(stream, put(std::vector<double>{NAN}), 1);
  EXPECT_TRUE(std::isnan(get<float>(norm.factor())[0]));
  const Tensor loss = put(std::vector<double>{2.5});
  norm.clip(stream, loss, 1);
  EXPECT_FALSE(std::isnan(get<float>(norm.factor())[0]));
  fill(1, {0, INFINITY, 0, 0});
  norm.clip(stream, loss, 0);
  EXPECT_TRUE(std::isnan(get<float>(norm.factor())[0]));
  EXPECT_EQ(get<double>(norm.norm())[0], INFINITY);
}

}  // namespace
}  // namespace limpid
