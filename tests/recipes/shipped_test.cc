// The recipes that limpid ships, against what was published.
#include <gtest/gtest.h>

#include <filesystem>

#include "model/count.h"
#include "recipes/recipe.h"

namespace limpid {
namespace {

Path recipes_folder() { return Path(LIMPID_SOURCE) / "recipes"; }

struct Published {
  std::string name;
  int64_t parameters;
  double relative_error;  // 0 where the publication counts every one
  double lr;
  double tokens;         // of the whole run; 0 where the source counts steps
  double warmup_tokens;  // 0 where the source counts steps
  double batch_tokens;
};

class ShippedRecipe : public testing::TestWithParam<Published> {
 protected:
  Recipe recipe() const {
    return Recipe::load({(recipes_folder() / (GetParam().name + ".toml")).string()}, {});
  }
};

// Tokens seen after that many steps.
double tokens_after(const Recipe& recipe, int64_t steps) {
  int64_t samples = 0;
  for (int64_t step = 0; step < steps; ++step) samples += recipe.train.batch_at(samples);
  return double(samples) * double(recipe.model.context);
}

TEST_P(ShippedRecipe, HasThePublishedParameters) {
  const double parameters = double(parameter_count(recipe().model));
  EXPECT_NEAR(parameters / double(GetParam().parameters), 1, GetParam().relative_error);
}

TEST_P(ShippedRecipe, HasThePublishedSchedule) {
  const Recipe r = recipe();
  const Published& p = GetParam();
  EXPECT_EQ(r.optimizer.lr, p.lr);
  EXPECT_NEAR(double(r.train.batch * r.model.context) / p.batch_tokens, 1, 0.06);
  if (p.tokens) {
    EXPECT_NEAR(tokens_after(r, r.train.steps) / p.tokens, 1, 1e-4);
  }
  if (p.warmup_tokens) {
    EXPECT_NEAR(tokens_after(r, r.schedule.warmup_steps) / p.warmup_tokens, 1, 2e-3);
    EXPECT_NEAR(tokens_after(r, r.schedule.decay_steps) / 260e9, 1, 1e-4);
  }
  EXPECT_LT(r.schedule.warmup_steps, r.train.steps);
}

// Written as their files' comments tell; the small ones count exactly, "6.7B" and "175B" do not.
INSTANTIATE_TEST_SUITE_P(
    All, ShippedRecipe,
    testing::Values(Published{"gpt2-124m", 124439808, 0, 6e-4, 300e9, 375e6, 0.5e6},
                    Published{"gpt2-1.5b", 1557611200, 0, 2e-4, 300e9, 375e6, 1e6},
                    Published{"gpt3-6.7b", 6700000000, 0.01, 1.2e-4, 300e9, 375e6, 2e6},
                    Published{"gpt3-175b", 175000000000, 0.01, 0.6e-4, 300e9, 375e6, 3.2e6},
                    Published{"llama-15m", 15191712, 0, 5e-4, 0, 0, 131072},
                    Published{"llama-1b", 1100048384, 0, 4e-4, 3e12, 0, 2e6},
                    Published{"llama-7b", 6738415616, 0, 3e-4, 1e12, 0, 4e6},
                    Published{"llama-70b", 68976648192, 0, 1.5e-4, 2e12, 0, 4e6}),
    [](const auto& recipe) {
      std::string name = recipe.param.name;
      for (char& c : name)
        if (!isalnum(c)) c = '_';
      return name;
    });

TEST(ShippedRecipes, AllLoad) {
  int64_t recipes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(recipes_folder())) {
    if (entry.path().extension() != ".toml") continue;
    EXPECT_NO_THROW(Recipe::load({entry.path().string()}, {})) << entry.path();
    ++recipes;
  }
  EXPECT_EQ(recipes, 9);
}

}  // namespace
}  // namespace limpid
